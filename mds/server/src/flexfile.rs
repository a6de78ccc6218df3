//! Our layouts and data servers in the words of the flexible-files layout type: one mirror, one data server, NFSv3.
//!
//! Spec: RFC 8435 §4, §5; docs/formats/ds_handle.md.

use bytes::Bytes;
use layout::copies::BACKUPS_MAX;
use layout::handle::{device_id, device_of, seal};
use layout::{DsHandle, Iomode, NamedBackup};
use mds_namespace::ExtentRecord;
use mds_shard::command::layout::LayoutAnswer;
use wire_nfs::flexfiles::{DataServer, DeviceAddr, DeviceVersion, FfLayout, Mirror, encode_body};
use wire_nfs::v4::{DeviceId, Filehandle, Stateid};

use crate::data_servers::net_address;
use crate::limits::TRANSFER_BYTES_MAX;
use crate::server::Server;

/// Users that data servers see. The handle decides what may be done; these only have to differ from each other and
/// from root, so that a layout for reading never carries the id of one for writing (RFC 8435 §2.2).
const WRITER_ID: u32 = 65_533;
const READER_ID: u32 = 65_532;
/// How often clients send LAYOUTSTATS, seconds; 0 leaves it to them.
const STATS_HINT_S: u32 = 0;

/// The body of a layout for an extent. `None` if it cannot be made: its data server is not known.
pub(crate) fn layout_body(
    server: &Server,
    client: u64,
    answer: &LayoutAnswer,
    iomode: Iomode,
) -> Option<Bytes> {
    let home = answer.extent.home;
    let known = server.data_servers.one(home)?;
    let [.., t0, t1, t2, t3] = client.to_be_bytes();
    let handle = DsHandle {
        extent: answer.extent.extent,
        epoch: answer.extent.epoch,
        mode: iomode,
        client_tag: u32::from_be_bytes([t0, t1, t2, t3]),
        size_hint_bytes: answer.inode.size_bytes,
        home,
        backups: named(&answer.extent),
    };
    let handle = seal(&server.handle_key, &handle);
    let id = if iomode.writes() { WRITER_ID } else { READER_ID };
    let data_server = DataServer {
        device: DeviceId(device_id(home, known.generation())),
        efficiency: 1,
        stateid: Stateid::ANONYMOUS,
        filehandles: vec![Filehandle::new(Bytes::copy_from_slice(&handle.0)).ok()?],
        user: DataServer::decimal(id),
        group: DataServer::decimal(id),
    };
    let body = FfLayout {
        stripe_unit_bytes: 0,
        mirrors: vec![Mirror { data_servers: vec![data_server] }],
        flags: 0,
        stats_collect_hint_s: STATS_HINT_S,
    };
    body.to_body().ok()
}

/// An extent's backups as handles name them.
pub(crate) fn named(record: &ExtentRecord) -> [Option<NamedBackup>; BACKUPS_MAX] {
    let mut named = [None; BACKUPS_MAX];
    for (place, backup) in named.iter_mut().zip(&record.backups) {
        *place = Some(NamedBackup { server: backup.server, filling: backup.filling });
    }
    named
}

/// The body of a device address. `None` for a device that is not there, or has other addresses by now.
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
