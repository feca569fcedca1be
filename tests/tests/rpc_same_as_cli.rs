//! One definition, two doors: what a command answers at the terminal as lines of JSON is what it answers over HTTP, byte by
//! byte.
//!
//! First the terminal opens the repo itself; then a daemon runs on the same repo and is asked the same. Commands that change
//! something are asked in pairs on two repos that began equal.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use holdfast_tests::ask::{Ask, Multipart, escape};
use holdfast_tests::daemon::Daemon;
use holdfast_tests::inputs::noise;
use holdfast_tests::need::temporary;
use holdfast_tests::reply::Reply;
use holdfast_tests::run::{Answer, Node};

/// A terminal line as the path and query of a request: words that name a command, then options and arguments.
fn request(line: &[&str]) -> Ask {
    let is_option = |word: &&&str| word.starts_with('-');
    let words = line.iter().filter(|word| !is_option(word));
    let depth = line.iter().position(|word| *word == "|").expect("`|` ends the command's path");
    let path: Vec<&str> = line[..depth].to_vec();
    let mut query: Vec<String> = words.skip(depth + 1).map(|arg| format!("arg={}", escape(arg))).collect();
    for option in line.iter().filter(is_option) {
        let option = option.trim_start_matches('-');
        let (name, value) = option.split_once('=').unwrap_or((option, "true"));
        query.push(format!("{name}={}", escape(value)));
    }
    Ask::command(&format!("{}?{}", path.join("/"), query.join("&")))
}

fn terminal_line(line: &[&str]) -> Vec<String> {
    let words = line.iter().filter(|word| **word != "|").map(|word| (*word).to_owned());
    // `config` has a `--json` of its own.
    let encoding = if line[0] == "config" { "--enc=json" } else { "--json" };
    std::iter::once(encoding.to_owned()).chain(words).collect()
}

/// Whether both doors say the same: the bytes of a success, the words of a failure.
fn compare(line: &[&str], terminal: &Answer, http: &Reply) -> Option<String> {
    let name = line.join(" ");
    let failed = http.status() != 200 || http.trailer("X-Stream-Error").is_some();
    // Values that tell of failures are values over HTTP; the terminal prints them and fails.
    let tells = matches!(line[0], "refs" | "block" | "cid") && !failed && terminal.code == Some(1);
    if (terminal.code == Some(0)) == failed && !tells {
        return Some(format!(
            "{name}: exit {:?} ({}), HTTP {}",
            terminal.code,
            terminal.err(),
            http.status()
        ));
    }
    if !failed {
        let pretty = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok();
        // At the terminal a whole config is laid out over many lines: there the values count.
        let same = terminal.stdout == http.body
            || line[0] == "config"
                && pretty(&terminal.stdout).is_some_and(|value| Some(value) == pretty(&http.body));
        return (!same)
            .then(|| format!("{name}:\n  terminal {}\n  HTTP     {}", terminal.out(), http.text()));
    }
    let said = serde_json::from_slice::<serde_json::Value>(&http.body).ok();
    let said = said.and_then(|value| value["Message"].as_str().map(str::to_owned));
    let said = said.or_else(|| http.trailer("X-Stream-Error").map(str::to_owned));
    let said = said.unwrap_or_else(|| http.text().trim_end().to_owned());
    let ours = terminal.error_line();
    // As text, an error already has the word before it.
    let said = said.strip_prefix("Error: ").unwrap_or(&said);
    (ours != format!("Error: {}", said.lines().next().unwrap_or_default()))
        .then(|| format!("{name}:\n  terminal {ours:?}\n  HTTP     {said:?}"))
}

