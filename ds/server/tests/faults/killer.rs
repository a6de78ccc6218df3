//! Kills servers of a fleet at moments of its choice, and has them come back in several ways.

use std::collections::BTreeMap;
use std::sync::Arc;

use env::memory::{Crash, MemoryDisk};

use crate::fleet::{Doing, Fleet};
use crate::leader::Leader;

/// How one cycle went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kill {
    /// One server, started again at once.
    One,
    /// One that was dead for long enough to be replaced, and came back with its disk.
    Replaced,
    /// Two at once.
    Two,
    /// Two while an image was being made again.
    TwoInRepair,
    All,
    /// One, and its disk with it.
    DiskLost,
    /// One that was replaced, and came back with its disk as it was some time ago.
    OldDisk,
    /// The last ones that kept an extent at rest, with their disks or without them.
    WholeSet,
}

/// What was going on, and what was done, in how many cycles.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) cycles: u64,
    pub(crate) doing: BTreeMap<Doing, u64>,
    pub(crate) kills: BTreeMap<Kill, u64>,
}

pub(crate) struct Killer {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) leader: Arc<Leader>,
    /// Disks as they once were.
    old: BTreeMap<u32, MemoryDisk>,
}

const AIMS: [Option<Doing>; 14] = [
    None,
    Some(Doing::Write),
    Some(Doing::Write),
    Some(Doing::Commit),
    Some(Doing::Cut),
    Some(Doing::Remove),
    Some(Doing::Seal),
    Some(Doing::Seal),
    Some(Doing::Encode),
    Some(Doing::Use),
    Some(Doing::Fill),
    Some(Doing::Rebuild),
    Some(Doing::Adopt),
    Some(Doing::Drop),
];

impl Killer {
    pub(crate) fn new(fleet: Arc<Fleet>, leader: Arc<Leader>) -> Self {
        Self { fleet, leader, old: BTreeMap::new() }
    }

    fn pick(&self, from: &[u32]) -> u32 {
        from[usize::try_from(self.fleet.below(from.len() as u64)).unwrap()]
    }

    fn crash(&self) -> Crash {
        match self.fleet.below(4) {
            0 => Crash::Drop,
            1 => Crash::Keep,
            _ => Crash::Tear { seed: self.fleet.below(u64::MAX) },
        }
    }

    /// Waits for a moment: while something goes on that is seldom met by chance, or any.
    async fn aim(&self) -> Vec<Doing> {
        let fleet = &self.fleet;
        fleet.sleep_ms(fleet.below(600)).await;
        let aim = AIMS[usize::try_from(fleet.below(AIMS.len() as u64)).unwrap()];
        let late_ms = fleet.now_ms() + 3_000;
        let mut doing = fleet.under_way().await;
        while let Some(aim) = aim
            && !doing.contains(&aim)
            && fleet.now_ms() < late_ms
        {
            for _ in 0..=fleet.below(3) {
                tokio::task::yield_now().await;
            }
            doing = fleet.under_way().await;
        }
        for _ in 0..fleet.below(8) {
            tokio::task::yield_now().await;
        }
        fleet.under_way().await
    }

    /// One cycle, up to where all run again.
    pub(crate) async fn cycle(&mut self, tally: &mut Tally) {
        let doing = self.aim().await;
        self.fleet.until("two servers are up", || 2 <= self.fleet.up().len()).await;
        let up = self.fleet.up();
        let kill = self.choose(&doing, &up);
        match kill {
            Kill::One => self.bounce(&[self.pick(&up)]).await,
            Kill::Two | Kill::TwoInRepair => {
                let first = self.pick(&up);
                let rest: Vec<u32> = up.iter().copied().filter(|id| *id != first).collect();
                self.bounce(&[first, self.pick(&rest)]).await;
            }
            Kill::All => self.bounce(&up).await,
            Kill::Replaced => {
                let victim = self.pick(&up);
                self.fleet.kill(victim, self.crash());
                self.leader.declare_dead(&self.fleet, victim);
                self.fleet.sleep_ms(self.fleet.below(4_000)).await;
                self.come_back(victim).await;
            }
            Kill::DiskLost => self.lose_disk(&up).await,
            Kill::OldDisk => self.turn_back(&up).await,
            Kill::WholeSet => self.whole_set().await,
        }
        if matches!(kill, Kill::Replaced | Kill::DiskLost | Kill::OldDisk | Kill::WholeSet) {
            self.interrupt(tally).await;
        }
        tally.cycles += 1;
        doing.into_iter().for_each(|doing| *tally.doing.entry(doing).or_default() += 1);
        *tally.kills.entry(kill).or_default() += 1;
        self.remember();
    }

    /// While what the last kill has broken is being put right, others die.
    async fn interrupt(&self, tally: &mut Tally) {
        const REPAIRS: [Doing; 4] = [Doing::Fill, Doing::Rebuild, Doing::Adopt, Doing::Drop];
        let fleet = &self.fleet;
        let late_ms = fleet.now_ms() + fleet.below(3_000);
        let aim = REPAIRS[usize::try_from(fleet.below(4)).unwrap()];
        let mut doing = fleet.under_way().await;
        while !doing.contains(&aim) && fleet.now_ms() < late_ms {
            tokio::task::yield_now().await;
            doing = fleet.under_way().await;
        }
        let up = fleet.up();
        if !doing.iter().any(|one| REPAIRS.contains(one)) || up.len() < 2 {
            return;
        }
        let first = self.pick(&up);
        let rest: Vec<u32> = up.iter().copied().filter(|id| *id != first).collect();
        let kill = if fleet.below(2) == 0 { Kill::One } else { Kill::TwoInRepair };
        match kill {
            Kill::One => self.bounce(&[first]).await,
            _ => self.bounce(&[first, self.pick(&rest)]).await,
        }
        tally.cycles += 1;
        doing.into_iter().for_each(|doing| *tally.doing.entry(doing).or_default() += 1);
        *tally.kills.entry(kill).or_default() += 1;
    }

