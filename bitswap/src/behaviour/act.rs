//! What inputs and commands mean, and what the actions of client and server do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use futures_util::FutureExt as _;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{NotifyHandler, ToSwarm};
use libp2p::{Multiaddr, PeerId};

use super::handler::Outgoing;
use super::{Answer, Behaviour};
use crate::client;
use crate::handle::{Command, FindProviders, Stat};
use crate::inbox::{Arrived, Control, From, Input, Sending};
use crate::message::Message;
use crate::server;

/// Actions done before what came meanwhile is looked at again.
const ACTIONS_ROUND: usize = 256;

impl Behaviour {
    pub(super) fn on_input(&mut self, input: Input, now: Instant) {
        match input {
            Input::Control(from, control, credit) => {
                self.on_control(from, &control, now);
                drop(credit);
            }
            Input::Blocks(from, arrived, credit) => {
                self.on_blocks(from, arrived, now);
                drop(credit);
            }
            Input::Progress((peer, _)) => self.client.on_progress(peer, now),
            Input::Opened((peer, _), version) => self.client.on_version(peer, version),
            Input::Sent(from, sending) => {
                if self.connections.confirm(from, sending) {
                    self.on_sent(from.0, sending, now);
                }
            }
            Input::Lost(from, lost) => self.on_lost(from, &lost, now),
            Input::Refused(from) => {
                if self.connections.refuse(from) {
                    self.leave(from.0, now);
                }
            }
            Input::Readmitted(from) => {
                if let Some(is_near) = self.connections.readmit(from) {
                    self.arrive(from.0, is_near, now);
                }
            }
            Input::Reader(request) => self.on_reader(request, now),
        }
    }

    fn on_control(&mut self, from: From, control: &Control, now: Instant) {
        let peer = from.0;
        self.touched.insert(peer);
        let counters = &self.common.counters;
        let haves = control.presences.iter().filter(|presence| presence.have).count();
        counters.haves_received.add(haves as u64);
        counters.dont_haves_received.add((control.presences.len() - haves) as u64);
        self.client.on_presences(peer, &control.presences, now);
        if control.full || !control.entries.is_empty() {
            self.connections.asked_on(from);
            self.server.on_wants(peer, &control.entries, control.full);
        }
    }

    fn on_blocks(&mut self, (peer, _): From, arrived: Arrived, now: Instant) {
        self.touched.insert(peer);
        let outcome = self.client.on_blocks(peer, arrived.blocks, arrived.frame_bytes, now);
        self.server.on_received(&peer, outcome.wanted, outcome.wanted_bytes);
        let counters = &self.common.counters;
        counters.blocks_received.add(outcome.wanted as u64);
        counters.data_received.add(outcome.wanted_bytes as u64);
        counters.unwanted_blocks.add(outcome.unwanted as u64);
        for bytes in outcome.duplicates {
            counters.recv_dup_blocks_bytes.observe(bytes);
        }
    }

    fn on_sent(&mut self, peer: PeerId, sending: Sending, now: Instant) {
        self.touched.insert(peer);
        match sending {
            Sending::Wants => self.client.on_sent(peer),
            Sending::Answer(bytes) => self.server.on_sent(&peer, bytes, now),
        }
    }

    fn on_lost(&mut self, from: From, lost: &[Sending], now: Instant) {
        self.touched.insert(from.0);
        let mut answers = Vec::new();
        for sending in lost {
            if self.connections.confirm(from, *sending)
                && let Sending::Answer(bytes) = sending
            {
                answers.push(*bytes);
            }
        }
        self.client.on_stream_lost(from.0);
        self.server.on_stream_lost(&from.0, &answers, now);
    }

    fn on_reader(&mut self, request: client::RequestId, now: Instant) {
        let Some(sink) = self.sinks.get(&request) else { return };
        if let Some(bytes) = sink.consumed() {
            self.client.on_consumed(request, bytes, now);
        } else {
            self.sinks.remove(&request);
            self.client.cancel(request, now);
        }
    }

    pub(super) fn on_command(&mut self, command: Command, now: Instant) {
        match command {
            Command::Get { session, ended, request, cids, sink } => {
                if !sink.is_cancelled() {
                    self.sinks.insert(request, sink);
                    self.client.get(session, request, &cids, now);
                    self.end_if(session, &ended);
                }
            }
            Command::AddPeers { session, ended, peers } => {
                self.client.add_peers(session, &peers, now);
                self.end_if(session, &ended);
            }
            Command::Providers { cid, peers } => self.client.on_providers(&cid, &peers, now),
            Command::NewBlocks(blocks) => self.server.on_new_blocks(&blocks),
            // Whoever asked and went away does not hear the answer.
            Command::Tried { session, answer } => _ = answer.send(self.client.tried(session)),
            Command::Stat(answer) => _ = answer.send(self.stat()),
            Command::Wantlist(None, answer) => _ = answer.send(self.client.wantlist().copied().collect()),
            Command::Wantlist(Some(peer), answer) => _ = answer.send(self.server.wantlist(&peer)),
            Command::Ledger(peer, answer) => _ = answer.send(self.server.ledger(&peer)),
        }
    }

