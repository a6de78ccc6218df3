//! Judges from its status alone whether a cluster keeps its promises.

use serde::{Deserialize, Serialize};

use super::line::Status;

/// A judgement, with its reasons.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// There is no problem.
    pub ok: bool,
    /// Broken promises, the worst first.
    pub problems: Vec<Problem>,
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Its kind: one of the names in docs/json.md.
    pub kind: String,
    /// How often it is broken.
    pub count: u64,
    /// Text for people.
    pub text: String,
}

impl Health {
    /// Judges a status of the leading replica.
    #[must_use]
    pub fn of(status: &Status) -> Self {
        let silent = status.replicas.iter().filter(|replica| replica.up == Some(false)).count() as u64;
        let first: [Found; 8] = [
            (
                "no_leader",
                u64::from(status.leader.is_none()),
                "no metadata replica leads: nothing can be changed".into(),
            ),
            (
                "not_counted",
                u64::from(!status.counted),
                "extents were not counted yet since this replica began to lead: ask again in a moment".into(),
            ),
            (
                "extents_unserved",
                status.extents_unserved,
                "extents that no data server serves: their data cannot be read".into(),
            ),
            (
                "groups_unreadable",
                status.groups_unreadable,
                "groups with more images away than their code can do without".into(),
            ),
            ("scrub_bad", status.scrub.bad, "places on disks that are bad and could not be repaired".into()),
            (
                "extents_degraded",
                status.extents_degraded,
                format!("extents with fewer than the promised copies ({})", status.hot_copies),
            ),
            ("images_away", status.images_away, "images on data servers that are down".into()),
            (
                "images_missing",
                status.images_missing,
                "images that a data server has lost, and that are not recreated yet".into(),
            ),
        ];
        let last: [Found; 4] = [
            ("replicas_down", silent, format!("of {} metadata replicas are down", status.replicas.len())),
            (
                "shards_leaderless",
                status.shards.leaderless,
                "shards of the namespace without a leader".into(),
            ),
            (
                "metadata_disk_low",
                u64::from(status.metadata_disk_low),
                "the disk of the leading metadata server is nearly full: what needs room is refused".into(),
            ),
            (
                "clocks_wrong",
                status.clocks_off.len() as u64,
                "clocks of servers are off by more than a second".into(),
            ),
        ];
        let problem = |(kind, count, text): Found| {
            let text = if matches!(kind, "no_leader" | "not_counted" | "metadata_disk_low") {
                text
            } else {
                format!("{count} {text}")
            };
            Problem { kind: kind.to_owned(), count, text }
        };
        let all = first.into_iter().chain(of_data_servers(status)).chain(last);
        let problems: Vec<Problem> = all.filter(|one| one.1 != 0).map(problem).collect();
        Self { ok: problems.is_empty(), problems }
    }
}

/// Kind, count and text of a possible problem.
type Found = (&'static str, u64, String);

fn of_data_servers(status: &Status) -> [Found; 4] {
    let down = status.data_servers.saturating_sub(status.data_servers_up);
    [
        (
            "data_servers_behind",
            status.data_servers_behind,
            "data servers lack what they had acknowledged (an older copy, or lost files): they serve nothing"
                .into(),
        ),
        (
            "data_servers_failed",
            status.data_servers_failed,
            "data servers whose disks have failed, or hang (`ds list` says which): they serve \
             nothing until they are replaced or restarted, or the disk answers"
                .into(),
        ),
        ("data_servers_down", down, format!("of {} data servers are down", status.data_servers)),
        ("data_servers_full", status.data_servers_full, "data servers are full".into()),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::{ClockLine, ReplicaLine};
    use super::*;

    fn sound() -> Status {
        let line = |id, up| ReplicaLine { id, address: String::new(), up, leads: id == 1 };
        Status {
            leader: Some(1),
            counted: true,
            data_servers: 3,
            data_servers_up: 3,
            hot_copies: 2,
            replicas: vec![line(1, Some(true)), line(2, None)],
            ..Status::default()
        }
    }

    #[test]
    fn a_sound_cluster_has_no_problem() {
        assert_eq!(Health::of(&sound()), Health { ok: true, problems: Vec::new() });
    }

    #[test]
    fn each_broken_promise_is_named_and_counted() {
        type Break = fn(&mut Status);
        let breaks: [(&str, u64, Break); 16] = [
            ("no_leader", 1, |status| status.leader = None),
            ("not_counted", 1, |status| status.counted = false),
            ("extents_unserved", 4, |status| status.extents_unserved = 4),
            ("groups_unreadable", 5, |status| status.groups_unreadable = 5),
            ("scrub_bad", 6, |status| status.scrub.bad = 6),
            ("extents_degraded", 7, |status| status.extents_degraded = 7),
            ("images_away", 8, |status| status.images_away = 8),
            ("images_missing", 9, |status| status.images_missing = 9),
            ("data_servers_behind", 1, |status| status.data_servers_behind = 1),
            ("data_servers_failed", 1, |status| status.data_servers_failed = 1),
            ("data_servers_down", 2, |status| status.data_servers_up = 1),
            ("data_servers_full", 1, |status| status.data_servers_full = 1),
            ("replicas_down", 1, |status| status.replicas[1].up = Some(false)),
            ("shards_leaderless", 3, |status| status.shards.leaderless = 3),
            ("metadata_disk_low", 1, |status| status.metadata_disk_low = true),
            ("clocks_wrong", 1, |status| {
                let off = ClockLine { kind: "data".to_owned(), id: 4, ahead_ms: -1_001 };
                status.clocks_off = vec![off];
            }),
        ];
        for (kind, count, broken) in breaks {
            let mut status = sound();
            broken(&mut status);
            let health = Health::of(&status);
            assert!(!health.ok, "{kind}");
            let found: Vec<_> = health.problems.iter().map(|one| (one.kind.as_str(), one.count)).collect();
            assert_eq!(found, [(kind, count)]);
        }
    }
}
