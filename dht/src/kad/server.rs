//! Answering peers, as go-libp2p-kad-dht does.

use libp2p::PeerId;

use super::query::values::put_request;
use super::validate::value_bytes_max;
use super::{
    Action, BUCKET_PEERS_MAX, Engine, InboundId, KadId, Key, Kind, Message, Mode, Now, PeerInfo, Response,
    ValueRecord,
};
use crate::ipns::{Record, Timestamp};
use crate::records::{PROVIDERS_PER_ANSWER_MAX, StoreError, StoreReply, StoreRequest};

/// Messages that wait for the store at a time. More are refused. With a value of 10 KiB each, and its copies for the store and for
/// the rule, they hold 30 MiB.
const SERVING_MAX: usize = 1_024;

/// A message that waits for the store.
#[derive(Debug)]
pub(super) struct Serving {
    inbound: InboundId,
    from: PeerId,
    message: Message,
}

impl Engine {
    /// A peer sent a message; what it gets is told by [`Action::Respond`].
    pub fn on_request(&mut self, inbound: InboundId, from: PeerId, message: Message, now: Now) {
        self.book.expire(now.at);
        if let Some(counts) = self.messages.of(message.kind) {
            counts.inbound += 1;
        }
        if self.mode == Mode::Client {
            return self.respond(inbound, Response::Reset);
        }
        match message.kind {
            Kind::Ping => self.respond(inbound, Response::Message(Message::request(Kind::Ping, &[]))),
            Kind::FindNode if message.key.is_empty() => self.respond(inbound, Response::Reset),
            Kind::FindNode => {
                let answer = self.answer(Kind::FindNode, &message.key, &from);
                self.respond(inbound, Response::Message(answer));
            }
            _ => self.ask_store(inbound, from, message),
        }
    }

    fn respond(&mut self, inbound: InboundId, response: Response) {
        self.push(Action::Respond { inbound, response });
    }

    /// What needs the store.
    fn ask_store(&mut self, inbound: InboundId, from: PeerId, mut message: Message) {
        let Ok(key) = Key::new(&message.key) else { return self.respond(inbound, Response::Reset) };
        if self.serving.len() >= SERVING_MAX {
            return self.respond(inbound, Response::Reset);
        }
        let request = match message.kind {
            Kind::GetProviders => StoreRequest::Providers { key, max: PROVIDERS_PER_ANSWER_MAX },
            Kind::GetValue => StoreRequest::Value { key },
            Kind::AddProvider => {
                // A peer speaks for itself only, and one that gives no address of the scope cannot be found.
                let own = message.providers.iter().find(|provider| provider.id == from);
                let addresses = own.map(|own| self.filter.filter(&own.addresses)).unwrap_or_default();
                if addresses.is_empty() {
                    return self.respond(inbound, Response::Nothing);
                }
                StoreRequest::AddProvider { key, provider: PeerInfo { id: from, addresses } }
            }
            Kind::PutValue => match &message.record {
                // What no value of the key may have is not kept while the store is waited for.
                Some(record)
                    if record.key == message.key
                        && value_bytes_max(&message.key).is_some_and(|most| record.value.len() <= most) =>
                {
                    put_request(key, record.value.clone())
                }
                _ => return self.respond(inbound, Response::Reset),
            },
            Kind::FindNode | Kind::Ping => return self.respond(inbound, Response::Reset),
        };
        let id = self.store(request);
        message.keep_of_sender(&from);
        self.serving.insert(id, Serving { inbound, from, message });
    }

    pub(super) fn serve_stored(&mut self, serving: Serving, reply: Result<StoreReply, StoreError>, now: Now) {
        let Serving { inbound, from, message } = serving;
        let response = match reply {
            Ok(StoreReply::Providers(providers)) => {
                let mut answer = self.answer(Kind::GetProviders, &message.key, &from);
                answer.providers = providers.iter().map(|provider| self.with_addresses(provider)).collect();
                Response::Message(answer)
            }
            Ok(StoreReply::Value(value)) => {
                let mut answer = self.answer(Kind::GetValue, &message.key, &from);
                let value = value.filter(|value| is_current(&message.key, value, now.wall));
                answer.record =
                    value.map(|value| ValueRecord { key: message.key, value, time_received: String::new() });
                Response::Message(answer)
            }
            Ok(StoreReply::Put(Ok(()))) => Response::Message(message),
            Ok(StoreReply::Done) => Response::Nothing,
            Ok(StoreReply::Put(Err(_))) | Err(_) => Response::Reset,
        };
        self.respond(inbound, response);
    }

    /// An answer with the peers that are closer to a key, at most 20. If the key is that of a peer whose addresses are
    /// known, this peer comes first. Neither the asking peer nor (unless it is what is searched) this node is among them.
    fn answer(&self, kind: Kind, key: &[u8], from: &PeerId) -> Message {
        let mut answer = Message::request(kind, key);
        let target = (kind == Kind::FindNode).then(|| PeerId::from_bytes(key).ok()).flatten();
        if let Some(id) = target {
            let own = id == self.local;
            let addresses = if own { self.own_addresses.clone() } else { self.addresses_of(&id) };
            if !addresses.is_empty() {
                answer.closer.push(PeerInfo { id, addresses });
            }
            if own {
                return answer;
            }
        }
        let closest = self.table.closest(&KadId::of(key), BUCKET_PEERS_MAX + 2);
        let others = closest.into_iter().filter(|peer| peer.id != *from && Some(peer.id) != target);
        answer.closer.extend(others);
        answer.closer.truncate(BUCKET_PEERS_MAX);
        answer
    }

    /// A provider with addresses of the scope: those of its record, or what else is known of it.
    fn with_addresses(&self, provider: &PeerInfo) -> PeerInfo {
        let addresses = match provider.id {
            id if id == self.local => self.own_addresses.clone(),
            id if provider.addresses.is_empty() => self.addresses_of(&id),
            _ => self.filter.filter(&provider.addresses),
        };
        PeerInfo { id: provider.id, addresses }
    }
}

/// Whether a value that was valid when it was stored still is: its signature was checked then.
fn is_current(key: &[u8], value: &[u8], now: Timestamp) -> bool {
    if !key.starts_with(b"/ipns/") {
        return true;
    }
    let end_of_life = Record::decode(value).and_then(|record| record.end_of_life());
    end_of_life.is_ok_and(|end| end > now)
}
