//! Pages in HTML: own, without anything from elsewhere, with every text escaped.

use std::fmt::Write as _;

use http::StatusCode;
use http::header::{CONTENT_SECURITY_POLICY, HeaderMap, HeaderValue};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
    table{border-collapse:collapse;width:100%}td,th{padding:.25rem .6rem;text-align:left;border-bottom:1px solid #ddd}\
    td.size{text-align:right;white-space:nowrap}a{color:#0b5f8a;overflow-wrap:anywhere}\
    pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f5f5f5;padding:1rem}\
    .ipfs-hash{font-family:monospace;font-size:85%}";

/// A text between tags or in an attribute in double quotes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            // Marks that turn the direction of what follows could make one name look like another.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            char if char.is_control() => out.push('\u{fffd}'),
            char => out.push(char),
        }
    }
    out
}

/// A text of several lines between tags.
pub(super) fn escape_text(text: &str) -> String {
    text.lines().map(escape).collect::<Vec<_>>().join("\n")
}

/// The beginning of a page.
pub(super) fn begin(title: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n",
        escape(title)
    )
}

/// Its end.
pub(super) const END: &str = "</body>\n</html>\n";

/// The page that tells of an error.
pub(super) fn error(status: StatusCode, words: &str) -> String {
    let title = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or("Error"));
    let mut page = begin(&title);
    // Writing to a string does not fail.
    let _ = write!(page, "<h1>{}</h1>\n<pre>{}</pre>\n{END}", escape(&title), escape_text(words));
    page
}

/// Says that a page needs nothing but its own style.
pub(super) fn protect(headers: &mut HeaderMap) {
    let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_told_becomes_markup() {
        let page = error(StatusCode::NOT_FOUND, "no \"><img src=x onerror='alert(1)'>\u{202e}\0");
        assert!(
            page.contains("&#34;&gt;&lt;img src=x onerror=&#39;alert(1)&#39;&gt;\u{fffd}\u{fffd}"),
            "{page}"
        );
        assert!(page.contains("<h1>404 Not Found</h1>") && !page.contains("<img"));
    }
}
