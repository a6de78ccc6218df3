//! VERIFY: where the extents of a file are, and how many losses each survives.
//!
//! Spec: docs/protocol/admin.md §5.

use layout::DataServerId;
use layout::copies::Place;
use layout::ec::Group;
use mds_namespace::op::extent::extents;
use mds_namespace::op::lookup::find;
use mds_namespace::op::seal::slot_of;
use mds_namespace::sealed::{self, ExtentImage};
use mds_namespace::{Caller, Content, ExtentRecord, FsError, Inode, ROOT_INO, View};
use wire_nfs::control::Refusal;
use wire_nfs::control::admin::{
    ExtentState, Holder, HolderState, NamedCode, Verified, VerifiedExtent, VerifiedImage, Verify,
};
use wire_nfs::control::limits::VERIFY_EXTENTS_MAX;

use crate::seal::answer::in_force;
use crate::server::Server;

/// Inspects the extents of a file, from the requested one on.
pub(super) async fn verify_file(server: &Server, ask: &Verify) -> Result<Verified, Refusal> {
    in_force(server).await?;
    let places = server.data_servers.places(server.now_ms());
    let view = server.view().map_err(|_| Refusal::Busy)?;
    let verified = inspect_file(server, view.namespace(), &places, ask);
    verified.map_err(|error| {
        tracing::error!(%error, "a file cannot be verified");
        Refusal::Busy
    })
}

fn inspect_file(
    server: &Server,
    view: &dyn View,
    places: &[Place],
    ask: &Verify,
) -> Result<Verified, FsError> {
    let inode = match resolve(view, &ask.path) {
        Ok(Ok(inode)) => inode,
        Ok(Err(words)) => return Ok(Verified { words: words.to_owned(), ..Verified::default() }),
        Err(FsError::Store(error)) => return Err(FsError::Store(error)),
        Err(error) => return Ok(Verified { words: error.to_string(), ..Verified::default() }),
    };
    let copies = server.config.hot_copies;
    let mut file = Verified { size_bytes: inode.size_bytes, copies, ..Verified::default() };
    file.inline = inode.content == Content::Inline;
    if file.inline {
        return Ok(file);
    }
    let records = extents(view, inode.ino, ask.from, VERIFY_EXTENTS_MAX)?;
    if records.len() == VERIFY_EXTENTS_MAX {
        file.next = records.last().and_then(|last| last.extent.index.checked_add(1));
    }
    let seen = Seen { server, view, places };
    file.extents = records.iter().map(|record| seen.extent(record)).collect::<Result<_, _>>()?;
    Ok(file)
}

/// Follows a path from the root, as the superuser; the inner error is a text.
fn resolve(view: &dyn View, path: &[u8]) -> Result<Result<Inode, &'static str>, FsError> {
    let Some(names) = path.strip_prefix(b"/") else { return Ok(Err("a path begins with /")) };
    let (root, mut at, mut found) = (Caller::default(), ROOT_INO, None);
    for name in names.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        let Some(inode) = find(view, &root, at, name)? else { return Ok(Err("no such file")) };
        at = inode.ino;
        found = Some(inode);
    }
    Ok(found.filter(Inode::is_regular).ok_or("not a regular file"))
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

struct Seen<'a> {
    server: &'a Server,
    view: &'a dyn View,
    places: &'a [Place],
}

impl Seen<'_> {
    fn up(&self, id: DataServerId) -> bool {
        self.places.iter().any(|place| place.id == id && place.up)
    }

    fn holder(&self, id: DataServerId, filling: bool) -> Holder {
        let state = match () {
            () if !self.up(id) => HolderState::Down,
            () if filling => HolderState::Filling,
            () if self.server.data_servers.is_draining(id) => HolderState::Draining,
            () => HolderState::Up,
        };
        Holder { server: id.0, state }
    }

    fn extent(&self, record: &ExtentRecord) -> Result<VerifiedExtent, FsError> {
        let images = sealed::images(self.view, record.extent)?;
        let image = match images.images.first() {
            Some(image) => sealed::group(self.view, image.group)?.map(|group| (*image, group)),
            None => None,
        };
        let state = match () {
            () if images.at_rest().is_some() => ExtentState::AtRest,
            () if images.is_used => ExtentState::Sealed,
            () => ExtentState::Hot,
        };
        let home = self.holder(record.home, false);
        let backups: Vec<Holder> =
            record.backups.iter().map(|one| self.holder(one.server, one.filling)).collect();
        let whole_copies = record.backups.iter().filter(|one| !one.filling && self.up(one.server)).count();
        let of_copies = self.up(record.home).then_some(whole_copies);
        let of_group = image.as_ref().and_then(|(_, group)| group.losses_left(|id| !self.up(id)));
        let survives = match state {
            ExtentState::Hot => of_copies,
            ExtentState::AtRest => of_group,
            ExtentState::Sealed => of_copies.zip(of_group).map(|(copies, group)| copies.min(group)),
        };
        let image = image.map(|(image, group)| self.image(&image, &group));
        let wanted =
            usize::try_from(self.server.config.hot_copies).unwrap_or(1).min(self.places.len()).max(1);
        let well = |holder: &Holder| holder.state == HolderState::Up;
        let whole = record.pending_work.is_none()
            && well(&home)
            && backups.iter().all(well)
            && wanted <= 1 + backups.len()
            && image.as_ref().is_none_or(|image| image.holders.iter().all(well));
        Ok(VerifiedExtent {
            index: record.extent.index,
            state,
            epoch: record.epoch.0,
            home,
            backups,
            image,
            survives: survives.and_then(|count| u32::try_from(count).ok()),
            whole,
            code: record
                .code
                .map(|code| NamedCode { data: small(code.data()), parity: small(code.parity()) }),
        })
    }

    fn image(&self, image: &ExtentImage, group: &Group) -> VerifiedImage {
        let profile = group.shape().profile();
        // An empty member counts as zeros, and is never lost.
        let empty = Holder { server: 0, state: HolderState::Up };
        let holder = |home: &Option<DataServerId>| home.map_or(empty, |id| self.holder(id, false));
        VerifiedImage {
            image: image.image.0,
            sequence: image.sequence,
            group: group.shape().group().0,
            data: small(profile.data()),
            parity: small(profile.parity()),
            slot: small(slot_of(group, image.image).unwrap_or(0)),
            holders: group.homes().iter().map(holder).collect(),
        }
    }
}
