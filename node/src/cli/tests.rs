//! Command lines, read against what Kubo makes of them.

use serde_json::Value;

use super::{Line, ParseError, parse};
use crate::commands::registry;
use crate::commands::registry::{Call, Door, Path, RawOption, Registry, SplitArgs, split_args};
use crate::test_data;

/// What is wrong with a line, or the call and words that it means.
fn read<'r>(registry: &'r Registry, words: &[&str]) -> Result<(Path<'r>, Call, SplitArgs<String>), String> {
    let words: Vec<_> = words.iter().map(Into::into).collect();
    let Line { path, options, words } = parse(registry, &words).map_err(|error| error.to_string())?;
    let call = Registry::call(&path, &options, Door::Terminal).map_err(|error| error.to_string())?;
    let words = words.into_iter().map(|word| word.into_string().unwrap()).collect();
    let split = split_args(&path.command().args, words, true).map_err(|error| error.to_string())?;
    Ok((path, call, split))
}

fn list(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}

#[test]
fn every_recorded_line_means_what_it_means_to_kubo() {
    let Some(answers) = test_data::json("kubo-answers.json") else { return };
    let registry = registry();
    let mut mistakes = 0;
    for step in answers["cli"].as_array().unwrap() {
        let args = list(&step["args"]);
        let said = step["err"].as_str().unwrap();
        // The mistakes that are found before anything is run.
        let mistake = ["unknown option", "Unknown Command", "argument(s), got"]
            .iter()
            .any(|words| said.contains(words));
        match read(&registry, &args) {
            Ok((path, _, split)) => {
                assert!(!mistake, "{args:?}: Kubo says {said}");
                let command = path.words();
                assert_eq!(args.iter().find(|arg| !arg.starts_with('-')), command.first(), "{args:?}");
                assert!(path.command().is_runnable() || path.planned().is_some(), "{args:?}");
                // What is no option and no command is an argument.
                let kept = split.texts.iter().chain(&split.files).all(|word| args.contains(&word.as_str()));
                assert!(kept, "{args:?}: {split:?}");
            }
            // Ours on purpose, with a sentence that says why.
            Err(words) if words.contains("is not supported: ") => {}
            Err(words) => {
                assert!(mistake, "{args:?}: {words}");
                mistakes += 1;
                let first = words.lines().next().unwrap();
                assert_eq!(format!("Error: {first}"), said, "{args:?}");
            }
        }
    }
    assert!(mistakes >= 3, "{mistakes}");
}

#[test]
fn every_command_and_option_of_kubo_is_known() {
    let Some(kubo) = test_data::json("kubo-commands.json") else { return };
    let registry = registry();
    for (name, options) in kubo["commands"].as_object().unwrap() {
        let words: Vec<&str> = name.split_whitespace().collect();
        let path = registry.find(&words).unwrap_or_else(|| panic!("no command {name:?}"));
        for option in list(options).into_iter().flat_map(str::split_whitespace) {
            let own = path.command().options.iter().any(|own| own.is_named(option));
            assert!(own, "{name:?} has no option {option:?}");
        }
    }
}

#[test]
fn no_two_options_of_a_command_share_a_name() {
    fn visit(path: &Path<'_>) {
        let mut names: Vec<_> = path.command().options.iter().flat_map(|option| &option.names).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "{:?}", path.words());
        for sub in &path.command().subcommands {
            visit(&path.child(sub.name).unwrap());
        }
    }
    visit(&registry().root());
}

