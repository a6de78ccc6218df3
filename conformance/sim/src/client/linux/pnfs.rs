//! How a Linux host gets layouts, tells what was written under them, and gives them back.
//!
//! QUIRK(linux): LAYOUTCOMMIT is sent at fsync, before CLOSE, before GETATTR asks for attributes
//! and before LAYOUTRETURN; not before OPEN, and not before SETATTR: then it still names the end
//! that the file had before it was cut.
//!
//! Spec: RFC 8881 §18.40, §18.42 to §18.44; RFC 8435 §4, §5, §9.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use wire_nfs::flexfiles::{
    DataServer, DeviceAddr, FfLayoutReturn, IoError, Transport, decode_body, encode_body,
};
use wire_nfs::v4::attr::LayoutType;
use wire_nfs::v4::layout::{DeviceError, Iomode, LENGTH_TO_END, LayoutUpdate};
use wire_nfs::v4::ops::layoutreturn::{ReturnFile, ReturnScope};
use wire_nfs::v4::ops::{getattr, getdeviceinfo, layoutcommit, layoutget, layoutreturn};
use wire_nfs::v4::{Bitmap, DeviceId, Nfsstat4, Op, Stateid};

use super::host::{Host, Inode, UNAVAILABLE_NS, asked, says_state_is_gone};
use super::layouts::{Segment, Target};
use crate::client::compound::Operations;

/// Times that LAYOUTGET is tried before I/O goes in band: until twice the lease is over.
const TRIES_MAX: u32 = 120;
const PAUSE_MS: u64 = 150;
const PAGE_BYTES: u64 = 4096;
const REPLY_BYTES_MAX: u32 = 4096;

/// Where I/O goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Through {
    /// There is a segment for it.
    Layout,
    /// The metadata server.
    Band,
    /// Nowhere: the application is told.
    Nothing,
}

pub(crate) fn iomode(writes: bool) -> Iomode {
    if writes { Iomode::ReadWrite } else { Iomode::Read }
}

/// LAYOUTGET as it stands in an OPEN: all of the file, by the stateid that the OPEN gives.
pub(crate) fn inside_open(writes: bool) -> layoutget::Args {
    layoutget::Args {
        signal_layout_avail: false,
        layout_type: LayoutType::FLEX_FILES,
        iomode: iomode(writes),
        offset: 0,
        length: LENGTH_TO_END,
        min_length: PAGE_BYTES,
        stateid: Stateid::CURRENT,
        maxcount: REPLY_BYTES_MAX,
    }
}

impl Host {
    /// Makes sure of a segment for these bytes, or says where else they go: `pnfs_update_layout`.
    pub(crate) async fn layout(
        self: &Arc<Self>,
        inode: &Inode,
        offset: u64,
        len: u64,
        writes: bool,
    ) -> Through {
        for _ in 0..TRIES_MAX {
            {
                let layouts = inode.layouts.lock();
                if layouts.find(offset, writes).is_some() {
                    return Through::Layout;
                }
                let small = inode.size() < inode.opens.lock().thresholds[usize::from(writes)];
                if !layouts.is_returning && (small || layouts.is_refused(writes, self.now_ns())) {
                    return Through::Band;
                }
            }
            if inode.layouts.lock().is_returning {
                self.sleep_ms(5).await;
                continue;
            }
            if let Some(through) = self.get_layout(inode, offset, len, writes).await {
                return through;
            }
        }
        self.count("LAYOUTGET given up");
        Through::Band
    }

    /// One LAYOUTGET; `None`: look again.
    async fn get_layout(
        self: &Arc<Self>,
        inode: &Inode,
        offset: u64,
        len: u64,
        writes: bool,
    ) -> Option<Through> {
        let turn = inode.getting.lock().await;
        let (held, found) = {
            let layouts = inode.layouts.lock();
            (layouts.stateid(), layouts.is_returning || layouts.find(offset, writes).is_some())
        };
        if found {
            return None;
        }
        let (from, to) = (offset / PAGE_BYTES * PAGE_BYTES, (offset + len).next_multiple_of(PAGE_BYTES));
        let size = inode.size();
        let min_length =
            if writes || from + PAGE_BYTES <= size { PAGE_BYTES } else { size.saturating_sub(from) };
        let stateid = held.unwrap_or_else(|| inode.io_stateid());
        let args = layoutget::Args {
            signal_layout_avail: false,
            layout_type: LayoutType::FLEX_FILES,
            iomode: iomode(writes),
            offset: from,
            length: to - from,
            min_length,
            stateid,
            maxcount: REPLY_BYTES_MAX,
        };
        let reply = self.call(Operations::at(&inode.handle).then(Op::Layoutget, &args)).await;
        let answer = reply.map(|mut reply| {
            reply.skip(&[Op::Putfh]).and_then(|()| reply.next::<layoutget::ResOk>(Op::Layoutget))
        });
        match answer {
            Some(Ok(granted)) => {
                self.wire.granted(&inode.handle);
                if inode.layouts.lock().granted(&granted) {
                    self.count("LAYOUTGET");
                    return None;
                }
                self.client.record.broken(format!("a layout that cannot be used: {granted:?}"));
                Some(Through::Nothing)
            }
            Some(Err(status)) => {
                drop(turn);
                self.refused(inode, status, (writes, min_length), held).await
            }
            None => {
                inode.layouts.lock().forget();
                None
            }
        }
    }

