//! Encodes layouts and data servers as the flexible-files layout type: mirrors of NFSv3 data
//! servers, one for each extent.
//!
//! Layouts for writing have one mirror, the home: a client writes to all mirrors. Layouts for
//! reading an extent at rest have a reader as a second mirror, at a lower efficiency; if the home
//! cannot be used now, the reader is the only one. A segment of several extents has all their homes
//! in the first mirror, and readers of all or none in the second.
//!
//! Spec: RFC 8435 §4, §5; docs/formats/ds_handle.md; docs/protocol/seal.md §11.

use bytes::Bytes;
use layout::copies::BACKUPS_MAX;
use layout::handle::{device_id, device_of, seal};
use layout::{DataServerId, DsHandle, EXTENT_BYTES, Holder, Iomode, NamedBackup, Role};
use mds_namespace::ExtentRecord;
use wire_nfs::flexfiles::{DataServer, DeviceAddr, DeviceVersion, FfLayout, Mirror, encode_body, flags};
use wire_nfs::v4::{DeviceId, Filehandle, Stateid};

use crate::data_servers::net_address;
use crate::limits::TRANSFER_BYTES_MAX;
use crate::seal::readers;
use crate::server::Server;

/// Users that data servers see. The handle decides what is allowed; these ids only have to differ
/// from each other and from root, so that a layout for reading never carries the id of one for
/// writing (RFC 8435 §2.2). The group is the same for both (§5.1).
const WRITER_ID: u32 = 65_533;
const READER_ID: u32 = 65_532;
const GROUP_ID: u32 = 65_533;
/// How often clients send LAYOUTSTATS, seconds; 0 leaves it to them.
const STATS_HINT_S: u32 = 0;

/// Clients prefer the home to a reader. Linux keeps a mirror's efficiency, so it is the same in all
/// layouts.
const HOME_EFFICIENCY: u32 = 2;
const READER_EFFICIENCY: u32 = 1;

/// Body of a layout for one extent or several.
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    /// The home is one of its mirrors.
    pub(crate) names_home: bool,
}

/// The client, and the access, that handles are made for.
#[derive(Clone, Copy)]
pub(crate) struct Grant {
    pub(crate) client: u64,
    pub(crate) iomode: Iomode,
    /// Sequence of the layout's stateid: different for each grant.
    pub(crate) seqid: u32,
    /// The export that the client used.
    pub(crate) export: u16,
    /// The client may read the file.
    pub(crate) reads: bool,
}

impl Grant {
    /// The part of the grant that handles carry.
    ///
    /// QUIRK(linux): the client merges two segments over the same bytes with equal handles, and
    /// invalidates the older one. It marks a page that it was sending through that one dirty again,
    /// and a process that waits for the flush returns early: a truncation was undone, O_DIRECT read
    /// old bytes. Concurrent flushes each send LAYOUTGET, so no two grants for writing have equal
    /// handles. Shown by the lab's `fsx-neighbours`, on 6.12 within seconds.
    fn tag(&self) -> u32 {
        let tag = low_half(self.client);
        if self.iomode.writes() { tag ^ self.seqid } else { tag }
    }
}

/// The part of a client's id that handles carry.
pub(crate) fn low_half(client: u64) -> u32 {
    let [.., t0, t1, t2, t3] = client.to_be_bytes();
    u32::from_be_bytes([t0, t1, t2, t3])
}

