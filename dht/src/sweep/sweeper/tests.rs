//! Sweeps over a network of virtual peers, in virtual time.

use std::collections::HashMap;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Servers by place; lookups find the 20 closest.
struct Network(BTreeMap<KadId, PeerInfo>);

impl Network {
    fn new(size: usize) -> Self {
        let peer = || PeerInfo { id: PeerId::random(), addresses: Vec::new() };
        Self(std::iter::repeat_with(peer).take(size).map(|peer| (KadId::from(&peer.id), peer)).collect())
    }

    fn closest(&self, place: &KadId) -> Vec<PeerInfo> {
        let mut bits = 0;
        let within = |bits| {
            let prefix = Prefix::of(place, bits);
            self.0.range(prefix.first()..=prefix.last())
        };
        while within(bits + 1).count() >= BUCKET_PEERS_MAX {
            bits += 1;
        }
        let mut near: Vec<_> = within(bits).collect();
        near.sort_by_key(|(id, _)| id.distance(place));
        near.into_iter().take(BUCKET_PEERS_MAX).map(|(_, peer)| peer.clone()).collect()
    }
}

struct World {
    network: Network,
    keys: BTreeMap<KadId, Key>,
    sweeper: Sweeper,
    now: Timestamp,
    told: Vec<(Timestamp, PeerId, Key)>,
    lookups: usize,
    most_jobs: usize,
    is_reachable: bool,
    /// How many of the closest can be reached.
    found_max: usize,
    /// Whether servers take what they are told.
    is_served: bool,
    /// How many keys a server takes of those that it is told.
    taken_max: usize,
    /// Whether this node can tell them.
    is_able: bool,
}

fn start() -> Timestamp {
    Timestamp::from_unix(1_700_000_000, 0)
}

fn keys(count: u32) -> Vec<Key> {
    (0..count).map(|number| Key::new(&number.to_be_bytes()).unwrap()).collect()
}

impl World {
    fn new(peers: usize, count: u32, saved: Option<SavedState>) -> Self {
        let mut sweeper = Sweeper::new(SweepConfig::default(), saved, start());
        sweeper.set_network_size(Some(peers as f64));
        Self {
            network: Network::new(peers),
            keys: keys(count).into_iter().map(|key| (key.id(), key)).collect(),
            sweeper,
            now: start(),
            told: Vec::new(),
            lookups: 0,
            most_jobs: 0,
            is_reachable: true,
            found_max: usize::MAX,
            is_served: true,
            taken_max: usize::MAX,
            is_able: true,
        }
    }

    /// Runs until a moment; what is asked is answered at once.
    fn run_until(&mut self, end: Timestamp) {
        loop {
            self.sweeper.on_timeout(self.now);
            self.most_jobs = self.most_jobs.max(self.sweeper.jobs.len());
            if let Some(action) = self.sweeper.poll_action() {
                self.act(action);
                continue;
            }
            let wait = self.sweeper.wait(self.now).unwrap_or(HOUR).max(Duration::from_secs(1));
            if self.now.after(wait) > end {
                self.now = end;
                return;
            }
            self.now = self.now.after(wait);
        }
    }

    fn act(&mut self, action: SweepAction) {
        match action {
            SweepAction::Keys { job, from, last, max } => {
                let keys = self.keys.range(from..=last).take(max).map(|(_, key)| key.clone()).collect();
                self.sweeper.on_keys(job, Some(keys), self.now);
            }
            SweepAction::Lookup { job, key } => {
                self.lookups += 1;
                let closest = self.network.closest(&key.id()).into_iter().take(self.found_max);
                let closest = self.is_reachable.then(|| closest.collect());
                self.sweeper.on_closest(job, &key, closest, self.now);
            }
            SweepAction::Announce { job, peer, keys } => {
                let taken = match (self.is_able, self.is_served) {
                    (false, _) => None,
                    (true, true) => Some(keys.len().min(self.taken_max)),
                    (true, false) => Some(0),
                };
                self.told
                    .extend(keys.iter().take(taken.unwrap_or(0)).map(|key| (self.now, peer.id, key.clone())));
                self.sweeper.on_announced(job, &peer.id, &keys, taken, self.now);
            }
        }
    }

    /// How many of the pairs of key and closest server were told.
    fn share_of_closest(&self) -> f64 {
        let told: HashSet<(PeerId, &Key)> = self.told.iter().map(|(_, peer, key)| (*peer, key)).collect();
        let (mut there, mut all) = (0_u32, 0_u32);
        for (place, key) in &self.keys {
            for peer in self.network.closest(place) {
                all += 1;
                there += u32::from(told.contains(&(peer.id, key)));
            }
        }
        f64::from(there) / f64::from(all.max(1))
    }
}

