//! The faults of the group, and how long acts may take beside each.

use super::stalls::{STALL_P50_MS_MAX, STALL_P99_MS_MAX};

/// What is done to the cluster in a round.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Fault {
    /// kill -9 of the leader.
    KillLeader,
    /// kill -9 of the leader, which comes back without its disk and is taken in again.
    LoseLeader,
    /// The leader is cut off, and comes back.
    PartitionLeader,
    /// The leader hangs (SIGSTOP), and goes on.
    HangLeader,
    /// kill -9 of a follower.
    KillFollower,
    /// All are stopped and started, one after another.
    RollingRestart,
}

impl Fault {
    pub(super) const ALL: [Self; 6] = [
        Self::KillLeader,
        Self::LoseLeader,
        Self::PartitionLeader,
        Self::HangLeader,
        Self::KillFollower,
        Self::RollingRestart,
    ];

    /// The first ten rounds have each; most kill the leader. Its disk is lost in one of twenty,
    /// early: whatever is done in the rounds after it is done to a cluster that has taken one in
    /// again.
    pub(super) fn of(round: u32) -> Self {
        match (round % 20, round % 10) {
            (3, _) => Self::LoseLeader,
            (_, 2) => Self::KillFollower,
            (_, 4) => Self::PartitionLeader,
            (_, 6) => Self::HangLeader,
            (_, 8) => Self::RollingRestart,
            _ => Self::KillLeader,
        }
    }

    /// What half of the rounds may take.
    pub(super) fn stall_p50_ms_max(self) -> u64 {
        match self {
            // Who is silent is given up after a while, and no sooner.
            Self::PartitionLeader | Self::HangLeader => STALL_P99_MS_MAX,
            _ => STALL_P50_MS_MAX,
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::KillLeader => "kill -9 of the leader",
            Self::LoseLeader => "leader loses its disk",
            Self::PartitionLeader => "leader cut off",
            Self::HangLeader => "leader hangs (SIGSTOP)",
            Self::KillFollower => "kill -9 of a follower",
            Self::RollingRestart => "rolling restart",
        }
    }
}
