//! `stats bw`.

use futures_util::StreamExt as _;
use futures_util::stream::{iter, unfold};
use libp2p::PeerId;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::layout::human_bytes;
use super::registry::{
    Call, Command, CommandError, Needs, Opt, Request, Response, TextForm, duration_from_go,
};
use super::{Context, planned};
use crate::keys::parse_peer_id;
use crate::swarm::SwarmHandle;
use crate::swarm::meter::Traffic;

pub(super) fn command() -> Command {
    Command::new("bw", "Print bandwidth information.")
        .help(
            "Prints how many bytes protocols sent and received since the daemon started, and how many a second now. \
             Encryption and framing are not counted.\n\nExample:\n\n  {program} stats bw -t /ipfs/bitswap/1.2.0",
        )
        .opt(Opt::string("peer p", "Specify a peer to print bandwidth for."))
        .opt(Opt::string("proto t", "Specify a protocol to print bandwidth for."))
        .opt(Opt::bool("poll", "Print bandwidth at an interval."))
        .opt(
            Opt::string("interval i", "Time interval to wait between updating output, if 'poll' is true.")
                .default("1s"),
        )
        .needs(Needs::Config)
        .run(run)
        .text_with(Form::of)
}

/// Whose traffic.
enum Whose {
    All,
    Peer(PeerId),
    Protocol(String),
}

impl Whose {
    fn of(&self, swarm: &SwarmHandle) -> Value {
        let Traffic { bytes_in, bytes_out, rate_in, rate_out } = match self {
            Self::All => swarm.traffic(),
            Self::Peer(peer) => swarm.traffic_of_peer(peer),
            Self::Protocol(name) => swarm.traffic_of_protocol(name),
        };
        json!({ "TotalIn": bytes_in, "TotalOut": bytes_out, "RateIn": rate_in, "RateOut": rate_out })
    }
}

async fn run(context: Context, request: Request) -> Result<Response, CommandError> {
    let swarm = context.swarm().ok_or_else(|| CommandError::client(planned::UNABLE_OFFLINE))?.clone();
    let off = super::config::load(&context).await?.flag("Swarm.DisableBandwidthMetrics");
    if off.map_err(CommandError::from_error)? == Some(true) {
        return Err(CommandError::new("bandwidth reporter disabled in config"));
    }
    let whose = match (request.text_opt("peer"), request.text_opt("proto")) {
        (Some(_), Some(_)) => return Err(CommandError::client("please only specify peer OR protocol")),
        (Some(peer), None) => Whose::Peer(parse_peer_id(peer).map_err(CommandError::from_error)?),
        (None, Some(protocol)) => Whose::Protocol(protocol.to_owned()),
        (None, None) => Whose::All,
    };
    let interval = duration_from_go(request.text("interval")).map_err(CommandError::new)?;
    let first = Ok(whose.of(&swarm));
    if !request.bool("poll") {
        return Ok(Response::Stream(Box::pin(iter([first]))));
    }
    let later = unfold((swarm, whose), move |(swarm, whose)| async move {
        sleep(interval).await;
        Some((Ok(whose.of(&swarm)), (swarm, whose)))
    });
    Ok(Response::Stream(Box::pin(iter([first]).chain(later))))
}

/// A list, or one line that is written over.
enum Form {
    Once,
    Poll { begun: bool },
}

impl Form {
    fn of(call: &Call) -> Self {
        if call.bool("poll") { Self::Poll { begun: false } } else { Self::Once }
    }
}

impl TextForm for Form {
    fn value(&mut self, _: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
        // Rates are fractions of bytes.
        let number = |name: &str| value.get(name).and_then(Value::as_f64).unwrap_or_default().max(0.0);
        #[allow(clippy::cast_sign_loss, reason = "it is not negative")]
        let bytes = |name: &str| human_bytes(number(name) as u64);
        let [total_in, total_out, rate_in, rate_out] =
            ["TotalIn", "TotalOut", "RateIn", "RateOut"].map(bytes);
        let text = match self {
            Self::Once => format!(
                "Bandwidth\nTotalIn: {total_in}\nTotalOut: {total_out}\nRateIn: {rate_in}/s\nRateOut: {rate_out}/s\n"
            ),
            Self::Poll { begun } => {
                let head = if *begun { "" } else { "Total Up    Total Down  Rate Up     Rate Down\n" };
                *begun = true;
                format!("{head}{total_out:>8}    {total_in:>8}    {rate_out:>8}/s  {rate_in:>8}/s      \r")
            }
        };
        out.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