#[test]
fn every_key_reaches_its_closest_servers_with_far_fewer_lookups_than_keys() {
    let mut world = World::new(2_000, 3_000, None);
    world.run_until(start().after(Duration::from_secs(60)));
    assert!(world.share_of_closest() > 0.999, "{}", world.share_of_closest());
    assert!(world.lookups < 400, "{} lookups for 3,000 keys among 2,000 servers", world.lookups);
    assert!(world.most_jobs <= 16);
    let stats = world.sweeper.stats(world.now);
    // The first cycle was all due at once; the next one has begun where that one did.
    assert!((3_000..3_300).contains(&stats.past.keys_provided), "{:?}", stats.past);
    assert_eq!(stats.past.keys_failed, 0);
    assert!((stats.average_holders - 20.0).abs() < 0.01);
}

#[test]
fn lookups_do_not_grow_with_the_keys_once_there_are_some_in_each_region() {
    let lookups = [10_000, 40_000].map(|count| {
        let mut world = World::new(10_000, count, None);
        world.run_until(start().after(Duration::from_secs(60)));
        assert!(world.share_of_closest() > 0.95, "{} of {count} keys", world.share_of_closest());
        world.lookups
    });
    assert!(lookups.iter().all(|lookups| (1..=3_600).contains(lookups)), "{lookups:?}");
}

#[test]
fn keys_are_announced_once_an_interval_spread_over_it() {
    let saved = SavedState { cycle_start: start(), place: KadId::from_bytes([0; 32]) };
    let mut world = World::new(500, 200, Some(saved));
    world.run_until(start().after(HOUR * 44).after(Duration::from_secs(60)));
    let mut times: BTreeMap<&Key, Vec<Timestamp>> = BTreeMap::new();
    for (at, _, key) in &world.told {
        let seen = times.entry(key).or_default();
        if seen.last() != Some(at) {
            seen.push(*at);
        }
    }
    assert_eq!(times.len(), 200);
    for (key, times) in times {
        assert!((2..=3).contains(&times.len()), "{key:?} was announced {} times", times.len());
        for pair in times.windows(2) {
            let gap = pair[1].since(pair[0]).as_secs_f64() / 3600.0;
            assert!((21.5..22.5).contains(&gap), "{key:?}: {gap} h between announcements");
        }
    }
    let early = world.told.iter().filter(|(at, ..)| *at < start().after(HOUR * 11)).count();
    assert!((0.15..0.35).contains(&(early as f64 / world.told.len() as f64)), "a quarter of two cycles");
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let saved = SavedState { cycle_start: start(), place: KadId::from_bytes([0; 32]) };
    let mut world = World::new(500, 400, Some(saved));
    world.run_until(start().after(HOUR * 11));
    let before = world.told.len();
    assert!(before > 0);
    let state = SavedState::decode(&world.sweeper.saved_state().encode()).unwrap();
    world.sweeper = Sweeper::new(SweepConfig::default(), Some(state), world.now);
    world.sweeper.set_network_size(Some(500.0));
    world.run_until(start().after(HOUR * 22).after(Duration::from_secs(1)));
    let mut pairs = HashMap::new();
    for (_, peer, key) in &world.told {
        *pairs.entry((*peer, key.clone())).or_insert(0_u32) += 1;
    }
    assert!((world.share_of_closest() - 1.0).abs() < 1e-9, "nothing is left out");
    let twice = pairs.values().filter(|count| **count > 1).count();
    assert!(twice < pairs.len() / 5, "and only what was at work is announced twice");
}

#[test]
fn new_keys_go_out_at_once_grouped_by_region() {
    let saved = SavedState { cycle_start: start(), place: KadId::from_bytes([0; 32]) };
    let mut world = World::new(2_000, 0, Some(saved));
    assert_eq!(world.sweeper.provide(keys(5_000)), 5_000);
    assert_eq!(world.sweeper.stats(start()).pending_key_provides, 5_000);
    world.keys = keys(5_000).into_iter().map(|key| (key.id(), key)).collect();
    let none = std::mem::take(&mut world.keys);
    world.run_until(start());
    world.keys = none;
    assert!(world.share_of_closest() > 0.999);
    assert!(world.lookups < 400, "{} lookups", world.lookups);
    assert_eq!((world.sweeper.clear(), world.sweeper.jobs.len()), (0, 0));
}

#[test]
fn a_region_that_fails_is_tried_again_and_the_state_remembers_it() {
    let mut world = World::new(500, 100, None);
    world.is_reachable = false;
    world.run_until(start().after(Duration::from_secs(30)));
    assert!(world.told.is_empty());
    let stats = world.sweeper.stats(world.now);
    assert!(stats.pending_region_reprovides > 0 && stats.past.keys_failed > 0);
    assert_eq!(world.sweeper.saved_state().place, KadId::from_bytes([0; 32]));
    world.is_reachable = true;
    world.run_until(start().after(Duration::from_secs(300)));
    assert!((world.share_of_closest() - 1.0).abs() < 1e-9);
}

