//! What a secret of `API.Authorizations` or `--api-auth` is as a header: one place for whoever sends it and whoever compares.

use data_encoding::BASE64;

/// The value of the `Authorization` header that a secret stands for, as Kubo has it: `bearer:TOKEN`, a token alone,
/// `basic:USER:PASSWORD` or `basic:BASE64`. Nothing for an empty one, and for one of another type.
pub fn authorization(secret: &str) -> Option<String> {
    match secret.split_once(':') {
        _ if secret.is_empty() => None,
        None => Some(format!("Bearer {secret}")),
        Some(("bearer", token)) => Some(format!("Bearer {token}")),
        Some(("basic", pair)) if pair.contains(':') => {
            Some(format!("Basic {}", BASE64.encode(pair.as_bytes())))
        }
        Some(("basic", encoded)) => Some(format!("Basic {encoded}")),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_as_kubo_reads_them() {
        for (secret, header) in [
            ("tok", Some("Bearer tok")),
            ("bearer:tok", Some("Bearer tok")),
            ("bearer:a:b", Some("Bearer a:b")),
            ("basic:user:pass", Some("Basic dXNlcjpwYXNz")),
            ("basic:dXNlcjpwYXNz", Some("Basic dXNlcjpwYXNz")),
            ("digest:x", None),
            ("", None),
        ] {
            assert_eq!(authorization(secret).as_deref(), header, "{secret}");
        }
    }
}
