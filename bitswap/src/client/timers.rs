//! What happens when nothing happens.

use std::time::{Duration, Instant};

use super::state::{Answer, PeerKey, Place, WantKey};
use super::{Action, Client, SessionId};

/// Searches for providers of one session are never further apart.
const SEARCH_DELAY_MAX: Duration = Duration::from_secs(60);

/// They are never nearer, whatever the config says of the first.
pub(super) const SEARCH_DELAY_MIN: Duration = Duration::from_millis(100);

/// A session is looked at later than now, whatever it waits for.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(1);

/// Members that are dialled when a session is stuck.
const REDIALS_MAX: usize = 10;

/// What a point in time is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A held want counts as unanswered.
    Want(WantKey),
    /// A session may be stuck.
    Session(SessionId),
}

impl Client {
    /// When [`Client::on_timeout`] is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Time has passed.
    pub fn on_timeout(&mut self, now: Instant) {
        while let Some((at, timer)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            match timer {
                Timer::Want(key) => self.on_want_timer(key, now),
                Timer::Session(id) => self.on_session_timer(id, now),
            }
        }
    }

    fn on_want_timer(&mut self, key: WantKey, now: Instant) {
        let Some(want) = self.wants.get_mut(key) else { return };
        want.deadline = None;
        let Place::Held(holder, asked) = want.place else { return };
        let Some(peer) = self.peers.get(holder) else { return };
        if peer.flow.deadline(asked, &self.config) > now {
            self.arm_want(key, holder, asked);
        } else {
            self.on_silence(key, holder, now);
        }
    }

    /// A peer did not answer in time: somebody else is asked. Its want stays on its list, for it may be slow and not dead, until
    /// another is asked for the block.
    fn on_silence(&mut self, key: WantKey, holder: PeerKey, now: Instant) {
        let Some(peer) = self.peers.get_mut(holder) else { return };
        peer.flow.on_silence();
        if let Some(relation) = peer.relations.get_mut(&key) {
            relation.answer = Answer::Silent;
        }
        let Some(id) = self.owner_session(key) else { return };
        if let Some(session) = self.sessions.get_mut(&id) {
            session.tried.silences += 1;
            if let Some(member) = session.member(holder) {
                member.hits = 0;
            }
        }
        self.release(key);
        self.queue_first(key);
        self.pump_all(vec![id], now);
        self.look_for_search(id, now);
    }

    /// Sets the time at which a session is looked at, if it waits for anything. A time that is set already is only made earlier.
    pub(super) fn arm_session(&mut self, id: SessionId, now: Instant) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.requests.is_empty() {
            return;
        }
        let at = session.search_at.min(session.rebroadcast_at).max(now + LOOK_AGAIN_MIN);
        if session.timer.is_some_and(|armed| armed <= at) {
            return;
        }
        if let Some(armed) = session.timer.replace(at) {
            self.timers.remove(&(armed, Timer::Session(id)));
        }
        self.timers.insert((at, Timer::Session(id)));
    }

    fn on_session_timer(&mut self, id: SessionId, now: Instant) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.timer = None;
        if session.requests.is_empty() {
            return;
        }
        if session.search_at <= now {
            session.is_answered = true;
            self.pump(id, now);
        }
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if session.rebroadcast_at <= now {
            session.rebroadcast_at = now + self.config.rebroadcast_interval;
            self.rebroadcast(id);
        }
        if let Some(session) = self.sessions.get(&id)
            && session.search_at <= now
        {
            let broadcast = session.broadcast.first().copied();
            let any =
                session.requests.iter().find_map(|request| self.requests.get(request)?.wants.iter().next());
            if let Some(key) = broadcast.or(any.copied()) {
                self.search(id, key, now);
                self.rebroadcast(id);
                self.redial(id);
            }
        }
        self.arm_session(id, now);
    }

    /// Asks the node for providers of a want, and sets when to ask again.
    pub(super) fn search(&mut self, id: SessionId, key: WantKey, now: Instant) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.searches_in_row += 1;
        let doublings = session.searches_in_row.min(8);
        let delay = self.config.search_delay.max(SEARCH_DELAY_MIN) * 2_u32.pow(doublings);
        session.search_at = now + delay.min(SEARCH_DELAY_MAX);
        let Some(want) = self.wants.get(key) else { return };
        session.tried.provider_searches += 1;
        self.actions.push_back(Action::FindProviders { session: id, cid: want.cid });
    }

    /// Dials members that are away.
    fn redial(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        let away = session.members.iter().filter_map(|member| self.peers.get(member.key));
        let dials = away.filter(|peer| !peer.connected).take(REDIALS_MAX);
        let dials: Vec<_> =
            dials.map(|peer| Action::Dial { peer: peer.id, addresses: peer.addresses.clone() }).collect();
        self.actions.extend(dials);
    }

    /// Asks everybody again, those too who said that they have nothing.
    fn rebroadcast(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        for key in session.broadcast.clone() {
            let told = self.wants.get(key).map(|want| want.told.clone()).unwrap_or_default();
            for to in told {
                let Some(peer) = self.peers.get_mut(to) else { continue };
                let Some(relation) = peer.relations.get_mut(&key) else { continue };
                (relation.sent, relation.answer) = (None, Answer::None);
                if !std::mem::replace(&mut relation.is_dirty, true) {
                    peer.dirty.push(key);
                }
                self.list_dirty(to);
            }
            for peer in self.broadcast_peers() {
                self.tell_broadcast(key, peer);
            }
        }
    }
}