#[test]
fn a_line_that_breaks_amid_a_search_does_not_make_the_network_small() {
    let mut world = World::new(500, 1_000, None);
    world.found_max = 7;
    world.run_until(start().after(Duration::from_secs(30)));
    assert!(world.told.is_empty() && world.sweeper.stats(world.now).pending_region_reprovides > 0);
    world.found_max = usize::MAX;
    world.run_until(start().after(Duration::from_secs(300)));
    assert!((world.share_of_closest() - 1.0).abs() < 1e-9);
}

#[test]
fn a_network_that_shrank_is_believed_after_an_hour() {
    let mut world = World::new(500, 1_000, None);
    world.found_max = 7;
    world.run_until(start().after(HOUR + Duration::from_secs(600)));
    assert!(!world.told.is_empty());
}

#[test]
fn a_region_whose_servers_took_nothing_is_tried_again_the_same_day() {
    let mut world = World::new(500, 100, None);
    world.is_served = false;
    world.run_until(start().after(Duration::from_secs(600)));
    let lookups = world.lookups;
    world.is_served = true;
    world.run_until(start().after(5 * HOUR));
    assert!(world.lookups <= 2 * lookups && world.share_of_closest() < 0.9, "nobody is asked all the time");
    world.run_until(start().after(7 * HOUR));
    assert!((world.share_of_closest() - 1.0).abs() < 1e-9);
}

#[test]
fn a_region_that_this_node_could_not_tell_anybody_of_is_tried_again_soon() {
    let mut world = World::new(500, 1_000, None);
    world.is_able = false;
    world.run_until(start().after(Duration::from_secs(30)));
    assert!(world.told.is_empty() && world.sweeper.stats(world.now).pending_region_reprovides > 0);
    world.is_able = true;
    world.run_until(start().after(Duration::from_secs(300)));
    assert!((world.share_of_closest() - 1.0).abs() < 1e-9);
}

#[test]
fn keys_that_no_server_came_to_are_announced_again_the_same_day() {
    let mut world = World::new(500, 1_000, None);
    world.taken_max = 5;
    world.run_until(start().after(Duration::from_secs(600)));
    let lookups = world.lookups;
    assert!((0.01..0.9).contains(&world.share_of_closest()), "the first of each server's keys");
    world.taken_max = usize::MAX;
    world.run_until(start().after(5 * HOUR));
    assert!(world.lookups <= 2 * lookups && world.share_of_closest() < 0.9, "nobody is told all the time");
    world.run_until(start().after(7 * HOUR));
    assert!((world.share_of_closest() - 1.0).abs() < 1e-9);
}

#[test]
fn what_waits_is_bounded() {
    let mut world = World::new(500, 0, None);
    world.sweeper.set_online(false, start());
    let many = keys(u32::try_from(PENDING_MAX).unwrap() + 10);
    assert_eq!(world.sweeper.provide(many), PENDING_MAX);
    world.run_until(start().after(HOUR));
    assert!(world.told.is_empty() && world.lookups == 0, "nobody can be reached");
    assert_eq!(world.sweeper.clear(), PENDING_MAX);
}

#[test]
fn however_few_workers_there_are_both_queues_come_to_their_turn() {
    for workers_max in 0..=4 {
        for (dedicated_periodic, dedicated_burst) in [(2, 1), (0, 0), (16, 0), (0, 16), (9, 9)] {
            let config =
                SweepConfig { workers_max, dedicated_periodic, dedicated_burst, ..SweepConfig::default() };
            let mut world = World::new(500, 0, None);
            world.sweeper = Sweeper::new(config, None, start());
            world.sweeper.set_network_size(Some(500.0));
            world.keys = keys(50).into_iter().map(|key| (key.id(), key)).collect();
            assert_eq!(
                world.sweeper.provide((100..120_u32).map(|it| Key::new(&it.to_be_bytes()).unwrap())),
                20
            );
            world.run_until(start().after(Duration::from_secs(60)));
            assert!((world.share_of_closest() - 1.0).abs() < 1e-9);
            let stats = world.sweeper.stats(world.now);
            assert_eq!((stats.pending_key_provides, stats.past.keys_provided), (0, 70));
        }
    }
}

#[test]
fn workers_leave_room_for_other_queries() {
    for (workers_max, connections_per_worker) in [(16, 20), (256, 20), (5_000, 1), (16, 100_000), (1, 0)] {
        let config = SweepConfig { workers_max, connections_per_worker, ..SweepConfig::default() };
        let stats = Sweeper::new(config, None, start()).stats(start());
        let together = stats.workers_max * stats.connections_per_worker;
        assert!((1..=ANNOUNCEMENTS_MAX).contains(&together), "{together}");
    }
}
