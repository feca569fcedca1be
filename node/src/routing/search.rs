//! Searches for providers that Bitswap asks for.

use std::collections::{HashSet, VecDeque};
use std::future::Future;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, Stream, StreamExt as _};
use holdfast_bitswap::{Events, Handle};
use holdfast_dag::cid::Cid;
use holdfast_dht::kad::PeerInfo;
use libp2p::PeerId;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Routing, SEARCH_TIME_MAX};
use crate::swarm::book::Book;

/// Searches at a time. Those asked for meanwhile wait, and a session asks again.
const SEARCHES_MAX: usize = 16;

/// Providers that are not where they are said to be, or of whom nothing is said, and that one search looks for at a time.
const PEER_SEARCHES_MAX: usize = 4;

/// How long one of them is looked for.
const PEER_SEARCH_TIME_MAX: Duration = Duration::from_secs(10);

/// Answers searches until Bitswap is gone, each with `providers_max` providers at most. A search for a CID that is being searched for already is not begun again.
pub(crate) async fn answer_searches(
    routing: Routing,
    book: Book,
    mut asked: Events,
    exchange: Handle,
    providers_max: usize,
) {
    let mut running: JoinSet<Cid> = JoinSet::new();
    let mut searched: HashSet<Cid> = HashSet::new();
    loop {
        tokio::select! {
            Some(ended) = running.join_next(), if !running.is_empty() => match ended {
                Ok(cid) => drop(searched.remove(&cid)),
                Err(error) => tracing::error!("a search for providers failed: {error}"),
            },
            request = asked.next(), if running.len() < SEARCHES_MAX => {
                let Some(request) = request else { return };
                if searched.insert(request.cid) {
                    let (routing, book, exchange) = (routing.clone(), book.clone(), exchange.clone());
                    running.spawn(search(routing, book, request.cid, exchange, providers_max));
                }
            }
        }
    }
}

async fn search(routing: Routing, book: Book, cid: Cid, exchange: Handle, providers_max: usize) -> Cid {
    let us = routing.us;
    let found = routing.find_providers(cid.hash(), providers_max, None);
    let others = found.filter(move |provider| std::future::ready(provider.id != us));
    let is_elsewhere = |provider: &PeerInfo| {
        let has_address = !provider.addresses.is_empty() || !book.addresses(&provider.id).is_empty();
        !has_address || book.is_lost(&provider.id)
    };
    let look_for = |peer| look_for(&routing, &book, peer);
    let give = |provider: PeerInfo| exchange.providers(cid, vec![(provider.id, provider.addresses)]);
    // Whoever was found until then has been told.
    drop(timeout(SEARCH_TIME_MAX, pass_on(others, is_elsewhere, look_for, give)).await);
    cid
}

/// A peer with the addresses that the DHTs know, which are noted in the book; else with those that the book has.
async fn look_for(routing: &Routing, book: &Book, peer: PeerId) -> Option<PeerInfo> {
    if let Ok(Ok(found)) = timeout(PEER_SEARCH_TIME_MAX, routing.find_peer(peer, None)).await {
        book.hear(peer, found.addresses.iter().cloned());
        return Some(found);
    }
    let addresses = book.addresses(&peer);
    (!addresses.is_empty()).then_some(PeerInfo { id: peer, addresses })
}

/// Gives on providers as they come. Records lose their addresses before they expire themselves, and their peers move: a provider
/// without an address, or one that was dialled in vain, is looked for first, and keeps nobody else waiting. One that is not found
/// is dialled where it was, if it was anywhere: it may have come back.
async fn pass_on<L, G>(
    found: impl Stream<Item = PeerInfo>,
    is_elsewhere: impl Fn(&PeerInfo) -> bool,
    look_for: impl Fn(PeerId) -> L,
    give: impl Fn(PeerInfo) -> G,
) where
    L: Future<Output = Option<PeerInfo>>,
    G: Future<Output = ()>,
{
    let mut found = std::pin::pin!(found.fuse());
    // As many as are found, at most.
    let mut waiting: VecDeque<PeerInfo> = VecDeque::new();
    let mut looking = FuturesUnordered::new();
    let mut is_over = false;
    loop {
        while looking.len() < PEER_SEARCHES_MAX
            && let Some(provider) = waiting.pop_front()
        {
            let found = look_for(provider.id);
            looking.push(async move { (found.await, provider) });
        }
        if is_over && looking.is_empty() {
            return;
        }
        tokio::select! {
            next = found.next(), if !is_over => match next {
                None => is_over = true,
                Some(provider) if is_elsewhere(&provider) => waiting.push_back(provider),
                Some(provider) => give(provider).await,
            },
            Some((found, mut provider)) = looking.next(), if !looking.is_empty() => {
                let new = found.into_iter().flat_map(|found| found.addresses);
                let new: Vec<_> = new.filter(|address| !provider.addresses.contains(address)).collect();
                provider.addresses.splice(..0, new);
                if !provider.addresses.is_empty() {
                    give(provider).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures_util::stream;
    use libp2p::Multiaddr;
    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn providers_that_are_elsewhere_are_looked_for_and_keep_nobody_waiting() {
        let address: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().unwrap();
        let [told, in_book, nobody_knows, found_late, moved, back] =
            std::array::from_fn(|_| PeerId::random());
        let bare = |id| PeerInfo { id, addresses: Vec::new() };
        let with_address = |id| PeerInfo { id, addresses: vec![address.clone()] };
        // More that nobody knows than are looked for at a time.
        let unknown = (0..3 * PEER_SEARCHES_MAX).map(|_| bare(PeerId::random()));
        let all: Vec<PeerInfo> = [bare(nobody_knows), bare(found_late)]
            .into_iter()
            .chain(unknown)
            .chain([bare(in_book), with_address(moved), with_address(back), with_address(told)])
            .collect();
        let elsewhere: Multiaddr = "/ip4/192.0.2.1/tcp/2".parse().unwrap();
        let (given, others_are_given) = (RefCell::new(Vec::new()), Notify::new());
        let look_for = |peer| {
            let (answer, others_are_given) = (with_address(peer), &others_are_given);
            let moved_to = PeerInfo { id: moved, addresses: vec![elsewhere.clone()] };
            async move {
                if peer == moved {
                    return Some(moved_to);
                }
                if peer != found_late {
                    return None;
                }
                others_are_given.notified().await;
                Some(answer)
            }
        };
        let give = |provider: PeerInfo| {
            if provider.id == told {
                others_are_given.notify_one();
            }
            given.borrow_mut().push((provider.id, provider.addresses.clone()));
            std::future::ready(())
        };
        let is_elsewhere =
            |it: &PeerInfo| it.addresses.is_empty() && it.id != in_book || [moved, back].contains(&it.id);
        let passing = pass_on(stream::iter(all), is_elsewhere, look_for, give);
        timeout(Duration::from_secs(60), passing).await.expect("it ends when all were looked for");
        let mut given = given.into_inner();
        given.sort();
        let mut expected = [
            (in_book, vec![]),
            (told, vec![address.clone()]),
            (found_late, vec![address.clone()]),
            (moved, vec![elsewhere.clone(), address.clone()]),
            (back, vec![address]),
        ];
        expected.sort();
        assert_eq!(given, expected);
    }
}
