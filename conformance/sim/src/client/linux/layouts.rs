//! The layouts of a file that a Linux host holds: segments, their stateid, and what LAYOUTCOMMIT
//! has still to tell.
//!
//! Sends nothing: `pnfs` does. A layout for reading is kept over CLOSE and while the file grows;
//! nothing else is forgotten.
//!
//! Spec: RFC 8881 §12.5; RFC 8435 §5.

use std::net::SocketAddr;

use wire_nfs::flexfiles::{DataServer, FfLayout, decode_body, flags};
use wire_nfs::v4::layout::{Iomode, Layout};
use wire_nfs::v4::ops::layoutget;
use wire_nfs::v4::{DeviceId, Filehandle, Stateid};

/// A file's bytes at a data server: where, under which handle, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) device: DeviceId,
    pub(crate) handle: Filehandle,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A segment of a layout.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) end: u64,
    pub(crate) iomode: Iomode,
    pub(crate) return_on_close: bool,
    body: FfLayout,
    /// When it came: told apart from the one that takes its place.
    serial: u64,
}

impl Segment {
    /// The server's flag that no LAYOUTCOMMIT is wanted.
    fn wants_commit(&self) -> bool {
        self.body.flags & flags::NO_LAYOUTCOMMIT == 0
    }

    pub(crate) fn mirrors(&self) -> usize {
        self.body.mirrors.len()
    }

    /// Who has this byte, in each mirror, best first; and where what one data server has of it
    /// ends.
    pub(crate) fn servers(&self, offset: u64) -> (Vec<&DataServer>, u64) {
        let unit = self.body.stripe_unit_bytes;
        let of_mirror = |servers: &'_ [DataServer]| match unit {
            0 => 0,
            unit => usize::try_from(offset / unit).expect("few stripes") % servers.len().max(1),
        };
        let mut servers: Vec<&DataServer> = self
            .body
            .mirrors
            .iter()
            .filter_map(|mirror| mirror.data_servers.get(of_mirror(&mirror.data_servers)))
            .collect();
        servers.sort_by_key(|server| std::cmp::Reverse(server.efficiency));
        let unit_end = offset.checked_div(unit).map(|units| (units + 1) * unit);
        let end = unit_end.map_or(self.end, |unit_end| self.end.min(unit_end));
        (servers, end)
    }

    fn covers(&self, offset: u64) -> bool {
        self.offset <= offset && offset < self.end
    }
}

/// What a host holds of a file's layouts.
#[derive(Debug, Default)]
pub(crate) struct Layouts {
    stateid: Option<Stateid>,
    segments: Vec<Segment>,
    serial: u64,
    /// I/O goes in band until then: reading, writing.
    refused_until_ns: [u64; 2],
    /// Up to where data servers have bytes that no LAYOUTCOMMIT has told of: `plh_lwb`.
    written_end: Option<u64>,
    /// Nothing is begun under it until it is given back.
    pub(crate) is_returning: bool,
}

impl Layouts {
    /// The segment that a byte is read or written by.
    pub(crate) fn find(&self, offset: u64, writes: bool) -> Option<&Segment> {
        let fits = |segment: &&Segment| {
            let reads = segment.body.flags & flags::NO_READ_IO == 0 || segment.iomode == Iomode::Read;
            segment.covers(offset) && if writes { segment.iomode == Iomode::ReadWrite } else { reads }
        };
        if self.is_returning { None } else { self.segments.iter().find(fits) }
    }

    /// Whether this segment is still held.
    pub(crate) fn holds(&self, segment: &Segment) -> bool {
        self.segments.iter().any(|held| held.serial == segment.serial)
    }

    pub(crate) fn stateid(&self) -> Option<Stateid> {
        self.stateid
    }

    /// LAYOUTGET was answered. A stateid with another name means that the server knows no older
    /// segments. False if it cannot be used.
    pub(crate) fn granted(&mut self, granted: &layoutget::ResOk) -> bool {
        if self.stateid.is_some_and(|known| known.other != granted.stateid.other) {
            self.segments.clear();
        }
        let is_late =
            |known: &Stateid| known.other == granted.stateid.other && granted.stateid.seqid < known.seqid;
        if !self.stateid.as_ref().is_some_and(is_late) {
            self.stateid = Some(granted.stateid);
        }
        // QUIRK(linux): reads only the first.
        let Some(Layout { offset, length, iomode, body, .. }) = granted.layouts.first() else { return false };
        let Ok(body) = decode_body::<FfLayout>(body) else { return false };
        self.serial += 1;
        let segment = Segment {
            offset: *offset,
            end: offset.saturating_add(*length),
            iomode: *iomode,
            return_on_close: granted.return_on_close,
            body,
            serial: self.serial,
        };
        self.segments.retain(|old| old.iomode != *iomode || old.end <= *offset || segment.end <= old.offset);
        self.segments.push(segment);
        true
    }

