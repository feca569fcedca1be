//! Sixteen callers pin, unpin, update and look at a few CIDs at the same time.
//!
//! Every call is taken down with its beginning and its end, and a checker looks for one order that explains all answers.
//! The CIDs are few, so that callers are in each other's way; updates go round in rings of three.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast::services::pins::{
    PinAddError, PinHow, PinOptions, PinProgress, PinRemoveError, PinTypes, PinUpdateError,
};
use holdfast_dag::cid::Cid;

use crate::checker::check;
use crate::history::{Ask, Call, Key, Pins, Recorder, Told};
use crate::support::PinNode;

const CALLERS: u32 = 16;
const CALLS_EACH: u32 = 640;
const RINGS: usize = 6;
const RING: usize = 3;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

fn draw(random: &mut Random, caller: u32, call: u32) -> Ask {
    // The first ring is the busiest.
    let ring = (random.below(RINGS as u64 + 2) as usize).saturating_sub(2);
    let place = random.below(RING as u64) as usize;
    let key = ring * RING + place;
    let name = caller * 1_000_000 + call;
    match random.below(100) {
        0..25 => Ask::Add { key, recursive: true, name },
        25..35 => Ask::Add { key, recursive: false, name },
        35..52 => Ask::Remove { key, recursive: random.below(4) > 0 },
        52..75 => {
            let to = ring * RING + (place + 1 + random.below(RING as u64 - 1) as usize) % RING;
            Ask::Update { from: key, to, unpin: random.below(4) > 0 }
        }
        75..88 => Ask::Get { key },
        _ => Ask::Show { key },
    }
}

async fn answer(test: &PinNode, cids: &[Cid], ask: &Ask) -> Told {
    let pins = test.node.pins();
    let progress = PinProgress::default();
    match ask {
        Ask::Add { key, recursive, name } => {
            let options = PinOptions { recursive: *recursive, name: name.to_string(), every_block: false };
            match pins.add(cids[*key], options, &progress).await {
                Ok(()) => Told::Done,
                Err(PinAddError::AlreadyRecursive { .. }) => Told::AlreadyRecursive,
                Err(error) => panic!("{ask:?}: {error}"),
            }
        }
        Ask::Remove { key, recursive } => match pins.remove(cids[*key], *recursive).await {
            Ok(_) => Told::Done,
            Err(PinRemoveError::NotPinned) => Told::NotPinned,
            Err(PinRemoveError::Recursive { .. }) => Told::IsRecursive,
            Err(error) => panic!("{ask:?}: {error}"),
        },
        Ask::Update { from, to, unpin } => {
            match pins.update(cids[*from], cids[*to], *unpin, &progress).await {
                Ok(()) => Told::Done,
                Err(PinUpdateError::FromNotPinned) => Told::FromNotPinned,
                Err(PinUpdateError::ToPinned) => Told::ToPinned,
                Err(error) => panic!("{ask:?}: {error}"),
            }
        }
        Ask::Get { key } => {
            let (node, cid) = (test.node.clone(), cids[*key]);
            let of = test.node.pool().run(move || node.store().pins().of(&cid).unwrap()).await.unwrap();
            Told::Pins(Pins {
                recursive: of.recursive.map(|pin| pin.name.parse().unwrap()),
                direct: of.direct.map(|pin| pin.name.parse().unwrap()),
            })
        }
        Ask::Show { key } => {
            let state = pins.states(vec![cids[*key]], PinTypes::All).await.unwrap().pop().unwrap();
            Told::Strongest(state.map(|pinned| {
                let kind = match pinned.how {
                    PinHow::Recursive => "recursive",
                    PinHow::Direct => "direct",
                    PinHow::Indirect(_) => panic!("nothing links to these CIDs"),
                };
                (kind, pinned.name.parse().unwrap())
            }))
        }
    }
}

