//! `redial watch list|show|cancel`.

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use redial_core::UnixMillis;
use redial_proto::v1;
use serde::Serialize;

use crate::operator::Target;
use crate::output::{Row, print, render, short_duration};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List watches, longest waiting first
    List {
        /// Only those of this caller (user@domain)
        #[arg(long)]
        caller: Option<String>,
        /// Only those for this callee (user@domain)
        #[arg(long)]
        callee: Option<String>,
        /// Only those for callees of this domain
        #[arg(long)]
        domain: Option<String>,
        /// At most this many, up to 10000
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
    /// Show one watch
    Show { caller: String, callee: String },
    /// End one watch
    Cancel { caller: String, callee: String },
}

pub async fn run(command: Command, target: &Target, now: UnixMillis) -> Result<()> {
    let mut operator = target.connect().await?;
    match command {
        Command::List { caller, callee, domain, limit } => {
            let request = v1::ListWatchesRequest {
                caller: caller.unwrap_or_default(),
                callee: callee.unwrap_or_default(),
                domain: domain.unwrap_or_default(),
                limit,
            };
            let answer = operator.list_watches(request).await?.into_inner();
            let rows: Vec<_> = answer.watches.iter().filter_map(|watch| WatchRow::new(watch, now)).collect();
            print(&render(&rows, target.output)?);
            if answer.truncated {
                eprintln!("there are more; raise --limit or narrow the list by --caller, --callee or --domain");
            }
        }
        Command::Show { caller, callee } => {
            let request = v1::ShowWatchRequest { pair: Some(v1::Pair { callee: callee.clone(), caller: caller.clone() }) };
            let watch = operator.show_watch(request).await.with_context(|| format!("{caller} does not watch {callee}"))?.into_inner();
            let row = WatchRow::new(&watch, now).context("the coordinator sent an incomplete watch")?;
            print(&render(&[row], target.output)?);
        }
        Command::Cancel { caller, callee } => {
            let request = v1::CancelWatchRequest { pair: Some(v1::Pair { callee: callee.clone(), caller: caller.clone() }) };
            if !operator.cancel_watch(request).await?.into_inner().cancelled {
                bail!("{caller} does not watch {callee}");
            }
            print("cancelled\n");
        }
    }
    Ok(())
}

#[derive(Serialize)]
struct WatchRow {
    caller: String,
    callee: String,
    state: &'static str,
    attempts: u32,
    armed_ms_ago: u64,
    remaining_ms: u64,
    parked: bool,
    fence: u64,
}

impl WatchRow {
    fn new(watch: &v1::Watch, now: UnixMillis) -> Option<Self> {
        use v1::watch_record::State;
        let (pair, record) = (watch.pair.as_ref()?, watch.record.as_ref()?);
        let state = match &record.state {
            None if record.parked => "parked",
            None => "armed",
            Some(State::Claimed(_)) => "claimed",
            Some(State::Recalling(_)) => "recalling",
            Some(State::Calling(_)) => "calling",
        };
        Some(Self {
            caller: pair.caller.clone(),
            callee: pair.callee.clone(),
            state,
            attempts: record.attempts,
            armed_ms_ago: now.0.saturating_sub(record.armed_at),
            remaining_ms: record.deadline.saturating_sub(now.0),
            parked: record.parked,
            fence: record.fence,
        })
    }
}

impl Row for WatchRow {
    const HEAD: &'static [&'static str] = &["CALLER", "CALLEE", "STATE", "ATTEMPTS", "WAITING", "REMAINING"];
    fn cells(&self) -> Vec<String> {
        vec![
            self.caller.clone(),
            self.callee.clone(),
            self.state.to_owned(),
            self.attempts.to_string(),
            short_duration(self.armed_ms_ago),
            short_duration(self.remaining_ms),
        ]
    }
}
