//! What the ports serve. The API's: the commands, and beside them metrics, health and the web UI. The gateway's: content.
//! All of it is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use http::{Method, Request, Response, StatusCode};

use crate::commands::registry::Call;
use crate::commands::{Context, registry};
use crate::config::{Config, ValueError};
use crate::gateway::Gateway;
use crate::http::{Body, Handler, Piece, ResponseBody};
use crate::observe::routes::ROUTES;
use crate::observe::{HttpExchange, Metrics, Outcome as Recorded, RequestGuard, Requests};
use crate::rpc::{self, Access, Door, Outcome, Routes, Settings, Watch, Watched};
use crate::runtime::Runtime;

/// The handler of the API port. `gateway` stands beside the commands: for the web UI, or for everything.
pub(super) fn api(
    context: &Context,
    runtime: &Runtime,
    config: &Config,
    gateway: Gateway,
    unrestricted: bool,
) -> Result<Arc<dyn Handler>, ValueError> {
    let settings = Settings::of_config(config)?;
    let watch = Arc::new(Table(runtime.requests().clone()));
    let mut routes = routes(context);
    let web_ui = gateway.clone();
    routes.add_fn("/webui", Access::Guarded, move |request: Request<Body>| {
        let gateway = web_ui.clone();
        async move {
            let stored = gateway.web_ui().await;
            rpc::web_ui(request.uri().path(), request.method(), stored)
        }
    });
    let content: Arc<dyn Handler> = Arc::new(gateway.beside_api(unrestricted));
    for namespace in ["/ipfs", "/ipns"] {
        routes.add(namespace, Access::Guarded, Arc::clone(&content));
    }
    let door = Door::with_routes(context.clone(), Arc::new(registry()), settings, routes, watch);
    Ok(metered("api", Arc::new(door), runtime))
}

/// The handler of the gateway's port.
pub(super) fn gateway(gateway: Gateway, runtime: &Runtime) -> Arc<dyn Handler> {
    metered("gateway", Arc::new(gateway), runtime)
}

fn metered(name: &'static str, handler: Arc<dyn Handler>, runtime: &Runtime) -> Arc<dyn Handler> {
    Arc::new(Metered { name, handler, metrics: runtime.metrics().clone() })
}

fn routes(context: &Context) -> Routes {
    let mut routes = Routes::new();
    for route in ROUTES {
        let access = if route.without_credentials { Access::Open } else { Access::Guarded };
        let context = context.clone();
        routes.add_fn(route.path, access, move |request: Request<Body>| {
            let context = context.clone();
            async move { route.answer(context, request.method()).await }
        });
    }
    routes
}

/// The table of requests, as the door tells it.
struct Table(Requests);

impl Watch for Table {
    fn begin(&self, call: &Call) -> Box<dyn Watched> {
        Box::new(Row(self.0.begin(call)))
    }
}

struct Row(RequestGuard);

impl Watched for Row {
    fn set_outcome(&mut self, outcome: Outcome) {
        self.0.set_outcome(match outcome {
            Outcome::Success => Recorded::Success,
            Outcome::Error => Recorded::Error,
        });
    }
}

/// A handler whose exchanges are counted, each at its end.
struct Metered {
    name: &'static str,
    handler: Arc<dyn Handler>,
    metrics: Metrics,
}

impl Handler for Metered {
    fn handle(&self, request: Request<Body>) -> BoxFuture<'static, Response<ResponseBody>> {
        let mut exchange = Exchange {
            name: self.name,
            metrics: self.metrics.clone(),
            method: request.method().clone(),
            // Stands where the client went away before it was answered.
            status: StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            began: Instant::now(),
            read: request.body().bytes_read(),
            written: 0,
        };
        let answering = self.handler.handle(request);
        Box::pin(async move {
            let answer = answering.await;
            exchange.answered(answer.status());
            answer.map(|body| match body {
                ResponseBody::Stream(pieces) => ResponseBody::Stream(exchange.counted(pieces)),
                ResponseBody::Sized(length, pieces) => ResponseBody::Sized(length, exchange.counted(pieces)),
                ResponseBody::Full(data) => {
                    exchange.wrote(&data);
                    ResponseBody::Full(data)
                }
                ResponseBody::Empty => ResponseBody::Empty,
            })
        })
    }
}

/// One exchange. It is over when this is dropped.
struct Exchange {
    name: &'static str,
    metrics: Metrics,
    method: Method,
    status: StatusCode,
    began: Instant,
    read: Arc<AtomicU64>,
    written: u64,
}

// By methods, so that closures take the whole of it with them.
impl Exchange {
    fn answered(&mut self, status: StatusCode) {
        self.status = status;
    }

    fn wrote(&mut self, data: &Bytes) {
        self.written += data.len() as u64;
    }

    /// Counts what goes by, to the end of the stream.
    fn counted(mut self, pieces: BoxStream<'static, Piece>) -> BoxStream<'static, Piece> {
        let count = move |piece: &Piece| {
            if let Piece::Data(data) = piece {
                self.wrote(data);
            }
        };
        pieces.inspect(count).boxed()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.metrics.http_exchange(&HttpExchange {
            handler: self.name,
            method: &self.method,
            status: self.status,
            took: self.began.elapsed(),
            request_bytes: self.read.load(Ordering::Relaxed),
            response_bytes: self.written,
        });
    }
}
