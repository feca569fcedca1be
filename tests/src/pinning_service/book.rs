//! What a pinning service has been asked to keep.

use serde_json::{Value, json};

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The root.
    pub cid: String,
    /// The pin's name, or nothing.
    pub name: String,
    /// Where it can be had.
    pub origins: Vec<String>,
}

impl Asked {
    /// From the body of a request.
    pub fn of(body: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let cid = value["cid"].as_str().ok_or("there is no cid")?.to_owned();
        let name = value["name"].as_str().unwrap_or_default().to_owned();
        if name.len() > 255 {
            return Err("the name is too long".to_owned());
        }
        let origins = value["origins"].as_array().into_iter().flatten();
        let origins: Vec<String> = origins.filter_map(|origin| origin.as_str().map(str::to_owned)).collect();
        if origins.len() > 20 {
            return Err("there are too many origins".to_owned());
        }
        Ok(Self { cid, name, origins })
    }
}

/// A pin in the book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The request's ID.
    pub id: String,
    /// What was asked for.
    pub asked: Asked,
    /// queued, pinning, pinned or failed.
    pub status: &'static str,
    /// When, in an order that no two share.
    pub created: String,
}

/// All of them.
#[derive(Debug)]
pub struct Book {
    records: Vec<Record>,
    made: usize,
    /// Pins on a page at most.
    pub page_max: usize,
    /// Who fetches.
    pub delegates: Vec<String>,
}

impl Default for Book {
    fn default() -> Self {
        Self { records: Vec::new(), made: 0, page_max: 1000, delegates: Vec::new() }
    }
}

impl Book {
    /// Writes a pin into it, and returns the request's ID.
    pub fn add(&mut self, asked: Asked, status: &'static str) -> String {
        self.made += 1;
        let (id, created) =
            (format!("request/{}", self.made), format!("2026-01-02T03:04:05.{:09}Z", self.made));
        self.records.push(Record { id: id.clone(), asked, status, created });
        id.replace('/', "%2F")
    }

    fn find(&self, id: &str) -> Option<usize> {
        let id = id.replace("%2F", "/");
        self.records.iter().position(|record| record.id == id)
    }

    /// Removes a pin; whether it was there.
    pub fn remove(&mut self, id: &str) -> bool {
        let found = self.find(id);
        found.map(|at| self.records.remove(at)).is_some()
    }

    /// Changes how far a pin is, if it is still there.
    pub fn set_status(&mut self, id: &str, status: &'static str) {
        if let Some(at) = self.find(id) {
            self.records[at].status = status;
        }
    }

    /// The newest first.
    pub fn newest_first(&self) -> Vec<Record> {
        self.records.iter().rev().cloned().collect()
    }

    /// How far a pin is, as the API tells.
    pub fn status(&self, id: &str) -> Option<Value> {
        self.find(id).map(|at| self.value(&self.records[at]))
    }

    fn value(&self, record: &Record) -> Value {
        let asked = &record.asked;
        let name = if asked.name.is_empty() { Value::Null } else { asked.name.clone().into() };
        json!({
            "requestid": record.id, "status": record.status, "created": record.created,
            "pin": {"cid": asked.cid, "name": name, "origins": asked.origins, "meta": {}},
            "delegates": self.delegates, "info": {},
        })
    }

    /// A page of what matches.
    pub fn page(&self, parameters: &[(String, String)]) -> Value {
        let given =
            |name: &str| parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let (cid, name, status) = (given("cid"), given("name"), given("status"));
        let is_plain = cid.is_none() && name.is_none() && status.is_none();
        let status = if is_plain { Some("pinned") } else { status };
        let is_listed =
            |list: Option<&str>, text: &str| list.is_none_or(|list| list.split(',').any(|one| one == text));
        let matching: Vec<Record> = self
            .newest_first()
            .into_iter()
            .filter(|record| {
                is_listed(cid, &record.asked.cid)
                    && is_listed(status, record.status)
                    && name.is_none_or(|name| record.asked.name == name)
                    && given("before").is_none_or(|before| record.created.as_str() < before)
            })
            .collect();
        let limit: usize = given("limit").map_or(10, |limit| limit.parse().unwrap());
        let results: Vec<Value> =
            matching.iter().take(limit.min(self.page_max)).map(|record| self.value(record)).collect();
        json!({"count": matching.len(), "results": results})
    }
}
