//! What the leading metadata server does beside answering: it has extents forgotten, cut and taken
//! up, replaces servers that are dead, makes groups, and has lost images made again. As mds-server
//! does it, over the modelled log.
//!
//! Spec: docs/protocol/replicate.md §4; docs/protocol/seal.md §3, §6, §7, §9, §10.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use layout::ec::{Draft, Group, GroupId, ImageId, ImageSum, Member, Shape as GroupShape};
use layout::{DataServerId, ExtentId};
use wire_nfs::control::copies::{CopySet, KeptBy};
use wire_nfs::control::extent::{AtEpoch, Cut, ExtentName, KnownEpoch};
use wire_nfs::control::groups::{EncodeGroup, EncodedGroup, GroupSlot};
use wire_nfs::control::images::{Adopt, HadImages, HaveImages, HeldImage, ShownImage};
use wire_nfs::control::{Nothing, Procedure};

use crate::fleet::{Doing, Fleet, Trouble};
use crate::metadata::{Log, Work, id};

/// An image that waited so long makes a short group.
const GROUP_WAIT_MS: u64 = 1_500;

/// A group, and which image of it.
type Slot = (u64, usize);

/// What the leader remembers beside the log.
#[derive(Default)]
pub(crate) struct Leader {
    /// Places of groups of which it is known, or to be feared, that the image is not there.
    missing: Mutex<BTreeSet<Slot>>,
    /// Servers to ask whether they have what they should.
    suspects: Mutex<BTreeSet<u32>>,
    /// Servers that were declared dead.
    dead: Mutex<BTreeSet<u32>>,
}

fn name(extent: ExtentId) -> ExtentName {
    ExtentName { ino: extent.ino, index: extent.index }
}

impl Leader {
    /// Begins to do all this, until the tasks are aborted.
    pub(crate) fn begin(fleet: &Arc<Fleet>) -> (Arc<Self>, Vec<tokio::task::JoinHandle<()>>) {
        let leader = Arc::new(Self::default());
        let spawn = |what: usize| {
            let (leader, fleet) = (Arc::clone(&leader), Arc::clone(fleet));
            tokio::spawn(async move {
                loop {
                    fleet.sleep_ms(100).await;
                    match what {
                        0 => leader.tend(&fleet).await,
                        1 => leader.group(&fleet).await,
                        _ => leader.mend(&fleet).await,
                    }
                }
            })
        };
        let tasks = (0..3).map(spawn).collect();
        (leader, tasks)
    }

    /// A server is dead for longer than its lease: it is no primary and no replica any more.
    pub(crate) fn declare_dead(&self, fleet: &Fleet, server: u32) {
        self.dead.lock().unwrap().insert(server);
        let mut log = fleet.log.lock().unwrap();
        // It learns what it missed before it gets a lease again.
        log.roster.held.insert(server);
        let extents: Vec<ExtentId> = log.extents.keys().copied().collect();
        for extent in extents {
            take_out(&mut log, fleet, extent, server);
        }
    }

    /// It is back, perhaps with a disk as it once was.
    pub(crate) fn is_back(&self, server: u32) {
        self.dead.lock().unwrap().remove(&server);
        self.suspects.lock().unwrap().insert(server);
    }

    /// What it has of images is not to be relied upon.
    pub(crate) fn distrust(&self, fleet: &Fleet, server: u32) {
        let log = fleet.log.lock().unwrap();
        let mut missing = self.missing.lock().unwrap();
        for (number, group) in &log.groups {
            let slots =
                group.homes().iter().enumerate().filter(|(_, home)| **home == Some(DataServerId(server)));
            missing.extend(slots.map(|(slot, _)| (*number, slot)));
        }
    }

    /// Whether every promised byte survives if these servers lose their disks, beside what is lost
    /// already.
    pub(crate) fn survives(&self, fleet: &Fleet, lost: &[u32]) -> bool {
        let log = fleet.log.lock().unwrap();
        let missing = self.missing.lock().unwrap();
        let gone = |server: u32| lost.contains(&server) || fleet.is_lost(server);
        let groups = log.groups.iter().all(|(number, group)| {
            let bad = |(slot, home): (usize, &Option<DataServerId>)| {
                home.is_some_and(|home| gone(home.0)) || missing.contains(&(*number, slot))
            };
            let bad = group.homes().iter().enumerate().filter(|place| bad(*place)).count();
            bad <= group.shape().profile().parity()
        });
        let extents = log.extents.iter().all(|(_, record)| {
            let whole = record.backups.iter().filter(|one| !one.filling).map(|one| one.server);
            std::iter::once(record.home).chain(whole).any(|server| !gone(server))
        });
        // A primary that is to take one up has nothing of it yet but the group.
        groups && extents && log.making.is_empty()
    }