#[test]
fn what_reads_answers_the_same_bytes_through_both_doors() {
    let dir = temporary("same");
    let node = Node::init(&dir.path().join("repo"));
    let tree = dir.path().join("tree");
    std::fs::create_dir_all(tree.join("sub")).unwrap();
    std::fs::write(tree.join("a.txt"), b"hello both\n").unwrap();
    std::fs::write(tree.join("sub/large.bin"), noise(1, 700_000)).unwrap();
    let root = node.run(["add", "-r", "-Q", tree.to_str().unwrap()]).ok().cid();
    node.run(["files", "cp", &format!("/ipfs/{root}"), "/copied"]).ok();
    node.run(["pin", "add", "--name=both doors", &root]).ok();
    let file = format!("{root}/a.txt");
    let large = format!("{root}/sub/large.bin");
    let missing = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG";
    let v1 = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e";
    let (r, f, l, m) = (root.as_str(), file.as_str(), large.as_str(), missing);
    let lines: Vec<Vec<&str>> = vec![
        vec!["cat", "|", f],
        vec!["cat", "|", "--offset=6", "--length=4", f],
        vec!["cat", "|", l],
        vec!["cat", "|", m],
        vec!["cat", "|", r],
        vec!["cat", "|", "nonsense"],
        vec!["ls", "|", r],
        vec!["ls", "|", "--stream", r],
        vec!["ls", "|", "--size=false", "--resolve-type=false", r],
        vec!["ls", "|", "--cid-base=base32", r],
        vec!["ls", "|", l],
        vec!["refs", "|", r],
        vec!["refs", "|", "--recursive", "--unique", r],
        vec!["refs", "|", "--recursive", "--edges", r],
        vec!["refs", "|", "--recursive", "--format=<src> <dst> <linkname>", r],
        vec!["refs", "|", m],
        vec!["refs", "local", "|"],
        vec!["resolve", "|", f],
        vec!["resolve", "|", "--cid-base=base36", f],
        vec!["resolve", "|", "/ipfs/nonsense"],
        vec!["block", "get", "|", r],
        vec!["block", "stat", "|", r],
        vec!["block", "stat", "|", m],
        vec!["block", "get", "|", "--cid-base=base32", r],
        vec!["dag", "get", "|", r],
        vec!["dag", "get", "|", "--output-codec=dag-cbor", r],
        vec!["dag", "get", "|", f],
        vec!["dag", "resolve", "|", l],
        vec!["dag", "stat", "|", "--progress=false", r],
        vec!["dag", "export", "|", r],
        vec!["dag", "export", "|", m],
        vec!["pin", "ls", "|"],
        vec!["pin", "ls", "|", "--names", "--stream"],
        vec!["pin", "ls", "|", "--type=recursive"],
        vec!["pin", "ls", "|", "--type=nonsense"],
        vec!["pin", "ls", "|", r],
        vec!["pin", "ls", "|", m],
        vec!["pin", "verify", "|", "--verbose"],
        vec!["pin", "rm", "|", m],
        vec!["files", "ls", "|"],
        vec!["files", "ls", "|", "--long", "/copied"],
        vec!["files", "ls", "|", "/nosuch"],
        vec!["files", "stat", "|", "/copied"],
        vec!["files", "stat", "|", "--with-local", "/copied/sub"],
        vec!["files", "stat", "|", "/nosuch"],
        vec!["files", "stat", "|", "--hash", "--size", "/copied"],
        vec!["files", "read", "|", "/copied/a.txt"],
        vec!["files", "read", "|", "--offset=3", "--count=4", "/copied/a.txt"],
        vec!["files", "read", "|", "/copied"],
        vec!["object", "stat", "|", r],
        vec!["repo", "version", "|"],
        vec!["repo", "ls", "|"],
        vec!["repo", "verify", "|"],
        vec!["key", "list", "|"],
        vec!["key", "list", "|", "--ipns-base=b58mh"],
        vec!["key", "rm", "|", "nosuch"],
        vec!["bootstrap", "list", "|"],
        vec!["config", "|", "Datastore.StorageMax"],
        vec!["config", "|", "No.Key"],
        vec!["config", "|", "Identity.PrivKey"],
        vec!["config", "show", "|"],
        vec!["cid", "format", "|", "-f=%b %v %c %h %s %S %P", v1],
        vec!["cid", "format", "|", "-v=1", "-b=base36", r],
        vec!["cid", "base32", "|", r],
        vec!["cid", "inspect", "|", r],
        vec!["cid", "inspect", "|", "nonsense"],
        vec!["cid", "bases", "|", "--numeric"],
        vec!["cid", "codecs", "|"],
        vec!["cid", "hashes", "|"],
        vec!["multibase", "list", "|"],
        vec!["commands", "|"],
        vec!["version", "|"],
        vec!["id", "|", "QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN"],
        vec!["name", "resolve", "|", "nonsense"],
    ];
    let terminal: Vec<Answer> = lines.iter().map(|line| node.run(terminal_line(line))).collect();
    let daemon = Daemon::alone(&node, &[]);
    let mut differ = Vec::new();
    for (line, alone) in lines.iter().zip(&terminal) {
        let http = request(line).send(daemon.api());
        differ.extend(compare(line, alone, &http));
        // And a terminal that asks the daemon says what the one that opened the repo said.
        let remote = node.run(terminal_line(line));
        if (remote.code, &remote.stdout, remote.error_line())
            != (alone.code, &alone.stdout, alone.error_line())
        {
            differ.push(format!(
                "{} through the daemon:\n  alone {:?} {} {:?}\n  daemon {:?} {} {:?}",
                line.join(" "),
                alone.code,
                alone.out(),
                alone.err(),
                remote.code,
                remote.out(),
                remote.err()
            ));
        }
    }
    daemon.stop();
    let shown: Vec<String> = differ.iter().map(|text| text.chars().take(1_200).collect()).collect();
    assert!(differ.is_empty(), "{} of {} lines differ:\n{}", differ.len(), lines.len(), shown.join("\n"));
}

