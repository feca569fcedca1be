//! A router at home that maps ports for whoever asks: the part of UPnP's Internet Gateway Device that nodes use.
//!
//! It answers the search by multicast (SSDP), describes itself in XML over HTTP, takes the actions of `WANIPConnection:1` (SOAP), and
//! keeps in mind who asked for what. It maps nothing.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::netns::Place;

/// Where devices are searched for.
const SEARCH: (Ipv4Addr, u16) = (Ipv4Addr::new(239, 255, 255, 250), 1900);
/// What is searched for.
const DEVICE: &str = "urn:schemas-upnp-org:device:InternetGatewayDevice:1";
const SERVICE: &str = "urn:schemas-upnp-org:service:WANIPConnection:1";
/// How often it looks whether it is to end.
const TURN: Duration = Duration::from_millis(50);
/// How long it waits for a request to be whole.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
const BODY_BYTES_MAX: usize = 1 << 16;

/// A port that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mapping {
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// The port outside.
    pub outside: u16,
    /// Where what comes there is to go.
    pub inside: SocketAddr,
    /// For how long, in seconds; 0 is for ever.
    pub seconds: u32,
}

/// What was asked.
#[derive(Debug, Clone, Default)]
struct Asked {
    searched: Vec<IpAddr>,
    mappings: Vec<Mapping>,
}

/// The router. It ends when this is dropped.
#[derive(Debug)]
pub struct Igd {
    asked: Arc<Mutex<Asked>>,
    over: Arc<AtomicBool>,
    running: Vec<JoinHandle<()>>,
}

impl Igd {
    /// A router at this place, which says that it has this address outside.
    ///
    /// # Panics
    /// When it cannot listen.
    #[track_caller]
    pub fn start(place: &Place, outside: Ipv4Addr) -> Self {
        let address = place.address();
        let (asked, over): (Arc<Mutex<Asked>>, Arc<AtomicBool>) = Default::default();
        // The sockets are made by a thread that is there, and may then be used by any.
        let (search, http) = std::thread::scope(|scope| {
            let made = scope.spawn(|| {
                place.enter();
                let search = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, SEARCH.1)).unwrap();
                search.join_multicast_v4(&SEARCH.0, &address).unwrap();
                (search, TcpListener::bind((address, 0)).unwrap())
            });
            made.join().unwrap()
        });
        search.set_read_timeout(Some(TURN)).unwrap();
        http.set_nonblocking(true).unwrap();
        let described = format!("http://{}/root.xml", http.local_addr().unwrap());
        let answering = {
            let (asked, over) = (Arc::clone(&asked), Arc::clone(&over));
            std::thread::spawn(move || answer_searches(&search, &described, &asked, &over))
        };
        let serving = {
            let (asked, over) = (Arc::clone(&asked), Arc::clone(&over));
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    match http.accept() {
                        Ok((connection, _)) => drop(serve(&connection, outside, &asked)),
                        Err(_) => std::thread::sleep(TURN),
                    }
                }
            })
        };
        Self { asked, over, running: vec![answering, serving] }
    }

    fn asked(&self) -> Asked {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who searched for it.
    pub fn searched(&self) -> Vec<IpAddr> {
        self.asked().searched
    }

    /// The ports that were asked for, sorted, each once.
    pub fn mappings(&self) -> Vec<Mapping> {
        let mut mappings = self.asked().mappings;
        mappings.sort();
        mappings.dedup();
        mappings
    }
}

impl Drop for Igd {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        for thread in self.running.drain(..) {
            drop(thread.join());
        }
    }
}

fn answer_searches(socket: &UdpSocket, described: &str, asked: &Mutex<Asked>, over: &AtomicBool) {
    let mut bytes = [0; 2048];
    while !over.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut bytes) else { continue };
        let said = String::from_utf8_lossy(&bytes[..length]);
        if said.starts_with("M-SEARCH * HTTP/1.1\r\n") && said.contains(DEVICE) {
            asked.lock().unwrap_or_else(PoisonError::into_inner).searched.push(from.ip());
            let answer = format!(
                "HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nST: {DEVICE}\r\nEXT:\r\nLOCATION: {described}\r\n\r\n"
            );
            drop(socket.send_to(answer.as_bytes(), from));
        }
    }
}

