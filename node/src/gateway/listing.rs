//! Listings of directories: a page that is made while its entries come, without touching what they name.

use std::fmt::Write as _;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use holdfast_dag::path::PathRoot;
use holdfast_dag::read::{DirEntry, DirReader, NodeInfo};
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::ask::Ask;
use super::body::{self, Content};
use super::conditional::{self, Validators};
use super::directory::listing_etag;
use super::failure::Failure;
use super::headers::{self, put, without_content};
use super::target::Target;
use super::{Answer, page, url};
use crate::fetch::Walk;

/// Entries that one page shows.
pub const ENTRIES_MAX: usize = 100_000;

pub(super) async fn serve(ask: &Ask, target: &Target) -> Result<Answer, Failure> {
    let validators = Validators { etag: listing_etag(&target.cid), modified: None };
    let mut answer = headers::of_content(ask, target, &validators);
    let headers = answer.headers_mut();
    headers::set_listing_cache(headers, ask.is_mutable(), target.ttl);
    put(headers, CONTENT_TYPE, "text/html");
    page::protect(headers);
    if let Some(status) = conditional::outcome(&ask.headers, &validators) {
        return Ok(without_content(answer, status));
    }
    let block = ask.fetch.get(&target.cid).await?;
    let total = NodeInfo::of(&target.cid, &block)?.cumulative_bytes;
    let walk = ask.fetch.walk(DirReader::new(target.cid), ask.window_bytes);
    let rows = rows(walk, folder(ask));
    let begin = Bytes::from(beginning(ask, target, total));
    let all: Content = stream::iter([Ok(begin)]).chain(rows).boxed();
    *answer.status_mut() = StatusCode::OK;
    *answer.body_mut() = body::gathered(all).await?;
    Ok(answer)
}

/// The URL of the directory, escaped, with a slash at its end.
fn folder(ask: &Ask) -> String {
    let path = url::path(&ask.url_path);
    if path.ends_with('/') { path } else { path + "/" }
}

/// The rows of the table and what follows them.
fn rows(walk: Walk<DirReader>, folder: String) -> Content {
    let state = Some((walk, folder, 0));
    stream::unfold(state, |state| async move {
        let (mut walk, folder, count) = state?;
        if count == ENTRIES_MAX {
            let more = format!("<tr><td colspan=\"3\">Only {ENTRIES_MAX} entries are shown.</td></tr>\n");
            return Some((Ok(Bytes::from(more + END)), None));
        }
        match walk.next().await {
            None => Some((Ok(Bytes::from_static(END.as_bytes())), None)),
            Some(Ok(entry)) => Some((Ok(Bytes::from(row(&folder, &entry))), Some((walk, folder, count + 1)))),
            Some(Err(error)) => Some((Err(error.into()), None)),
        }
    })
    .boxed()
}

const END: &str = "</tbody>\n</table>\n</body>\n</html>\n";

fn row(folder: &str, entry: &DirEntry) -> String {
    let DirEntry { name, cid, tsize } = entry;
    let hash = cid.to_string();
    let shown = page::escape(&String::from_utf8_lossy(name));
    let escaped = url::segment(name);
    let is_plain = !matches!(&name[..], b"" | b"." | b"..")
        && !name.contains(&b'/')
        && std::str::from_utf8(name).is_ok();
    // A name that a browser would take for a path is reached by its CID.
    let to = if is_plain { format!("{folder}{escaped}") } else { format!("/ipfs/{hash}") };
    let saved_as = url::segment(escaped.as_bytes());
    format!(
        "<tr><td><a href=\"{}\">{shown}</a></td>\
         <td><a class=\"ipfs-hash\" translate=\"no\" href=\"/ipfs/{hash}?filename={saved_as}\">{}</a></td>\
         <td class=\"size\" title=\"Cumulative size of the IPFS DAG (data + metadata)\">{}</td></tr>\n",
        page::escape(&to),
        short(&hash),
        bytes(*tsize),
    )
}

