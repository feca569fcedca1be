//! Links from domain names to content: texts of the name `_dnslink.<domain>` in the DNS.

use holdfast_dag::cid::parse_cid;
use holdfast_dag::path::{ContentPath, PathRoot};
use holdfast_dht::ipns::Hop;

use crate::dns::{Dns, DnsError};

/// Longest name that the DNS knows, in bytes.
const DOMAIN_BYTES_MAX: usize = 253;
/// Longest part of one.
const LABEL_BYTES_MAX: usize = 63;

/// Why a domain name links to nothing. The words are Kubo's where Kubo has words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DnsLinkError {
    /// The name has no link.
    #[error(
        "could not resolve name: DNSLink lookup could not find a TXT record \
         (https://docs.ipfs.tech/concepts/dnslink/)"
    )]
    Missing,
    /// It has several.
    #[error(
        "could not resolve name: DNSLink lookup returned more than one IPFS content path; ask domain owner to remove \
         duplicate TXT records"
    )]
    Several,
    /// It was not looked up.
    #[error("could not resolve name: {0}")]
    Dns(DnsError),
}

/// Whether a text can be a name in the DNS.
pub(super) fn is_domain(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let is_char =
            |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_') || !char.is_ascii();
        (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.chars().all(is_char)
    };
    text.len() <= DOMAIN_BYTES_MAX && text.split('.').all(is_label)
}

/// What a domain name links to.
pub(super) async fn look_up(dns: &Dns, domain: &str) -> Result<Hop, DnsLinkError> {
    let found = dns.texts(&format!("_dnslink.{domain}")).await.map_err(|error| match error {
        DnsError::NoRecords => DnsLinkError::Missing,
        error => DnsLinkError::Dns(error),
    })?;
    let mut paths = found.texts.iter().filter_map(|text| path_in(text));
    match (paths.next(), paths.next()) {
        (None, _) => Err(DnsLinkError::Missing),
        (Some(path), None) => Ok(Hop { path, ttl: Some(found.ttl) }),
        (Some(_), Some(_)) => Err(DnsLinkError::Several),
    }
}

/// The path in a text: `dnslink=<path>`, or in the old form a path or a CID alone.
fn path_in(text: &str) -> Option<ContentPath> {
    let path = |text: &str| {
        let of_cid = || parse_cid(text).ok().map(ContentPath::of_cid);
        ContentPath::parse(text).ok().or_else(of_cid)
    };
    let found = path(text).or_else(|| path(text.strip_prefix("dnslink=")?))?;
    (!matches!(found.root(), PathRoot::Ipld(_))).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_link_in_the_new_form_and_in_the_old_ones() {
        let found = |text: &str| path_in(text).map(|path| path.to_string());
        for text in ["dnslink=/ipfs/bafkqaaa", "/ipfs/bafkqaaa", "bafkqaaa", "dnslink=bafkqaaa"] {
            assert_eq!(found(text).as_deref(), Some("/ipfs/bafkqaaa"), "{text}");
        }
        assert_eq!(found("dnslink=/ipns/example.net/a").as_deref(), Some("/ipns/example.net/a"));
        for text in [
            "v=spf1 -all",
            "dnslink=",
            "dnslink=/ipld/bafkqaaa",
            "dnslink=https://example.net",
            "DNSLINK=/ipfs/bafkqaaa",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn only_what_the_dns_can_hold_is_looked_up() {
        for name in ["example.org", "localhost", "a_b.example.", "xn--bcher-kva.example", "bücher.example"] {
            assert!(is_domain(name), "{name}");
        }
        let (label, long) = ("a".repeat(64), "a.".repeat(127));
        for name in ["", ".", "a..b", "a b", "a\\b", &format!("{label}.org"), &format!("{long}org")] {
            assert!(!is_domain(name), "{name}");
        }
    }
}
