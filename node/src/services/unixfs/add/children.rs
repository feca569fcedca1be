//! The open directories in a directory: most have none or one, some have hundreds of thousands.

use std::collections::BTreeMap;

/// The name of a directory in another one.
pub(super) type Name = Box<[u8]>;

/// Values by name. None take nothing but this, one takes an allocation, more take a tree.
#[derive(Debug)]
pub(super) enum Children<T> {
    None,
    One(Box<(Name, T)>),
    #[expect(clippy::box_collection, reason = "most have none, and are to be small")]
    Many(Box<BTreeMap<Name, T>>),
}

impl<T> Children<T> {
    /// The one of that name.
    pub(super) fn get_mut(&mut self, name: &[u8]) -> Option<&mut T> {
        match self {
            Self::None => None,
            Self::One(only) => (*only.0 == *name).then_some(&mut only.1),
            Self::Many(map) => map.get_mut(name),
        }
    }

    /// Takes the one of that name; gives it as it is there now.
    pub(super) fn insert(&mut self, name: &[u8], value: T) -> &mut T {
        *self = match std::mem::replace(self, Self::None) {
            Self::None => Self::One(Box::new((name.into(), value))),
            Self::One(mut only) if *only.0 == *name => {
                only.1 = value;
                Self::One(only)
            }
            Self::One(only) => Self::Many(Box::new(BTreeMap::from([*only, (name.into(), value)]))),
            Self::Many(mut map) => {
                map.insert(name.into(), value);
                Self::Many(map)
            }
        };
        self.get_mut(name).expect("invariant: it was put in above")
    }

    /// Removes the first by name, `kept` left out.
    pub(super) fn pop_except(&mut self, kept: Option<&[u8]>) -> Option<(Name, T)> {
        let goes = |name: &[u8]| kept.is_none_or(|kept| *kept != *name);
        match std::mem::replace(self, Self::None) {
            Self::None => None,
            Self::One(only) if goes(&only.0) => Some(*only),
            one @ Self::One(_) => {
                *self = one;
                None
            }
            Self::Many(mut map) => {
                let name = map.keys().find(|name| goes(name)).cloned();
                let popped = name.and_then(|name| map.remove_entry(&name));
                *self = Self::Many(map);
                popped
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_out_by_name_however_many_there_are() {
        for count in [0, 1, 2, 3, 100] {
            let mut children = Children::None;
            for number in (0..count).rev() {
                let name = format!("{number:03}");
                assert!(children.get_mut(name.as_bytes()).is_none());
                *children.insert(name.as_bytes(), 0) += number;
                assert_eq!(children.get_mut(name.as_bytes()), Some(&mut number.clone()));
            }
            let kept = format!("{:03}", count / 2);
            let mut out: Vec<i32> = Vec::new();
            while let Some((_, number)) = children.pop_except(Some(kept.as_bytes())) {
                out.push(number);
            }
            out.extend(children.pop_except(None).map(|(_, number)| number));
            assert!(children.pop_except(None).is_none());
            let mut wanted: Vec<i32> = (0..count).filter(|number| *number != count / 2).collect();
            wanted.extend((count > 0).then_some(count / 2));
            assert_eq!(out, wanted);
        }
    }

    #[test]
    fn the_same_name_replaces() {
        let mut children = Children::None;
        for value in 0..3 {
            assert_eq!(children.insert(b"a", value), &value);
        }
        children.insert(b"b", 7);
        children.insert(b"a", 9);
        assert_eq!(children.pop_except(None).unwrap(), (b"a"[..].into(), 9));
        assert_eq!(children.pop_except(None).unwrap(), (b"b"[..].into(), 7));
    }
}
