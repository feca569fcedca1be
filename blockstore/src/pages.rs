//! Rows of a family one after the other, read a page at a time.

use crate::error::IndexError;
use crate::index::{Rows, after};
use crate::store::Store;

/// The rows whose keys begin with a prefix, in their order. Between two pages nothing is held, so that neither a slow
/// reader nor a long listing is in anybody's way; what changes meanwhile may or may not be seen.
pub(crate) struct Pages {
    store: Store,
    family: &'static str,
    prefix: Vec<u8>,
    rows_max: usize,
    from: Vec<u8>,
    page: <Rows as IntoIterator>::IntoIter,
    end: bool,
}

impl Pages {
    /// Pages of `rows_max` rows.
    pub(crate) fn new(store: &Store, family: &'static str, prefix: Vec<u8>, rows_max: usize) -> Self {
        let (store, from, page) = (store.clone(), prefix.clone(), Vec::new().into_iter());
        Self { store, family, prefix, rows_max, from, page, end: false }
    }
}

impl Iterator for Pages {
    type Item = Result<(Box<[u8]>, Box<[u8]>), IndexError>;

    /// The next row. An error is the last that is given.
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.page.next() {
                self.from = after(&key);
                return Some(Ok((key, value)));
            }
            if self.end {
                return None;
            }
            let index = self.store.inner().index.get();
            match index.and_then(|index| index.page(self.family, &self.prefix, &self.from, self.rows_max)) {
                Ok(rows) => {
                    self.end = rows.len() < self.rows_max;
                    self.page = rows.into_iter();
                }
                Err(error) => {
                    self.end = true;
                    return Some(Err(error));
                }
            }
        }
    }
}
