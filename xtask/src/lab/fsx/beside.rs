//! What is done to the servers while the exerciser runs: `kill -9`, a pause, the start; again and
//! again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::guest::random;
use crate::lab::ec;
use crate::lab::server::Server;
use crate::lab::server::ours::replicas;
use crate::lab::server::ours::shoal;

/// Between a start and the next kill.
const ALIVE_MS: (u64, u64) = (1_500, 4_000);
/// From a kill to the start.
const DEAD_MS: (u64, u64) = (200, 6_000);
const DATA_SERVERS: u64 = 3;
/// By then a data server that came back has what it missed.
const WHOLE_SECONDS_MAX: u64 = 120;
/// The gauges are renewed every few seconds: so many looks, a second apart, must be good.
const GOOD_LOOKS: u32 = 12;
const STEP: Duration = Duration::from_millis(50);

/// A fault beside the exerciser.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::lab) enum Beside {
    Nothing,
    AllKilled,
    MetadataServerKilled,
    /// One after the other, each when the last one has what it missed; every second one without its
    /// disk.
    DataServersKilled,
    LeaderKilled,
}

impl Beside {
    pub(super) fn kills_data_servers(self) -> bool {
        matches!(self, Self::AllKilled | Self::DataServersKilled)
    }

    /// Plays until the exercisers are over, and leaves every server running; says what was done.
    ///
    /// # Errors
    /// When a server does not come up again, or redundancy does not come back.
    pub(super) fn play(self, server: &mut Server, seed: u64, is_over: &dyn Fn() -> bool) -> Result<String> {
        if self == Self::Nothing {
            return Ok(String::new());
        }
        let (mut state, mut kills) = (seed.max(1), 0);
        loop {
            if !pause(between(&mut state, ALIVE_MS), is_over) {
                return Ok(format!("{kills} kills"));
            }
            let dead = between(&mut state, DEAD_MS);
            let victim = (random(&mut state) >> 8) % DATA_SERVERS + 1;
            self.kill_and_start(server, dead, victim as usize, kills % 2 == 1)
                .with_context(|| format!("kill {kills}, {self:?}"))?;
            kills += 1;
            if self == Self::DataServersKilled {
                wait_until_whole(server, is_over)?;
            }
        }
    }

    /// Kills one server (of data servers the one with the number `victim`) and starts it again
    /// after `dead`.
    ///
    /// # Errors
    /// When it does not come up again.
    pub(in crate::lab) fn kill_and_start(
        self,
        server: &mut Server,
        dead: Duration,
        victim: usize,
        wipe: bool,
    ) -> Result<()> {
        match self {
            Self::Nothing => {}
            Self::AllKilled => {
                server.kill();
                std::thread::sleep(dead);
                server.resume()?;
            }
            Self::MetadataServerKilled => {
                shoal(server)?.kill_metadata_server();
                std::thread::sleep(dead);
                shoal(server)?.start_one(0)?;
            }
            Self::DataServersKilled => {
                let shoal = shoal(server)?;
                shoal.kill_data_server(victim);
                if wipe {
                    shoal.wipe_data_server(victim)?;
                }
                std::thread::sleep(dead);
                shoal.start_one(victim)?;
            }
            Self::LeaderKilled => {
                let replicas = replicas(server)?;
                let leader = replicas.leader()?;
                replicas.kill_metadata(leader);
                std::thread::sleep(dead);
                replicas.start_metadata(leader)?;
                let began = Instant::now();
                while !replicas.has_caught_up(leader)? {
                    let spent = began.elapsed();
                    ensure!(spent < Duration::from_secs(WHOLE_SECONDS_MAX), "not caught up after {spent:?}");
                    std::thread::sleep(STEP);
                }
            }
        }
        Ok(())
    }
}

fn between(state: &mut u64, (least, most): (u64, u64)) -> Duration {
    Duration::from_millis(least + (random(state) >> 8) % (most - least))
}

/// Waits; false if the exercisers are over before.
fn pause(time: Duration, is_over: &dyn Fn() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < time && !is_over() {
        std::thread::sleep(STEP);
    }
    !is_over()
}

/// Waits until every extent has all its copies, or the exercisers are over.
///
/// # Errors
/// When they have not after two minutes.
pub(in crate::lab) fn wait_until_whole(server: &Server, is_over: &dyn Fn() -> bool) -> Result<()> {
    let (began, mut good) = (Instant::now(), 0);
    while good < GOOD_LOOKS && !is_over() {
        std::thread::sleep(Duration::from_secs(1));
        let metrics = server.metrics()?.context("this server has no counters")?;
        let found = ec::is_whole(&metrics);
        good = if found.is_ok() { good + 1 } else { 0 };
        let spent = began.elapsed();
        ensure!(
            spent < Duration::from_secs(WHOLE_SECONDS_MAX),
            "not fully redundant after {spent:?}: {}",
            found.err().unwrap_or_default()
        );
    }
    Ok(())
}
