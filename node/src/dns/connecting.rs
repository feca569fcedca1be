//! Connections to name servers, and why there are none: a resolver says no more than that.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use hickory_resolver::config::{ConnectionConfig, ProtocolConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::DnsExchange;
use hickory_resolver::{ConnectionProvider, PoolContext, Resolver};

use super::literal::Literal;

/// What asks.
pub(super) type Asking = Resolver<Connecting>;

/// Servers whose failures are remembered: more than any list of servers has.
const SERVERS_MAX: usize = 16;

/// Opens connections, and remembers of each server why the last attempt failed. Clones share that.
#[derive(Clone, Default)]
pub(super) struct Connecting {
    inner: TokioRuntimeProvider,
    failures: Arc<Mutex<BTreeMap<IpAddr, String>>>,
}

impl Connecting {
    /// Why no connection is there, server by server; empty where none failed.
    pub(super) fn failures(&self) -> String {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let words: Vec<String> =
            failures.iter().map(|(server, error)| format!("{server}: {error}")).collect();
        words.join("; ")
    }

    fn note<T>(&self, server: IpAddr, result: &Result<T, NetError>) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(_) => drop(failures.remove(&server)),
            Err(error) if failures.len() < SERVERS_MAX || failures.contains_key(&server) => {
                failures.insert(server, error.to_string());
            }
            Err(_) => {}
        }
    }
}

impl ConnectionProvider for Connecting {
    type Conn = <TokioRuntimeProvider as ConnectionProvider>::Conn;
    type FutureConn = BoxFuture<'static, Result<Self::Conn, NetError>>;
    type RuntimeProvider = TokioRuntimeProvider;

    fn new_connection(
        &self,
        server: IpAddr,
        config: &ConnectionConfig,
        context: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        let this = self.clone();
        let opening: Self::FutureConn = match literal(config) {
            Some(literal) => {
                let tls = context.tls.clone();
                Box::pin(async move {
                    let (exchange, background) = DnsExchange::from_stream(literal.open(tls).await?);
                    tokio::spawn(background);
                    Ok(exchange)
                })
            }
            None => self.inner.new_connection(server, config, context)?,
        };
        Ok(Box::pin(async move {
            let opened = opening.await;
            this.note(server, &opened);
            opened
        }))
    }

    fn runtime_provider(&self) -> &Self::RuntimeProvider {
        &self.inner
    }
}

/// The server, where it is one over HTTPS that is named by an IPv6 address.
fn literal(config: &ConnectionConfig) -> Option<Literal> {
    match &config.protocol {
        ProtocolConfig::Https { server_name, path } => Literal::of(server_name, config.port, path),
        _ => None,
    }
}
