//! The programs that run while servers die: fio, git, the verifying writer, one that holds locks,
//! one that tries to get them, and one that times small acts, started again in each round.

use std::fmt;

use anyhow::{Context, Result, ensure};

use super::super::guest::Guest;
use super::super::server::replicas::SHARDS;
use super::super::stage::{self, Stage};

/// Where they work.
const DIR: &str = "/mnt/c/failover";
/// All of them stop when it exists.
const STOP: &str = "/tmp/failover-stop";
/// The writer's log, outside the mount.
const PROMISES: &str = "/tmp/failover-promised";
const VERIFY_SECONDS_MAX: u64 = 300;
/// Of the timed program: as many as it takes for one in each shard, by the hash of their names.
const DIRECTORIES: u32 = 64;
/// A round has so many acts at least, or nothing was measured.
const ACTS_MIN: u64 = 20;
/// Programs that end, end within this.
const END_SECONDS_MAX: u64 = 90;

/// What runs in guest a all the time.
const STEADY: [&str; 4] = ["fio", "git", "promise", "hold"];

/// What a round came to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Longest {
    /// The longest of the small acts.
    pub(super) small_ms: u64,
    /// The longest write and flush of a block that data servers keep.
    pub(super) block_ms: u64,
}

impl fmt::Display for Longest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "longest act {} ms, block {} ms", self.small_ms, self.block_ms)
    }
}

/// Programs that run.
pub(super) struct Load;

impl Load {
    /// Starts all but the timed one.
    pub(super) fn start(stage: &Stage) -> Result<Self> {
        let (a, b) = (&stage.a, &stage.b);
        a.run(&format!(
            "rm -rf /tmp/failover-*; mkdir -p {DIR}/fio {DIR}/git {DIR}/promise {DIR}/held {DIR}/gaps; \
             cd {DIR}/gaps; mkdir $(seq {DIRECTORIES})"
        ))?;
        b.run("rm -rf /tmp/failover-*")?;
        let seed = stage.seed;
        let fio = format!(
            "n=0; while [ ! -e {STOP} ]; do n=$((n+1)); \
             fio --name=job --directory={DIR}/fio --filename=f$((n%2)) --size=8m --bs=64k --rw=randwrite --rate=4m --fsync=8 \
             --ioengine=psync --verify=crc32c --do_verify=1 --verify_fatal=1 --randseed=$n >/tmp/failover-fio.last 2>&1 \
             || {{ cat /tmp/failover-fio.last; exit 1; }}; done"
        );
        let git = format!(
            "set -e; cd {DIR}/git; git init -q r; cd r; git config user.email lab@lab; git config user.name lab; git config gc.auto 0; \
             n=0; while [ ! -e {STOP} ]; do n=$((n+1)); echo $n >f$((n%20)); git add .; git commit -q -m $n; sleep 0.3; done; \
             git fsck --full --strict; [ $(git rev-list --count HEAD) = $n ]"
        );
        start(a, "fio", &fio)?;
        start(a, "git", &git)?;
        let promise =
            a.op(&format!("promise {DIR}/promise {PROMISES} {STOP} /tmp/failover-beat {seed} 1"))?;
        start(a, "promise", &promise)?;
        start(a, "hold", &a.op(&format!("hold {DIR}/held /tmp/failover-held {STOP}"))?)?;
        a.run("for i in $(seq 300); do [ -e /tmp/failover-held ] && exit 0; sleep 0.1; done; cat /tmp/failover-hold.out; exit 1")
            .context("the holder of locks does not begin")?;
        start(b, "contend", &b.op(&format!("contend {DIR}/held {STOP}"))?)?;
        Ok(Self)
    }

    /// Starts the timed program.
    pub(super) fn begin_round(&self, stage: &Stage) -> Result<()> {
        let a = &stage.a;
        a.run("rm -f /tmp/failover-round /tmp/failover-gaps.*")?;
        start(a, "gaps", &a.op(&format!("gaps {DIR}/gaps /tmp/failover-round"))?)
    }

    /// Ends it.
    pub(super) fn end_round(&self, a: &Guest) -> Result<Longest> {
        a.run("touch /tmp/failover-round")?;
        let said = ended(a, "gaps")?;
        let slow = a.run("cat /tmp/failover-slow 2>/dev/null; rm -f /tmp/failover-slow")?;
        if !slow.trim().is_empty() {
            println!("    looked into in the guest: {slow}");
        }
        let mut words = said.split_whitespace();
        let mut number = || -> Result<u64> { Ok(words.next().context("a number is missing")?.parse()?) };
        let acts = number()?;
        ensure!(ACTS_MIN <= acts, "only {acts} acts");
        let shards = number()?;
        ensure!(shards == u64::from(SHARDS), "acts in {shards} shards only");
        Ok(Longest { small_ms: number()?, block_ms: number()? })
    }

    /// Fails if one of the others has ended.
    pub(super) fn is_alive(&self, a: &Guest, b: &Guest) -> Result<()> {
        let check = |guest: &Guest, name: &str| {
            guest
                .run(&format!(
                    "[ ! -e /tmp/failover-{name}.code ] || {{ cat /tmp/failover-{name}.out; exit 1; }}"
                ))
                .map(drop)
                .with_context(|| format!("{name} has ended"))
        };
        STEADY.iter().try_for_each(|name| check(a, name))?;
        check(b, "contend")
    }

    /// Stops all, each of which must end well.
    pub(super) fn stop(&self, stage: &Stage) -> Result<()> {
        let (a, b) = (&stage.a, &stage.b);
        // The one that tries to get the locks first: the other one lets go.
        b.run(&format!("touch {STOP}"))?;
        let refused = ended(b, "contend")?;
        a.run(&format!("touch {STOP}"))?;
        for name in STEADY {
            ended(a, name)?;
        }
        let got = b.run(&b.op(&format!("obtain {DIR}/held"))?).context("locks that were released")?;
        println!(
            "  a second client was refused {} locks, and got {} when they were released",
            refused.trim(),
            got.trim()
        );
        Ok(())
    }

    /// Holds what was promised against what a fresh mount shows.
    pub(super) fn verify(self, stage: &Stage) -> Result<()> {
        let a = &stage.a;
        stage::remount(a)?;
        a.run_within(&a.op(&format!("verify {DIR}/promise {PROMISES}"))?, VERIFY_SECONDS_MAX)?;
        a.run(&format!("rm -rf {DIR}")).map(drop)
    }
}

fn start(guest: &Guest, name: &str, script: &str) -> Result<()> {
    let file = format!("/tmp/failover-{name}");
    guest
        .run(&format!("cat >{file}.sh <<'END'\n{script}\nEND\n(sh {file}.sh >{file}.out 2>&1; echo $? >{file}.code) >/dev/null 2>&1 &"))
        .map(drop)
}

/// Waits for the end of a program, which must be a good one; what it said.
fn ended(guest: &Guest, name: &str) -> Result<String> {
    let file = format!("/tmp/failover-{name}");
    let script = format!(
        "for i in $(seq {}); do [ -s {file}.code ] && break; sleep 0.1; done; cat {file}.out; [ \"$(cat {file}.code)\" = 0 ]",
        END_SECONDS_MAX * 10
    );
    guest
        .run_within(&script, END_SECONDS_MAX + 30)
        .with_context(|| format!("{name} did not end well\n{}", guest.blocked_tasks()))
}
