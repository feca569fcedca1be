//! Networks that a test makes for itself: namespaces on a switch, with 10.x addresses and no way out.
//!
//! A namespace lives as long as a process in it: here a `cat` that reads a pipe of the test. So
//! however a test ends, its networks end with it, and nothing of them is ever seen in the machine's
//! own namespace. The switch is a namespace too, with bridges; a link that is cut is taken off
//! its bridge, which no end of it notices, as when a radio link fails behind an access point.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::process::{Child, Command, Stdio};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::disk::tool;
use crate::need::{program, skip};

/// A namespace, and what keeps it alive.
#[derive(Debug)]
pub(crate) struct Holder(Child);

impl Holder {
    pub(crate) fn new() -> Result<Self, String> {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "echo in; exec cat"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("unshare: {error}"))?;
        let mut line = String::new();
        let said = BufReader::new(child.stdout.take().unwrap()).read_line(&mut line);
        let holder = Self(child);
        if said.is_ok() && line == "in\n" { Ok(holder) } else { Err("unshare made no namespace".to_owned()) }
    }

    pub(crate) fn pid(&self) -> String {
        self.0.id().to_string()
    }

    /// Runs `ip` in it.
    pub(crate) fn ip(&self, line: &str) -> Result<String, String> {
        let line: Vec<&str> = ["ip"].into_iter().chain(line.split(' ')).collect();
        self.run(&line)
    }

    /// Runs a program in it.
    pub(crate) fn run(&self, line: &[&str]) -> Result<String, String> {
        let pid = self.pid();
        tool("nsenter", &[&["-t", &pid, "-n"], line].concat())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A switch and the places around it.
#[derive(Debug)]
pub struct Net {
    switch: Holder,
    places: Vec<Place>,
}

/// A namespace with a loopback device and one link to the switch.
#[derive(Debug)]
pub struct Place {
    holder: Holder,
    number: u8,
    address: Ipv4Addr,
}

/// A network of namespaces, if the programs for it are there and the kernel gives it; if not, that is said, and `check` is skipped.
#[track_caller]
pub(crate) fn made<T>(check: &str, programs: &[&str], make: impl FnOnce() -> Result<T, String>) -> Option<T> {
    if let Some(name) = programs.iter().find(|name| !program(name)) {
        skip(check, &format!("there is no program `{name}` (Debian: iproute2, util-linux, nftables)"));
        return None;
    }
    if !rustix::process::geteuid().is_root() {
        skip(check, "network namespaces need root");
        return None;
    }
    match make() {
        Ok(network) => Some(network),
        Err(error) => {
            skip(check, &format!("this kernel gives no network of namespaces: {error}"));
            None
        }
    }
}

/// Bridges of a switch: one for all, and one for the part that is split off.
const BRIDGES: u8 = 2;

impl Net {
    /// A network of `count` places, each reaching each other one; if it cannot be made, that is
    /// said, and `check` is skipped.
    ///
    /// # Panics
    /// When it should be possible, and is not.
    #[track_caller]
    pub fn new(check: &str, count: u8) -> Option<Self> {
        made(check, &["ip", "unshare", "nsenter"], || Self::make(count))
    }

    /// The same, with places that have no link yet: [`Self::link`] and [`Self::address`] give them what they have. None has the
    /// address that it says it has.
    ///
    /// # Panics
    /// When it should be possible, and is not.
    #[track_caller]
    pub fn without_links(check: &str, count: u8) -> Option<Self> {
        made(check, &["ip", "unshare", "nsenter"], || Self::make_places(count))
    }

    fn make(count: u8) -> Result<Self, String> {
        let net = Self::make_places(count)?;
        for Place { holder, number, address } in &net.places {
            holder.ip(&format!("link add eth0 type veth peer name v{number} netns {}", net.switch.pid()))?;
            holder.ip(&format!("addr add {address}/24 dev eth0"))?;
            holder.ip("link set eth0 up")?;
            net.switch.ip(&format!("link set v{number} master br0 up"))?;
        }
        Ok(net)
    }

    fn make_places(count: u8) -> Result<Self, String> {
        let switch = Holder::new()?;
        for bridge in 0..BRIDGES {
            switch.ip(&format!("link add br{bridge} type bridge forward_delay 0 mcast_snooping 0"))?;
            switch.ip(&format!("link set br{bridge} up"))?;
        }
        let mut places = Vec::new();
        for number in 1..=count {
            let holder = Holder::new()?;
            holder.ip("link set lo up")?;
            places.push(Place { holder, number, address: Ipv4Addr::new(10, 77, 0, number) });
        }
        Ok(Self { switch, places })
    }

    /// Gives a place an interface `eth0` or `eth1` to the bridge of that number, without an address of ours; it is up.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn link(&self, place: &Place, bridge: u8) {
        let port = format!("l{bridge}v{}", place.number);
        let line = format!("link add eth{bridge} type veth peer name {port} netns {}", self.switch.pid());
        place.holder.ip(&line).unwrap();
        place.holder.ip(&format!("link set eth{bridge} up")).unwrap();
        self.switch.ip(&format!("link set {port} master br{bridge} up")).unwrap();
    }

    /// Takes an interface away that [`Self::link`] gave.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn unlink(&self, place: &Place, bridge: u8) {
        place.holder.ip(&format!("link del eth{bridge}")).unwrap();
    }

    /// Gives an interface of a place an address, with the length of its network: `10.1.0.1/24`, `fd00::1/64`.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn address(&self, place: &Place, bridge: u8, address: &str) {
        // Nobody else has it, so that an IPv6 address need not be looked for before it is used.
        let at_once = if address.contains(':') { " nodad" } else { "" };
        place.holder.ip(&format!("addr add {address} dev eth{bridge}{at_once}")).unwrap();
    }

    /// The places, in the order of their addresses.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// Cuts the link of a place: no frame passes, and no end is told.
    ///
    /// # Panics
    /// When the switch refuses.
    #[track_caller]
    pub fn cut(&self, place: &Place) {
        self.switch.ip(&format!("link set v{} nomaster", place.number)).unwrap();
    }

    /// Heals the link of a place, and ends its part in a split.
    ///
    /// # Panics
    /// When the switch refuses.
    #[track_caller]
    pub fn heal(&self, place: &Place) {
        self.join(place, 0);
    }

    /// Pulls a place's plug out (its interface loses its carrier), or puts it back in.
    ///
    /// # Panics
    /// When the switch refuses.
    #[track_caller]
    pub fn plug(&self, place: &Place, is_in: bool) {
        let state = if is_in { "up" } else { "down" };
        self.switch.ip(&format!("link set v{} {state}", place.number)).unwrap();
    }

    /// Splits the network: these places reach only each other, and the others only each other.
    ///
    /// # Panics
    /// When the switch refuses.
    #[track_caller]
    pub fn split(&self, apart: &[&Place]) {
        for place in apart {
            self.join(place, 1);
        }
    }

    /// Lets a place receive no more than this many megabits a second.
    ///
    /// # Panics
    /// When the kernel has no token bucket filter.
    #[track_caller]
    pub fn limit(&self, place: &Place, megabits: u32) {
        let pid = self.switch.pid();
        let line = format!("v{} root tbf rate {megabits}mbit burst 256kb latency 200ms", place.number);
        let mut args = vec!["-t", &pid, "-n", "tc", "qdisc", "replace", "dev"];
        args.extend(line.split(' '));
        tool("nsenter", &args).unwrap();
    }

    /// Heals all links.
    ///
    /// # Panics
    /// When the switch refuses.
    #[track_caller]
    pub fn heal_all(&self) {
        for place in &self.places {
            self.heal(place);
        }
    }

    #[track_caller]
    fn join(&self, place: &Place, bridge: u8) {
        self.switch.ip(&format!("link set v{} master br{bridge}", place.number)).unwrap();
    }
}

