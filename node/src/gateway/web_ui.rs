//! The web UI on the API's port: served where it is stored, as nothing else of the gateway is by default.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use holdfast_dag::cid::parse_cid;
use http::{Request, Response, StatusCode};

use super::{Answer, Gateway, url};
use crate::http::{Body, Handler};

/// Versions of the web UI that are served, the newest first: those of the fourth generation that Kubo names
/// (`core/corehttp/webui.go`).
const WEB_UIS: [&str; 11] = [
    "bafybeiciqeyipumpmhxzlxnbqdbbv6u5uij4hy4wax64dmj7kvrhusiq6y",
    "bafybeihxglpcfyarpm7apn7xpezbuoqgk3l5chyk7w4gvrjwk45rqohlmm",
    "bafybeiddnr2jz65byk67sjt6jsu6g7tueddr7odhzzpzli3rgudlbnc6iq",
    "bafybeidfgbcqy435sdbhhejifdxq4o64tlsezajc272zpyxcsmz47uyc64",
    "bafybeidsjptidvb6wf6benznq2pxgnt5iyksgtecpmjoimlmswhtx2u5ua",
    "bafybeicg7e6o2eszkfdzxg5233gmuip2a7kfzoloh7voyvt2r6ivdet54u",
    "bafybeifplj2s3yegn7ko7tdnwpoxa4c5uaqnk2ajnw5geqm34slcj6b6mu",
    "bafybeibfd5kbebqqruouji6ct5qku3tay273g7mt24mmrfzrsfeewaal5y",
    "bafybeibpaa5kqrj4gkemiswbwndjqiryl65cks64ypwtyerxixu56gnvvm",
    "bafybeiata4qg7xjtwgor6r5dw63jjxyouenyromrrb4lrewxrlvav7gzgi",
    "bafybeigp3zm7cqoiciqk5anlheenqjsgovp7j7zq6hah4nu6iugdgb4nby",
];

impl Gateway {
    /// The newest web UI that is stored here, if pages are served.
    pub(crate) async fn web_ui(&self) -> Option<&'static str> {
        if !self.serves_pages() {
            return None;
        }
        let store = self.node().store().clone();
        // Nobody else is asked for it, and the index is read where reading may wait.
        let is_stored =
            move |text: &&str| parse_cid(text).is_ok_and(|cid| store.has(cid.hash()).unwrap_or(false));
        let found = self.node().pool().run(move || WEB_UIS.into_iter().find(is_stored)).await;
        found.ok().flatten()
    }

    /// The gateway of the API's port: of the web UI alone, unless everything is asked for.
    pub(crate) fn beside_api(self, unrestricted: bool) -> BesideApi {
        BesideApi { gateway: self, unrestricted }
    }
}

/// See [`Gateway::beside_api`].
pub(crate) struct BesideApi {
    gateway: Gateway,
    unrestricted: bool,
}

impl Handler for BesideApi {
    fn handle(&self, request: Request<Body>) -> BoxFuture<'static, Answer> {
        let path = url::decode(request.uri().path()).unwrap_or_default();
        let mut segments = path.split('/').skip(1);
        let is_web_ui = segments.next() == Some("ipfs") && segments.next().is_some_and(|root| WEB_UIS.contains(&root))
            // What climbs out of it is elsewhere.
            && segments.all(|segment| segment != "..");
        if self.unrestricted || is_web_ui {
            return self.gateway.handle(request);
        }
        let mut answer = Response::new("404 page not found\n".into());
        *answer.status_mut() = StatusCode::NOT_FOUND;
        async move { answer }.boxed()
    }
}