    /// Whether nothing is left to be done.
    pub(crate) fn is_at_rest(&self, fleet: &Fleet) -> bool {
        let log = fleet.log.lock().unwrap();
        let whole = log.extents.values().all(|record| {
            record.backups.len() + 1 >= copies(fleet) && record.backups.iter().all(|one| !one.filling)
        });
        let owed = log.owed.iter().all(|(server, owed)| owed.is_empty() || fleet.is_lost(*server));
        let missing = self.missing.lock().unwrap().is_empty() && self.suspects.lock().unwrap().is_empty();
        let mut homes = log.groups.values().flat_map(|group| group.homes().iter().flatten());
        whole && owed && missing && log.pending.is_empty() && !homes.any(|home| fleet.is_lost(home.0))
    }

    async fn tend(&self, fleet: &Arc<Fleet>) {
        self.have_forgotten(fleet).await;
        let works: Vec<(ExtentId, Work, CopySet)> = {
            let log = fleet.log.lock().unwrap();
            log.pending.iter().map(|(extent, work)| (*extent, work.clone(), log.set(*extent))).collect()
        };
        for (extent, work, set) in works {
            let done = carry_out(fleet, &work, &set).await;
            let mut log = fleet.log.lock().unwrap();
            let epoch = log.extents.get(&extent).map(|record| record.epoch);
            if done && epoch == Some(set.epoch) {
                log.pending.remove(&extent);
            }
        }
        self.top_up(fleet).await;
    }

    /// Has servers forget what is not theirs any more. Only then those that were away get a lease.
    async fn have_forgotten(&self, fleet: &Fleet) {
        let owed = fleet.log.lock().unwrap().owed.clone();
        for (server, extents) in owed {
            if fleet.is_lost(server) || fleet.running(server).is_none() {
                continue;
            }
            for (extent, epoch) in extents {
                let _busy = fleet.busy(Doing::Drop);
                if fence_set(fleet, extent, epoch).await.is_err() {
                    continue;
                }
                let ask = AtEpoch { extent: name(extent), epoch };
                let done = fleet.control::<KnownEpoch>(server, Procedure::Drop, &ask, 5_000).await;
                let mut log = fleet.log.lock().unwrap();
                let owed = log.owed.entry(server).or_default();
                if done.is_ok() && owed.get(&extent) == Some(&epoch) {
                    owed.remove(&extent);
                }
            }
        }
        let dead = self.dead.lock().unwrap().clone();
        let mut log = fleet.log.lock().unwrap();
        let Log { owed, roster, .. } = &mut *log;
        roster
            .held
            .retain(|server| dead.contains(server) || owed.get(server).is_some_and(|owed| !owed.is_empty()));
    }

    /// Gives extents replicas that have too few, and has them filled.
    async fn top_up(&self, fleet: &Fleet) {
        let up = fleet.up();
        let wants: Vec<CopySet> = {
            let mut log = fleet.log.lock().unwrap();
            let Log { extents, owed, pending, .. } = &mut *log;
            for (extent, record) in extents.iter_mut() {
                let adopts = matches!(pending.get(extent), Some(Work::Adopt(_)));
                if adopts || copies(fleet) <= record.backups.len() + 1 || !up.contains(&record.home) {
                    continue;
                }
                let is_free = |server: &&u32| {
                    **server != record.home
                        && record.backups.iter().all(|one| one.server != **server)
                        && owed.get(*server).is_none_or(|owed| !owed.contains_key(extent))
                };
                let free: Vec<u32> = up.iter().filter(is_free).copied().collect();
                if free.is_empty() {
                    continue;
                }
                let server = free[usize::try_from(fleet.below(free.len() as u64)).unwrap()];
                record.epoch += 1;
                record.backups.push(KeptBy { server, since: record.epoch, filling: true });
            }
            let filling: Vec<ExtentId> = log
                .extents
                .iter()
                .filter(|(extent, record)| {
                    record.backups.iter().any(|one| one.filling) && !log.pending.contains_key(extent)
                })
                .map(|(extent, _)| *extent)
                .collect();
            filling.into_iter().map(|extent| log.set(extent)).collect()
        };
        for set in wants {
            // It says by itself when it has done so.
            drop(fleet.control::<Nothing>(set.home, Procedure::Keep, &set, 2_000).await);
        }
    }

