//! A life: servers with files in every state; epochs of writing, corrupting, reading and repairing;
//! and an end in which servers are lost.

use std::collections::{BTreeMap, BTreeSet};

use layout::ExtentId;
use layout::ec::{ImageId, Profile};
use wire_nfs::control::copies::KeptBy;

use crate::Tally;
use crate::cluster::{Cluster, extent};
use crate::damage::{Budget, Damage};
use crate::places::{self, Dice, Part, Place, bytes_of};

const FRAME: usize = 64 << 10;
/// How often a scrub begins here.
const PERIOD_MS: u64 = 1_000;
/// Most corruptions in one life.
pub(crate) const LIFE_MAX: u64 = 60;
/// Rounds of the scrub after which nothing may be left to find.
const ROUNDS_MAX: usize = 8;

pub(crate) struct Life {
    cluster: Cluster,
    dice: Dice,
    files: BTreeMap<ExtentId, Vec<u8>>,
    /// Servers that are not lost.
    living: Vec<u32>,
    /// How many may be lost in the end.
    losses: usize,
    made: u64,
    /// The corruptions of the last epoch.
    last: Vec<String>,
    next_index: u32,
}

impl Drop for Life {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("of {:?}, after {} corruptions: {:#?}", self.living, self.made, self.last);
        }
    }
}

impl Life {
    pub(crate) async fn begin(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let (profile, servers) = *dice.pick(&[
            (Profile::TwoPlusOne, 4),
            (Profile::TwoPlusOne, 5),
            (Profile::FourPlusTwo, 6),
            (Profile::TwoCopies, 3),
        ]);
        let cluster = Cluster::new(servers).await;
        let losses = 1;
        let living = (1..=servers).collect();
        let mut life = Self {
            cluster,
            dice,
            files: BTreeMap::new(),
            living,
            losses,
            made: 0,
            last: Vec::new(),
            next_index: 1,
        };
        life.seal_groups(profile).await;
        // What is hot from now on stays so; and everybody scrubs.
        life.cluster.log.lock().unwrap().roster.seal_idle_ms = 0;
        life.cluster.scrub_period_ms = PERIOD_MS;
        for server in life.living.clone() {
            life.cluster.restart(server).await;
        }
        for _ in 0..2 + life.dice.below(3) {
            let one = life.place(None);
            for _ in 0..1 + life.dice.below(12) {
                life.write(one).await;
            }
        }
        for _ in 0..4 {
            life.change().await;
        }
        life
    }

    pub(crate) fn goes_on(&self) -> bool {
        self.made < LIFE_MAX
    }

    /// A new extent, on this primary or any.
    fn place(&mut self, home: Option<u32>) -> ExtentId {
        let one = extent(self.next_index);
        self.next_index += 1;
        let mut order = self.dice.shuffled(&self.living);
        if let Some(home) = home {
            order.retain(|server| *server != home);
            order.insert(0, home);
        }
        let copies = 2 + usize::from(2 < order.len() && self.dice.is_one_in(3));
        self.cluster.place(one, order[0], &order[1..copies]);
        self.files.insert(one, Vec::new());
        one
    }

    async fn write(&mut self, one: ExtentId) {
        let length = match self.dice.below(4) {
            0 => 1 + self.dice.below(300),
            1 => 1 + self.dice.below(9_000),
            2 => 4096 * (1 + self.dice.below(4)),
            _ => 30_000 + self.dice.below(90_000),
        };
        let at = self.dice.below(3 * FRAME);
        let data = match self.dice.is_one_in(5) {
            true => b"words ".repeat(length.div_ceil(6))[..length].to_vec(),
            false => self.dice.noise(length),
        };
        self.cluster.write(one, at, &data).await;
        let bytes = self.files.get_mut(&one).unwrap();
        bytes.resize(bytes.len().max(at + length), 0);
        bytes[at..at + length].copy_from_slice(&data);
    }

    /// Writes, or cuts, a file that is there.
    async fn change(&mut self) {
        let all: Vec<ExtentId> = self.files.keys().copied().collect();
        let one = *self.dice.pick(&all);
        if self.dice.is_one_in(5) {
            let bytes = self.files.get_mut(&one).unwrap();
            let keep = self.dice.below(bytes.len() + 1);
            bytes.truncate(keep);
            self.cluster.cut(one, u32::try_from(keep).unwrap()).await;
        } else {
            self.write(one).await;
        }
    }

