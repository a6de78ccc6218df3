//! A metadata server as data servers meet it: a log of extents, images and groups, and the words of
//! docs/protocol/seal.md §2.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use ds_store::ImageRef;
use env::BoxFuture;
use env_transport::{Answer, Call, Connection, Service};
use layout::ec::{Group, ImageId};
use layout::{DataServerId, ExtentId};
use wire_nfs::control::copies::{AskCopies, CopySet, KeptBy, Word};
use wire_nfs::control::extent::ExtentName;
use wire_nfs::control::groups::{AskGroup, GroupSlot};
use wire_nfs::control::images::{
    Adopt, AskAtRest, AtRest, ImageWord, ImageWords, ShowImages, ShownImage, Standing, Thaw,
};
use wire_nfs::control::{Nothing, Procedure, Refusal, decode_args, put_reply};
use wire_rpc::accepted_success;
use wire_xdr::Writer;

use crate::bed::roster::Roster;

/// What is known of an extent.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) home: u32,
    pub(crate) backups: Vec<KeptBy>,
    pub(crate) epoch: u64,
    /// Its images in groups, by sequence; the last one is the newest.
    pub(crate) images: BTreeMap<u64, ImageId>,
    /// The highest sequence of all THAWs and USEDs.
    pub(crate) thawed: u64,
    /// The epoch of the last CUT.
    pub(crate) cut: u64,
}

/// What becomes of THAWs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Thaws {
    /// They are noted and answered.
    #[default]
    Answered,
    /// They are noted, and answered later.
    Held,
    /// They are neither noted nor answered.
    Lost,
    /// They are refused.
    Refused(Refusing),
}

/// Why THAWs are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusing {
    NotHome,
    Busy,
}

/// What an extent's primary is still to do, before it may be sealed or a handle given out.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Work {
    /// To forget what is behind so many bytes.
    Cut(u32),
    /// To take it up from its image.
    Adopt(Adopt),
}

/// The metadata server's state.
#[derive(Default)]
pub(crate) struct Log {
    pub(crate) extents: BTreeMap<ExtentId, Record>,
    pub(crate) groups: BTreeMap<u64, Group>,
    /// Images that were shown and may go into a group, and where they are.
    pub(crate) waiting: BTreeMap<ImageId, (u32, ShownImage)>,
    /// Images that primaries have said to be in use everywhere.
    pub(crate) used: BTreeSet<ImageId>,
    /// With which sequence, the last time.
    pub(crate) used_at: BTreeMap<ImageId, u64>,
    /// All that were shown by primaries that had just made them.
    pub(crate) shown: BTreeMap<ImageId, ShownImage>,
    /// What was shown of them last, by whomever.
    pub(crate) asked: BTreeMap<ImageId, ShownImage>,
    /// THAWs that came, lost ones too.
    pub(crate) thaws: Vec<(ExtentId, u64)>,
    pub(crate) thaws_are: Thaws,
    /// Words that were given.
    pub(crate) said: Vec<(ImageId, ImageWord)>,
    pub(crate) making: BTreeSet<ImageId>,
    /// Images that are being made again, and where.
    pub(crate) remaking: BTreeSet<(u32, ImageId)>,
    pub(crate) is_silent: bool,
    /// Of every file.
    pub(crate) size_bytes: u64,
    pub(crate) pending: BTreeMap<ExtentId, Work>,
    /// Servers that are to forget extents, at which epochs.
    pub(crate) owed: BTreeMap<u32, BTreeMap<ExtentId, u64>>,
    pub(crate) roster: Roster,
}

pub(crate) fn id(name: ExtentName) -> ExtentId {
    ExtentId { ino: name.ino, index: name.index }
}

impl Log {
    pub(crate) fn set(&self, extent: ExtentId) -> CopySet {
        let record = &self.extents[&extent];
        CopySet {
            extent: ExtentName { ino: extent.ino, index: extent.index },
            epoch: record.epoch,
            home: record.home,
            backups: record.backups.clone(),
        }
    }

