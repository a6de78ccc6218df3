//! REPORT: serves the leader's reports, also through a metadata server that does not lead.
//!
//! INVARIANT: a metadata server that does not lead never presents its own knowledge as the
//! cluster's state.
//! Spec: docs/protocol/admin.md §9.

use client::admin::AdminControl;
use serde::Serialize;
use serde_json::Value;
use wire_nfs::control::limits::REPORT_BYTES_MAX;
use wire_nfs::control::report::{AskReport, Reported, Subject};
use wire_nfs::control::{Keyring, Refusal};

use super::gather::{data_servers, exports, status};
use crate::limits::{REPORT_MS_MAX, REPORT_PARTS_MAX};
use crate::server::Server;

/// A metadata server does not lead, and the leader cannot be queried: a text for an administrator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotLeading(String);

/// Handles REPORT on the leader.
///
/// # Errors
/// `Busy` if the report cannot be sent.
pub(crate) fn answer(server: &Server, ask: AskReport) -> Result<Reported, Refusal> {
    let part = match ask.subject {
        Subject::Status => one(&status(server)).map(|json| Reported { json, next: None }),
        Subject::Exports => part_of(&exports(server), ask.from),
        Subject::DataServers => part_of(&data_servers(server), ask.from),
    };
    part.ok_or(Refusal::Busy)
}

fn one<T: Serialize>(value: &T) -> Option<String> {
    serde_json::to_string(value).ok().filter(|json| json.len() <= REPORT_BYTES_MAX)
}

/// As many items as fit, from `from` on. `None` if a single item does not fit.
fn part_of<T: Serialize>(items: &[T], from: u32) -> Option<Reported> {
    let first = usize::try_from(from).ok()?.min(items.len());
    let mut json = "[".to_owned();
    for (index, item) in items.iter().enumerate().skip(first) {
        let item = one(item)?;
        if REPORT_BYTES_MAX < json.len() + item.len() + 2 {
            let next = u32::try_from(index).ok().filter(|_| first < index)?;
            return Some(Reported { json: json + "]", next: Some(next) });
        }
        if first < index {
            json.push(',');
        }
        json += &item;
    }
    Some(Reported { json: json + "]", next: None })
}

/// The leader's whole report: this server's own if it leads.
///
/// # Errors
/// [`NotLeading`].
pub(crate) async fn query_leader(
    server: &Server,
    keys: &Keyring,
    subject: Subject,
) -> Result<String, NotLeading> {
    if server.shards.is_leader() {
        let json = match subject {
            Subject::Status => serde_json::to_string(&status(server)),
            Subject::Exports => serde_json::to_string(&exports(server)),
            Subject::DataServers => serde_json::to_string(&data_servers(server)),
        };
        return json.map_err(|error| NotLeading(error.to_string()));
    }
    let own = server.shards.status().id;
    let leader = server.shards.leader();
    let addresses = controls(server, own, leader.as_ref().map(|(id, _)| *id));
    let who = match &leader {
        Some((id, at)) if *id != own => {
            format!("metadata server {own} does not lead; {id} does, at {at} to the other metadata servers")
        }
        Some(_) | None => format!("metadata server {own} does not lead, and knows of none that does"),
    };
    if addresses.is_empty() {
        return Err(NotLeading(format!(
            "{who}. It was started without --controls and cannot forward: query the metrics address of the leader"
        )));
    }
    let control = AdminControl::new(&server.env, addresses, keys);
    let asked = tokio::select! {
        biased;
        asked = whole(&control, subject, own) => asked,
        () = server.env.clock.sleep_ms(REPORT_MS_MAX) => Err("no answer in time".to_owned()),
    };
    asked.map_err(|why| NotLeading(format!("{who}. Forwarding to the leader failed: {why}")))
}

/// Control addresses of the others, the leader's first.
fn controls(server: &Server, own: u64, leader: Option<u64>) -> Vec<std::net::SocketAddr> {
    let mut others: Vec<_> = server.controls.iter().filter(|(id, _)| **id != own).collect();
    others.sort_by_key(|(id, _)| Some(**id) != leader);
    others.into_iter().filter_map(|(_, address)| address.parse().ok()).collect()
}

/// All parts of a report, as one document. A status names the queried replica.
async fn whole(control: &AdminControl, subject: Subject, own: u64) -> Result<String, String> {
    let mut all = Vec::new();
    let mut from = 0;
    for _ in 0..REPORT_PARTS_MAX {
        let Reported { json, next } =
            control.report(subject, from).await.map_err(|error| error.to_string())?;
        match serde_json::from_str(&json).map_err(|error| error.to_string())? {
            Value::Array(items) => all.extend(items),
            Value::Object(mut status) => {
                status.insert("asked".to_owned(), own.into());
                return Ok(Value::Object(status).to_string());
            }
            _ => return Err("an answer that is no report".to_owned()),
        }
        match next {
            Some(next) if from < next => from = next,
            Some(_) | None => return Ok(Value::Array(all).to_string()),
        }
    }
    Err("an answer without an end".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_sent_in_parts_that_fit() {
        let items: Vec<String> = (0..5).map(|n| n.to_string().repeat(REPORT_BYTES_MAX / 3)).collect();
        let (mut all, mut from, mut parts) = (Vec::<String>::new(), 0, 0);
        loop {
            let part = part_of(&items, from).unwrap();
            assert!(part.json.len() <= REPORT_BYTES_MAX);
            all.extend(serde_json::from_str::<Vec<String>>(&part.json).unwrap());
            parts += 1;
            let Some(next) = part.next else { break };
            assert_eq!(next as usize, all.len());
            from = next;
        }
        assert_eq!((all, parts), (items, 3));
        assert_eq!(part_of(&["a"], 9), Some(Reported { json: "[]".to_owned(), next: None }));
        assert_eq!(part_of(&["x".repeat(REPORT_BYTES_MAX)], 0), None, "one item that never fits");
    }
}
