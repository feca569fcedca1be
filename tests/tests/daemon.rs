//! The daemon as a process: what it prints, which files it makes, how it ends, and what it refuses.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_tests::ask::Ask;
use holdfast_tests::daemon::{DAEMON_TIME_MAX, Daemon};
use holdfast_tests::inputs::noise;
use holdfast_tests::need::temporary;
use holdfast_tests::run::{Node, binary};
use rustix::process::Signal;

/// A repo of the test profile in a folder of its own.
fn repo(name: &str) -> (tempfile::TempDir, Node) {
    let dir = temporary(name);
    let node = Node::init(&dir.path().join("repo"));
    (dir, node)
}

fn set(node: &Node, key: &str, json: &str) {
    node.run(["config", "--json", key, json]).ok();
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + DAEMON_TIME_MAX;
    while !holds() {
        assert!(Instant::now() < until, "it never came to this: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn its_lines_are_kubos_in_kubos_order_and_the_api_file_is_there_when_it_is_ready() {
    let (_dir, node) = repo("daemon-lines");
    let daemon = Daemon::start(&node, &[]);
    let lines = daemon.lines();
    let id = node.run(["config", "Identity.PeerID"]).ok().out();
    let api = format!("/ip4/127.0.0.1/tcp/{}", daemon.api().port());
    let expected = [
        "Initializing daemon...",
        "Kubo version: ",
        "Repo version: 18",
        "System version: ",
        "Golang version: ",
        &format!("PeerID: {}", id.trim()),
        "Swarm listening on 127.0.0.1:",
        "Run 'ipfs id' to inspect announced and discovered multiaddrs of this node.",
        &format!("RPC API server listening on {api}"),
        &format!("WebUI: http://{}/webui", daemon.api()),
        &format!("Gateway server listening on /ip4/127.0.0.1/tcp/{}", daemon.gateway().port()),
        "Daemon is ready",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:?}");
    for (line, beginning) in lines.iter().zip(expected) {
        assert!(line.starts_with(beginning), "{line:?} is not {beginning:?}");
    }
    assert_ne!(daemon.api().port(), 0, "port 0 became a real one");
    assert_eq!(fs::read_to_string(node.repo().join("api")).unwrap(), api);
    let url = format!("http://{}", daemon.gateway());
    assert_eq!(fs::read_to_string(node.repo().join("gateway")).unwrap(), url);
    assert_ne!(daemon.gateway().port(), 0);
    let answer = daemon.stop();
    assert_eq!((answer.code, answer.signal), (Some(0), None), "{}", answer.err());
    assert!(!node.repo().join("api").exists() && !node.repo().join("gateway").exists());
}

#[test]
fn every_signal_ends_it_with_exit_code_0_and_a_word() {
    let (_dir, node) = repo("daemon-signals");
    // Whoever runs the tests under nohup runs the daemon so, too: that one is another test's.
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
    let hangup = u64::from_str_radix(ignored, 16).unwrap() & 1 == 0;
    for signal in [Signal::INT, Signal::TERM].into_iter().chain(hangup.then_some(Signal::HUP)) {
        let daemon = Daemon::start(&node, &[]);
        daemon.signal(signal);
        let answer = daemon.wait();
        assert_eq!((answer.code, answer.signal), (Some(0), None), "{signal:?}: {}", answer.err());
        let said = "\n\nReceived interrupt signal, shutting down...\n(Hit ctrl-c again to force-shutdown the daemon.)\n";
        assert!(answer.out().ends_with(&format!("Daemon is ready{said}")), "{}", answer.out());
        assert!(!node.repo().join("api").exists());
    }
}

#[test]
fn started_by_nohup_it_outlives_the_terminal() {
    let (_dir, node) = repo("daemon-nohup");
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" daemon"]).arg(binary());
    shell.env("IPFS_PATH", node.repo());
    let daemon = Daemon::spawn(shell).ready();
    daemon.signal(Signal::HUP);
    assert_eq!(daemon.post("/api/v0/id").status, 200, "it still answers");
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn shutdown_ends_it_from_the_command_line_and_over_http() {
    let (_dir, node) = repo("daemon-shutdown");
    let daemon = Daemon::start(&node, &[]);
    assert_eq!(node.run(["shutdown"]).ok().out(), "");
    // The repo is free when the command returns.
    assert!(!node.repo().join("api").exists());
    node.run(["repo", "stat"]).ok();
    let answer = daemon.wait();
    assert_eq!((answer.code, answer.signal), (Some(0), None), "{}", answer.err());
    assert!(!answer.out().contains("interrupt"), "nobody interrupted it: {}", answer.out());

    let daemon = Daemon::start(&node, &[]);
    let reply = daemon.post("/api/v0/shutdown");
    assert_eq!((reply.status, reply.text().as_str(), reply.complete), (200, "", true), "{}", reply.head);
    assert_eq!(daemon.wait().code, Some(0));
    assert!(!node.repo().join("api").exists());

    let alone = node.run(["shutdown"]).failed();
    assert_eq!(alone.error_line(), "Error: daemon not running");
}

#[test]
fn shutdown_does_not_wait_for_requests_that_never_end() {
    let (_dir, node) = repo("daemon-hanging");
    let daemon = Daemon::start(&node, &[]);
    // An upload that has begun and does not go on.
    let mut upload = TcpStream::connect(daemon.api()).unwrap();
    let head = "POST /api/v0/add HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=B\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    let part = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nbegun";
    write!(upload, "{head}{:x}\r\n{part}\r\n", part.len()).unwrap();
    // A connection that is kept, and one on which nothing was ever asked.
    let _idle = TcpStream::connect(daemon.api()).unwrap();
    node.run(["id"]).ok();
    daemon.post("/api/v0/shutdown");
    assert_eq!(daemon.wait().code, Some(0));
    let mut rest = Vec::new();
    // Cut off: by an end or by a reset, both are the end of it.
    drop(upload.read_to_end(&mut rest));
    assert!(!node.repo().join("api").exists());
    node.run(["repo", "verify"]).ok();
}

#[test]
fn what_was_acknowledged_before_the_end_is_there_after_it() {
    let (dir, node) = repo("daemon-kept");
    let file = dir.path().join("file");
    fs::write(&file, noise(7, 3 << 20)).unwrap();
    let daemon = Daemon::start(&node, &[]);
    let cid = node.run(["add", "-Q", file.to_str().unwrap()]).ok().cid();
    node.run(["files", "cp", &format!("/ipfs/{cid}"), "/kept"]).ok();
    node.run(["shutdown"]).ok();
    assert_eq!(daemon.wait().code, Some(0));
    assert_eq!(node.run(["cat", &cid]).ok().stdout, fs::read(&file).unwrap());
    assert_eq!(node.run(["files", "ls"]).ok().out(), "kept\n");
    assert!(node.run(["pin", "ls", "--type=recursive"]).ok().out().starts_with(&cid));
}

#[test]
fn a_second_daemon_is_told_who_has_the_repo_and_does_no_harm() {
    let (_dir, node) = repo("daemon-second");
    let daemon = Daemon::start(&node, &[]);
    let second = node.run(["daemon"]).failed();
    let words = second.error_line();
    assert!(words.contains("someone else has the lock"), "{words}");
    assert!(words.contains(&format!("process {}", daemon.pid().as_raw_nonzero())), "{words}");
    assert!(words.contains(&format!("/tcp/{}", daemon.api().port())), "{words}");
    assert!(node.repo().join("api").exists(), "the first one's file is left alone");
    assert_eq!(daemon.post("/api/v0/id").status, 200);
    for args in [&["init"][..], &["init", "--profile", "test"], &["repo", "rebuild"]] {
        let refused = node.run(args).failed();
        let expected = "Error: ipfs daemon is running. please stop it to run this command";
        assert_eq!(refused.error_line(), expected, "{args:?}");
    }
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn a_daemon_that_was_killed_leaves_a_stale_address_that_stops_nobody() {
    let (_dir, node) = repo("daemon-stale");
    let daemon = Daemon::start(&node, &[]);
    daemon.signal(Signal::KILL);
    assert_eq!(daemon.wait().signal, Some(9));
    assert!(node.repo().join("api").exists(), "nobody could remove it");
    let cid = node.run_with(["add", "-Q"], b"hello").ok().cid();
    assert_eq!(node.run(["cat", &cid]).ok().out(), "hello", "commands open the repo themselves");
    let daemon = Daemon::start(&node, &[]);
    assert_eq!(node.run(["cat", &cid]).ok().out(), "hello");
    assert_eq!(daemon.stop().code, Some(0));
    // Where there is no repo to open, it is an error that says what to do.
    let nowhere = node.repo().join("nowhere");
    fs::create_dir(&nowhere).unwrap();
    fs::write(nowhere.join("api"), "/ip4/127.0.0.1/tcp/1").unwrap();
    let words = node.run(["--repo-dir", nowhere.to_str().unwrap(), "id"]).failed().error_line();
    assert!(words.starts_with("Error: cannot connect to the api. Is the daemon running?"), "{words}");
}

#[test]
fn a_unix_socket_serves_its_owner_and_goes_with_the_daemon() {
    let (dir, node) = repo("daemon-unix");
    let socket = dir.path().join("api.sock");
    set(&node, "Addresses.API", &format!("[\"/unix{}\", \"/ip4/127.0.0.1/tcp/0\"]", socket.display()));
    // What a daemon that was killed left behind.
    drop(UnixListener::bind(&socket).unwrap());
    let daemon = Daemon::start(&node, &[]);
    let metadata = fs::symlink_metadata(&socket).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(daemon.api_multiaddrs().len(), 2, "{:?}", daemon.lines());
    assert_eq!(fs::read_to_string(node.repo().join("api")).unwrap(), format!("/unix{}", socket.display()));
    let cid = node.run_with(["add", "-Q"], b"by a socket").ok().cid();
    assert_eq!(node.run(["cat", &cid]).ok().out(), "by a socket");
    let tcp = daemon.url();
    assert_eq!(
        node.run(["--api", &tcp, "cat", &cid]).ok().out(),
        "by a socket",
        "the other address serves too"
    );
    let mut raw = UnixStream::connect(&socket).unwrap();
    raw.write_all(b"POST /api/v0/id HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    raw.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(daemon.stop().code, Some(0));
    assert!(!socket.exists());

    fs::write(&socket, "precious").unwrap();
    let refused = node.run(["daemon"]).failed();
    assert!(refused.err().contains("not a socket"), "{}", refused.err());
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
}

#[test]
fn an_address_that_others_reach_is_refused_before_anything_is_bound() {
    let (_dir, node) = repo("daemon-exposed");
    // The first address could be bound: the refusal comes before it is.
    set(&node, "Addresses.API", "[\"/ip4/127.0.0.1/tcp/0\", \"/ip4/0.0.0.0/tcp/0\"]");
    let refused = node.run(["daemon"]).failed();
    // The swarm's addresses neither: who is refused has met nobody.
    assert!(!refused.out().contains("listening on"), "{}", refused.out());
    let words = refused.err();
    assert!(words.contains("/ip4/0.0.0.0/tcp/0"), "{words}");
    assert!(words.contains("config --json API.AllowUnauthenticated true"), "{words}");
    assert!(!node.repo().join("api").exists());
    // The command that it names is one that works.
    node.run(["config", "--json", "API.AllowUnauthenticated", "true"]).ok();
    assert_eq!(node.run(["config", "API.AllowUnauthenticated"]).ok().out(), "true\n");
    let overridden = node.run(["daemon", "--api", "/ip6/::/tcp/0", "--routing", "nosuch"]).failed();
    assert_eq!(overridden.error_line(), "Error: unrecognized routing option: nosuch");
    let daemon = Daemon::start(&node, &["--offline"]);
    let listening = daemon.lines().into_iter().filter(|line| line.contains("API server listening")).count();
    assert_eq!(listening, 2, "{:?}", daemon.lines());
    daemon.stop();
    // Where somebody is let in by a secret alone, the key is not needed.
    node.run(["config", "--json", "API.AllowUnauthenticated", "false"]).ok();
    node.run(["daemon", "--offline"]).failed();
    set(
        &node,
        "API.Authorizations",
        "{\"a\": {\"AuthSecret\": \"bearer:t\", \"AllowedPaths\": [\"/api/v0\"]}}",
    );
    let daemon = Daemon::start(&node, &["--offline", "--api-auth", "bearer:t"]);
    let to = daemon.api();
    assert_eq!(Ask::command("version").send(to).status(), 403);
    Ask::command("version").field("Authorization", "Bearer t").send(to).ok();
    daemon.stop();
}

#[test]
fn an_address_in_use_names_the_port_and_the_key() {
    let (_dir, node) = repo("daemon-in-use");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    set(&node, "Addresses.API", &format!("\"/ip4/127.0.0.1/tcp/{port}\""));
    let words = node.run(["daemon"]).failed().error_line();
    for word in ["address already in use", &format!("port {port}"), "config Addresses.API"] {
        assert!(words.contains(word), "{words}");
    }
}

#[test]
fn transports_that_are_not_known_are_named_and_passed_over() {
    let (_dir, node) = repo("daemon-transports");
    set(
        &node,
        "Addresses.Swarm",
        "[\"/ip4/127.0.0.1/tcp/0\", \"/ip4/127.0.0.1/udp/0/quic-v1/webtransport\", \"/ip4/127.0.0.1/carrier-pigeon\"]",
    );
    set(&node, "Addresses.API", "[\"/ip4/127.0.0.1/udp/0/quic-v1\", \"/ip4/127.0.0.1/tcp/0\"]");
    let daemon = Daemon::start(&node, &[]);
    daemon.wait_for_complaint("Addresses.Swarm: \"/ip4/127.0.0.1/carrier-pigeon\"");
    let words = daemon.wait_for_complaint("Addresses.API: \"/ip4/127.0.0.1/udp/0/quic-v1\"");
    assert!(!words.contains("webtransport"), "{words}");
    assert_eq!(daemon.post("/api/v0/id").status, 200);
    assert_eq!(daemon.stop().code, Some(0));
}

#[test]
fn a_repo_is_made_where_the_flags_say_so() {
    let dir = temporary("daemon-init");
    let node = Node::at(&dir.path().join("repo"));
    let without = node.run(["daemon"]).failed();
    assert!(without.err().contains("please run: 'ipfs init'"), "{}", without.err());
    let daemon = Daemon::start(&node, &["--init", "--init-profile", "test"]);
    let text = daemon.lines().join("\n");
    assert!(text.contains("initializing IPFS node at"), "{text}");
    assert_eq!(daemon.stop().code, Some(0));
    let id = node.run(["config", "Identity.PeerID"]).ok().out();
    let again = Daemon::start(&node, &["--init", "--init-profile", "test"]);
    assert!(again.lines().contains(&format!("PeerID: {}", id.trim())), "the repo stays: {:?}", again.lines());
    assert_eq!(again.stop().code, Some(0));
}

#[test]
fn flags_of_kubo_are_taken_and_those_without_effect_say_so_once() {
    let (_dir, node) = repo("daemon-flags");
    let flags = [
        "--offline",
        "--enable-gc",
        "--migrate=true",
        "--manage-fdlimit=false",
        "--routing=dhtclient",
        "--enable-pubsub-experiment",
        "--enable-namesys-pubsub",
        "--disable-transport-encryption",
        "--unrestricted-api",
        "--agent-version-suffix=docker",
    ];
    let daemon = Daemon::start(&node, &flags);
    let words = daemon.wait_for_complaint("--disable-transport-encryption has no effect");
    assert_eq!(words.matches("--disable-transport-encryption has no effect").count(), 1, "{words}");
    for flag in [
        "--enable-pubsub-experiment",
        "--enable-namesys-pubsub",
        "--enable-gc",
        "--migrate",
        "--offline",
        "--routing",
    ] {
        assert!(!words.contains(flag), "{words}");
    }
    assert_eq!(daemon.stop().code, Some(0));
    let mounted = node.run(["daemon", "--mount"]).failed();
    assert_eq!(mounted.error_line(), "Error: mount is not currently supported in offline mode");
}

#[test]
fn routing_that_needs_routers_over_http_is_refused_with_what_helps() {
    let (_dir, node) = repo("daemon-routing");
    let refused = |args: &[&str]| {
        let words = ["daemon"].iter().chain(args);
        let said = Daemon::spawn(node.command(words)).wait().failed();
        assert!(!said.out().contains("Daemon is ready"), "{}", said.out());
        said.error_line()
    };
    for kind in ["custom", "delegated"] {
        let said = refused(&[&format!("--routing={kind}")]);
        for word in [&format!("--routing={kind} needs"), "'holdfast daemon --routing=auto'"] {
            assert!(said.contains(word), "{said}");
        }
        node.run(["config", "Routing.Type", kind]).ok();
        let said = refused(&[]);
        for word in [&format!("Routing.Type \"{kind}\""), "'holdfast config Routing.Type auto'"] {
            assert!(said.contains(word), "{said}");
        }
        // Either of what is said helps.
        assert_eq!(Daemon::start(&node, &["--routing=auto"]).stop().code, Some(0));
        node.run(["config", "Routing.Type", "auto"]).ok();
        assert_eq!(Daemon::start(&node, &[]).stop().code, Some(0));
    }
}

#[test]
fn it_lives_on_when_nobody_reads_what_it_says() {
    let (_dir, node) = repo("daemon-unread");
    let mut child = node.command(["daemon"]).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // The reader goes away before the first line.
    drop(child.stdout.take());
    wait_until("there is an api file", || node.repo().join("api").exists());
    assert_eq!(node.run_with(["add", "-Q"], b"x").ok().cid().len(), 46);
    node.run(["shutdown"]).ok();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn whoever_waits_for_the_lock_gets_it_when_the_other_ends() {
    let (_dir, node) = repo("daemon-wait");
    let first = Daemon::start(&node, &[]);
    let mut command = node.command(["daemon"]);
    command.env("IPFS_WAIT_REPO_LOCK", "60s");
    let second = Daemon::spawn(command);
    second.wait_for("Initializing daemon...");
    assert_eq!(first.stop().code, Some(0));
    let second = second.ready();
    assert_eq!(fs::read_to_string(node.repo().join("api")).unwrap(), second.api_multiaddrs()[0]);
    assert_eq!(second.stop().code, Some(0));
}

#[test]
fn the_limit_on_open_files_is_raised_as_far_as_it_may() {
    let (_dir, node) = repo("daemon-files");
    let limited = |args: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -Sn 512; exec \"$0\" daemon {args}")]).arg(binary());
        shell.env("IPFS_PATH", node.repo()).env("IPFS_FD_MAX", "4000");
        let daemon = Daemon::spawn(shell).ready();
        let pid = daemon.pid().as_raw_nonzero();
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned();
        assert_eq!(daemon.stop().code, Some(0));
        line.split_whitespace().nth(3).unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(limited(""), 4000);
    assert_eq!(limited("--manage-fdlimit=false"), 512);
}

/// What a service manager is told until `last` comes.
fn told(manager: &UnixDatagram, last: &str) -> String {
    let mut text = String::new();
    manager.set_read_timeout(Some(DAEMON_TIME_MAX)).unwrap();
    while !text.contains(last) {
        let mut message = [0; 512];
        let length = manager.recv(&mut message).unwrap();
        text.push_str(std::str::from_utf8(&message[..length]).unwrap());
    }
    text
}

#[test]
fn a_service_manager_hears_of_its_beginning_its_life_and_its_end() {
    let (dir, node) = repo("daemon-notify");
    let path = dir.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    let mut command = node.command(["daemon"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "40000");
    let daemon = Daemon::spawn(command).ready();
    assert!(told(&manager, "READY=1").contains("READY=1"));
    // The address is there before anybody is told that it is.
    assert!(node.repo().join("api").exists());
    told(&manager, "WATCHDOG=1");
    told(&manager, "WATCHDOG=1");
    daemon.signal(Signal::TERM);
    told(&manager, "STOPPING=1");
    assert_eq!(daemon.wait().code, Some(0));
}

/// Starts a daemon that is handed a socket, as a service manager does it.
fn activated(node: &Node, socket: impl Into<Stdio>, name: &str) -> Daemon {
    let script = "exec 3<&0 </dev/null; export LISTEN_PID=$$; exec \"$0\" daemon";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).arg(binary()).env("IPFS_PATH", node.repo());
    shell.env("LISTEN_FDS", "1").env("LISTEN_FDNAMES", name);
    Daemon::spawn_with(shell, socket.into()).ready()
}

#[test]
fn sockets_that_a_service_manager_hands_over_are_served() {
    let (dir, node) = repo("daemon-activation");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    set(&node, "Addresses.API", "[]");
    let daemon = activated(&node, std::os::fd::OwnedFd::from(listener), "io.ipfs.api");
    assert_eq!(daemon.api().port(), port);
    assert_eq!(daemon.post("/api/v0/id").status, 200);
    assert_eq!(daemon.stop().code, Some(0));

    let path = dir.path().join("handed.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let daemon = activated(&node, std::os::fd::OwnedFd::from(listener), "io.ipfs.api");
    assert_eq!(daemon.api_multiaddrs(), [format!("/unix{}", path.display())]);
    node.run(["id"]).ok();
    assert_eq!(daemon.stop().code, Some(0));
    assert!(path.exists(), "it is the manager's");
}

#[test]
fn a_second_signal_does_not_wait_for_the_first() {
    let (_dir, node) = repo("daemon-forced");
    let daemon = Daemon::start(&node, &[]);
    // A request that does not end keeps the orderly way busy for its grace.
    let mut hanging = TcpStream::connect(daemon.api()).unwrap();
    hanging.write_all(b"POST /api/v0/add HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nContent-Type: multipart/form-data; boundary=B\r\n\r\n--B").unwrap();
    node.run(["id"]).ok();
    daemon.signal(Signal::INT);
    daemon.wait_for("Received interrupt signal");
    daemon.signal(Signal::INT);
    let answer = daemon.wait();
    assert_eq!(answer.signal, None);
    let forced = answer.out().contains("Received another interrupt before graceful shutdown, terminating...");
    // It may have been done with the orderly way by then.
    assert_eq!(answer.code, Some(i32::from(forced)), "{}", answer.out());
    node.run(["repo", "verify"]).ok();
    assert!(Path::new(node.repo()).join("config").exists());
}
