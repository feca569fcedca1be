//! An HTTP answer as it was sent: its head, its body, its trailers, and how it ended.

/// The first part of an answer, as it was sent.
#[derive(Debug, Clone)]
pub struct Head {
    /// Such as `HTTP/1.1`.
    pub version: String,
    /// The status code.
    pub status: u16,
    /// The fields in their order, names as they were written.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// The first field of this name, however it is written.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Whether a field has this value, among others perhaps (a list with commas).
    pub fn lists(&self, name: &str, value: &str) -> bool {
        let of_name = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        of_name.flat_map(|(_, values)| values.split(',')).any(|one| one.trim().eq_ignore_ascii_case(value))
    }

    /// Reads `bytes`, a head without its last empty line.
    ///
    /// # Panics
    /// When they are not a head.
    #[track_caller]
    pub fn parse(bytes: &[u8]) -> Self {
        let text =
            std::str::from_utf8(bytes).unwrap_or_else(|_| panic!("a head that is not text: {bytes:?}"));
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "a bare CR or LF in a head: {text:?}");
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let mut words = first.splitn(3, ' ');
        let version = words.next().unwrap_or_default().to_owned();
        assert!(version == "HTTP/1.1" || version == "HTTP/1.0", "not a status line: {first:?}");
        let status = words.next().and_then(|word| word.parse().ok()).filter(|_| words.next().is_some());
        let status = status.unwrap_or_else(|| panic!("not a status line: {first:?}"));
        Self { version, status, fields: lines.map(field).collect() }
    }
}

/// Reads one header or trailer field.
///
/// # Panics
/// When it is not one.
#[track_caller]
pub(crate) fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("not a header field: {line:?}"));
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    assert!(!name.is_empty() && name.bytes().all(token), "not a header name: {line:?}");
    (name.to_owned(), value.trim_matches([' ', '\t']).to_owned())
}

/// How the body of an answer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With its last chunk, or with the last byte of its announced length.
    Whole,
    /// With the connection, as announced by a head without length and chunks.
    Closed,
    /// With the connection, before its announced end.
    Cut,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its head.
    pub head: Head,
    /// What was sent before the end.
    pub body: Vec<u8>,
    /// The fields after the last chunk.
    pub trailers: Vec<(String, String)>,
    /// How it ended.
    pub end: End,
}

impl Reply {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The body as text; bytes that are not UTF-8 read `\xNN`.
    pub fn text(&self) -> String {
        crate::run::readable(&self.body)
    }

    /// The body as JSON values, one after the other.
    ///
    /// # Panics
    /// When it is something else.
    #[track_caller]
    pub fn values(&self) -> Vec<serde_json::Value> {
        let values = serde_json::Deserializer::from_slice(&self.body).into_iter().collect::<Result<_, _>>();
        values.unwrap_or_else(|error| panic!("not JSON: {error}: {}", self.text()))
    }

    /// The body as one JSON value.
    ///
    /// # Panics
    /// When it is something else.
    #[track_caller]
    pub fn value(&self) -> serde_json::Value {
        let mut values = self.values();
        assert_eq!(values.len(), 1, "not one JSON value: {}", self.text());
        values.remove(0)
    }

    /// The trailer of this name.
    pub fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Itself, when it is a whole 200 without an error in its trailers.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    pub fn ok(self) -> Self {
        let fine = self.status() == 200 && self.end != End::Cut && self.trailer("X-Stream-Error").is_none();
        assert!(fine, "{} {:?} {:?}: {}", self.status(), self.end, self.trailers, self.text());
        self
    }
}
