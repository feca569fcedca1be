//! What the API port serves: the commands, and beside them metrics and health; all of it counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};

use crate::commands::registry::Call;
use crate::commands::{Context, registry};
use crate::config::{Config, ValueError};
use crate::http::{Body, Handler, Piece, ResponseBody};
use crate::observe::routes::ROUTES;
use crate::observe::{HttpExchange, Metrics, Outcome as Recorded, RequestGuard, Requests};
use crate::rpc::{Access, Door, Outcome, Routes, Settings, Watch, Watched};
use crate::runtime::Runtime;

/// The handler of the API port.
pub(super) fn handler(
    context: &Context,
    runtime: &Runtime,
    config: &Config,
) -> Result<Arc<dyn Handler>, ValueError> {
    let settings = Settings::of_config(config)?;
    let watch = Arc::new(Table(runtime.requests().clone()));
    let door = Door::with_routes(context.clone(), Arc::new(registry()), settings, routes(context), watch);
    Ok(Arc::new(Metered { handler: Arc::new(door), metrics: runtime.metrics().clone() }))
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
    handler: Arc<dyn Handler>,
    metrics: Metrics,
}

impl Handler for Metered {
    fn handle(&self, request: Request<Body>) -> BoxFuture<'static, Response<ResponseBody>> {
        let mut exchange = Exchange {
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
                ResponseBody::Stream(pieces) => ResponseBody::Stream(
                    pieces
                        .inspect(move |piece| {
                            if let Piece::Data(data) = piece {
                                exchange.wrote(data);
                            }
                        })
                        .boxed(),
                ),
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
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.metrics.http_exchange(&HttpExchange {
            handler: "api",
            method: &self.method,
            status: self.status,
            took: self.began.elapsed(),
            request_bytes: self.read.load(Ordering::Relaxed),
            response_bytes: self.written,
        });
    }
}
