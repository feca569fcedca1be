//! Directories: their page, or a listing.

use holdfast_dag::cid::Cid;
use http::StatusCode;

use super::ask::Ask;
use super::door::of;
use super::failure::Failure;
use super::target::Target;
use super::{Answer, file, listing, redirect};
use crate::observe::Served;

/// What the looks of listings are called: a new name for new looks, so that old ones are not kept.
const LOOKS: &str = "holdfast1";

/// The tag of a generated listing.
pub(super) fn listing_etag(cid: &Cid) -> String {
    format!("\"DirIndex-{LOOKS}_CID-{cid}\"")
}

pub(super) async fn serve(ask: &Ask, target: &Target) -> Result<Answer, Failure> {
    // Links in pages are relative to the last slash. Go's tools ask without one.
    if !ask.url_path.ends_with('/') && ask.query.get("go-get") != Some("1") {
        return Ok(redirect::to(StatusCode::MOVED_PERMANENTLY, &ask.with_slash()));
    }
    match ask.below(target, "index.html").await {
        Ok(index) => {
            let page = file::open(ask, index.cid).await?;
            if !page.info.kind.is_file() {
                let words = "index.html is there and cannot be read as a file";
                return Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, words));
            }
            let answer = file::serve(ask, target, &page, &file::Naming::index()).await?;
            Ok(of(Served::IndexPage, answer))
        }
        Err(failure) if failure.status == StatusCode::NOT_FOUND => {
            Ok(of(Served::Listing, listing::serve(ask, target).await?))
        }
        Err(failure) => Err(failure),
    }
}