#[test]
fn lines_that_kubo_allows() {
    let registry = registry();
    let ok = |line: &str| {
        read(&registry, &line.split(' ').collect::<Vec<_>>()).unwrap_or_else(|e| panic!("{line}: {e}"))
    };

    let (path, call, _) = ok("refs -r local");
    assert_eq!(path.words(), ["refs", "local"]);
    assert!(call.bool("recursive"));

    let (path, call, split) = ok("config --json show");
    assert_eq!(path.words(), ["config", "show"]);
    assert!(call.bool("json") && split.texts.is_empty());
    // The same words as a value.
    let (path, call, split) = ok("config --json Some.Key show");
    assert_eq!(path.words(), ["config"]);
    assert_eq!(split.texts, ["Some.Key", "show"]);
    assert!(call.bool("json") && !call.json_lines());

    let (_, call, split) = ok("add -rQw dir");
    assert!(call.bool("recursive") && call.bool("quieter") && call.bool("wrap-with-directory"));
    assert_eq!(split.files, ["dir"]);

    let (_, call, split) = ok("add -ssize-10 --cid-version 1 dir -r --pin=False");
    assert_eq!((call.text("chunker"), call.int("cid-version"), call.bool("pin")), ("size-10", 1, false));
    assert_eq!(split.files, ["dir"]);

    let (_, call, split) = ok("add -s=size-10 -r=false -- -r");
    assert_eq!((call.text("chunker"), call.bool("recursive")), ("size-10", false));
    assert_eq!(split.files, ["-r"]);

    // A value may begin with a hyphen; a bool's value may not stand alone.
    assert_eq!(ok("cat --offset -1 x").1.int("offset"), -1);
    assert_eq!(ok("cat -o -1 x").1.int("offset"), -1);
    assert_eq!(ok("add --pin false").2.files, ["false"]);
    assert_eq!(ok("refs --max-depth=0x10 x").1.int("max-depth"), 16);

    // Global options stand anywhere.
    let (path, call, _) = ok("--offline -D --timeout 5s block --enc json stat --cid-base=base32 x");
    assert_eq!(path.words(), ["block", "stat"]);
    assert!(call.offline() && call.bool("debug"));
    assert_eq!(call.timeout(), Ok(Some(std::time::Duration::from_secs(5))));
    assert_eq!(call.cid_base(), Some("base32"));
    assert!(call.upgrade_cid_v0());
    assert!(ok("ls --json x").1.json_lines());

    // Options that may be repeated, and those with several values.
    assert_eq!(ok("add --ignore a --ignore=b x").1.list("ignore"), ["a", "b"]);
    assert_eq!(ok("pin remote ls --status=queued,failed").1.list("status"), ["queued", "failed"]);

    // Customary forms.
    assert_eq!(ok("--version").0.words(), ["version"]);
    let words: Vec<_> = ["help", "block", "put"].iter().map(Into::into).collect();
    let line = parse(&registry, &words).unwrap();
    assert_eq!(line.path.words(), ["block", "put"]);
    assert!(line.has_flag("help") && !line.has_flag("h"));

    assert_eq!(ok("bootstrap rm").2.stdin, Some(0));
    assert_eq!(ok("files write /a").2.stdin, Some(1));
    assert_eq!(ok("id").2.stdin, None);
}

#[test]
fn lines_that_kubo_refuses() {
    let registry = registry();
    let error = |line: &str| read(&registry, &line.split(' ').collect::<Vec<_>>()).map(|_| ()).unwrap_err();
    assert_eq!(error("add --nope"), "unknown option \"nope\"");
    assert_eq!(error("add -rXQ x"), "unknown option \"rXQ\"");
    assert_eq!(error("-r refs x"), "unknown option \"r\"");
    assert_eq!(error("add --chunker"), "missing argument for option \"chunker\"");
    assert_eq!(error("cat -l"), "missing argument for option \"l\"");
    assert_eq!(error("add -q --quiet x"), "multiple values for option \"quiet\"");
    assert_eq!(error("add --pin=maybe x"), "strconv.ParseBool: parsing \"maybe\": invalid syntax");
    assert_eq!(error("cat --offset=x y"), "strconv.ParseInt: parsing \"x\": invalid syntax");
    assert_eq!(
        error("cat --offset=9223372036854775808 y"),
        "strconv.ParseInt: parsing \"9223372036854775808\": value out of range"
    );
    assert_eq!(error("pin nosuch"), "expected 0 argument(s), got 1");
    assert_eq!(error("config a b c"), "expected 2 argument(s), got 3");
    assert_eq!(error("config"), "argument \"key\" is required");
    assert!(error("ad x").starts_with("Unknown Command \"ad\"\n\nDid you mean any of these?\n\n\tadd"));
    let words = ["nosuchcmd".into()];
    assert!(
        matches!(parse(&registry, &words), Err(ParseError::UnknownCommand { similar, .. }) if similar.is_empty())
    );
}

#[test]
fn query_strings_mean_the_same_as_lines() {
    let registry = registry();
    let path = registry.find(&["ls"]).unwrap();
    let raw = [RawOption::new("s", ""), RawOption::new("size", "0"), RawOption::new("unknown", "x")];
    let call = Registry::call(&path, &raw, Door::Http).unwrap();
    assert!(call.bool("stream") && !call.bool("size") && call.bool("resolve-type"));
    let call = call.with_args(path.command(), vec!["a".into()]).unwrap();
    assert_eq!(call.arg(0), "a");
    let bare = Registry::call(&path, &[], Door::Http).unwrap().with_args(path.command(), Vec::new());
    assert_eq!(bare.unwrap_err().to_string(), "argument \"ipfs-path\" is required");
}

#[cfg(unix)]
#[test]
fn words_that_are_not_utf8() {
    use std::os::unix::ffi::OsStringExt as _;
    let registry = registry();
    let odd = || std::ffi::OsString::from_vec(b"a\xff".to_vec());
    let line = parse(&registry, &["add".into(), odd()]).unwrap();
    assert_eq!(line.words, [odd()]);
    let option = std::ffi::OsString::from_vec(b"--\xff".to_vec());
    assert!(matches!(parse(&registry, &["add".into(), option]), Err(ParseError::NotText(_))));
}
