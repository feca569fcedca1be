//! CIDs in the base that a call asks for.

use holdfast_dag::base::{self, Base};
use holdfast_dag::cid::{Cid, Version, parse_cid};
use serde_json::{Value, json};

use super::registry::{Call, CommandError};

/// How CIDs are written in an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct CidText {
    base: Option<Base>,
    upgrade: bool,
}

impl CidText {
    /// What the options `cid-base` and `upgrade-cidv0-in-output` say.
    pub(super) fn of_call(call: &Call) -> Result<Self, CommandError> {
        let base = call.cid_base().map(base::base_by_name).transpose().map_err(CommandError::from_error)?;
        Ok(Self { base, upgrade: call.upgrade_cid_v0() })
    }

    /// The same; without these options, the base and version that the CID in `path` is written in. Names lend nothing: their
    /// base is not that of what they point at.
    pub(super) fn of_path(call: &Call, path: &str) -> Result<Self, CommandError> {
        if call.cid_base().is_some() || path.starts_with("/ipns/") {
            return Self::of_call(call);
        }
        let mut parts = path.splitn(4, '/');
        let text = match parts.next() {
            Some("") => parts.nth(1),
            first => first,
        };
        let text = text.unwrap_or_default();
        match parse_cid(text) {
            Ok(cid) if cid.version() == Version::V1 => {
                let base = text.chars().next().and_then(|code| Base::from_code(code).ok());
                Ok(Self { base, upgrade: true })
            }
            _ => Self::of_call(call),
        }
    }

    /// A CID as text.
    pub(super) fn text(self, cid: &Cid) -> String {
        let cid = match cid.version() {
            Version::V0 if self.upgrade => Cid::new_v1(cid.codec(), *cid.hash()),
            _ => *cid,
        };
        match (self.base, cid.version()) {
            (Some(base), Version::V1) => {
                String::from_utf8_lossy(&base::encode(base, &cid.to_bytes())).into_owned()
            }
            _ => cid.to_string(),
        }
    }

    /// A CID that an answer holds, written anew.
    pub(super) fn again(self, text: &str) -> String {
        parse_cid(text).map_or_else(|_| text.to_owned(), |cid| self.text(&cid))
    }

    /// A CID as DAG-JSON writes links.
    pub(super) fn link(self, cid: &Cid) -> Value {
        json!({ "/": self.text(cid) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::registry::{Command, Door, Opt, RawOption, Registry};

    const V0: &str = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";
    const V1: &str = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354";

    fn call(options: &[(&str, &str)]) -> Call {
        let root = Command::new("", "")
            .opt(Opt::string("cid-base", ""))
            .opt(Opt::bool("upgrade-cidv0-in-output", ""));
        let options: Vec<_> = options.iter().map(|(name, value)| RawOption::new(*name, *value)).collect();
        let registry = Registry::new(root);
        Registry::call(&registry.root(), &options, Door::Http).unwrap()
    }

    #[test]
    fn the_options_decide_base_and_version() {
        let text = |options: &[(&str, &str)], cid: &str| CidText::of_call(&call(options)).unwrap().again(cid);
        assert_eq!(text(&[], V0), V0);
        assert_eq!(text(&[], V1), V1);
        assert_eq!(text(&[("cid-base", "base32")], V0), V1);
        assert_eq!(text(&[("cid-base", "base58btc")], V0), V0);
        assert_eq!(text(&[("upgrade-cidv0-in-output", "true")], V0), V1);
        assert!(text(&[("cid-base", "base58btc")], V1).starts_with('z'));
        let unknown = CidText::of_call(&call(&[("cid-base", "nope")])).unwrap_err();
        assert_eq!(unknown.message, "unsupported multibase encoding: nope");
    }

    #[test]
    fn a_path_lends_its_base() {
        let text = |path: &str, cid: &str| CidText::of_path(&call(&[]), path).unwrap().again(cid);
        assert_eq!(text(&format!("/ipfs/{V1}/a"), V0), V1);
        assert_eq!(text(&format!("{V1}/a"), V0), V1);
        assert_eq!(text(&format!("/ipfs/{V0}/a"), V0), V0);
        assert_eq!(text("/ipns/name/a", V0), V0);
        assert_eq!(text("/ipns/k51qzi5uqu5dk3v4rmjber23h16xnr23bsggmqqil9z2gduiis5se8dht36dam/a", V0), V0);
    }
}
