//! What of a DAG a CAR is to hold: `dag-scope`, `entity-bytes`, and the form of the archive.

use data_encoding::BASE32_DNSSEC;
use holdfast_dag::hash::HashKind;

use super::failure::Failure;
use super::format::{Format, Wanted};
use super::url::Query;

/// How much of a DAG.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Scope {
    /// The block at the end of the path.
    Block,
    /// The file or directory at the end of the path.
    Entity,
    /// Everything below.
    #[default]
    All,
}

/// `from:to`, both included; negative counts from the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EntityBytes {
    from: i64,
    to: Option<i64>,
}

/// What a CAR is to hold, and in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct CarOptions {
    pub(super) scope: Scope,
    pub(super) bytes: Option<EntityBytes>,
    /// Whether a block comes as often as it occurs.
    pub(super) duplicates: bool,
    /// Whether the client said that it takes any order: what comes is depth first all the same.
    any_order: bool,
}

impl CarOptions {
    pub(super) fn read(query: &Query, wanted: &Wanted) -> Result<Self, Failure> {
        let param = |name: &str| {
            query.filled(&format!("car-{name}")).or_else(|| wanted.param(name)).unwrap_or_default()
        };
        let wrong = |what: &str| {
            Err(Failure::bad_request(format!("unsupported {} {what}", Format::Car.media_type())))
        };
        if !matches!(param("version"), "" | "1") {
            return wrong("version: only version=1 is supported");
        }
        let any_order = match param("order") {
            "" | "dfs" => false,
            "unk" => true,
            _ => return wrong("block order parameter: only order=dfs and order=unk are supported"),
        };
        let duplicates = match param("dups") {
            "" | "n" => false,
            "y" => true,
            _ => return wrong("content type dups parameter: only dups=y and dups=n are supported"),
        };
        let bytes = query.get("entity-bytes").map(EntityBytes::parse).transpose()?;
        let scope = match query.get("dag-scope") {
            Some("block") => Scope::Block,
            Some("entity") => Scope::Entity,
            None if bytes.is_some() => Scope::Entity,
            None | Some("all") => Scope::All,
            Some(_) => return wrong("dag-scope parameter: only block, entity and all are supported"),
        };
        Ok(Self { scope, bytes: bytes.filter(|_| scope == Scope::Entity), duplicates, any_order })
    }

    /// The type of the archive, with what was decided.
    pub(super) fn media_type(&self) -> String {
        let order = if self.any_order { "unk" } else { "dfs" };
        let dups = if self.duplicates { "y" } else { "n" };
        format!("{}; version=1; order={order}; dups={dups}", Format::Car.media_type())
    }

    /// A text that differs where what comes differs.
    pub(super) fn digest(&self, path: &str) -> String {
        let digest = HashKind::Sha2_256.digest(&[format!("{path}\0{self:?}").as_bytes()]);
        BASE32_DNSSEC.encode(digest.digest().get(..8).unwrap_or_default())
    }
}

impl EntityBytes {
    fn parse(text: &str) -> Result<Self, Failure> {
        let wrong =
            || Failure::bad_request(format!("invalid entity-bytes {text:?}: it must be FROM:TO or FROM:*"));
        let (from, to) = text.split_once(':').ok_or_else(wrong)?;
        let from: i64 = from.parse().map_err(|_| wrong())?;
        let to: Option<i64> = if to == "*" { None } else { Some(to.parse().map_err(|_| wrong())?) };
        match to {
            Some(to) if (from < 0) == (to < 0) && from > to => Err(wrong()),
            to => Ok(Self { from, to }),
        }
    }

    /// Offset and length in a file of `size` bytes; a length of 0 where nothing of it is meant.
    pub(super) fn of(self, size: u64) -> (u64, u64) {
        let place = |at: i64| {
            if at < 0 { size.checked_sub(at.unsigned_abs()) } else { Some(at.unsigned_abs()) }
        };
        let from = place(self.from).unwrap_or(0);
        let to = match self.to {
            None => Some(u64::MAX),
            Some(to) => place(to),
        };
        let length = to.and_then(|to| to.checked_sub(from)).map_or(0, |length| length.saturating_add(1));
        if from >= size { (from, 0) } else { (from, length.min(size - from)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<CarOptions, Failure> {
        CarOptions::read(&Query::new(query), &Wanted::default())
    }

    #[test]
    fn ranges_of_an_entity_are_cut_to_it() {
        for (text, expected) in [
            ("0:*", (0, 3072)),
            ("512:*", (512, 2560)),
            ("512:1023", (512, 512)),
            ("512:-256", (512, 2305)),
            ("-5:*", (3067, 5)),
            ("-9999:*", (0, 3072)),
            ("-9999:-3", (0, 3070)),
            ("0:0", (0, 1)),
            ("5000:*", (5000, 0)),
            ("100:-3072", (100, 0)),
            ("0:-9999", (0, 0)),
        ] {
            assert_eq!(EntityBytes::parse(text).unwrap().of(3072), expected, "{text}");
        }
        for wrong in ["", "1", "a:b", "*:1", "5:4", "-1:-2", "1:2:3", "99999999999999999999:*"] {
            assert!(EntityBytes::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_supported_is_refused_and_the_rest_is_told() {
        let default = read("").unwrap();
        assert_eq!(default.media_type(), "application/vnd.ipld.car; version=1; order=dfs; dups=n");
        let other = read("car-order=unk&car-dups=y&dag-scope=block").unwrap();
        assert_eq!(other.media_type(), "application/vnd.ipld.car; version=1; order=unk; dups=y");
        assert_eq!((other.scope, default.scope), (Scope::Block, Scope::All));
        assert_eq!(read("entity-bytes=0:1").unwrap().scope, Scope::Entity);
        for wrong in ["car-version=2", "car-order=bfs", "car-dups=x", "dag-scope=none", "entity-bytes=x"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_ne!(default.digest("/ipfs/a"), other.digest("/ipfs/a"));
        assert_ne!(default.digest("/ipfs/a"), default.digest("/ipfs/b"));
    }
}