    /// What goes back at the last CLOSE: the iomode to name, if anything does.
    pub(crate) fn returned_on_close(&self) -> Option<Iomode> {
        let (back, kept): (Vec<&Segment>, Vec<&Segment>) =
            self.segments.iter().partition(|segment| segment.return_on_close);
        let first = back.first()?.iomode;
        let mixed = back.iter().any(|segment| segment.iomode != first);
        let is_kept = |iomode| kept.iter().any(|segment| segment.iomode == iomode);
        // Segments of the same iomode that are kept go with those that are not.
        if mixed && !is_kept(Iomode::Read) { Some(Iomode::Any) } else { Some(first) }
    }

    /// Segments of this iomode are the server's again; it says what the stateid of the rest is.
    pub(crate) fn returned(&mut self, iomode: Iomode, left: Option<Stateid>) {
        self.segments.retain(|segment| iomode != Iomode::Any && segment.iomode != iomode);
        self.stateid = left;
        if left.is_none() {
            self.segments.clear();
        }
    }

    /// The server wants them back: nothing is begun under them until they are returned.
    pub(crate) fn recalled(&mut self, stateid: Stateid) {
        self.stateid = Some(stateid);
        self.is_returning = true;
    }

    /// The server knows nothing of them any more.
    pub(crate) fn forget(&mut self) {
        self.segments.clear();
        self.stateid = None;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    pub(crate) fn refuse_until(&mut self, writes: bool, ns: u64) {
        self.refused_until_ns[usize::from(writes)] = ns;
    }

    pub(crate) fn is_refused(&self, writes: bool, now_ns: u64) -> bool {
        now_ns < self.refused_until_ns[usize::from(writes)]
    }

    /// Bytes up to here are stable at a data server, by this segment: `pnfs_set_layoutcommit`.
    pub(crate) fn committed(&mut self, end: u64, wants_commit: bool) {
        if wants_commit {
            self.written_end = Some(self.written_end.unwrap_or(0).max(end));
        }
    }

    /// Whether the segment that a byte was written by wants LAYOUTCOMMIT. The last one decides if
    /// it is gone.
    pub(crate) fn wants_commit(&self, offset: u64) -> bool {
        let of_byte = self.segments.iter().find(|s| s.iomode == Iomode::ReadWrite && s.covers(offset));
        of_byte.or_else(|| self.segments.last()).is_none_or(Segment::wants_commit)
    }

    /// Whether a LAYOUTCOMMIT is due.
    pub(crate) fn commit_is_due(&self) -> bool {
        self.written_end.is_some()
    }

    /// What a LAYOUTCOMMIT is to tell; from now on it is told.
    pub(crate) fn take_commit(&mut self) -> Option<u64> {
        self.written_end.take()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wire_nfs::flexfiles::Mirror;
    use wire_nfs::v4::attr::LayoutType;

    use super::*;

    impl Target {
        pub(crate) fn at(address: SocketAddr) -> Self {
            let (device, handle) = (DeviceId([0; 16]), Filehandle::default());
            Self { address, device, handle, uid: 1, gid: 1 }
        }
    }

    fn granted(iomode: Iomode, seqid: u32, return_on_close: bool, flags: u32) -> layoutget::ResOk {
        let server = DataServer {
            device: DeviceId([1; 16]),
            efficiency: 1,
            stateid: Stateid::ANONYMOUS,
            filehandles: vec![Filehandle::new(Bytes::from_static(b"handle")).unwrap()],
            user: DataServer::decimal(1),
            group: DataServer::decimal(1),
        };
        let mirrors = vec![Mirror { data_servers: vec![server] }];
        let body = FfLayout { stripe_unit_bytes: 0, mirrors, flags, stats_collect_hint_s: 0 };
        let body = body.to_body().unwrap();
        let layout = Layout { offset: 0, length: 100, iomode, layout_type: LayoutType::FLEX_FILES, body };
        let stateid = Stateid { seqid, other: [7; 12] };
        layoutget::ResOk { return_on_close, stateid, layouts: vec![layout] }
    }

    #[test]
    fn a_layout_for_reading_outlives_a_close() {
        let mut layouts = Layouts::default();
        assert!(layouts.granted(&granted(Iomode::Read, 1, false, 0)));
        assert!(layouts.granted(&granted(Iomode::ReadWrite, 2, true, 0)));
        assert_eq!(layouts.returned_on_close(), Some(Iomode::ReadWrite));
        layouts.returned(Iomode::ReadWrite, Some(Stateid { seqid: 3, other: [7; 12] }));
        assert!(layouts.find(0, true).is_none() && layouts.find(99, false).is_some());
        assert!(layouts.find(100, false).is_none());
        layouts.returned(Iomode::Read, None);
        assert!(layouts.is_empty() && layouts.stateid().is_none());
    }

    #[test]
    fn no_layoutcommit_is_due_where_the_server_wants_none() {
        let mut layouts = Layouts::default();
        layouts.granted(&granted(Iomode::ReadWrite, 1, true, flags::NO_LAYOUTCOMMIT));
        layouts.committed(50, layouts.wants_commit(0));
        assert_eq!(layouts.take_commit(), None);
        layouts.granted(&granted(Iomode::ReadWrite, 2, true, 0));
        layouts.committed(50, layouts.wants_commit(0));
        layouts.committed(20, layouts.wants_commit(0));
        assert_eq!((layouts.take_commit(), layouts.take_commit()), (Some(50), None));
    }
}
