//! HTTP requests as bytes, and multipart bodies.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::reply::Reply;
use crate::wire::Wire;

/// A request, written out field by field.
#[derive(Debug, Clone)]
pub struct Ask {
    method: String,
    target: String,
    fields: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Ask {
    /// A request of any kind.
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), fields: Vec::new(), body: None }
    }

    /// A command, such as `pin/ls?type=all`.
    pub fn command(command: &str) -> Self {
        Self::new("POST", &format!("/api/v0/{command}"))
    }

    /// A command with arguments, which are escaped here.
    pub fn with_args(command: &str, args: &[&str]) -> Self {
        let mut command = command.to_owned();
        for arg in args {
            command.push(if command.contains('?') { '&' } else { '?' });
            command.push_str("arg=");
            command.push_str(&escape(arg));
        }
        Self::command(&command)
    }

    /// The request's path and query.
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Adds a header field. `Host` is added by itself where it is not given.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends these bytes, with their length.
    #[must_use]
    pub fn body(mut self, bytes: &[u8]) -> Self {
        self.body = Some(bytes.to_vec());
        self
    }

    /// Sends these parts.
    #[must_use]
    pub fn parts(self, parts: &Multipart) -> Self {
        let body = parts.whole();
        self.field("Content-Type", &parts.content_type()).body(&body)
    }

    /// The head alone, empty line included, with whatever fields were given.
    pub fn head(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.fields.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            write!(head, "Host: {host}\r\n").expect("writing to a String does not fail");
        }
        for (name, value) in &self.fields {
            write!(head, "{name}: {value}\r\n").expect("writing to a String does not fail");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// All of its bytes.
    pub fn bytes(&self, host: &str) -> Vec<u8> {
        let Some(body) = &self.body else { return self.head(host) };
        let mut bytes = self.clone().field("Content-Length", &body.len().to_string()).head(host);
        bytes.extend_from_slice(body);
        bytes
    }

    /// Sends it over a connection of its own and reads the answer.
    ///
    /// # Panics
    /// When no answer comes.
    #[track_caller]
    pub fn send(&self, to: SocketAddr) -> Reply {
        let mut wire = Wire::tcp(to);
        self.send_over(&mut wire, &to.to_string())
    }

    /// Sends it over an open connection and reads the answer.
    ///
    /// # Panics
    /// When no answer comes.
    #[track_caller]
    pub fn send_over(&self, wire: &mut Wire, host: &str) -> Reply {
        // A server may refuse before it has read everything: its answer counts.
        drop(wire.try_send(&self.bytes(host)));
        let reply = if self.method == "HEAD" { wire.reply_without_body() } else { wire.reply() };
        reply.unwrap_or_else(|| {
            panic!("{} {}: the connection ended without an answer", self.method, self.target)
        })
    }
}

/// Escapes everything but letters, digits and `-._~/`.
pub fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02X}").expect("writing to a String does not fail");
        }
    }
    escaped
}

const BOUNDARY: &str = "holdfast-tests-7d3f0c";

/// A multipart body, part by part.
#[derive(Debug, Clone, Default)]
pub struct Multipart {
    bytes: Vec<u8>,
}

impl Multipart {
    /// One without parts.
    pub fn new() -> Self {
        Self::default()
    }

    /// A regular file. The name is written as given.
    #[must_use]
    pub fn file(self, name: &str, bytes: &[u8]) -> Self {
        self.part("file", name, "application/octet-stream", bytes)
    }

    /// A directory.
    #[must_use]
    pub fn directory(self, name: &str) -> Self {
        self.part("file", name, "application/x-directory", b"")
    }

    /// A symbolic link.
    #[must_use]
    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.part("file", name, "application/symlink", target.as_bytes())
    }

    /// Any part.
    #[must_use]
    pub fn part(mut self, field: &str, name: &str, content_type: &str, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(&Self::part_head(field, name, content_type));
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(b"\r\n");
        self
    }

    /// What comes before a part's bytes.
    pub fn part_head(field: &str, name: &str, content_type: &str) -> Vec<u8> {
        format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\
             Content-Type: {content_type}\r\n\r\n"
        )
        .into_bytes()
    }

    /// What comes after the last part.
    pub fn end() -> Vec<u8> {
        format!("--{BOUNDARY}--\r\n").into_bytes()
    }

    /// The value of the header field.
    #[allow(clippy::unused_self)] // a boundary belongs to a body
    pub fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={BOUNDARY}")
    }

    /// The parts so far, without the end.
    pub fn unfinished(&self) -> &[u8] {
        &self.bytes
    }

    /// The whole body.
    pub fn whole(&self) -> Vec<u8> {
        let mut whole = self.bytes.clone();
        whole.extend_from_slice(&Self::end());
        whole
    }
}