/// Answers one request, and closes. Whoever sends none that can be read gets no answer.
fn serve(connection: &TcpStream, outside: Ipv4Addr, asked: &Mutex<Asked>) -> Option<()> {
    connection.set_nonblocking(false).ok()?;
    connection.set_read_timeout(Some(REQUEST_TIME_MAX)).ok()?;
    let mut reader = BufReader::new(connection);
    let (mut head, mut length) = (Vec::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        if let Some((_, value)) =
            line.split_once(':').filter(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        {
            length = value.trim().parse::<usize>().ok().filter(|length| *length <= BODY_BYTES_MAX)?;
        }
        head.push(line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).ok()?;
    let answer = match head.first()?.split(' ').nth(1)? {
        "/root.xml" => description(),
        "/service.xml" => actions(),
        _ => act(&head, &body, outside, asked)?,
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        answer.len()
    );
    let mut writer = connection;
    writer.write_all([head, answer].concat().as_bytes()).ok()
}

/// Does what a request of SOAP asks for.
fn act(head: &[String], body: &str, outside: Ipv4Addr, asked: &Mutex<Asked>) -> Option<String> {
    let action = head.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("soapaction").then(|| value.trim().trim_matches('"').rsplit('#').next())?
    })?;
    let answer = match action {
        "GetExternalIPAddress" => format!("<NewExternalIPAddress>{outside}</NewExternalIPAddress>"),
        "AddPortMapping" => {
            let mapping = Mapping {
                protocol: element(body, "NewProtocol")?.to_owned(),
                outside: element(body, "NewExternalPort")?.parse().ok()?,
                inside: SocketAddr::new(
                    element(body, "NewInternalClient")?.parse().ok()?,
                    element(body, "NewInternalPort")?.parse().ok()?,
                ),
                seconds: element(body, "NewLeaseDuration")?.parse().ok()?,
            };
            asked.lock().unwrap_or_else(PoisonError::into_inner).mappings.push(mapping);
            String::new()
        }
        _ => String::new(),
    };
    Some(format!(
        "<?xml version=\"1.0\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><u:{action}Response \
         xmlns:u=\"{SERVICE}\">{answer}</u:{action}Response></s:Body></s:Envelope>"
    ))
}

/// What stands between the tags of this name.
fn element<'b>(body: &'b str, name: &str) -> Option<&'b str> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    Some(rest.split_once('<')?.0)
}

fn description() -> String {
    let nested = |device: &str, inner: &str| {
        format!("<device><deviceType>urn:schemas-upnp-org:device:{device}:1</deviceType>{inner}</device>")
    };
    let service = format!(
        "<serviceList><service><serviceType>{SERVICE}</serviceType><serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId>\
         <SCPDURL>/service.xml</SCPDURL><controlURL>/control</controlURL><eventSubURL>/events</eventSubURL></service>\
         </serviceList>"
    );
    let list = |inner: String| format!("<deviceList>{inner}</deviceList>");
    let device = nested("WANDevice", &list(nested("WANConnectionDevice", &service)));
    format!(
        "<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\">{}</root>",
        nested("InternetGatewayDevice", &list(device))
    )
}

fn actions() -> String {
    let action = |name: &str, arguments: &[&str]| {
        let argument =
            |name: &&str| format!("<argument><name>{name}</name><direction>in</direction></argument>");
        let arguments: String = arguments.iter().map(argument).collect();
        format!("<action><name>{name}</name><argumentList>{arguments}</argumentList></action>")
    };
    let port = ["NewRemoteHost", "NewExternalPort", "NewProtocol"];
    let rest = [
        "NewInternalPort",
        "NewInternalClient",
        "NewEnabled",
        "NewPortMappingDescription",
        "NewLeaseDuration",
    ];
    format!(
        "<?xml version=\"1.0\"?><scpd xmlns=\"urn:schemas-upnp-org:service-1-0\"><actionList>{}{}{}</actionList></scpd>",
        action("GetExternalIPAddress", &[]),
        action("AddPortMapping", &[&port[..], &rest].concat()),
        action("DeletePortMapping", &port)
    )
}
