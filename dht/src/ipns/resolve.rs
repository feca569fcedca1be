//! From a path that begins with a name to one that begins with a CID.

use std::time::Duration;

use holdfast_dag::path::{ContentPath, PathError, PathRoot};

/// Most names that lead to one another (Kubo's default, for IPNS and DNSLink together).
pub const HOPS_MAX: u32 = 32;

/// What one name points at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// The path.
    pub path: ContentPath,
    /// How long that may be relied on; `None` if nobody knows.
    pub ttl: Option<Duration>,
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// The path, with what followed the name.
    pub path: ContentPath,
    /// How long that may be relied on: the shortest of all hops that know it.
    pub ttl: Option<Duration>,
}

/// Why a path leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResolveError<E> {
    /// Too many names lead to one another, or they lead around in a circle.
    #[error("could not resolve name (recursion limit exceeded)")]
    Recursion,
    /// A name's path and what followed the name make no path together.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A name was not looked up.
    #[error(transparent)]
    Lookup(E),
}

/// Follows names, up to `hops_max` of them, until a path begins with a CID. With `one_hop`, what the first name points at is
/// the answer, whether it begins with another name or not.
pub fn resolve<E>(
    path: &ContentPath,
    hops_max: u32,
    one_hop: bool,
    mut look_up: impl FnMut(&str) -> Result<Hop, E>,
) -> Result<Resolution, ResolveError<E>> {
    let mut resolution = Resolution { path: path.clone(), ttl: None };
    for _ in 0..hops_max {
        let PathRoot::Ipns(name) = resolution.path.root() else { return Ok(resolution) };
        let hop = look_up(name).map_err(ResolveError::Lookup)?;
        let joined = join(&hop.path, &resolution.path)?;
        let ttl = [resolution.ttl, hop.ttl].into_iter().flatten().min();
        resolution = Resolution { path: joined, ttl };
        if one_hop {
            return Ok(resolution);
        }
    }
    match resolution.path.root() {
        PathRoot::Ipns(_) => Err(ResolveError::Recursion),
        PathRoot::Ipfs(_) | PathRoot::Ipld(_) => Ok(resolution),
    }
}

/// What a name points at, and behind it what followed the name.
fn join(target: &ContentPath, rest: &ContentPath) -> Result<ContentPath, PathError> {
    if rest.segments().is_empty() && !rest.has_trailing_slash() {
        return Ok(target.clone());
    }
    let end = if rest.has_trailing_slash() { "/" } else { "" };
    ContentPath::parse(&format!("{target}/{}{end}", rest.segments().join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ContentPath {
        ContentPath::parse(text).unwrap()
    }

    /// Names `0`, `1`, ... each lead to the next; the last one to a CID.
    fn chain(length: u32) -> impl FnMut(&str) -> Result<Hop, String> {
        move |name| {
            let number: u32 = name.parse().map_err(|_| format!("no {name}"))?;
            let target = if number + 1 == length {
                "/ipfs/bafkqaaa/end".to_owned()
            } else {
                format!("/ipns/{}/n{number}", number + 1)
            };
            Ok(Hop {
                path: path(&target),
                ttl: (number > 0).then(|| Duration::from_secs(u64::from(100 - number))),
            })
        }
    }

    #[test]
    fn what_followed_names_comes_after_what_they_point_at() {
        let resolution = resolve(&path("/ipns/0/a/b/"), HOPS_MAX, false, chain(3)).unwrap();
        assert_eq!(resolution.path.to_string(), "/ipfs/bafkqaaa/end/n1/n0/a/b/");
        assert_eq!(resolution.ttl, Some(Duration::from_secs(98)), "the shortest that is known");
    }

    #[test]
    fn thirty_two_names_are_followed_and_not_one_more() {
        assert!(resolve(&path("/ipns/0"), HOPS_MAX, false, chain(32)).is_ok());
        assert_eq!(resolve(&path("/ipns/0"), HOPS_MAX, false, chain(33)), Err(ResolveError::Recursion));
        let circle = |_: &str| Ok::<_, String>(Hop { path: path("/ipns/x"), ttl: None });
        assert_eq!(resolve(&path("/ipns/x"), HOPS_MAX, false, circle), Err(ResolveError::Recursion));
    }

    #[test]
    fn one_hop_ends_at_a_name() {
        let resolution = resolve(&path("/ipns/0/a"), HOPS_MAX, true, chain(3)).unwrap();
        assert_eq!(resolution.path.to_string(), "/ipns/1/n0/a");
    }

    #[test]
    fn a_path_without_a_name_is_its_own_answer() {
        let immutable = path("/ipfs/bafkqaaa/a");
        let none = |_: &str| Err::<Hop, _>("asked");
        assert_eq!(resolve(&immutable, HOPS_MAX, false, none).unwrap().path, immutable);
        assert_eq!(resolve(&path("/ipns/x"), HOPS_MAX, false, none), Err(ResolveError::Lookup("asked")));
    }
}
