//! Names that point where the operator says: for tests, and for machines without a DNS.

use std::collections::HashMap;

use holdfast_dag::path::{ContentPath, PathError};

/// The environment variable that fixes names.
const VARIABLE: &str = "IPFS_NS_MAP";

/// Names and what they point at, whatever records and the DNS say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FixedNames {
    names: HashMap<String, ContentPath>,
}

/// Why a text fixes no names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FixedNamesError {
    /// An entry is not a name, a colon and a path.
    #[error("{VARIABLE}: {0:?} is not of the form example.com:/ipfs/<cid>")]
    Form(String),
    /// What stands behind the colon is no path.
    #[error("{VARIABLE}: {0}")]
    Path(#[from] PathError),
}

impl FixedNames {
    /// Those that this process was started with, in `IPFS_NS_MAP`; none if it is not set.
    pub fn of_process() -> Result<Self, FixedNamesError> {
        let text = std::env::var_os(VARIABLE).unwrap_or_default();
        Self::parse(&text.to_string_lossy())
    }

    /// Reads `example.com:/ipfs/<cid>,example.net:/ipns/<name>`.
    pub fn parse(text: &str) -> Result<Self, FixedNamesError> {
        let entry = |entry: &str| {
            let (name, path) =
                entry.split_once(':').ok_or_else(|| FixedNamesError::Form(entry.to_owned()))?;
            Ok((name.to_owned(), ContentPath::parse(path)?))
        };
        let entries = text.split(',').filter(|text| !text.is_empty()).map(entry);
        Ok(Self { names: entries.collect::<Result<_, FixedNamesError>>()? })
    }

    /// What a name points at, if it is fixed.
    pub fn get(&self, name: &str) -> Option<&ContentPath> {
        self.names.get(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_separated_by_commas_and_paths_begin_behind_the_first_colon() {
        let names = FixedNames::parse("a.example:/ipfs/bafkqaaa/x:y,b.example:/ipns/a.example").unwrap();
        assert_eq!(names.get("a.example").unwrap().to_string(), "/ipfs/bafkqaaa/x:y");
        assert_eq!(names.get("b.example").unwrap().to_string(), "/ipns/a.example");
        assert_eq!(names.get("c.example"), None);
        assert_eq!(FixedNames::parse(""), Ok(FixedNames::default()));
        let error = FixedNames::parse("a.example").unwrap_err().to_string();
        assert_eq!(error, "IPFS_NS_MAP: \"a.example\" is not of the form example.com:/ipfs/<cid>");
        assert!(matches!(FixedNames::parse("a.example:ipfs/x"), Err(FixedNamesError::Path(_))));
    }
}