/// A node, some CIDs with blocks of their own and blocks that they share, and the history of what callers did to them.
async fn recorded(seed: u64, callers: u32, calls_each: u32) -> Vec<Call> {
    let test = Arc::new(PinNode::new().await);
    let shared = test.leaf("what they share").await;
    let mut cids = Vec::new();
    for key in 0..RINGS * RING {
        let own = test.leaf(&format!("leaf {key}")).await;
        cids.push(test.branch(&format!("branch {key}"), &[shared, own]).await);
    }
    let (recorder, cids) = (Arc::new(Recorder::default()), Arc::new(cids));
    let callers: Vec<_> = (0..callers)
        .map(|caller| {
            let (test, recorder, cids) = (Arc::clone(&test), Arc::clone(&recorder), Arc::clone(&cids));
            tokio::spawn(async move {
                let mut random = Random(seed.wrapping_mul(1000) + u64::from(caller));
                for call in 0..calls_each {
                    let ask = draw(&mut random, caller, call);
                    recorder.record(ask.clone(), answer(&test, &cids, &ask)).await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    Arc::into_inner(recorder).unwrap().into_calls()
}

fn seed() -> u64 {
    let seed = std::env::var("HOLDFAST_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("linearizable: HOLDFAST_TEST_SEED={seed}");
    seed
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_its_moment() {
    let calls = recorded(seed(), CALLERS, CALLS_EACH).await;
    assert!(calls.len() >= 10_000);
    let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
    for call in &calls {
        let words = format!("{:?} {:?}", call.ask, call.told);
        let word = |text: &str| text.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
        let told = words.split_once("} ").map_or("", |(_, told)| told);
        *kinds.entry(format!("{} {}", word(&words), word(told))).or_default() += 1;
    }
    eprintln!("linearizable: {} calls: {kinds:?}", calls.len());
    for outcome in ["Add Done", "Add AlreadyRecursive", "Remove Done", "Remove NotPinned", "Update Done"] {
        assert!(kinds.get(outcome).is_some_and(|count| *count > 50), "too few {outcome}: {kinds:?}");
    }
    let overlapping = calls.iter().filter(|call| call.returned - call.called > 1).count();
    assert!(overlapping * 2 > calls.len(), "callers were not in each other's way: {overlapping}");
    if let Err(object) = check(&calls) {
        let mut object = object;
        object.sort_by_key(|call| call.called);
        panic!("no order explains these {} answers, first ones: {:#?}", object.len(), &object[..20]);
    }
}

/// The checker looks at real histories of which one answer is changed, and must not be content with any.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_answer_is_found() {
    let calls = recorded(seed(), 4, 100).await;
    assert!(check(&calls).is_ok());
    let reads = calls.iter().enumerate().filter(|(_, call)| matches!(call.ask, Ask::Get { .. }));
    let reads: Vec<usize> = reads.map(|(at, _)| at).collect();
    assert!(reads.len() > 10);
    for at in reads {
        let mut calls = calls.clone();
        // A name that nobody ever gave.
        calls[at].told = Told::Pins(Pins { recursive: Some(u32::MAX), direct: None });
        assert!(check(&calls).is_err(), "a forged answer passed: {:?}", calls[at]);
    }
    // A removal that was acknowledged, and did not happen: whoever looks at the end sees the pin.
    let end = calls.iter().map(|call| call.returned).max().unwrap();
    let (key, name): (Key, _) = (0, u32::MAX);
    let mut calls = calls;
    let after = [
        (Ask::Add { key, recursive: true, name }, Told::Done),
        (Ask::Remove { key, recursive: true }, Told::Done),
        (Ask::Show { key }, Told::Strongest(Some(("recursive", name)))),
    ];
    for (number, (ask, told)) in after.into_iter().enumerate() {
        let called = end + 1 + 2 * number as u64;
        calls.push(Call { ask, told, called, returned: called + 1 });
    }
    assert!(check(&calls).is_err(), "a lost removal passed");
}
