//! `diag cmds`: the requests of the daemon.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::commands::Context;
use crate::commands::layout::aligned_with_padding;
use crate::commands::log::runtime;
use crate::commands::registry::{
    Arg, Call, Command, CommandError, Needs, Opt, Request, Response, duration_from_go,
};
use crate::commands::time::{CivilTime, MONTHS};
use crate::config::GoDuration;
use crate::observe::RequestRecord;

/// What Go writes for a time that is not known.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

pub(super) fn command() -> Command {
    Command::new("cmds", "List commands run on this node.")
        .help(
            "Lists the commands that the daemon is running, and those that it has run: at most 1,000, for an hour or as long \
             as 'diag cmds set-time' says. Arguments that are secrets are left out.",
        )
        .opt(Opt::bool("verbose v", "Print extra information."))
        .needs(Needs::Config)
        .run(run)
        .text(text)
        .subcommand(
            Command::new("clear", "Clear inactive requests from the log.")
                .needs(Needs::Config)
                .run(|context, _| async move {
                    runtime(&context, "diag cmds clear")?.requests().clear_finished();
                    Ok(Response::Empty)
                }),
        )
        .subcommand(
            Command::new("set-time", "Set how long to keep inactive requests in the log.")
                .arg(Arg::text("time", "Time to keep inactive requests in log.").required())
                .needs(Needs::Config)
                .run(|context, request| async move {
                    let time = duration_from_go(request.arg(0)).map_err(CommandError::new)?;
                    runtime(&context, "diag cmds set-time")?.requests().set_keep_time(time);
                    Ok(Response::Empty)
                }),
        )
}

async fn run(context: Context, _: Request) -> Result<Response, CommandError> {
    let requests = runtime(&context, "diag cmds")?.requests().list();
    Ok(Response::One(requests.iter().map(to_json).collect()))
}

pub(super) fn to_json(record: &RequestRecord) -> Value {
    json!({
        "StartTime": rfc3339(record.began),
        "EndTime": record.ended.map_or_else(|| NO_TIME.to_owned(), |(at, _)| rfc3339(at)),
        "Active": record.ended.is_none(),
        "Command": record.command,
        "Options": record.options,
        "Args": record.args,
        "ID": record.id,
    })
}

fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let date = CivilTime::of_unix(since.as_secs().cast_signed());
    let CivilTime { year, month, day, hour, minute, second } = date;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z", since.subsec_nanos())
}

/// Since 1970, from what [`rfc3339`] wrote.
fn parse_time(text: &str) -> Option<Duration> {
    let seconds = u64::try_from(CivilTime::parse(text)?.to_unix()).ok()?;
    let fraction =
        text.strip_suffix('Z')?.split_once('.').map_or(Some(0), |(_, digits)| digits.parse().ok())?;
    Some(Duration::new(seconds, fraction))
}

fn text(call: &Call, value: &Value, out: &mut Vec<u8>) -> Result<(), CommandError> {
    let verbose = call.bool("verbose");
    let mut lines = vec![head(verbose)];
    lines.extend(value.as_array().into_iter().flatten().map(|request| row(request, verbose)));
    out.extend_from_slice(aligned_with_padding(&lines, 4, 2).as_bytes());
    Ok(())
}

fn head(verbose: bool) -> Vec<String> {
    let names: &[&str] = if verbose {
        &["ID", "Command", "Arguments", "Options", "Active", "StartTime", "RunTime"]
    } else {
        &["Command", "Active", "StartTime", "RunTime"]
    };
    names.iter().map(|&name| name.to_owned()).collect()
}

fn go_duration(time: Duration) -> String {
    GoDuration { nanos: i64::try_from(time.as_nanos()).unwrap_or(i64::MAX) }.to_string()
}

fn row(request: &Value, verbose: bool) -> Vec<String> {
    let text = |name: &str| request.get(name).and_then(Value::as_str).unwrap_or_default();
    let active = request.get("Active").and_then(Value::as_bool).unwrap_or_default();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let began = parse_time(text("StartTime")).unwrap_or_default();
    let ended = if active { now() } else { parse_time(text("EndTime")).unwrap_or_default() };
    let date = CivilTime::of_unix(began.as_secs().cast_signed());
    let month = MONTHS.get(usize::from(date.month) - 1).copied().unwrap_or_default();
    let start = format!("{month} {:>2} {:02}:{:02}:{:02}", date.day, date.hour, date.minute, date.second);
    let took = go_duration(ended.saturating_sub(began));
    let mut row = vec![text("Command").to_owned(), active.to_string(), start, took];
    if verbose {
        let args = request.get("Args").and_then(Value::as_array).into_iter().flatten();
        let args: Vec<&str> = args.filter_map(Value::as_str).collect();
        let options = request.get("Options").and_then(Value::as_object).into_iter().flatten();
        let options = options.flat_map(|(name, value)| [name, "=", value.as_str().unwrap_or_default(), ","]);
        let options: String = options.collect();
        let id = request.get("ID").map(ToString::to_string).unwrap_or_default();
        row.insert(0, id);
        row.splice(2..2, [format!("[{}]", args.join(" ")), format!("[{options}]")]);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_there_and_back() {
        let time = UNIX_EPOCH + Duration::new(1_700_000_000, 5);
        let text = rfc3339(time);
        assert_eq!(text, "2023-11-14T22:13:20.000000005Z");
        assert_eq!(parse_time(&text), Some(Duration::new(1_700_000_000, 5)));
    }

    #[test]
    fn a_row_tells_when_and_how_long() {
        let request = json!({
            "StartTime": "2023-11-04T22:13:20.000000000Z", "EndTime": "2023-11-04T22:13:21.500000000Z",
            "Active": false, "Command": "pin/ls", "Options": { "type": "all" }, "Args": ["a", "b"], "ID": 7,
        });
        assert_eq!(row(&request, false), ["pin/ls", "false", "Nov  4 22:13:20", "1.5s"]);
        let all = ["7", "pin/ls", "[a b]", "[type=all,]", "false", "Nov  4 22:13:20", "1.5s"];
        assert_eq!(row(&request, true), all);
    }
}