    /// Makes a group of images that wait.
    async fn group(&self, fleet: &Fleet) {
        let up = fleet.up();
        let Some((draft, homes, parity)) = draft(fleet, &up) else { return };
        let _busy = fleet.busy(Doing::Encode);
        let ask = EncodeGroup { draft: draft.encode().into(), homes: homes.clone(), parity: parity.clone() };
        let encoded = fleet.control::<EncodedGroup>(parity[0], Procedure::Encode, &ask, 20_000).await;
        let mut log = fleet.log.lock().unwrap();
        log.making.clear();
        let Ok(encoded) = encoded else { return };
        let shape = GroupShape::decode(&encoded.shape).unwrap();
        enter(&mut log, shape, &homes, &parity);
    }

    /// Asks servers that came back what they have, and has what is not there made again.
    async fn mend(&self, fleet: &Fleet) {
        let suspects: Vec<u32> = self.suspects.lock().unwrap().iter().copied().collect();
        for server in suspects {
            if fleet.is_lost(server) || self.look_at(fleet, server).await {
                self.suspects.lock().unwrap().remove(&server);
            }
        }
        let dead = self.dead.lock().unwrap().clone();
        let (known, todo): (BTreeSet<Slot>, Vec<Slot>) = {
            let log = fleet.log.lock().unwrap();
            let missing = self.missing.lock().unwrap();
            let all = || {
                log.groups.iter().flat_map(|(number, group)| {
                    group
                        .homes()
                        .iter()
                        .enumerate()
                        .filter_map(move |(slot, home)| Some((*number, slot, (*home)?.0)))
                })
            };
            let known = all().map(|(number, slot, _)| (number, slot)).collect();
            let bad = |(number, slot, home): &(u64, usize, u32)| {
                missing.contains(&(*number, *slot)) || dead.contains(home) || fleet.is_lost(*home)
            };
            (known, all().filter(bad).map(|(number, slot, _)| (number, slot)).collect())
        };
        self.missing.lock().unwrap().retain(|place| known.contains(place));
        for (number, slot) in todo {
            self.make_again(fleet, number, slot).await;
        }
    }

    /// True if it has answered which of its images are there.
    async fn look_at(&self, fleet: &Fleet, server: u32) -> bool {
        let places: Vec<(u64, usize, HeldImage)> = {
            let log = fleet.log.lock().unwrap();
            let mut places = Vec::new();
            for (number, group) in &log.groups {
                for (slot, home) in group.homes().iter().enumerate() {
                    if *home == Some(DataServerId(server))
                        && let Some((image, _)) = group.shape().image(slot)
                    {
                        let file_bytes = u32::try_from(group.shape().file_bytes(slot)).unwrap();
                        places.push((*number, slot, HeldImage { image: image.0, file_bytes }));
                    }
                }
            }
            places
        };
        for chunk in places.chunks(200) {
            let ask = HaveImages { server, images: chunk.iter().map(|(.., held)| *held).collect() };
            let Ok(had) = fleet.control::<HadImages>(server, Procedure::Have, &ask, 5_000).await else {
                return false;
            };
            let mut missing = self.missing.lock().unwrap();
            for ((number, slot, _), have) in chunk.iter().zip(had.have) {
                if have {
                    missing.remove(&(*number, *slot));
                } else {
                    missing.insert((*number, *slot));
                }
            }
        }
        true
    }