    /// Ends a session that nobody holds any more: that was heard of before the session was.
    fn end_if(&mut self, session: client::SessionId, ended: &AtomicBool) {
        if ended.load(Ordering::Acquire) {
            self.client.end_session(session);
        }
    }

    fn stat(&self) -> Stat {
        let counters = &self.common.counters;
        Stat {
            wantlist: self.client.wantlist().copied().collect(),
            peers: self.client.peers().copied().collect(),
            blocks_received: counters.blocks_received.get(),
            data_received: counters.recv_all_blocks_bytes.sum(),
            dup_blocks_received: counters.recv_dup_blocks_bytes.count(),
            dup_data_received: counters.recv_dup_blocks_bytes.sum(),
            messages_received: counters.messages_received.get(),
            blocks_sent: counters.sent_all_blocks_bytes.count(),
            data_sent: counters.sent_all_blocks_bytes.sum(),
        }
    }

    /// Does what client and server want done. Says whether there is more to do.
    pub(super) fn act(&mut self) -> bool {
        let now = Instant::now();
        let asked_before = self.answers.len();
        let (mut client_left, mut server_left) = (ACTIONS_ROUND, ACTIONS_ROUND);
        while client_left > 0
            && let Some(action) = self.client.poll_action(now)
        {
            client_left -= 1;
            self.act_for_client(action);
        }
        while server_left > 0
            && let Some(action) = self.server.poll_action(now)
        {
            server_left -= 1;
            self.act_for_server(action);
        }
        for peer in std::mem::take(&mut self.touched) {
            let wants = self.client.wants_of(&peer);
            let keep = wants > 0 || self.server.is_busy(&peer);
            self.connections.note(&peer, wants, keep);
            self.shared.set_active(peer, keep && self.connections.is_connected(&peer));
        }
        let counters = &self.common.counters;
        counters.wantlist_total.set(self.client.wants_len() as u64);
        counters.want_blocks_total.set(self.client.held_len() as u64);
        let (broadcasts, skips) = self.client.broadcasts();
        counters.wanthaves_broadcast.set(broadcasts);
        counters.bcast_skips_total.set(skips);
        // What the host was asked begins when it is polled.
        client_left == 0 || server_left == 0 || self.answers.len() > asked_before
    }

    fn act_for_client(&mut self, action: client::Action) {
        match action {
            client::Action::Send { peer, entries, full } => {
                self.send(peer, Message { entries, full, ..Message::default() }, Sending::Wants);
            }
            client::Action::Deliver { request, blocks, end } => {
                if let Some(sink) = self.sinks.get(&request) {
                    sink.give(blocks, end);
                }
                if end {
                    self.sinks.remove(&request);
                }
            }
            client::Action::FindProviders { session, cid } => {
                if self.searches.try_send(FindProviders { session, cid }).is_err() {
                    tracing::debug!(%cid, "nobody listens to searches for providers, or too slowly");
                }
            }
            client::Action::Dial { peer, addresses } => self.dial(peer, addresses),
        }
    }

    /// Dials a peer unless somebody does. One that is connected through a relay only is dialled: Bitswap does not run over that.
    fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if self.connections.is_connected(&peer) {
            return;
        }
        let opts = DialOpts::peer_id(peer)
            .condition(PeerCondition::NotDialing)
            .addresses(addresses)
            .extend_addresses_through_behaviour();
        self.out.push_back(ToSwarm::Dial { opts: opts.build() });
    }

    fn act_for_server(&mut self, action: server::Action) {
        match action {
            server::Action::LookUp { peer, cids } => {
                let presence = self.common.host.presence(cids.clone());
                self.answers.push(presence.map(move |sizes| Answer::Presence(peer, cids, sizes)).boxed());
            }
            server::Action::Read { batch, cids, .. } => {
                let read = self.common.host.read(cids);
                self.answers.push(read.map(move |blocks| Answer::Read(batch, blocks)).boxed());
            }
            server::Action::Send { peer, message } => {
                for block in &message.blocks {
                    self.common.counters.sent_all_blocks_bytes.observe(block.data.len() as u64);
                }
                let sending = Sending::Answer(message.block_bytes());
                self.send(peer, message, sending);
            }
        }
    }

    fn send(&mut self, peer: PeerId, message: Message, sending: Sending) {
        self.touched.insert(peer);
        let Some(connection) = self.connections.send(&peer, sending) else { return };
        if sending == Sending::Wants {
            let traffic = &self.common.counters.traffic;
            traffic.wantlists_total.add(1);
            traffic.wantlists_items_total.add(message.entries.len() as u64);
        }
        let event = Outgoing { message, sending };
        let handler = NotifyHandler::One(connection);
        self.out.push_back(ToSwarm::NotifyHandler { peer_id: peer, handler, event });
    }
}