    pub(crate) fn hear(&mut self, ask: &AskCopies) -> Result<CopySet, Refusal> {
        let extent = id(ask.extent);
        let may = |record: &Record| {
            let is_backup = record.backups.iter().any(|one| one.server == ask.server);
            record.home == ask.server || (ask.word == Word::Who && is_backup)
        };
        let record = self.extents.get_mut(&extent).filter(|record| may(record)).ok_or(Refusal::NotHome)?;
        // What was said of an earlier stay as a replica is no news.
        let fits = |one: &KeptBy| one.server == ask.backup && (ask.since == 0 || one.since == ask.since);
        let found = record.backups.iter().position(fits);
        match (ask.word, found) {
            (Word::Seal, _)
                if self.pending.contains_key(&extent) || record.backups.iter().any(|one| one.filling) =>
            {
                return Err(Refusal::Busy);
            }
            (Word::Ask | Word::Seal | Word::Who, _) | (_, None) => {}
            (Word::Lost, Some(found)) => {
                record.backups.remove(found);
                record.epoch += 1;
                self.owed.entry(ask.backup).or_default().insert(extent, record.epoch);
            }
            (Word::Filled, Some(found)) if record.backups[found].filling => {
                record.backups[found].filling = false;
                record.epoch += 1;
            }
            (Word::Filled, Some(_)) => {}
        }
        Ok(self.set(extent))
    }

    /// The group of an image and its slots there.
    pub(crate) fn places(&self, image: ImageId) -> Option<(&Group, Vec<usize>)> {
        self.groups.values().find_map(|group| {
            let is_it = |slot: &usize| group.shape().image(*slot).is_some_and(|(found, _)| found == image);
            let slots: Vec<usize> = (0..group.shape().slots()).filter(is_it).collect();
            (!slots.is_empty()).then_some((group, slots))
        })
    }

    pub(crate) fn word(&mut self, server: u32, shown: &ShownImage) -> ImageWord {
        let image = ImageId(shown.image);
        let record = self.extents.get(&id(shown.extent)).filter(|record| record.home == server);
        let at_epoch = record.is_some_and(|record| record.epoch == shown.epoch);
        if shown.standing == Standing::Used {
            if !at_epoch {
                return ImageWord::Wait;
            }
            self.used.insert(image);
            self.used_at.insert(image, shown.sequence);
            let record = self.extents.get_mut(&id(shown.extent)).unwrap();
            record.thawed = record.thawed.max(shown.sequence);
            // What is older is dead now.
            let place = record.images.iter().find(|(_, one)| **one == image).map(|(sequence, _)| *sequence);
            record.images.retain(|sequence, _| place.is_none_or(|place| place <= *sequence));
            self.drop_dead_groups();
            return ImageWord::Keep;
        }
        if self.remaking.contains(&(server, image)) {
            return ImageWord::Wait;
        }
        if let Some((group, slots)) = self.places(image) {
            let here = |slot: &usize| group.homes()[*slot] == Some(DataServerId(server));
            if !slots.iter().any(here) {
                return ImageWord::Delete;
            }
            let newest = record.and_then(|record| record.images.last_key_value()).map(|(_, image)| *image);
            let may_use = newest == Some(image) && at_epoch;
            return if may_use { ImageWord::Use } else { ImageWord::Keep };
        }
        if self.making.contains(&image) {
            return ImageWord::Wait;
        }
        let newer = |record: &Record| record.images.range(shown.sequence..).next().is_some();
        if shown.standing == Standing::Unused && at_epoch && !record.is_some_and(newer) {
            self.waiting.insert(image, (server, *shown));
            self.shown.insert(image, *shown);
            return ImageWord::Wait;
        }
        ImageWord::Delete
    }

    pub(crate) fn thaw(&mut self, thaw: &Thaw) -> Result<Nothing, Refusal> {
        let extent = id(thaw.extent);
        self.thaws.push((extent, thaw.sequence));
        match self.thaws_are {
            Thaws::Refused(Refusing::NotHome) => return Err(Refusal::NotHome),
            Thaws::Refused(Refusing::Busy) => return Err(Refusal::Busy),
            Thaws::Lost => return Ok(Nothing),
            Thaws::Answered | Thaws::Held => {}
        }
        let record = self.extents.get_mut(&extent).filter(|record| record.home == thaw.server);
        let record = record.ok_or(Refusal::NotHome)?;
        record.thawed = record.thawed.max(thaw.sequence);
        Ok(Nothing)
    }