    fn choose(&self, doing: &[Doing], up: &[u32]) -> Kill {
        let candidates = |lost: &[u32]| self.leader.survives(&self.fleet, lost);
        match self.fleet.below(20) {
            _ if doing.contains(&Doing::Rebuild) && self.fleet.below(2) == 0 => Kill::TwoInRepair,
            0..8 => Kill::One,
            8..10 => Kill::Two,
            10 => Kill::All,
            11..14 => Kill::Replaced,
            14..16 if up.iter().any(|id| candidates(&[*id])) => Kill::DiskLost,
            16..18 if self.old.keys().any(|id| candidates(&[*id])) => Kill::OldDisk,
            18..20 if self.resting().is_some() => Kill::WholeSet,
            _ => Kill::One,
        }
    }

    /// Kills these, and starts them again before any server was replaced for it.
    async fn bounce(&self, ids: &[u32]) {
        tracing::debug!(?ids, "killed");
        for id in ids {
            self.fleet.kill(*id, self.crash());
        }
        self.fleet.sleep_ms([0, 0, 200, 2_500][usize::try_from(self.fleet.below(4)).unwrap()]).await;
        for id in ids {
            self.fleet.boot(*id, Crash::Drop).await;
        }
    }

    async fn come_back(&self, id: u32) {
        self.fleet.boot(id, Crash::Drop).await;
        self.leader.is_back(id);
    }

    async fn lose_disk(&mut self, up: &[u32]) {
        let may: Vec<u32> =
            up.iter().copied().filter(|id| self.leader.survives(&self.fleet, &[*id])).collect();
        let victim = self.pick(&may);
        self.wipe(victim).await;
    }

    async fn wipe(&mut self, victim: u32) {
        tracing::debug!(victim, "killed, and its disk is lost");
        self.fleet.kill(victim, self.crash());
        let new = self.fleet.lose(victim);
        self.old.remove(&victim);
        self.leader.declare_dead(&self.fleet, victim);
        self.fleet.sleep_ms(self.fleet.below(3_000)).await;
        self.fleet.boot(new, Crash::Drop).await;
    }

    /// A server comes back with its disk as it was.
    async fn turn_back(&mut self, up: &[u32]) {
        let may = |id: &u32| up.contains(id) && self.leader.survives(&self.fleet, &[*id]);
        let may: Vec<u32> = self.old.keys().copied().filter(may).collect();
        let Some(victim) = (!may.is_empty()).then(|| self.pick(&may)) else { return };
        let old = self.old.remove(&victim).unwrap();
        tracing::debug!(victim, "killed, replaced, and comes back with an old disk");
        self.fleet.kill(victim, Crash::Drop);
        self.leader.distrust(&self.fleet, victim);
        self.leader.declare_dead(&self.fleet, victim);
        self.fleet.set_disk(victim, old);
        self.fleet.sleep_ms(self.fleet.below(3_000)).await;
        self.come_back(victim).await;
    }

    /// Servers that are all there is of an extent that is at rest, and may go with their disks.
    fn resting(&self) -> Option<Vec<u32>> {
        let log = self.fleet.log.lock().unwrap();
        let resting = |extent: &&layout::ExtentId| {
            !log.pending.contains_key(*extent) && log.at_rest(**extent).is_some()
        };
        let extents: Vec<layout::ExtentId> = log.extents.keys().filter(resting).copied().collect();
        if extents.is_empty() {
            return None;
        }
        let record = &log.extents[&extents[usize::try_from(self.fleet.below(extents.len() as u64)).unwrap()]];
        Some(std::iter::once(record.home).chain(record.backups.iter().map(|one| one.server)).collect())
    }

    /// All that keep an extent are dead for so long that another server takes it up; some of them
    /// never come back.
    async fn whole_set(&mut self) {
        let Some(set) = self.resting() else { return };
        let set: Vec<u32> = set.into_iter().filter(|id| self.fleet.running(*id).is_some()).collect();
        tracing::debug!(?set, "killed, and all replaced");
        for id in &set {
            self.fleet.kill(*id, self.crash());
        }
        // Replicas first: then no primary finds one that lives.
        for id in set.iter().rev() {
            self.leader.declare_dead(&self.fleet, *id);
        }
        self.fleet.sleep_ms(self.fleet.below(2_000)).await;
        for id in set {
            self.come_back(id).await;
        }
    }

    /// Disks as they are now, for later.
    fn remember(&mut self) {
        if self.fleet.below(3) == 0 {
            let up = self.fleet.up();
            if !up.is_empty() {
                let id = self.pick(&up);
                self.old.insert(id, self.fleet.disk(id).after_crash(Crash::Drop));
            }
        }
    }
}
