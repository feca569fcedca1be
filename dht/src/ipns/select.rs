//! Which of several records of a name is the one to go by.

use std::cmp::Ordering;

use super::{Record, RecordError};

/// Compares two records of a name; the greater one is the better.
///
/// A signature of the second version beats none, then the higher number wins, then the later end of life, and in the end
/// the bytes, so that everybody chooses the same one. Neither is validated here.
pub fn compare(a: &Record, b: &Record) -> Result<Ordering, RecordError> {
    let signed = |record: &Record| !record.wire.signature_v2.is_empty();
    let order = signed(a)
        .cmp(&signed(b))
        .then(a.sequence()?.cmp(&b.sequence()?))
        .then(a.end_of_life()?.cmp(&b.end_of_life()?));
    Ok(order.then_with(|| a.as_bytes().cmp(b.as_bytes())))
}

/// The best of some records; `None` if there are none. Records that cannot be compared are passed over.
pub fn best(records: impl IntoIterator<Item = Record>) -> Option<Record> {
    let comparable = records.into_iter().filter(|record| compare(record, record).is_ok());
    comparable.reduce(|best, next| match compare(&best, &next) {
        Ok(Ordering::Less) => next,
        _ => best,
    })
}
