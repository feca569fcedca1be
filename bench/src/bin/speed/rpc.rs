//! Rows over the RPC of a daemon: what clients beside it would see.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_bench::data::Blocks;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use crate::Res;
use crate::bed::{Bed, command};

const BOUNDARY: &str = "holdfast-bench";

/// A daemon of its own process, killed when dropped.
struct Daemon {
    child: Child,
    api: SocketAddr,
}

impl Daemon {
    fn start(bed: &Bed, name: &str) -> Res<Self> {
        let repo = bed.fresh_repo(&bed.holdfast, name)?;
        let mut daemon = command(&bed.holdfast, &repo, &["daemon", "--offline"]);
        let mut child = daemon.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let stdout = child.stdout.take().ok_or("no standard output")?;
        let mut api = None;
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            if let Some(address) = line.strip_prefix("RPC API server listening on ") {
                let mut parts = address.split('/').skip(2).step_by(2);
                let (ip, port) = parts.next().zip(parts.next()).ok_or("no TCP address")?;
                api = Some(SocketAddr::new(ip.parse()?, port.parse()?));
            }
            if line == "Daemon is ready" {
                break;
            }
        }
        let api = api.ok_or("the daemon did not say where it listens")?;
        Ok(Self { child, api })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// 1 to 100 clients that each add 8 MiB again and again over HTTP: throughput, and how long an add takes.
pub(crate) fn adds(bed: &Bed) -> Res<()> {
    const BYTES: usize = 8 << 20;
    let seconds = std::env::var("SECONDS_CLIENTS").map_or(Ok(20), |text| text.parse())?;
    println!("\nadds of 8 MiB over RPC, {seconds} s each, every add pinned and synced before its answer");
    println!("{:>8} {:>8} {:>8} {:>10} {:>10} {:>10}", "clients", "adds", "MB/s", "p50", "p90", "p99");
    for clients in [1_u64, 2, 5, 10, 100] {
        let daemon = Daemon::start(bed, "rpc-adds")?;
        let runtime = Runtime::new()?;
        let start = Instant::now();
        let until = start + Duration::from_secs(seconds);
        let mut tasks = Vec::new();
        for client in 0..clients {
            let api = daemon.api;
            tasks.push(runtime.spawn(async move {
                let mut stream = TcpStream::connect(api).await.map_err(|error| error.to_string())?;
                let mut blocks = Blocks::new(BYTES, clients * 1000 + client);
                let mut waits = Vec::new();
                while Instant::now() < until {
                    let start = Instant::now();
                    add(&mut stream, api, blocks.next_block()).await?;
                    waits.push(start.elapsed());
                }
                Ok::<_, String>(waits)
            }));
        }
        let mut waits = Vec::new();
        for task in tasks {
            waits.extend(runtime.block_on(task)??);
        }
        let took = start.elapsed().as_secs_f64();
        waits.sort_unstable();
        let at = |part: usize| waits.get(waits.len() * part / 100).copied().unwrap_or_default();
        println!(
            "{clients:>8} {:>8} {:>8.0} {:>10.0?} {:>10.0?} {:>10.0?}",
            waits.len(),
            waits.len() as f64 * 8.388_608 / took,
            at(50),
            at(90),
            at(99)
        );
        drop(daemon);
        fs::remove_dir_all(bed.path("rpc-adds"))?;
    }
    Ok(())
}

/// Adds one file over a kept connection.
async fn add(stream: &mut TcpStream, api: SocketAddr, data: &[u8]) -> Result<(), String> {
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    let tail = format!("\r\n--{BOUNDARY}--\r\n");
    let length = head.len() + data.len() + tail.len();
    let request = format!(
        "POST /api/v0/add HTTP/1.1\r\nHost: {api}\r\nContent-Length: {length}\r\n\
         Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n{head}"
    );
    let written = async {
        stream.write_all(request.as_bytes()).await?;
        stream.write_all(data).await?;
        stream.write_all(tail.as_bytes()).await?;
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n0\r\n\r\n") {
            if stream.read_buf(&mut answer).await? == 0 {
                break;
            }
        }
        std::io::Result::Ok(answer)
    };
    let answer = written.await.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&answer);
    if text.starts_with("HTTP/1.1 200") && text.contains("\"Hash\"") {
        Ok(())
    } else {
        Err(text.into_owned())
    }
}

/// Kept connections that ask 2,000 times a second, from a client of its own process: alone, and beside clients that fall silent.
pub(crate) fn connections(bed: &Bed) -> Res<()> {
    let exe = std::env::current_exe()?;
    let [client, silent] = ["holdfast-load", "holdfast-silent"].map(|name| exe.with_file_name(name));
    if let Some(missing) = [&client, &silent].into_iter().find(|program| !program.is_file()) {
        println!("\nSKIPPED: kept connections: {} was not built", missing.display());
        return Ok(());
    }
    let daemon = Daemon::start(bed, "rpc-connections")?;
    let api = daemon.api.to_string();
    let ask = |connections: &str| -> Res<String> {
        let args =
            [api.as_str(), connections, "2000", "20", "/api/v0/version", "/api/v0/repo/stat?size-only=true"];
        let output = Command::new(&client).args(args).stdin(Stdio::null()).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    println!("\n2,000 requests a second over kept connections, waits counted from when a request was due");
    for connections in ["100", "1000", "10000"] {
        println!("{connections:>8} connections: {}", ask(connections)?);
    }
    // 500 wait for the rest of a head, which has 10 s, and 500 have begun a body, of which a byte has to come every 15 s.
    let mut silent = Command::new(&silent);
    let silent = silent
        .args([api.as_str(), "500", "500", "60"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    println!("{:>8} connections beside 1,000 silent ones: {}", 1000, ask("1000")?);
    let output = silent.wait_with_output()?;
    println!("{:>8} the silent ones were ended: {}", "", String::from_utf8_lossy(&output.stdout).trim());
    drop(daemon);
    Ok(fs::remove_dir_all(bed.path("rpc-connections"))?)
}