    /// What a client does when LAYOUTGET is refused: `nfs4_layoutget_handle_exception`.
    async fn refused(
        self: &Arc<Self>,
        inode: &Inode,
        status: Nfsstat4,
        (writes, min_length): (bool, u64),
        held: Option<Stateid>,
    ) -> Option<Through> {
        self.count(&format!("LAYOUTGET {}", status.name()));
        match status {
            Nfsstat4::Layouttrylater if min_length == 0 => return Some(Through::Band),
            Nfsstat4::Layouttrylater | Nfsstat4::Recallconflict | Nfsstat4::Delay | Nfsstat4::Grace => {}
            Nfsstat4::Nospc | Nfsstat4::Dquot | Nfsstat4::Fbig | Nfsstat4::Rofs => {
                return Some(Through::Nothing);
            }
            Nfsstat4::Io | Nfsstat4::Access | Nfsstat4::Stale | Nfsstat4::Badiomode => {
                let (size, name) = (inode.size(), status.name());
                self.client
                    .record
                    .broken(format!("LAYOUTGET of a file of {size} bytes: {name} reaches the application"));
                return Some(Through::Nothing);
            }
            Nfsstat4::OldStateid => {}
            _ if says_state_is_gone(status) => {
                inode.layouts.lock().forget();
                if held.is_none() {
                    self.recover(inode).await;
                }
            }
            _ => {
                inode.layouts.lock().refuse_until(writes, self.now_ns() + UNAVAILABLE_NS);
                return Some(Through::Band);
            }
        }
        self.sleep_ms(PAUSE_MS).await;
        None
    }

    /// Where a segment's byte is, at the best of its mirrors that can be used; and where what is
    /// there ends.
    pub(crate) async fn target(&self, segment: &Segment, offset: u64) -> Option<(Target, u64)> {
        let (servers, end) = segment.servers(offset);
        for server in servers {
            if self.is_unavailable(server.device) {
                continue;
            }
            if let Some(address) = self.device_address(server.device).await {
                return target_at(server, address).map(|target| (target, end));
            }
        }
        None
    }

    /// GETDEVICEINFO, if the device is not known.
    async fn device_address(&self, device: DeviceId) -> Option<SocketAddr> {
        if let Some(address) = self.devices.lock().get(&device) {
            return Some(*address);
        }
        let args = getdeviceinfo::Args {
            device,
            layout_type: LayoutType::FLEX_FILES,
            maxcount: REPLY_BYTES_MAX,
            notify: Bitmap::of(&[getdeviceinfo::notify::CHANGE, getdeviceinfo::notify::DELETE]),
        };
        let mut reply = self.call(Operations::new().then(Op::Getdeviceinfo, &args)).await?;
        let known: getdeviceinfo::ResOk = match reply.next(Op::Getdeviceinfo) {
            Ok(known) => known,
            Err(status) => {
                self.count(&format!("GETDEVICEINFO {}", status.name()));
                return None;
            }
        };
        let address: DeviceAddr = decode_body(&known.address).ok()?;
        let tcp = |(transport, address)| (transport == Transport::Tcp).then_some(address);
        let address = address.addresses.iter().find_map(|one| one.resolve().and_then(tcp))?;
        self.devices.lock().insert(device, address);
        Some(address)
    }

