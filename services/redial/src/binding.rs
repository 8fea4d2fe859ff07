//! `redial binding list`.

use anyhow::Result;
use clap::Subcommand;
use redial_core::UnixMillis;
use redial_proto::v1;
use serde::Serialize;

use crate::operator::Target;
use crate::output::{Row, print, render, short_duration};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the live bindings of one address-of-record
    List {
        /// user@domain
        aor: String,
    },
}

pub async fn run(command: Command, target: &Target, now: UnixMillis) -> Result<()> {
    let Command::List { aor } = command;
    let answer = target.connect().await?.list_bindings(v1::ListBindingsRequest { aor }).await?.into_inner();
    let rows: Vec<_> = answer.bindings.into_iter().map(|record| BindingRow::new(record, now)).collect();
    print(&render(&rows, target.output)?);
    Ok(())
}

#[derive(Serialize)]
struct BindingRow {
    contact: String,
    q: f32,
    expires_in_ms: u64,
    edge: String,
    flow: String,
    path: Vec<String>,
    user_agent: String,
    call_id: String,
    cseq: u32,
}

impl BindingRow {
    fn new(record: v1::BindingRecord, now: UnixMillis) -> Self {
        Self {
            contact: record.uri,
            q: record.q as f32 / 1000.0,
            expires_in_ms: record.expires_at.saturating_sub(now.0),
            edge: record.edge,
            flow: record.flow,
            path: record.path,
            user_agent: record.user_agent,
            call_id: record.call_id,
            cseq: record.cseq,
        }
    }
}

impl Row for BindingRow {
    const HEAD: &'static [&'static str] = &["CONTACT", "Q", "EXPIRES", "EDGE", "FLOW", "USER AGENT"];
    fn cells(&self) -> Vec<String> {
        vec![
            self.contact.clone(),
            self.q.to_string(),
            short_duration(self.expires_in_ms),
            self.edge.clone(),
            self.flow.clone(),
            self.user_agent.clone(),
        ]
    }
}