/// Commands whose text a script reads, over HTTP with `encoding=text` as at the terminal.
#[test]
fn text_over_http_is_what_the_terminal_prints() {
    let dir = temporary("same-text");
    let node = Node::init(&dir.path().join("repo"));
    let tree = dir.path().join("tree");
    std::fs::create_dir_all(tree.join("sub")).unwrap();
    std::fs::write(tree.join("a.txt"), b"hello both\n").unwrap();
    std::fs::write(tree.join("sub/large.bin"), noise(1, 700_000)).unwrap();
    let root = node.run(["add", "-r", "-Q", tree.to_str().unwrap()]).ok().cid();
    node.run(["files", "cp", &format!("/ipfs/{root}"), "/copied"]).ok();
    let (r, file) = (root.as_str(), format!("{root}/a.txt"));
    let (f, m) = (file.as_str(), "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG");
    let lines: Vec<Vec<&str>> = vec![
        vec!["cat", "|", f],
        vec!["cat", "|", m],
        vec!["ls", "|", r],
        vec!["ls", "|", "--headers", r],
        vec!["ls", "|", "--size=false", r],
        vec!["refs", "|", "--recursive", r],
        vec!["refs", "|", "--recursive", "--edges", r],
        vec!["refs", "local", "|"],
        vec!["resolve", "|", f],
        vec!["block", "get", "|", r],
        vec!["block", "stat", "|", r],
        vec!["block", "stat", "|", m],
        vec!["dag", "get", "|", f],
        vec!["dag", "resolve", "|", f],
        vec!["dag", "stat", "|", "--progress=false", r],
        vec!["pin", "add", "|", "--name=by text", r],
        vec!["pin", "ls", "|"],
        vec!["pin", "ls", "|", "--names"],
        vec!["pin", "ls", "|", "--quiet"],
        vec!["pin", "ls", "|", m],
        vec!["pin", "verify", "|", "--verbose"],
        vec!["files", "ls", "|"],
        vec!["files", "ls", "|", "--long", "/copied"],
        vec!["files", "stat", "|", "/copied"],
        vec!["files", "stat", "|", "--hash", "/copied"],
        vec!["files", "read", "|", "/copied/a.txt"],
        vec!["object", "stat", "|", r],
        vec!["repo", "version", "|"],
        vec!["key", "list", "|"],
        vec!["key", "list", "|", "-l"],
        vec!["bootstrap", "list", "|"],
        vec!["config", "|", "Datastore.StorageMax"],
        vec!["config", "|", "No.Key"],
        vec!["cid", "codecs", "|", "--numeric"],
        vec!["multibase", "list", "|"],
        vec!["commands", "|"],
        vec!["version", "|"],
        vec!["version", "|", "--number"],
        vec!["version", "|", "--all"],
    ];
    let plain = |line: &[&str]| -> Vec<String> {
        line.iter().filter(|word| **word != "|").map(|word| (*word).to_owned()).collect()
    };
    let terminal: Vec<Answer> = lines.iter().map(|line| node.run(plain(line))).collect();
    let daemon = Daemon::alone(&node, &[]);
    let mut differ = Vec::new();
    for (line, alone) in lines.iter().zip(&terminal) {
        let asked: Vec<&str> = line.iter().copied().chain(["--encoding=text"]).collect();
        differ.extend(compare(&asked, alone, &request(&asked).send(daemon.api())));
    }
    daemon.stop();
    let shown: Vec<String> = differ.iter().map(|text| text.chars().take(1_200).collect()).collect();
    assert!(differ.is_empty(), "{} of {} lines differ:\n{}", differ.len(), lines.len(), shown.join("\n"));
}