    async fn make_again(&self, fleet: &Fleet, number: u64, slot: usize) {
        let up = fleet.up();
        let Some(group) = fleet.log.lock().unwrap().groups.get(&number).cloned() else { return };
        let Some(home) = group.homes()[slot] else { return };
        let taken = |server: &u32| group.homes().contains(&Some(DataServerId(*server)));
        let target = if up.contains(&home.0) {
            Some(home.0)
        } else {
            let free: Vec<u32> = up.into_iter().filter(|server| !taken(server)).collect();
            (!free.is_empty()).then(|| free[usize::try_from(fleet.below(free.len() as u64)).unwrap()])
        };
        let Some(target) = target else { return };
        let _busy = fleet.busy(Doing::Rebuild);
        let ask = GroupSlot { record: group.encode().into(), slot: u32::try_from(slot).unwrap() };
        let Some((image, _)) = group.shape().image(slot) else { return };
        fleet.log.lock().unwrap().remaking.insert((target, image));
        let made = fleet.control::<Nothing>(target, Procedure::Rebuild, &ask, 20_000).await;
        let mut log = fleet.log.lock().unwrap();
        log.remaking.remove(&(target, image));
        if made.is_ok()
            && let Some(now) = log.groups.get_mut(&number)
            && now.homes() == group.homes()
        {
            if target != home.0 {
                now.rehome(slot, DataServerId(target)).unwrap();
            }
            self.missing.lock().unwrap().remove(&(number, slot));
        }
    }
}

/// How many servers keep an extent.
fn copies(fleet: &Fleet) -> usize {
    let live = fleet.ids().into_iter().filter(|id| !fleet.is_lost(*id)).count();
    live.min(2)
}

/// The entry of the log that takes a dead server out of the set of an extent, and gives the extent
/// to who has everything.
fn take_out(log: &mut Log, fleet: &Fleet, extent: ExtentId, server: u32) {
    let is_alive = |server: u32| fleet.running(server).is_some() && !fleet.is_lost(server);
    let at_rest = if log.pending.contains_key(&extent) { None } else { log.at_rest(extent) };
    let record = log.extents.get_mut(&extent).unwrap();
    if record.home != server {
        let Some(found) = record.backups.iter().position(|one| one.server == server) else { return };
        record.backups.remove(found);
        record.epoch += 1;
        log.owed.entry(server).or_default().insert(extent, record.epoch);
        return;
    }
    // A primary that was to take it up has not: another one does.
    let adopting = matches!(log.pending.get(&extent), Some(Work::Adopt(_)));
    let heir = record.backups.iter().position(|one| !one.filling && is_alive(one.server));
    if let Some(heir) = heir.filter(|_| !adopting) {
        record.home = record.backups.remove(heir).server;
        record.epoch += 1;
        log.owed.entry(server).or_default().insert(extent, record.epoch);
        return;
    }
    let up: Vec<u32> = fleet.ids().into_iter().filter(|id| *id != server && is_alive(*id)).collect();
    let (Some((sequence, image)), false) = (at_rest, up.is_empty()) else { return };
    let old: Vec<u32> = std::iter::once(server).chain(record.backups.iter().map(|one| one.server)).collect();
    let other: Vec<u32> = up.into_iter().filter(|id| !old.contains(id)).collect();
    if other.is_empty() {
        return;
    }
    record.home = other[usize::try_from(fleet.below(other.len() as u64)).unwrap()];
    record.backups.clear();
    record.epoch += 1;
    let (epoch, image) = (record.epoch, image.encode());
    for gone in old {
        log.owed.entry(gone).or_default().insert(extent, epoch);
    }
    let adopt = Adopt { extent: name(extent), epoch, sequence, keep_bytes: 64 << 20, image };
    log.pending.insert(extent, Work::Adopt(adopt));
}

/// The servers that keep an extent now refuse what a former primary says.
async fn fence_set(fleet: &Fleet, extent: ExtentId, epoch: u64) -> Result<(), Trouble> {
    let set = {
        let log = fleet.log.lock().unwrap();
        if !log.extents.contains_key(&extent) {
            return Ok(());
        }
        log.set(extent)
    };
    let servers = std::iter::once(set.home).chain(set.backups.iter().map(|one| one.server));
    for server in servers {
        if fleet.running(server).is_some() {
            let ask = AtEpoch { extent: name(extent), epoch };
            fleet.control::<KnownEpoch>(server, Procedure::Fence, &ask, 5_000).await?;
        }
    }
    Ok(())
}

