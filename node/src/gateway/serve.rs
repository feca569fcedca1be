//! Content: in which form it is served.

use holdfast_dag::cid::codec;
use holdfast_dag::path::PathRoot;
use holdfast_dht::ipns::Name;
use http::StatusCode;
use http::header::{CONTENT_LOCATION, HeaderValue, VARY};

use super::ask::Ask;
use super::conditional;
use super::directory::listing_etag;
use super::door::of;
use super::failure::Failure;
use super::format::Format;
use super::headers::{put, without_content};
use super::target::Target;
use super::{Answer, block, car, codec as documents, directory, file, headers, ipns, tar, url};
use crate::fetch::FetchError;
use crate::observe::Served;

/// Answers a request for content.
pub(super) async fn serve(ask: Ask, deserialized: bool) -> Result<Answer, Failure> {
    if !deserialized && !is_trustless(&ask) {
        return Err(Failure::not_acceptable(
            "only trustless requests are accepted on this gateway: blocks (?format=raw), CARs (?format=car) and IPNS \
             records (?format=ipns-record). See https://specs.ipfs.tech/http-gateways/trustless-gateway/",
        ));
    }
    let mut answer = match ask.format() {
        Some(Format::IpnsRecord) => of(Served::Record, ipns::serve(&ask).await?),
        _ => by_path(&ask).await?,
    };
    let headers = answer.headers_mut();
    if let Some(format) = ask.format().filter(|_| ask.wanted.by_accept) {
        put(headers, CONTENT_LOCATION, location(&ask, format));
        headers.insert(VARY, HeaderValue::from_static("Accept"));
    }
    Ok(answer)
}

async fn by_path(ask: &Ask) -> Result<Answer, Failure> {
    let target = ask.target().await?;
    if ask.only_if_cached() {
        require_stored(ask, &target).await?;
    }
    if ask.format() == Some(Format::Car) {
        return Ok(of(Served::Car, car::serve(ask, &target).await?));
    }
    if let Some(answer) = held(ask, &target) {
        return Ok(answer);
    }
    if let Some(segment) = target.remainder.first() {
        let whole = target.remainder.join("/");
        return Err(Failure::new(
            StatusCode::NOT_IMPLEMENTED,
            format!(
                "{whole:?} of {} could not be returned: reading IPLD kinds other than links (CBOR tag 42) is not \
                 implemented: try reading what is before {segment:?} instead",
                ask.path
            ),
        ));
    }
    Ok(match (ask.format(), target.cid.codec()) {
        (Some(Format::Raw), _) => of(Served::Block, block::serve(ask, &target).await?),
        (Some(Format::Tar), _) => of(Served::Tar, tar::serve(ask, &target).await?),
        (_, codec::JSON | codec::CBOR | codec::DAG_JSON | codec::DAG_CBOR)
        | (Some(Format::DagJson | Format::DagCbor), _) => {
            of(Served::Document, documents::serve(ask, &target).await?)
        }
        _ => unixfs(ask, &target).await?,
    })
}

/// A file, directory or symbolic link.
async fn unixfs(ask: &Ask, target: &Target) -> Result<Answer, Failure> {
    let file = file::open(ask, target.cid).await?;
    if file.info.kind.is_directory() {
        directory::serve(ask, target).await
    } else {
        let answer = file::serve(ask, target, &file, &file::Naming::of_path(ask)).await?;
        Ok(of(Served::File, answer))
    }
}

/// Whether what is asked for can be checked by whoever gets it: a block or a DAG by its CID, a record by its name.
fn is_trustless(ask: &Ask) -> bool {
    let Some(format) = ask.format().filter(|format| format.is_trustless()) else { return false };
    if format != Format::Car && !ask.path.segments().is_empty() {
        return false;
    }
    match ask.path.root() {
        PathRoot::Ipns(name) => format == Format::IpnsRecord && name.parse::<Name>().is_ok(),
        _ => format != Format::IpnsRecord,
    }
}

/// The answer to whoever has it already: known without reading anything.
fn held(ask: &Ask, target: &Target) -> Option<Answer> {
    if conditional::holds_any(&ask.headers) {
        // Which of them it is is not known yet.
        return None;
    }
    let own = documents::etag(&target.cid, ask.format());
    let (listing, page) = (listing_etag(&target.cid), documents::page_etag(&target.cid));
    let etag = conditional::held(&ask.headers, &[&own, &listing, &page])?;
    let validators = conditional::Validators { etag: etag.to_owned(), modified: None };
    let mut answer = headers::of_content(ask, target, &validators);
    if etag == listing {
        headers::set_listing_cache(answer.headers_mut(), ask.is_mutable(), target.ttl);
    }
    Some(without_content(answer, StatusCode::NOT_MODIFIED))
}

/// `Cache-Control: only-if-cached`: what is not stored here is not asked for anywhere.
async fn require_stored(ask: &Ask, target: &Target) -> Result<(), Failure> {
    match ask.node.blocks().stat(&target.cid).await {
        Ok(_) => Ok(()),
        Err(FetchError::NotFound { .. }) => {
            let words = format!("{} not in local datastore", ask.path);
            Err(Failure::new(StatusCode::PRECONDITION_FAILED, words))
        }
        Err(error) => Err(error.into()),
    }
}

/// A URL that names this form too, so that a cache does not give it to those who want another.
fn location(ask: &Ask, format: Format) -> String {
    let mut values = vec![("format".to_owned(), format.name().to_owned())];
    if format == Format::Car {
        for (name, value) in &ask.wanted.params {
            let key = format!("car-{name}");
            if ask.query.get(&key).is_none() {
                values.push((key, value.clone()));
            }
        }
    }
    format!("{}?{}", url::path(&ask.url_path), ask.query.with(&values))
}