impl Place {
    /// A place that another network made, with this address.
    pub(crate) fn new(holder: Holder, number: u8, address: Ipv4Addr) -> Self {
        Self { holder, number, address }
    }

    /// Its address, in a network of 256.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Sends what has no other way, multicast too, to another place, as a computer at home does to its router.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn route_through(&self, router: &Place) {
        self.holder.ip(&format!("route add default via {}", router.address)).unwrap();
    }

    /// Refuses what comes from another place and is no answer, in words, until it is admitted again. The words have to pass: the other may
    /// refuse what comes from here too.
    #[track_caller]
    pub(crate) fn refuse(&self, other: &Place) {
        let rules = format!(
            "table ip refused{} {{
              chain come {{
                type filter hook input priority 0; policy accept;
                ip saddr {} tcp flags & (syn | ack) == syn reject with tcp reset;
                ip saddr {} meta l4proto udp reject;
              }}
            }}",
            other.number, other.address, other.address
        );
        self.holder.run(&["nft", &rules]).unwrap();
    }

    /// Ends a refusal.
    #[track_caller]
    pub(crate) fn admit(&self, other: &Place) {
        self.holder.run(&["nft", &format!("delete table ip refused{}", other.number)]).unwrap();
    }

    /// Brings the thread that calls this here: sockets that it makes from now on, and those of threads that it starts, are of
    /// this network.
    ///
    /// # Panics
    /// When the kernel refuses.
    pub fn enter(&self) {
        let network = std::fs::File::open(format!("/proc/{}/ns/net", self.holder.pid())).unwrap();
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// What has to stand before a program so that it runs here: its process takes the place of this.
    pub fn prefix(&self) -> Vec<String> {
        ["nsenter", "-t", &self.holder.pid(), "-n", "--"].map(str::to_owned).to_vec()
    }

    /// A command as it runs here, with the variables and folder that were set; it inherits no others.
    pub fn inside(&self, command: &Command) -> Command {
        let prefix = self.prefix();
        let mut inside = Command::new(&prefix[0]);
        inside.args(&prefix[1..]).arg(command.get_program()).args(command.get_args()).env_clear();
        inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        inside
    }
}