    /// The image that is all there is of an extent, if there is one, and its sequence.
    pub(crate) fn at_rest(&self, extent: ExtentId) -> Option<(u64, ImageRef)> {
        let record = &self.extents[&extent];
        let (sequence, image) = record.images.first_key_value()?;
        let shown = &self.shown[image];
        let rests = self.used.contains(image) && record.thawed <= *sequence && record.cut <= shown.epoch;
        let &ShownImage { content_bytes, file_bytes, root, .. } = shown;
        rests.then_some((*sequence, ImageRef { image: *image, content_bytes, file_bytes, root }))
    }

    /// What a reader is told of an extent.
    pub(crate) fn tell_reader(&self, ask: &AskAtRest) -> Result<AtRest, Refusal> {
        let extent = id(ask.extent);
        let has_epoch = self.extents.get(&extent).is_some_and(|record| record.epoch == ask.epoch);
        let (_, image) = has_epoch.then(|| self.at_rest(extent)).flatten().ok_or(Refusal::Stale)?;
        Ok(AtRest { size_bytes: self.size_bytes, image: image.encode() })
    }

    /// Groups that hold no extent's image any more.
    pub(crate) fn drop_dead_groups(&mut self) {
        let extents = &self.extents;
        self.groups.retain(|_, group| {
            group.shape().members().iter().flatten().any(|member| {
                extents.get(&member.extent).is_some_and(|one| one.images.values().any(|i| *i == member.image))
            })
        });
    }

    /// The groups that were being made are not made.
    pub(crate) fn forget_making(&mut self) {
        self.making.clear();
    }

    pub(crate) fn group(&self, ask: &AskGroup) -> Result<GroupSlot, Refusal> {
        let (group, slots) = self.places(ImageId(ask.image)).ok_or(Refusal::NoImage)?;
        Ok(GroupSlot { record: group.encode().into(), slot: u32::try_from(slots[0]).unwrap() })
    }
}

pub(crate) struct Metadata {
    log: Arc<Mutex<Log>>,
}

impl Metadata {
    pub(crate) fn new(log: Arc<Mutex<Log>>) -> Self {
        Self { log }
    }

    fn answer(&self, procedure: u32, args: Bytes, connection: u64) -> Writer {
        let mut log = self.log.lock().unwrap();
        if let Some(w) = log.roster.answer(procedure, &args, connection) {
            return w;
        }
        let mut w = Writer::new();
        match Procedure::from_number(procedure).unwrap() {
            Procedure::Copies => put_reply(&mut w, &log.hear(&decode_args(args).unwrap())),
            Procedure::Images | Procedure::Group | Procedure::AtRest if log.is_silent => {
                put_reply::<Nothing>(&mut w, &Err(Refusal::Busy));
            }
            Procedure::Thaw => put_reply(&mut w, &log.thaw(&decode_args(args).unwrap())),
            Procedure::AtRest => put_reply(&mut w, &log.tell_reader(&decode_args(args).unwrap())),
            Procedure::Group => put_reply(&mut w, &log.group(&decode_args(args).unwrap())),
            Procedure::Images => {
                let ask: ShowImages = decode_args(args).unwrap();
                let words: Vec<ImageWord> =
                    ask.images.iter().map(|shown| log.word(ask.server, shown)).collect();
                let said = ask.images.iter().zip(&words).map(|(shown, word)| (ImageId(shown.image), *word));
                log.said.extend(said);
                log.asked.extend(ask.images.iter().map(|shown| (ImageId(shown.image), *shown)));
                put_reply(&mut w, &Ok(ImageWords { words }));
            }
            other => panic!("a data server does not call {other:?}"),
        }
        w
    }
}

impl Service for Metadata {
    fn call(&self, mut call: Call, connection: &Connection) -> BoxFuture<'static, Answer> {
        let body = self.answer(call.header.procedure, call.args.rest(), connection.id());
        let mut w = accepted_success(call.header.xid);
        w.append(body);
        let (log, is_thaw) = (Arc::clone(&self.log), call.header.procedure == Procedure::Thaw.number());
        let is_lost = is_thaw && log.lock().unwrap().thaws_are == Thaws::Lost;
        Box::pin(async move {
            if is_lost {
                std::future::pending::<()>().await;
            }
            while is_thaw && log.lock().unwrap().thaws_are == Thaws::Held {
                tokio::task::yield_now().await;
            }
            Answer::Reply(w)
        })
    }
}