/// The body of a layout for an extent, or for several consecutive ones. `None` if it cannot be
/// made: a data server is unknown, or only some of several extents have a reader.
pub(crate) fn layout_body(
    server: &Server,
    grant: Grant,
    records: &[ExtentRecord],
    size_bytes: u64,
) -> Option<Body> {
    let Grant { client, iomode, export, reads, .. } = grant;
    let holder = Holder::Client { tag: grant.tag(), export, reads };
    let issued = server.issued();
    let home = |record: &ExtentRecord| DsHandle {
        extent: record.extent,
        epoch: record.epoch,
        mode: iomode,
        holder,
        issued,
        size_hint_bytes: size_bytes,
        role: Role::Home,
        home: record.home,
        backups: named(record),
    };
    let homes: Vec<DsHandle> = records.iter().map(home).collect();
    let reader = |(record, home): (&ExtentRecord, &DsHandle)| {
        let id = if iomode.writes() { None } else { readers::reader(server, Some(client), record) };
        id.map(|id| reader_handle(home, id))
    };
    let stand_by: Vec<DsHandle> = records.iter().zip(&homes).filter_map(reader).collect();
    if !stand_by.is_empty() && stand_by.len() != homes.len() {
        // All mirrors have the same number of data servers.
        return None;
    }
    let usable = |record: &ExtentRecord| readers::is_usable(server, Some(client), record.home);
    let names_home = stand_by.is_empty() || records.iter().all(usable);
    let mut mirrors = Vec::with_capacity(2);
    if names_home {
        mirrors.push(mirror(server, &homes, HOME_EFFICIENCY)?);
    }
    if !stand_by.is_empty() {
        mirrors.push(mirror(server, &stand_by, READER_EFFICIENCY)?);
    }
    let stripe_unit_bytes = if records.len() == 1 { 0 } else { EXTENT_BYTES };
    let body = FfLayout {
        stripe_unit_bytes,
        mirrors,
        flags: flags::NO_LAYOUTCOMMIT,
        stats_collect_hint_s: STATS_HINT_S,
    };
    Some(Body { bytes: body.to_body().ok()?, names_home })
}

/// The handle for a reader in place of the home.
pub(crate) fn reader_handle(home: &DsHandle, reader: DataServerId) -> DsHandle {
    DsHandle { role: Role::Reader, mode: Iomode::Read, home: reader, backups: [None; BACKUPS_MAX], ..*home }
}

/// A mirror of the data servers of these handles. `None` if one is unknown.
fn mirror(server: &Server, handles: &[DsHandle], efficiency: u32) -> Option<Mirror> {
    let data_servers = handles.iter().map(|handle| data_server(server, handle, efficiency));
    Some(Mirror { data_servers: data_servers.collect::<Option<_>>()? })
}

/// The data server of a handle. `None` if it is unknown.
fn data_server(server: &Server, handle: &DsHandle, efficiency: u32) -> Option<DataServer> {
    let known = server.data_servers.one(handle.home)?;
    let sealed = seal(&server.handle_keys().used, handle);
    let id = if handle.mode.writes() { WRITER_ID } else { READER_ID };
    Some(DataServer {
        device: DeviceId(device_id(handle.home, known.generation())),
        efficiency,
        stateid: Stateid::ANONYMOUS,
        filehandles: vec![Filehandle::new(Bytes::copy_from_slice(&sealed.0)).ok()?],
        user: DataServer::decimal(id),
        group: DataServer::decimal(GROUP_ID),
    })
}

/// An extent's backups, as in handles.
pub(crate) fn named(record: &ExtentRecord) -> [Option<NamedBackup>; BACKUPS_MAX] {
    let mut named = [None; BACKUPS_MAX];
    for (place, backup) in named.iter_mut().zip(&record.backups) {
        *place = Some(NamedBackup { server: backup.server, filling: backup.filling });
    }
    named
}

/// The body of a device address. `None` for an unknown device, or one whose addresses have changed.
pub(crate) fn device_address(server: &Server, device: &DeviceId) -> Option<Bytes> {
    let (id, generation) = device_of(&device.0)?;
    let known = server.data_servers.one(id)?;
    if known.generation() != generation {
        return None;
    }
    let version = DeviceVersion {
        version: 3,
        minor_version: 0,
        rsize_bytes: TRANSFER_BYTES_MAX,
        wsize_bytes: TRANSFER_BYTES_MAX,
        tightly_coupled: false,
    };
    let addresses = known.addresses.iter().map(|universal| net_address(universal)).collect();
    Some(encode_body(&DeviceAddr { addresses, versions: vec![version] }))
}