    /// Files that are sealed, in groups; and perhaps one that waits for a group.
    async fn seal_groups(&mut self, profile: Profile) {
        for _ in 0..1 + self.dice.below(2) {
            let order = self.dice.shuffled(&self.living);
            let (homes, rest) = order.split_at(profile.data());
            let mut images: Vec<ImageId> = Vec::new();
            for home in homes {
                let one = self.place(Some(*home));
                for _ in 0..1 + self.dice.below(4) {
                    self.write(one).await;
                }
                images.push(self.cluster.sealed(one).await);
            }
            self.cluster.group(profile, &images, &rest[..profile.parity()]).await;
            for image in images {
                self.cluster.used(image).await;
            }
        }
        if self.dice.is_one_in(2) {
            let one = self.place(None);
            self.write(one).await;
            self.cluster.sealed(one).await;
        }
    }

    /// Writes something, corrupts something, and sees it made good.
    pub(crate) async fn epoch(&mut self, tally: &mut Tally) {
        for _ in 0..self.dice.below(4) {
            self.change().await;
        }
        let (mut budget, mut all) = (Budget::default(), Vec::new());
        for _ in 0..1 + self.dice.below(4) {
            let server = *self.dice.pick(&self.living);
            let thrown = Damage::thrown(&self.cluster, &mut self.dice, server).await;
            let thrown = thrown.filter(|one: &Damage| all.iter().all(|other: &Damage| !one.overlaps(other)));
            all.extend(thrown.filter(|one| budget.admits(&self.cluster, one)));
        }
        let servers: BTreeSet<u32> = all.iter().map(|one| one.server).collect();
        let down: Vec<u32> = servers.into_iter().filter(|_| self.dice.is_one_in(2)).collect();
        let before = self.found();
        self.last = all
            .iter()
            .map(|one| format!("{one}{}", if down.contains(&one.server) { ", while it is down" } else { "" }))
            .collect();
        tracing::info!("{:#?}", self.last);
        for damage in all.iter().filter(|one| !down.contains(&one.server)) {
            damage.apply(&self.cluster);
        }
        if self.dice.is_one_in(2) {
            self.read(tally).await;
        }
        let mut kept = before;
        for server in down {
            self.cluster.stop(server).await;
            all.iter().filter(|one| one.server == server).for_each(|one| one.apply(&self.cluster));
            if let Err(error) = self.cluster.try_start(server).await {
                panic!("server {server} does not start: {error}");
            }
            kept.insert(server, 0);
        }
        self.read(tally).await;
        self.scrub().await;
        let found: u64 = self.found().iter().map(|(server, now)| now.saturating_sub(kept[server])).sum();
        let mut needed = 0;
        for damage in &all {
            let outcome = damage.outcome(&self.cluster).await;
            needed += u64::from(outcome == "as it was" && damage.is_in_use());
            tally.count(damage.part.name(), outcome);
            self.made += 1;
        }
        assert!(needed == 0 || 0 < found, "something was repaired, and no scrub found it");
        self.read_all(tally).await;
        if !all.is_empty() && self.dice.is_one_in(20) {
            self.beyond(tally).await;
        }
    }

    /// What scrubs, starts and readers have found, by server.
    fn found(&self) -> BTreeMap<u32, u64> {
        let of = |server: &u32| {
            let names = ["shoal_scrub_found", "shoal_mended_images", "shoal_rebuilt_images"];
            (*server, names.iter().map(|name| self.cluster.count(*server, name)).sum())
        };
        self.living.iter().map(of).collect()
    }

    /// Reads everything from the primaries: right bytes, or an error.
    async fn read(&mut self, tally: &mut Tally) -> u64 {
        let mut refused = 0;
        for (one, bytes) in &self.files {
            let read = self.cluster.read(*one, 0, bytes.len() + 1_000).await;
            tally.reads += 1;
            match read {
                Ok(read) => {
                    assert!(read[..bytes.len()] == bytes[..], "wrong bytes of {one}");
                    assert!(
                        read[bytes.len()..].iter().all(|byte| *byte == 0),
                        "bytes behind the end of {one}"
                    );
                }
                Err(_) => refused += 1,
            }
        }
        tally.refused_reads += refused;
        refused
    }

    async fn read_all(&mut self, tally: &mut Tally) {
        assert_eq!(self.read(tally).await, 0, "something cannot be read");
    }

    fn usage(&self, server: u32) -> wire_nfs::control::heartbeat::Usage {
        self.cluster.nodes[server as usize - 1].server.as_ref().unwrap().usage()
    }

