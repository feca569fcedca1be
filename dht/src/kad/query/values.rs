//! The records that a search for a value has found.

use std::cmp::Ordering;
use std::collections::HashMap;

use libp2p::PeerId;

use super::{Context, Goal, Key, Kind, Message, QueryError, QueryEvent};
use crate::kad::{ValueRecord, compare_values, validate_value};
use crate::records::StoreRequest;

/// The best record so far, and who has which.
#[derive(Debug, Default)]
pub(super) struct Values {
    best: Option<Vec<u8>>,
    /// Who answered, and whether with the best one. At most as many as were asked.
    answers: HashMap<PeerId, bool>,
    count: usize,
}

impl Values {
    /// The best one.
    pub(super) fn best(&self) -> Option<&[u8]> {
        self.best.as_deref()
    }

    /// How many gave a valid one.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Whether a peer has the best one.
    pub(super) fn is_held_by(&self, peer: &PeerId) -> bool {
        self.answers.get(peer).copied().unwrap_or(false)
    }

    /// Whether a peer answered with another one.
    pub(super) fn is_older_at(&self, peer: &PeerId) -> bool {
        self.answers.get(peer).is_some_and(|is_best| !is_best)
    }

    /// A peer answered, perhaps with a record.
    pub(super) fn answer(&mut self, key: &Key, peer: PeerId, value: Option<Vec<u8>>, cx: &mut Context<'_>) {
        let Some(value) = value.filter(|value| validate_value(key.as_bytes(), value, cx.wall).is_ok()) else {
            self.answers.insert(peer, false);
            return;
        };
        self.count += 1;
        let order = self.best.as_ref().map(|best| compare_values(key.as_bytes(), &value, best));
        match order {
            None | Some(Ordering::Greater) => {
                self.answers.values_mut().for_each(|is_best| *is_best = false);
                self.answers.insert(peer, true);
                cx.event(QueryEvent::Value { peer, value: value.clone() });
                self.best = Some(value);
            }
            Some(order) => {
                self.answers.insert(peer, order == Ordering::Equal);
            }
        }
    }
}

/// The question to the store to keep a value, if it is valid and none better is there.
pub(in crate::kad) fn put_request(key: Key, value: Vec<u8>) -> StoreRequest {
    let (rule_key, rule_value) = (key.clone(), value.clone());
    let rule = Box::new(move |kept: Option<&[u8]>, now| {
        let key = rule_key.as_bytes();
        validate_value(key, &rule_value, now)?;
        match kept {
            Some(kept)
                if validate_value(key, kept, now).is_ok()
                    && compare_values(key, kept, &rule_value) == Ordering::Greater =>
            {
                Err(QueryError::Older)
            }
            _ => Ok(()),
        }
    });
    StoreRequest::PutValue { key, value, rule }
}

/// The message that asks to keep a value.
pub(super) fn put_message(key: &Key, value: &[u8]) -> Message {
    let record =
        ValueRecord { key: key.as_bytes().to_vec(), value: value.to_vec(), time_received: String::new() };
    Message { record: Some(record), ..Message::request(Kind::PutValue, key.as_bytes()) }
}

/// Whether an answer says that a peer took what it was told. Announcements have no answer.
pub(super) fn is_taken(goal: &Goal, answer: Option<&Message>) -> bool {
    match goal {
        Goal::PutValue { value, .. } => {
            let echo = answer.and_then(|answer| answer.record.as_ref());
            echo.is_some_and(|record| record.value == *value)
        }
        _ => true,
    }
}
