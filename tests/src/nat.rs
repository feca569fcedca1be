//! An internet in namespaces: public places that reach each other, and homes that each lie behind a NAT of their own.
//!
//! The public addresses are of a range that is public everywhere (11.0.0.0/8), because nodes go by that; no packet with one
//! leaves the namespaces, which have no route but to each other. A NAT is a namespace between the home and the bridge: it
//! rewrites what leaves the home to its own address, and drops what it does not let in without a word, as the boxes in people's
//! homes do; [`Nat`] has the kinds.

use std::net::Ipv4Addr;

use crate::netns::{Holder, Place, made};

/// What a NAT does with what leaves a home, and with what nobody there has asked for.
///
/// They differ in what decides whether two homes can make a hole (RFC 4787, section 4 and 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// It keeps the port of what leaves, and lets in only answers: from the address and port that were written to.
    Strict,
    /// The same with another port than the home's, one for all that it writes to.
    OtherPort,
    /// The same with another port for each address and port that is written to: nobody else can know it.
    Symmetric,
}

/// The port that [`Nat::OtherPort`] gives.
const OTHER_PORT: u16 = 40_000;

impl Nat {
    /// The rules of one.
    ///
    /// What comes for the NAT itself is dropped too. Were it refused in words, its connection would be remembered, and take the
    /// very port that a home is about to use towards the same peer.
    fn rules(self) -> String {
        let leave = match self {
            Self::Strict => "masquerade".to_owned(),
            Self::OtherPort => format!("meta l4proto {{ tcp, udp }} masquerade to :{OTHER_PORT}"),
            Self::Symmetric => "masquerade fully-random".to_owned(),
        };
        format!(
            r#"
table ip nat {{
  chain leave {{
    type nat hook postrouting priority 100;
    oifname "out" {leave};
  }}
}}
table ip gate {{
  chain come {{
    type filter hook input priority 0; policy drop;
  }}
  chain pass {{
    type filter hook forward priority 0; policy drop;
    iifname "in" oifname "out" accept;
    ct state established,related accept;
  }}
}}
"#
        )
    }
}

/// The network. It ends when this is dropped.
#[derive(Debug)]
pub struct Internet {
    public: Vec<Place>,
    homes: Vec<Home>,
    _bridge: Holder,
}

/// A place behind a NAT.
#[derive(Debug)]
pub struct Home {
    place: Place,
    /// The NAT's address on the internet.
    outside: Ipv4Addr,
    _nat: Holder,
}

impl Home {
    /// The place, whose own address nobody else can reach.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The address as others see it.
    pub fn outside(&self) -> Ipv4Addr {
        self.outside
    }
}

impl Internet {
    /// An internet with so many public places, and homes behind these NATs; if it cannot be made, that is said, and `check` is
    /// skipped.
    ///
    /// # Panics
    /// When it should be possible, and is not.
    #[track_caller]
    pub fn new(check: &str, public: u8, nats: &[Nat]) -> Option<Self> {
        made(check, &["ip", "unshare", "nsenter", "nft"], || Self::make(public, nats))
    }

    fn make(public: u8, nats: &[Nat]) -> Result<Self, String> {
        let bridge = Holder::new()?;
        bridge.ip("link add br0 type bridge forward_delay 0 mcast_snooping 0")?;
        bridge.ip("link set br0 up")?;
        let public = (1..=public).map(|number| public_place(&bridge, number)).collect::<Result<_, _>>()?;
        let homes =
            (1..).zip(nats).map(|(number, nat)| home(&bridge, number, *nat)).collect::<Result<_, _>>()?;
        Ok(Self { public, homes, _bridge: bridge })
    }

    /// The places that everybody reaches.
    pub fn public(&self) -> &[Place] {
        &self.public
    }

    /// The homes.
    pub fn homes(&self) -> &[Home] {
        &self.homes
    }
}

/// Gives a namespace a link to the bridge, with an address.
fn link(bridge: &Holder, holder: &Holder, name: &str, address: Ipv4Addr) -> Result<(), String> {
    let port = format!("v{}", address.octets()[3]);
    holder.ip(&format!("link add {name} type veth peer name {port} netns {}", bridge.pid()))?;
    holder.ip("link set lo up")?;
    holder.ip(&format!("addr add {address}/24 dev {name}"))?;
    holder.ip(&format!("link set {name} up"))?;
    bridge.ip(&format!("link set {port} master br0 up"))?;
    Ok(())
}

fn public_place(bridge: &Holder, number: u8) -> Result<Place, String> {
    let (holder, address) = (Holder::new()?, Ipv4Addr::new(11, 77, 0, number));
    link(bridge, &holder, "eth0", address)?;
    Ok(Place::new(holder, number, address))
}

fn home(bridge: &Holder, number: u8, kind: Nat) -> Result<Home, String> {
    let (nat, outside) = (Holder::new()?, Ipv4Addr::new(11, 77, 0, 100 + number));
    link(bridge, &nat, "out", outside)?;
    let (inside, address) = (Ipv4Addr::new(192, 168, number, 1), Ipv4Addr::new(192, 168, number, 2));
    let holder = Holder::new()?;
    nat.ip(&format!("link add in type veth peer name eth0 netns {}", holder.pid()))?;
    nat.ip(&format!("addr add {inside}/24 dev in"))?;
    nat.ip("link set in up")?;
    holder.ip("link set lo up")?;
    holder.ip(&format!("addr add {address}/24 dev eth0"))?;
    holder.ip("link set eth0 up")?;
    holder.ip(&format!("route add 11.77.0.0/24 via {inside}"))?;
    nat.run(&["nft", &kind.rules()])?;
    // The path below /proc/sys/net is that of whoever opens it.
    nat.run(&["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])?;
    Ok(Home { place: Place::new(holder, number, address), outside, _nat: nat })
}
