//! The answers of the commands as Kubo gives them over RPC, on the same objects.

use futures_util::{StreamExt as _, TryStreamExt as _};
use holdfast::commands::registry::{Door, Input, RawOption, Registry, Request, Response};
use holdfast::commands::{Context, ContextParams, registry};
use holdfast::services::pins::{PinOptions, PinProgress};
use serde_json::{Value, json};

use crate::support::PinNode;

/// Runs a command as the HTTP door will: every value as it comes, or the words of the error.
async fn ask(
    test: &PinNode,
    words: &[&str],
    options: &[(&str, &str)],
    args: &[String],
) -> Result<Vec<Value>, String> {
    let registry = registry();
    let path = registry.find(words).unwrap();
    let options: Vec<_> = options.iter().map(|(name, value)| RawOption::new(*name, *value)).collect();
    let call = Registry::call(&path, &options, Door::Http).map_err(|error| error.to_string())?;
    let call = call.with_args(path.command(), args.to_vec()).map_err(|error| error.to_string())?;
    let context = Context::of_node(
        ContextParams {
            repo_dir: test.folder.path().join("repo"),
            config_file: None,
            program: "ipfs".to_owned(),
        },
        test.node.clone(),
    );
    let response = path.command().start(context, Request::new(call, Input::none())).unwrap().await;
    match response.map_err(|error| error.to_string())? {
        Response::One(value) => Ok(vec![value]),
        Response::Stream(values) => values.try_collect().await.map_err(|error| error.to_string()),
        Response::Bytes(bytes) => {
            assert_eq!(bytes.content_type, "application/json");
            let text: Vec<_> = bytes.stream.try_collect().await.map_err(|error| error.to_string())?;
            Ok(vec![serde_json::from_slice(&text.concat()).unwrap()])
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn values_have_kubos_shapes() {
    let test = PinNode::new().await;
    let leaf = test.leaf("leaf").await;
    let inner = test.branch("inner", &[leaf]).await;
    let root = test.branch("root", &[inner]).await;
    let (leaf, inner, root) = (leaf.to_string(), inner.to_string(), root.to_string());
    let one = |text: &String| vec![text.clone()];

    assert_eq!(ask(&test, &["pin", "ls"], &[], &[]).await, Ok(vec![json!({})]), "no pins, no Keys");
    let added = ask(&test, &["pin", "add"], &[("name", "n"), ("fast-provide-wait", "1")], &one(&root)).await;
    assert_eq!(added, Ok(vec![json!({ "Pins": [root] })]));
    let added =
        ask(&test, &["pin", "add"], &[("progress", "true"), ("name", "n")], &one(&root)).await.unwrap();
    assert_eq!(added.last().unwrap(), &json!({ "Pins": [root] }));
    let told = &added[added.len() - 2];
    assert_eq!(told["Progress"], 3, "the last progress counts everything: {told}");
    assert!(told["Bytes"].as_u64().unwrap() > 4);

    let keys = ask(&test, &["pin", "ls"], &[("type", "all"), ("names", "1")], &[]).await.unwrap();
    let expected = json!({ "Keys": {
        (root.clone()): { "Type": "recursive", "Name": "n" },
        (inner.clone()): { "Type": "indirect", "Name": "" },
        (leaf.clone()): { "Type": "indirect", "Name": "" },
    }});
    assert_eq!(keys, [expected]);
    let keys = ask(&test, &["pin", "ls"], &[("type", "recursive"), ("stream", "")], &[]).await;
    assert_eq!(keys, Ok(vec![json!({ "Cid": root, "Type": "recursive" })]), "names only where asked for");
    let keys = ask(&test, &["pin", "ls"], &[("name", "n"), ("stream", "")], &[]).await;
    assert_eq!(keys, Ok(vec![json!({ "Cid": root, "Name": "n", "Type": "recursive" })]));
    let keys = ask(&test, &["pin", "ls"], &[], &one(&leaf)).await;
    let through = format!("indirect through {root}");
    assert_eq!(keys, Ok(vec![json!({ "Keys": { (leaf.clone()): { "Type": through, "Name": "" } } })]));

    let verified = ask(&test, &["pin", "verify"], &[("verbose", "")], &[]).await;
    assert_eq!(verified, Ok(vec![json!({ "Cid": root, "Ok": true })]));
    assert_eq!(ask(&test, &["pin", "verify"], &[], &[]).await, Ok(vec![]));
    let updated = ask(&test, &["pin", "update"], &[], &[root.clone(), inner.clone()]).await;
    assert_eq!(updated, Ok(vec![json!({ "Pins": [root, inner] })]));
    let removed = ask(&test, &["pin", "rm"], &[], &one(&inner)).await;
    assert_eq!(removed, Ok(vec![json!({ "Pins": [inner] })]));
}

#[tokio::test]
async fn refusals_have_kubos_words() {
    let test = PinNode::new().await;
    let leaf = test.leaf("leaf").await.to_string();
    let root = test.branch("root", &[leaf.parse().unwrap()]).await.to_string();
    let refused = async |words: &[&str], options: &[(&str, &str)], args: &[&String]| {
        let args: Vec<String> = args.iter().map(|arg| (*arg).clone()).collect();
        ask(&test, words, options, &args).await.unwrap_err()
    };
    assert_eq!(refused(&["pin", "rm"], &[], &[&leaf]).await, "not pinned or pinned indirectly");
    assert_eq!(refused(&["pin", "ls"], &[], &[&leaf]).await, format!("path '{leaf}' is not pinned"));
    let words = "invalid type 'foo', must be one of {direct, indirect, recursive, all}";
    assert_eq!(refused(&["pin", "ls"], &[("t", "foo")], &[]).await, words);
    let long = "x".repeat(300);
    let words = "pin name is 300 bytes (max 255 bytes)";
    assert_eq!(refused(&["pin", "add"], &[("n", &long)], &[&leaf]).await, words);
    assert_eq!(refused(&["pin", "ls"], &[("n", &long)], &[]).await, words);
    assert_eq!(refused(&["pin", "add"], &[], &[]).await, "argument \"ipfs-path\" is required");
    let words = "the --verbose and --quiet options can not be used at the same time";
    assert_eq!(refused(&["pin", "verify"], &[("verbose", ""), ("quiet", "")], &[]).await, words);
    test.pin(root.parse().unwrap(), true, "").await.unwrap();
    assert_eq!(
        refused(&["pin", "ls"], &[("type", "direct")], &[&root]).await,
        format!("path '{root}' is not pinned")
    );
    assert_eq!(
        refused(&["pin", "ls"], &[], &[&leaf, &"zzz".to_owned()]).await,
        "invalid path \"zzz\": path does not have enough components"
    );
    assert_eq!(refused(&["pin", "rm"], &[], &[&leaf]).await, "not pinned or pinned indirectly");
    let words = format!("{root} is pinned recursively");
    assert_eq!(refused(&["pin", "rm"], &[("recursive", "false")], &[&root]).await, words);
}

/// Whoever stops listening to the progress of a walk stops the walk: nothing is pinned behind their back later on.
#[tokio::test]
async fn an_abandoned_pin_add_ends() {
    let test = PinNode::new().await;
    let mut below = test.leaf("bottom").await;
    for depth in 0..50 {
        below = test.branch(&format!("{depth}"), &[below]).await;
    }
    let pins = test.node.pins();
    let progress = PinProgress::default();
    let mut adding = Box::pin(pins.add(below, PinOptions::default(), &progress));
    // It begins when it is first polled, and nobody waits for its end.
    std::future::poll_fn(|context| {
        let _ = adding.as_mut().poll(context);
        std::task::Poll::Ready(())
    })
    .await;
    drop(adding);
    test.node.pool().idle().await;
    let verified = test.node.pins().verify().count().await;
    assert!(verified <= 1, "pinned whole, or not at all");
}
