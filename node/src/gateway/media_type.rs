//! Types of files: by the ending of their name, else by how they begin.

/// What nothing is known of.
pub(super) const UNKNOWN: &str = "application/octet-stream";
const TEXT: &str = "text/plain; charset=utf-8";

/// Endings in lower case, sorted, with their types: those of the web, and of what is commonly stored.
const BY_ENDING: [(&str, &str); 94] = [
    ("7z", "application/x-7z-compressed"),
    ("aac", "audio/aac"),
    ("apk", "application/vnd.android.package-archive"),
    ("avi", "video/x-msvideo"),
    ("avif", "image/avif"),
    ("bin", UNKNOWN),
    ("bmp", "image/bmp"),
    ("br", "application/x-brotli"),
    ("bz2", "application/x-bzip2"),
    ("c", TEXT),
    ("car", "application/vnd.ipld.car"),
    ("cbor", "application/cbor"),
    ("cpp", TEXT),
    ("css", "text/css; charset=utf-8"),
    ("csv", "text/csv; charset=utf-8"),
    ("deb", "application/vnd.debian.binary-package"),
    ("doc", "application/msword"),
    ("docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
    ("epub", "application/epub+zip"),
    ("flac", "audio/flac"),
    ("geojson", "application/geo+json"),
    ("gif", "image/gif"),
    ("glb", "model/gltf-binary"),
    ("gltf", "model/gltf+json"),
    ("go", TEXT),
    ("gpx", "application/gpx+xml"),
    ("gz", "application/gzip"),
    ("h", TEXT),
    ("h5", "application/x-hdf5"),
    ("heic", "image/heic"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ico", "image/vnd.microsoft.icon"),
    ("ics", "text/calendar; charset=utf-8"),
    ("ini", TEXT),
    ("iso", "application/x-iso9660-image"),
    ("jar", "application/java-archive"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("jsonl", "application/x-ndjson"),
    ("jsonld", "application/ld+json"),
    ("jxl", "image/jxl"),
    ("log", TEXT),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("m4a", "audio/mp4"),
    ("m4v", "video/mp4"),
    ("map", "application/json"),
    ("md", "text/markdown; charset=utf-8"),
    ("mid", "audio/midi"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("mkv", "video/x-matroska"),
    ("mov", "video/quicktime"),
    ("mp3", "audio/mpeg"),
    ("mp4", "video/mp4"),
    ("mpd", "application/dash+xml"),
    ("mpeg", "video/mpeg"),
    ("oga", "audio/ogg"),
    ("ogg", "audio/ogg"),
    ("ogv", "video/ogg"),
    ("opus", "audio/ogg"),
    ("otf", "font/otf"),
    ("parquet", "application/vnd.apache.parquet"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("ppt", "application/vnd.ms-powerpoint"),
    ("pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"),
    ("py", TEXT),
    ("rar", "application/vnd.rar"),
    ("rs", TEXT),
    ("rtf", "application/rtf"),
    ("sh", TEXT),
    ("svg", "image/svg+xml"),
    ("tar", "application/x-tar"),
    ("tgz", "application/gzip"),
    ("tif", "image/tiff"),
    ("tiff", "image/tiff"),
    ("toml", TEXT),
    ("ts", "video/mp2t"),
    ("ttf", "font/ttf"),
    ("txt", TEXT),
    ("wasm", "application/wasm"),
    ("wav", "audio/wav"),
    ("webm", "video/webm"),
    ("webmanifest", "application/manifest+json"),
    ("webp", "image/webp"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("xml", "text/xml; charset=utf-8"),
    ("xz", "application/x-xz"),
    ("yaml", TEXT),
    ("zip", "application/zip"),
    ("zst", "application/zstd"),
];

/// How files begin that say what they are: where, with what, and the type.
const BY_MAGIC: [(usize, &[u8], &str); 33] = [
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (8, b"WAVE", "audio/wav"),
    (8, b"AVI ", "video/x-msvideo"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypM4A ", "audio/mp4"),
    (4, b"ftypqt  ", "video/quicktime"),
    (4, b"ftyp", "video/mp4"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"OggS", "application/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"MThd", "audio/midi"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\0", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (257, b"ustar", "application/x-tar"),
    (0, b"\0asm", "application/wasm"),
    (0, b"wOFF", "font/woff"),
    (0, b"wOF2", "font/woff2"),
    (0, b"\x89HDF\r\n\x1a\n", "application/x-hdf5"),
    (0, b"PAR1", "application/vnd.apache.parquet"),
    (0, b"BM", "image/bmp"),
];

/// How documents begin that are text, after white space, in lower case.
const BY_MARKUP: [(&str, &str); 12] = [
    ("<!doctype html", "text/html"),
    ("<html", "text/html"),
    ("<head", "text/html"),
    ("<body", "text/html"),
    ("<script", "text/html"),
    ("<title", "text/html"),
    ("<h1", "text/html"),
    ("<div", "text/html"),
    ("<p>", "text/html"),
    ("<!--", "text/html"),
    ("<svg", "image/svg+xml"),
    ("<?xml", "text/xml; charset=utf-8"),
];

/// The type of a file with this name, if its ending tells.
pub(super) fn by_name(name: &str) -> Option<&'static str> {
    let (stem, ending) = name.rsplit_once('.')?;
    let ending = ending.to_ascii_lowercase();
    let index = BY_ENDING.binary_search_by(|(known, _)| (*known).cmp(ending.as_str())).ok()?;
    BY_ENDING.get(index).filter(|_| !stem.is_empty()).map(|(_, media_type)| *media_type)
}

/// The type of a file that begins so, as browsers would guess it: what looks like text is text.
pub(super) fn by_content(beginning: &[u8]) -> &'static str {
    let beginning = beginning.get(..512).unwrap_or(beginning);
    let magic = BY_MAGIC.iter().find(|(at, magic, media_type)| {
        let is_short = *media_type == "image/bmp";
        beginning.get(*at..).is_some_and(|rest| rest.starts_with(magic)) && !(is_short && is_text(beginning))
    });
    if let Some((_, _, media_type)) = magic {
        return media_type;
    }
    if !is_text(beginning) {
        return UNKNOWN;
    }
    let bare = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning).trim_ascii_start();
    let starts = |markup: &str| {
        bare.get(..markup.len()).is_some_and(|start| start.eq_ignore_ascii_case(markup.as_bytes()))
    };
    BY_MARKUP.iter().find(|(markup, _)| starts(markup)).map_or(TEXT, |(_, media_type)| *media_type)
}

/// Whether there is nothing that no text has. A character that is cut off at the end is no reason.
fn is_text(beginning: &[u8]) -> bool {
    let is_binary = |byte: &u8| matches!(byte, 0..=8 | 0x0b | 0x0e..=0x1a | 0x1c..=0x1f);
    let is_utf8 = match std::str::from_utf8(beginning) {
        Ok(_) => true,
        Err(error) => error.error_len().is_none(),
    };
    is_utf8 && !beginning.iter().any(is_binary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_sorted_and_found() {
        assert!(BY_ENDING.is_sorted_by(|(a, _), (b, _)| a < b));
        assert_eq!(by_name("a.b.HTML"), Some("text/html"));
        assert_eq!(by_name("photo.jpg"), Some("image/jpeg"));
        assert_eq!(by_name("noending"), None);
        assert_eq!(by_name(".html"), None);
        assert_eq!(by_name("x.unheard-of"), None);
    }

    #[test]
    fn beginnings_tell_types() {
        for (beginning, media_type) in [
            (&b"\xff\xd8\xff\xe0rest"[..], "image/jpeg"),
            (b"RIFF....WEBPVP8 ", "image/webp"),
            (b"\0\0\0\x20ftypisom", "video/mp4"),
            (b"  \n<!DOCTYPE HTML><p>", "text/html"),
            (b"<?xml version='1.0'?>", "text/xml; charset=utf-8"),
            (b"hello world\n", TEXT),
            (b"BM is how this text begins", TEXT),
            (b"BM\0\0\x01", "image/bmp"),
            ("ą cut \u{105}".as_bytes().split_last().unwrap().1, TEXT),
            (b"\xff\xfe\0b", UNKNOWN),
            (b"\0\x01\x02", UNKNOWN),
            (b"", TEXT),
        ] {
            assert_eq!(by_content(beginning), media_type, "{beginning:?}");
        }
    }
}