#[test]
fn what_changes_answers_the_same_bytes_through_both_doors() {
    let dir = temporary("same");
    let input = dir.path().join("input.bin");
    let bytes = noise(7, 300_000);
    std::fs::write(&input, &bytes).unwrap();
    let path = input.to_str().unwrap();
    let (alone, served) = (Node::init(&dir.path().join("alone")), Node::init(&dir.path().join("served")));
    let daemon = Daemon::alone(&served, &[]);
    let hello = "QmVr26fY1tKyspEJBniVhqxQeEjhF78XerGiqWAwraVLQH";
    // A line, and what is uploaded with it: at the terminal a file's path, over HTTP a part of that name.
    let lines: Vec<(Vec<&str>, Option<&[u8]>)> = vec![
        (vec!["add", "|", "--progress=false"], Some(b"Hello Worlds!\n")),
        (vec!["add", "|", "--progress=false"], Some(&bytes)),
        (vec!["add", "|", "--progress=false", "--cid-version=1", "--raw-leaves=false"], Some(&bytes)),
        (vec!["add", "|", "--progress=false", "--wrap-with-directory"], Some(b"wrapped")),
        (vec!["add", "|", "--progress=false", "--only-hash", "--trickle"], Some(&bytes)),
        (vec!["add", "|", "--progress=false", "--chunker=nonsense"], Some(b"x")),
        (vec!["add", "|", "--progress=false", "--hash=nonsense"], Some(b"x")),
        (vec!["add", "|", "--progress=false", "--cid-version=7"], Some(b"x")),
        (vec!["block", "put", "|"], Some(b"a block")),
        (vec!["block", "put", "|", "--cid-codec=dag-pb"], Some(b"")),
        (vec!["block", "put", "|", "--mhtype=nonsense"], Some(b"x")),
        (
            vec!["dag", "put", "|"],
            Some(br#"{"a": [1, 2, {"/": "QmVr26fY1tKyspEJBniVhqxQeEjhF78XerGiqWAwraVLQH"}]}"#),
        ),
        (vec!["dag", "put", "|"], Some(b"{nonsense")),
        (vec!["dag", "import", "|"], Some(b"not a CAR")),
        (vec!["files", "mkdir", "|", "--parents", "/x/y"], None),
        (vec!["files", "mkdir", "|", "/x"], None),
        (vec!["files", "cp", "|", "/ipfs/QmVr26fY1tKyspEJBniVhqxQeEjhF78XerGiqWAwraVLQH", "/x/hello"], None),
        (vec!["files", "mv", "|", "/x/hello", "/x/y/hello"], None),
        (vec!["files", "mv", "|", "/nosuch", "/x"], None),
        (vec!["files", "chmod", "|", "0640", "/x/y/hello"], None),
        (vec!["files", "flush", "|"], None),
        (vec!["files", "rm", "|", "/x"], None),
        (vec!["files", "rm", "|", "--recursive", "/x"], None),
        (vec!["files", "ls", "|", "--long"], None),
        (vec!["pin", "add", "|", "--name=named", hello], None),
        (vec!["pin", "add", "|", "--recursive=false", hello], None),
        (vec!["pin", "ls", "|", "--names"], None),
        (vec!["pin", "rm", "|", hello], None),
        (vec!["pin", "rm", "|", hello], None),
        (vec!["block", "rm", "|", hello], None),
        (vec!["block", "rm", "|", hello], None),
        (vec!["config", "|", "Datastore.StorageMax", "7GB"], None),
        (vec!["config", "|", "--json", "Gateway.NoFetch", "true"], None),
        (vec!["config", "|", "--bool", "Gateway.NoFetch", "perhaps"], None),
        (
            vec![
                "bootstrap",
                "add",
                "|",
                "/ip4/127.0.0.1/tcp/4001/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
            ],
            None,
        ),
        (vec!["bootstrap", "rm", "|", "--all"], None),
        (vec!["repo", "gc", "|"], None),
        (vec!["repo", "gc", "|", "--stream-errors"], None),
    ];
    let mut differ = Vec::new();
    for (line, upload) in &lines {
        let mut words = terminal_line(line);
        let mut ask = request(line);
        if let Some(bytes) = upload {
            std::fs::write(&input, bytes).unwrap();
            words.push(path.to_owned());
            ask = ask.parts(&Multipart::new().file("input.bin", bytes));
        }
        let (terminal, http) = (alone.run(words), ask.send(daemon.api()));
        // A collection's order follows places on disk, which are the same here; what it lists is compared as a set.
        if line.first() == Some(&"repo") && terminal.code == Some(0) {
            let sorted = |text: String| {
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                lines.sort_unstable();
                lines
            };
            if sorted(terminal.out()) != sorted(http.text()) {
                differ.push(format!("{}:\n  {}\n  {}", line.join(" "), terminal.out(), http.text()));
            }
            continue;
        }
        differ.extend(compare(line, &terminal, &http));
    }
    daemon.stop();
    let shown: Vec<String> = differ.iter().map(|text| text.chars().take(1_200).collect()).collect();
    assert!(differ.is_empty(), "{} of {} lines differ:\n{}", differ.len(), lines.len(), shown.join("\n"));
}
