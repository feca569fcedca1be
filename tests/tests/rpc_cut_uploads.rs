//! A laptop closes its lid in the middle of an upload.
//!
//! Real uploads (`add` of a tree, `block/put`, `dag/import`, `files/write`) are cut at many of their bytes, head included: the
//! connection is closed, reset or left half closed there. Afterwards no pin, no file and no key is there that was not there
//! before, everything that is stored verifies, and the daemon serves. Unpinned blocks may stay: the next collection takes them.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use holdfast_tests::ask::{Ask, Multipart};
use holdfast_tests::daemon::Daemon;
use holdfast_tests::inputs::{Random, noise};
use holdfast_tests::need::{say, switched_on, temporary};
use holdfast_tests::run::Node;
use holdfast_tests::wire::Wire;

/// What must not change: the pins, the files with their root, the keys.
#[derive(Debug, PartialEq, Eq)]
struct State {
    pins: String,
    files: String,
    root: String,
    keys: String,
}

fn state(daemon: &Daemon) -> State {
    let answer = |command: &str| Ask::command(command).send(daemon.api()).ok().text();
    State {
        pins: answer("pin/ls?names=true"),
        files: answer("files/ls?long=true"),
        root: answer("files/stat?arg=/"),
        keys: answer("key/list"),
    }
}

/// How a connection ends before its upload does.
#[derive(Debug, Clone, Copy)]
enum Cut {
    /// Closed, with the answer unread.
    Close,
    /// Half closed: what comes is read to its end.
    HalfClose,
}

/// Sends the first `at` bytes and cuts. Whatever is answered must not be a success.
fn cut(daemon: &Daemon, bytes: &[u8], at: usize, how: Cut) -> Result<(), String> {
    let mut wire = Wire::tcp(daemon.api());
    drop(wire.try_send(&bytes[..at]));
    if matches!(how, Cut::Close) {
        return Ok(());
    }
    wire.end_sending();
    let Some(reply) = wire.reply() else { return Ok(()) };
    let whole = reply.end == holdfast_tests::reply::End::Whole && reply.trailer("X-Stream-Error").is_none();
    if reply.status() == 200 && whole {
        return Err(format!("cut at {at} of {}: 200 {}", bytes.len(), reply.text()));
    }
    Ok(())
}

/// Offsets before `whole_at`, where the last boundary begins to be one; the interesting ones are never left out: the end, and
/// around line ends of the framing.
fn offsets(random: &mut Random, bytes: &[u8], whole_at: usize, count: usize) -> Vec<usize> {
    let lines = bytes.windows(2).enumerate().filter(|(_, pair)| pair == b"\r\n").map(|(at, _)| at);
    let mut offsets: Vec<usize> = lines.flat_map(|at| [at, at + 1, at + 2]).collect();
    // Noise has line ends too: some of them are enough.
    while offsets.len() > count {
        let at = usize::try_from(random.below(offsets.len() as u64)).unwrap();
        offsets.swap_remove(at);
    }
    for _ in 0..count {
        offsets.push(usize::try_from(random.below(bytes.len() as u64)).unwrap());
    }
    offsets.extend([0, 1, whole_at - 1, whole_at - 2]);
    offsets.retain(|at| *at < whole_at);
    offsets
}

/// The bytes of a request in chunks of some length.
fn chunked(ask: &Ask, parts: &Multipart, host: &str, piece: usize) -> Vec<u8> {
    let ask = ask.clone().field("Content-Type", &parts.content_type()).field("Transfer-Encoding", "chunked");
    let mut bytes = ask.head(host);
    for piece in parts.whole().chunks(piece) {
        bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

#[test]
fn uploads_cut_at_any_byte_leave_nothing_but_unpinned_blocks() {
    let dir = temporary("cut-uploads");
    let node = Node::init(&dir.path().join("repo"));
    let daemon = Daemon::alone(&node, &[]);
    let host = daemon.api().to_string();
    let mut random = Random::for_test("rpc_cut_uploads");
    let kept = Multipart::new().file("kept", b"what was there before");
    Ask::command("add?to-files=/kept").parts(&kept).send(daemon.api()).ok();
    Ask::command("files/mkdir?arg=/folder").send(daemon.api()).ok();

    let tree = Multipart::new()
        .directory("d")
        .file("d%2Fsmall", b"small")
        .file("d%2Flarge", &noise(1, 300_000))
        .symlink("d%2Flink", "small")
        .file("d%2Fe%2Flast", &noise(2, 1_000));
    let blocks = (0..50_u64).fold(Multipart::new(), |parts, at| parts.file("b", &noise(100 + at, 2_000)));
    let exported = {
        let parts = Multipart::new().file("f", &noise(3, 600_000));
        let added = Ask::command("add?pin=false").parts(&parts).send(daemon.api()).ok().value();
        Ask::with_args("dag/export", &[added["Hash"].as_str().unwrap()]).send(daemon.api()).ok().body
    };
    let archive = Multipart::new().file("f.car", &exported);
    let write = Multipart::new().file("data", &noise(4, 300_000));
    let uploads = [
        ("add", Ask::command("add?progress=true&wrap-with-directory=true"), &tree),
        ("add to files", Ask::command("add?to-files=/added&pin-name=cut"), &write),
        ("block put", Ask::command("block/put"), &blocks),
        ("dag import", Ask::command("dag/import?progress=true"), &archive),
        ("files write", Ask::command("files/write?arg=/folder/new&create=true"), &write),
        ("files write over", Ask::command("files/write?arg=/kept&truncate=true"), &write),
        ("key import", Ask::command("key/import?arg=cut"), &write),
    ];
    let before = state(&daemon);
    let each = if switched_on("SOAK") { 1_000 } else { 40 };
    let (mut cuts, mut wrong) = (0, Vec::new());
    for (name, ask, parts) in &uploads {
        let length = ask.clone().parts(parts).bytes(&host);
        // After the last boundary come two hyphens and a line end, and in chunks the end of the chunk and the last one.
        for (bytes, after) in [(length, 4), (chunked(ask, parts, &host, 7_919), 4 + 7)] {
            for at in offsets(&mut random, &bytes, bytes.len() - after, each) {
                let how = if random.one_in(2) { Cut::Close } else { Cut::HalfClose };
                cuts += 1;
                if let Err(error) = cut(&daemon, &bytes, at, how) {
                    wrong.push(format!("{name} {how:?}: {error}"));
                }
            }
        }
        // What was cut may still be on its way to its end: the state is asked until it is what it was, a bounded time.
        let mut after = state(&daemon);
        for _ in 0..50 {
            if after == before {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
            after = state(&daemon);
        }
        assert_eq!(after, before, "after {cuts} cuts, the last ones of {name}");
    }
    say(&format!("rpc_cut_uploads: {cuts} cuts of {} uploads", uploads.len()));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let verified = Ask::command("repo/verify").send(daemon.api()).ok();
    assert!(!verified.text().contains("corrupt"), "{}", verified.text());
    // The same uploads, whole, are served.
    for (name, ask, parts) in &uploads {
        if *name != "key import" {
            let reply = ask.clone().parts(parts).send(daemon.api());
            assert_eq!(reply.status(), 200, "{name}: {}", reply.text());
            reply.ok();
        }
    }
    let stopped = daemon.stop();
    assert_eq!(stopped.code, Some(0), "{}", stopped.err());
    assert!(!stopped.err().contains("panicked"), "{}", stopped.err());
    node.run(["repo", "verify"]).ok();
}