    /// `pnfs_layoutcommit_inode`.
    pub(crate) async fn layoutcommit(&self, inode: &Inode) {
        let _turn = inode.committing.lock().await;
        let Some(end) = inode.layouts.lock().take_commit() else { return };
        for _ in 0..TRIES_MAX {
            let Some(stateid) = inode.layouts.lock().stateid() else { break };
            let args = layoutcommit::Args {
                offset: 0,
                length: end,
                reclaim: false,
                stateid,
                last_write_offset: Some(end.saturating_sub(1)),
                time_modify: None,
                update: LayoutUpdate { layout_type: LayoutType::FLEX_FILES, body: Bytes::new() },
            };
            let generation = self.generation();
            let operations = Operations::at(&inode.handle).then(Op::Layoutcommit, &args);
            let Some(mut reply) = self.call(operations.then(Op::Getattr, &asked())).await else {
                self.doubt(inode, "LAYOUTCOMMIT");
                return;
            };
            let told = reply
                .skip(&[Op::Putfh])
                .and_then(|()| reply.next::<layoutcommit::ResOk>(Op::Layoutcommit))
                .map(|_| reply.next::<getattr::ResOk>(Op::Getattr));
            match told {
                Ok(attributes) => {
                    self.wire.layoutcommitted(&inode.handle, end);
                    // What its GETATTR says is taken if it says anything; its status is ignored.
                    let attributes = attributes.map(|told| told.attributes).unwrap_or_default();
                    let told = self.told(&inode.handle, generation, &attributes);
                    self.update(inode, |known, around, generations| {
                        known.completed(told, around, generations)
                    });
                    self.count("LAYOUTCOMMIT");
                    return;
                }
                Err(Nfsstat4::Delay | Nfsstat4::OldStateid) => self.sleep_ms(PAUSE_MS).await,
                Err(status) => {
                    self.count(&format!("LAYOUTCOMMIT {}", status.name()));
                    return;
                }
            }
        }
    }

    /// A recall was answered with OK. What is covered by the layout is written and committed under
    /// it, and it goes back.
    pub(crate) async fn give_back(self: Arc<Self>, inode: Arc<Inode>, iomode: Iomode) {
        while inode.cache.lock().is_writing() {
            self.sleep_ms(1).await;
        }
        self.commit(&inode).await;
        self.return_layout(&inode, iomode, Vec::new()).await;
    }

    /// A data server failed a client: LAYOUTRETURN says so, and the next LAYOUTGET gives another
    /// layout.
    pub(crate) async fn layout_failed(
        &self,
        inode: &Inode,
        segment: &Segment,
        device: DeviceId,
        failed: (Nfsstat4, Op),
    ) {
        self.count(&format!("a data server's {}: {}", failed.1.name(), failed.0.name()));
        {
            let mut layouts = inode.layouts.lock();
            let is_held = layouts.holds(segment);
            if layouts.is_returning || !is_held {
                // Another process has seen the same.
                return;
            }
            layouts.is_returning = true;
        }
        let stateid = inode.layouts.lock().stateid().unwrap_or_default();
        let error = DeviceError { device, status: failed.0, op: failed.1.as_u32() };
        let error = IoError { offset: 0, length: LENGTH_TO_END, stateid, errors: vec![error] };
        self.return_layout(inode, segment.iomode, vec![error]).await;
    }

    /// LAYOUTRETURN, behind the LAYOUTCOMMIT that is due.
    async fn return_layout(&self, inode: &Inode, iomode: Iomode, errors: Vec<IoError>) {
        self.layoutcommit(inode).await;
        let _turn = inode.getting.lock().await;
        loop {
            let Some(stateid) = inode.layouts.lock().stateid() else { break };
            let args = layoutreturn(iomode, stateid, errors.clone());
            let reply = self.call(Operations::at(&inode.handle).then(Op::Layoutreturn, &args)).await;
            let left = reply.map(|mut reply| {
                reply.skip(&[Op::Putfh]).and_then(|()| reply.next::<layoutreturn::ResOk>(Op::Layoutreturn))
            });
            match left {
                Some(Ok(left)) => {
                    self.count("LAYOUTRETURN");
                    self.wire.returned(&inode.handle);
                    inode.layouts.lock().returned(iomode, left.stateid);
                    break;
                }
                Some(Err(Nfsstat4::Delay)) => self.sleep_ms(PAUSE_MS).await,
                Some(Err(status)) => {
                    self.count(&format!("LAYOUTRETURN {}", status.name()));
                    inode.layouts.lock().forget();
                }
                None => inode.layouts.lock().forget(),
            }
        }
        inode.layouts.lock().is_returning = false;
    }
}

/// LAYOUTRETURN of a file's segments of one iomode.
pub(crate) fn layoutreturn(iomode: Iomode, stateid: Stateid, errors: Vec<IoError>) -> layoutreturn::Args {
    let body = encode_body(&FfLayoutReturn { errors, stats: Vec::new() });
    let file = ReturnFile { offset: 0, length: LENGTH_TO_END, stateid, body };
    layoutreturn::Args {
        reclaim: false,
        layout_type: LayoutType::FLEX_FILES,
        iomode,
        scope: ReturnScope::File(file),
    }
}

fn target_at(server: &DataServer, address: SocketAddr) -> Option<Target> {
    let number = |text: &Bytes| std::str::from_utf8(text).ok()?.parse().ok();
    Some(Target {
        address,
        device: server.device,
        handle: server.filehandles.first()?.clone(),
        uid: number(&server.user)?,
        gid: number(&server.group)?,
    })
}