/// What stands above the rows.
fn beginning(ask: &Ask, target: &Target, total: u64) -> String {
    let path = ask.path.to_string();
    let mut out = page::begin(&path);
    // Writing to a string does not fail.
    let _ = write!(
        out,
        "<h1>Index of {}</h1>\n<p><strong>{}</strong> \
         <a class=\"ipfs-hash\" translate=\"no\" href=\"/ipfs/{}\">{}</a></p>\n<table>\n<tbody>\n",
        breadcrumbs(ask),
        bytes(total),
        target.cid,
        target.cid,
    );
    if !ask.path.segments().is_empty() {
        let above = page::escape(&(folder(ask) + ".."));
        let _ = writeln!(out, "<tr><td><a href=\"{above}\">..</a></td><td></td><td></td></tr>");
    }
    out
}

/// The path, each part of it with its link.
fn breadcrumbs(ask: &Ask) -> String {
    let namespace = if matches!(ask.path.root(), PathRoot::Ipns(_)) { "ipns" } else { "ipfs" };
    let path = ask.path.to_string();
    let root = path.split('/').nth(2).unwrap_or_default();
    let (mut out, mut at) = (format!("/{namespace}"), format!("/{namespace}"));
    for part in std::iter::once(root).chain(ask.path.segments().iter().map(String::as_str)) {
        at = format!("{at}/{}", url::segment(part.as_bytes()));
        let _ = write!(out, "/<a href=\"{}\">{}</a>", page::escape(&at), page::escape(part));
    }
    out
}

/// A CID, cut to what people compare.
fn short(hash: &str) -> String {
    match (hash.get(..4), hash.len().checked_sub(4).and_then(|at| hash.get(at..))) {
        (Some(begin), Some(end)) if hash.len() > 8 => format!("{begin}\u{2026}{end}"),
        _ => hash.to_owned(),
    }
}

/// A size for people, in units of a thousand.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let (mut value, mut units) = (count as f64 / 1000.0, UNITS.iter());
    let mut unit = units.next();
    while value >= 999.95 {
        let Some(next) = units.next() else { break };
        (value, unit) = (value / 1000.0, Some(next));
    }
    let unit = unit.copied().unwrap_or_default();
    if value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use holdfast_dag::cid::parse_cid;

    use super::*;

    #[test]
    fn sizes_are_told_in_few_digits() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (9949, "9.9 kB"),
            (82_854_982, "83 MB"),
            (999_999, "1.0 MB"),
            (u64::MAX, "18 EB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(short("bafkqaaa"), "bafkqaaa");
        assert_eq!(short("bafybeiabc"), "bafy\u{2026}iabc");
    }

    #[test]
    fn no_name_becomes_markup_or_leads_elsewhere() {
        let cid = parse_cid("bafkqaaa").unwrap();
        let row = |name: &[u8]| row("/ipfs/root/", &DirEntry { name: name.to_vec(), cid, tsize: 5 });
        let shown = row(b"\"><img src=x onerror=alert(1)>");
        assert!(
            !shown.contains("<img") && shown.contains("href=\"/ipfs/root/%22%3E%3Cimg%20src=x"),
            "{shown}"
        );
        assert!(row(b"javascript:alert(1)").contains("href=\"/ipfs/root/javascript:alert%281%29\""));
        for odd in [&b".."[..], b".", b"", b"a/../../b", b"\xff"] {
            assert!(row(odd).contains("href=\"/ipfs/bafkqaaa\""), "{odd:?}");
        }
        assert!(row("%2e%2e".as_bytes()).contains("href=\"/ipfs/root/%252e%252e\""));
        let shown = row("ą".as_bytes());
        assert!(shown.contains("<a href=\"/ipfs/root/%C4%85\">ą</a>"), "{shown}");
        assert!(shown.contains("href=\"/ipfs/bafkqaaa?filename=%25C4%2585\""), "{shown}");
    }
}