    /// Waits until a whole round of everybody's scrub has found nothing, and nothing is known to be
    /// bad.
    async fn scrub(&self) {
        for _ in 0..ROUNDS_MAX {
            self.a_round().await;
            let before = self.found();
            self.a_round().await;
            let is_clean = self.living.iter().all(|server| self.usage(*server).scrub_bad == 0);
            if is_clean && before == self.found() {
                return;
            }
        }
        let bad: Vec<u64> = self.living.iter().map(|server| self.usage(*server).scrub_bad).collect();
        panic!("the scrub does not come to an end: {bad:?} are bad on {:?}", self.living);
    }

    /// Waits for the end of a round that began after this, on every server.
    async fn a_round(&self) {
        let ends = || -> Vec<u64> {
            self.living.iter().map(|server| self.usage(*server).scrub_ended_unix_ns).collect()
        };
        let began_unix_ns = self.cluster.now_unix_ns();
        let period_ns = PERIOD_MS * 1_000_000;
        // A round takes less than the period, and the next one begins a period after its start.
        self.cluster
            .until_so("a round ends", || ends().iter().all(|end| began_unix_ns + 2 * period_ns <= *end))
            .await;
    }

    /// More than there is redundancy for, on one server: it does not start, and is replaced as one
    /// that was lost.
    async fn beyond(&mut self, tally: &mut Tally) {
        let server = *self.dice.pick(&self.living);
        let Some(pair) = self.hopeless(server).await else { return };
        self.cluster.stop(server).await;
        pair.iter().for_each(|one| one.apply(&self.cluster));
        let started = self.cluster.try_start(server).await;
        assert!(started.is_err(), "server {server} starts with {} and {}", pair[0], pair[1]);
        for damage in &pair {
            tally.count(damage.part.name(), "server replaced");
        }
        self.replace(server).await;
        self.read_all(tally).await;
        self.scrub().await;
        self.read_all(tally).await;
    }

    /// Both places that say the same.
    async fn hopeless(&mut self, server: u32) -> Option<Vec<Damage>> {
        let mut pair = Vec::new();
        if self.dice.is_one_in(4) {
            for name in ["/ds/superblock", "/ds/superblock.copy"] {
                let whole = bytes_of(&self.cluster, server, name.as_ref()).await?;
                let start = self.dice.below(whole.len());
                let place = Place { part: Part::Superblock, start, end: start + 1, record: None };
                pair.push(Damage::of(server, name.as_ref(), &whole, &place));
            }
            return Some(pair);
        }
        let all = places::segments(&self.cluster, server).await;
        for path in self.dice.shuffled(&all.iter().collect::<Vec<_>>()) {
            let whole = bytes_of(&self.cluster, server, path).await?;
            let places = places::places(path, &whole);
            let of = |part| places.iter().filter(move |one| one.part == part).collect::<Vec<&Place>>();
            let (headers, footers) = (of(Part::RecordHeader), of(Part::SegmentFooter));
            if !headers.is_empty() && !footers.is_empty() {
                let (header, footer) = (*self.dice.pick(&headers), *self.dice.pick(&footers));
                return Some(vec![
                    Damage::of(server, path, &whole, header),
                    Damage::of(server, path, &whole, footer),
                ]);
            }
        }
        None
    }

    /// Another server takes the place of one that is gone for good.
    async fn replace(&mut self, old: u32) {
        self.cluster.lose(old);
        self.living.retain(|server| *server != old);
        let fresh = self.cluster.join().await;
        self.living.push(fresh);
        // Everybody hears of it.
        for server in self.living.clone() {
            self.cluster.restart(server).await;
        }
        let slots = {
            let mut log = self.cluster.log.lock().unwrap();
            for record in log.extents.values_mut().filter(|record| record.backups.is_empty()) {
                record.epoch += 1;
                record.backups.push(KeptBy { server: fresh, since: record.epoch, filling: true });
            }
            let mut slots = Vec::new();
            for (number, group) in &log.groups {
                let homes = group.homes().iter().enumerate();
                let gone = homes.filter(|(_, home)| home.is_some_and(|home| home.0 == old));
                slots.extend(gone.map(|(slot, _)| (*number, slot)));
            }
            slots
        };
        self.cluster.settle_sets().await;
        for (group, slot) in slots {
            self.cluster.rebuild(group, slot, fresh).await.unwrap();
        }
    }

    /// What was made good is worth something: a server more is lost.
    pub(crate) async fn end(mut self, tally: &mut Tally) {
        for _ in 0..self.losses {
            let gone = *self.dice.pick(&self.living);
            self.cluster.lose(gone);
            self.living.retain(|server| *server != gone);
        }
        self.read_all(tally).await;
    }
}