async fn carry_out(fleet: &Fleet, work: &Work, set: &CopySet) -> bool {
    match work {
        Work::Cut(keep_bytes) => {
            let cut = Cut {
                extent: set.extent,
                epoch: set.epoch,
                keep_bytes: *keep_bytes,
                copies: Some(set.clone()),
            };
            fleet.control::<KnownEpoch>(set.home, Procedure::Cut, &cut, 10_000).await.is_ok()
        }
        Work::Adopt(adopt) => {
            let _busy = fleet.busy(Doing::Adopt);
            let adopt = Adopt { epoch: set.epoch, ..*adopt };
            let done = fleet.control::<KnownEpoch>(set.home, Procedure::Adopt, &adopt, 10_000).await;
            done.is_ok()
        }
    }
}

fn may_join(log: &Log, server: u32, shown: &ShownImage) -> bool {
    let extent = id(shown.extent);
    log.extents.get(&extent).is_some_and(|record| {
        let newer = record.images.range(shown.sequence..).next().is_some();
        (record.home, record.epoch) == (server, shown.epoch)
            && !newer
            && record.images.len() < 4
            && !log.pending.contains_key(&extent)
    })
}

/// The next group, if there is to be one: what it is made of, where that is, and where its parity
/// is to be.
fn draft(fleet: &Fleet, up: &[u32]) -> Option<(Draft, Vec<u32>, Vec<u32>)> {
    let profile = fleet.shape.profile;
    let mut log = fleet.log.lock().unwrap();
    let all = std::mem::take(&mut log.waiting);
    log.waiting = all.into_iter().filter(|(_, (server, shown))| may_join(&log, *server, shown)).collect();
    let mut members: BTreeMap<u32, (ImageId, ShownImage)> = BTreeMap::new();
    let mut extents = BTreeSet::new();
    for (image, (server, shown)) in &log.waiting {
        if up.contains(server)
            && members.len() < profile.data()
            && !members.contains_key(server)
            && extents.insert(id(shown.extent))
        {
            members.insert(*server, (*image, *shown));
        }
    }
    if members.is_empty() {
        return None;
    }
    // Mostly they wait for others.
    let is_full = members.len() == profile.data();
    if !is_full && fleet.below(GROUP_WAIT_MS / 100) != 0 {
        return None;
    }
    let mut free: Vec<u32> = up.iter().filter(|server| !members.contains_key(server)).copied().collect();
    if free.len() < profile.parity() {
        return None;
    }
    let turn = usize::try_from(fleet.below(free.len() as u64)).unwrap();
    free.rotate_left(turn);
    free.truncate(profile.parity());
    let number = fleet.groups.fetch_add(1, Ordering::Relaxed) + 1;
    let fresh = |server: &u32| {
        let mut image = [0xaa; 16];
        image[..8].copy_from_slice(&number.to_be_bytes());
        image[8..12].copy_from_slice(&server.to_be_bytes());
        ImageId(image)
    };
    let parity: Vec<ImageId> = free.iter().map(fresh).collect();
    log.making.extend(members.values().map(|(image, _)| *image).chain(parity.iter().copied()));
    let mut homes: Vec<u32> = members.keys().copied().collect();
    homes.resize(profile.data(), 0);
    let member = |(image, shown): &(ImageId, ShownImage)| {
        let (bytes, sum) = (u64::from(shown.file_bytes), ImageSum(shown.sum));
        Some(Member { image: *image, extent: id(shown.extent), bytes, sum })
    };
    let mut members: Vec<Option<Member>> = members.values().map(member).collect();
    members.resize(profile.data(), None);
    Some((Draft { group: GroupId(number), profile, codec: profile.codec(), members, parity }, homes, free))
}

/// The entry of the log that makes a group, unless one of its images has become useless.
fn enter(log: &mut Log, shape: GroupShape, homes: &[u32], parity: &[u32]) {
    let members: Vec<Member> = shape.members().iter().flatten().copied().collect();
    let shown = |member: &Member| {
        let (server, shown) = log.waiting.get(&member.image)?;
        may_join(log, *server, shown).then_some(shown.sequence)
    };
    let Some(sequences) = members.iter().map(shown).collect::<Option<Vec<u64>>>() else { return };
    for (member, sequence) in members.iter().zip(sequences) {
        log.waiting.remove(&member.image);
        log.extents.get_mut(&member.extent).unwrap().images.insert(sequence, member.image);
    }
    let server = |id: &u32| (*id != 0).then_some(DataServerId(*id));
    let homes = homes.iter().chain(parity).map(server).collect();
    let number = shape.group().0;
    log.groups.insert(number, Group::new(shape, homes).unwrap());
}
