//! What processes of a Linux host do with files: open, close, read, write, append, truncate, stat,
//! fsync.
//!
//! Keeps to close-to-open: attributes come with OPEN and with CLOSE, and what was written goes to
//! the servers before CLOSE. Processes of one host share an open of the server; CLOSE is sent when
//! the last of them is through.
//!
//! QUIRK(linux): `nfs_setattr` leaves the size out if it equals `i_size`, and flushes before it is
//! sent; no LAYOUTCOMMIT comes first.
//!
//! Spec: RFC 8881 §18.2, §18.16, §18.30.

use std::sync::Arc;

use bytes::Bytes;
use wire_nfs::v4::attr::{LayoutType, SetTime, numbers};
use wire_nfs::v4::ops::open::{Claim, CreateHow, OpenHow, share};
use wire_nfs::v4::ops::{getattr, layoutget, open, readdir, setattr};
use wire_nfs::v4::{AttrValues, Bitmap, Fattr4, Filehandle, Nfsstat4, Op, Verifier};

use super::data_path::Read;
use super::host::{Host, Inode, asked, says_state_is_gone};
use super::pnfs;
use crate::client::compound::{Operations, Reply};
use crate::client::opens;

const PAUSE_MS: u64 = 100;
/// Times that a request is sent that gets DELAY, or whose state is gone.
const TRIES_MAX: u32 = 400;

/// How O_TRUNC gets to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Truncate {
    /// Not asked for.
    No,
    /// The name is not in the cache: OPEN has the size 0.
    ByOpen,
    /// By SETATTR behind the OPEN.
    BySetattr,
}

/// A file that a process has open.
pub(crate) struct File {
    pub(crate) inode: Arc<Inode>,
    pub(super) access: u32,
}

impl Host {
    /// open(2) with O_CREAT; `access` is that of OPEN.
    pub(crate) async fn open(self: &Arc<Self>, name: &str, access: u32, truncate: Truncate) -> Option<File> {
        let opening = self.opening(name);
        let turn = opening.lock().await;
        let mut may_run_later = false;
        let mut opened = None;
        for _ in 0..TRIES_MAX {
            match self.try_open(name, access, truncate).await {
                Some(Ok(inode)) => {
                    opened = Some(inode);
                    break;
                }
                Some(Err(Nfsstat4::Delay | Nfsstat4::Grace)) => {}
                Some(Err(status)) => self.count(&format!("OPEN {}", status.name())),
                None => may_run_later = truncate == Truncate::ByOpen,
            }
            self.sleep_ms(PAUSE_MS).await;
        }
        let inode = opened?;
        if may_run_later {
            self.doubt(&inode, "an OPEN with O_TRUNC");
        }
        drop(turn);
        if truncate != Truncate::No {
            // What the kernel does behind every OPEN with O_TRUNC; nothing is sent if the file is
            // empty.
            self.truncate(&inode, 0, true).await;
        }
        Some(File { inode, access })
    }

    /// One OPEN. `None`: its fate is unknown.
    async fn try_open(
        &self,
        name: &str,
        access: u32,
        truncate: Truncate,
    ) -> Option<Result<Arc<Inode>, Nfsstat4>> {
        let size = (truncate == Truncate::ByOpen).then_some(0);
        let attributes =
            Fattr4::from_values(&AttrValues { mode: Some(0o666), size, ..AttrValues::default() });
        let owner = opens::owner(&self.client, "linux");
        let clientid = owner.clientid;
        let args = open::Args {
            seqid: 0,
            share_access: access | share::WANT_NO_DELEG,
            share_deny: share::DENY_NONE,
            owner,
            how: OpenHow::Create(CreateHow::Unchecked(attributes)),
            claim: Claim::Null(Bytes::copy_from_slice(name.as_bytes())),
        };
        let known = self.known_as(name);
        let getting = match &known {
            Some(inode) if inode.layouts.lock().is_empty() => inode.getting.try_lock().ok(),
            _ => None,
        };
        let with_layout = known.is_none() || getting.is_some();
        let generation = self.generation();
        let requested = asked().requested.union(&Bitmap::of(&[numbers::MDSTHRESHOLD]));
        let mut operations = Operations::at(&self.directory)
            .then(Op::Open, &args)
            .then_handle()
            .then(Op::Getattr, &getattr::Args { requested });
        if with_layout {
            operations =
                operations.then(Op::Layoutget, &pnfs::inside_open(access & share::ACCESS_WRITE != 0));
        }
        let mut reply = self.call(operations).await?;
        let opened = match opened(&mut reply) {
            Ok(opened) => opened,
            Err(status) => return Some(Err(status)),
        };
        let inode = self.inode(&opened.handle, name);
        self.refresh(&inode, generation, &opened.attributes);
        self.note_open(&inode, &opened, access, clientid).await;
        if with_layout && let Ok(granted) = reply.next::<layoutget::ResOk>(Op::Layoutget) {
            self.count("LAYOUTGET inside OPEN");
            self.wire.granted(&inode.handle);
            inode.layouts.lock().granted(&granted);
        }
        Some(Ok(inode))
    }

    /// One process more has the file open.
    async fn note_open(&self, inode: &Inode, opened: &Opened, access: u32, clientid: u64) {
        let others_are_lost = {
            let mut opens = inode.opens.lock();
            let fresh = opens.clientid != clientid;
            if fresh {
                inode.layouts.lock().forget();
            }
            let newer = |known: wire_nfs::v4::Stateid| {
                known.other != opened.stateid.other || known.seqid < opened.stateid.seqid
            };
            if fresh || opens.stateid.is_none_or(newer) {
                opens.stateid = Some(opened.stateid);
            }
            opens.held = if fresh { access } else { opens.held | access };
            opens.clientid = clientid;
            opens.thresholds = opened.thresholds;
            opens.counts[access as usize - 1] += 1;
            opens.access() & !opens.held != 0
        };
        if others_are_lost {
            self.reopen(inode).await;
        }
    }

    /// The state of a file is gone: it is opened again by its handle.
    pub(crate) async fn recover(&self, inode: &Inode) {
        self.count("a file is opened again");
        let _turn = inode.opening.lock().await;
        self.reopen(inode).await;
        self.sleep_ms(PAUSE_MS).await;
    }

    async fn reopen(&self, inode: &Inode) {
        let access = inode.opens.lock().access();
        let owner = opens::owner(&self.client, "linux");
        let clientid = owner.clientid;
        if access == 0 {
            return;
        }
        let args = open::Args {
            seqid: 0,
            share_access: access | share::WANT_NO_DELEG,
            share_deny: share::DENY_NONE,
            owner,
            how: OpenHow::NoCreate,
            claim: Claim::Filehandle,
        };
        let Some(mut reply) = self.call(Operations::at(&inode.handle).then(Op::Open, &args)).await else {
            return;
        };
        match reply.skip(&[Op::Putfh]).and_then(|()| reply.next::<open::ResOk>(Op::Open)) {
            Ok(opened) => {
                let mut opens = inode.opens.lock();
                if opens.clientid != clientid {
                    inode.layouts.lock().forget();
                }
                (opens.stateid, opens.clientid, opens.held) = (Some(opened.stateid), clientid, access);
            }
            Err(status) => self.count(&format!("OPEN by handle {}", status.name())),
        }
    }

    /// write(2) with O_APPEND: at `i_size`. Says where that was.
    pub(crate) async fn append(self: &Arc<Self>, file: &File, bytes: Bytes) -> u64 {
        let _turn = file.inode.writing.lock().await;
        if file.inode.attributes.lock().size_is_stale() {
            self.revalidate(&file.inode).await;
        }
        let offset = file.inode.size();
        self.write_cached(&file.inode, offset, bytes).await;
        offset
    }

    /// pwrite(2).
    pub(crate) async fn write(self: &Arc<Self>, file: &File, offset: u64, bytes: Bytes) {
        let _turn = file.inode.writing.lock().await;
        if file.inode.size() < offset && file.inode.attributes.lock().size_is_stale() {
            self.revalidate(&file.inode).await;
        }
        self.write_cached(&file.inode, offset, bytes).await;
    }

    async fn write_cached(&self, inode: &Inode, offset: u64, bytes: Bytes) {
        let len = bytes.len() as u64;
        while inode.cache.lock().is_under_way(offset, len) {
            self.sleep_ms(1).await;
        }
        inode.cache.lock().write(offset, bytes);
        inode.attributes.lock().extend(offset + len);
    }

    /// fstat(2): the size, asked for at the server.
    pub(crate) async fn stat(self: &Arc<Self>, inode: &Inode) -> Option<u64> {
        self.flush(inode).await;
        self.revalidate(inode).await.then(|| inode.size())
    }

    /// `__nfs_revalidate_inode`.
    async fn revalidate(&self, inode: &Inode) -> bool {
        self.layoutcommit(inode).await;
        for _ in 0..TRIES_MAX {
            let generation = self.generation();
            let reply = self.call(Operations::at(&inode.handle).then(Op::Getattr, &asked())).await;
            let told = reply.map(|mut reply| {
                reply.skip(&[Op::Putfh]).and_then(|()| reply.next::<getattr::ResOk>(Op::Getattr))
            });
            match told {
                Some(Ok(told)) => {
                    self.refresh(inode, generation, &told.attributes);
                    return true;
                }
                Some(Err(status)) => self.count(&format!("GETATTR {}", status.name())),
                None => {}
            }
            self.sleep_ms(PAUSE_MS).await;
        }
        false
    }

    /// read(2): up to `i_size`, from the cache and the servers.
    pub(crate) async fn read(self: &Arc<Self>, file: &File, offset: u64, len: u64) -> Option<Vec<u8>> {
        let inode = &file.inode;
        let len = len.min(inode.size().saturating_sub(offset));
        // What becomes clean while the servers are read is not in what they answer.
        let before = inode.cache.lock().clone();
        let mut bytes = self.read_servers(inode, offset, len, true).await?.bytes;
        before.lay_over(offset, &mut bytes);
        inode.cache.lock().lay_over(offset, &mut bytes);
        Some(bytes)
    }

    /// read(2) with O_DIRECT: `i_size` does not matter, and an end of file is believed.
    pub(crate) async fn read_direct(self: &Arc<Self>, file: &File, offset: u64, len: u64) -> Option<Read> {
        if file.inode.cache.lock().has_writebacks() {
            self.write_back(&file.inode).await;
        }
        self.read_servers(&file.inode, offset, len, false).await
    }

    /// ftruncate(2), or what follows an OPEN with O_TRUNC. False if it failed.
    pub(crate) async fn truncate(self: &Arc<Self>, inode: &Inode, size: u64, by_open: bool) -> bool {
        let _turn = inode.writing.lock().await;
        let changes = (inode.size() != size).then_some(size);
        if changes.is_none() && by_open {
            return true;
        }
        self.write_back(inode).await;
        for _ in 0..TRIES_MAX {
            let time_modify_set = (!by_open).then_some(SetTime::Server);
            let values = AttrValues { size: changes, time_modify_set, ..AttrValues::default() };
            let values = self.wire.to_set(&inode.handle, values);
            let args =
                setattr::Args { stateid: inode.io_stateid(), attributes: Fattr4::from_values(&values) };
            let generation = self.generation();
            let operations = Operations::at(&inode.handle).then(Op::Setattr, &args);
            let Some(mut reply) = self.call(operations.then(Op::Getattr, &asked())).await else {
                self.doubt(inode, "a SETATTR");
                continue;
            };
            let told = reply
                .skip(&[Op::Putfh])
                .and_then(|()| reply.next::<setattr::ResOk>(Op::Setattr))
                .map(|_| reply.next::<getattr::ResOk>(Op::Getattr));
            match told {
                Ok(attributes) => {
                    self.count(if changes.is_some() {
                        "SETATTR of a size"
                    } else {
                        "SETATTR without a size"
                    });
                    self.wire.set_size(&inode.handle, changes);
                    let attributes = attributes.map(|told| told.attributes).unwrap_or_default();
                    let told = self.told(&inode.handle, generation, &attributes);
                    self.update(inode, |known, around, generations| {
                        known.set(changes, told, around, generations)
                    });
                    if changes.is_some() {
                        inode.cache.lock().truncate(size);
                    }
                    return true;
                }
                Err(status) if says_state_is_gone(status) => self.recover(inode).await,
                Err(status) => self.count(&format!("SETATTR {}", status.name())),
            }
            self.sleep_ms(PAUSE_MS).await;
        }
        self.doubt(inode, "a SETATTR that failed");
        false
    }

    /// `ls -l`: the names of the directory with the attributes of their files, which are taken as
    /// those of any other reply.
    pub(crate) async fn list(&self) {
        let (mut cookie, mut verifier) = (0, Verifier::default());
        loop {
            let requested = asked().requested.union(&Bitmap::of(&[numbers::FILEHANDLE]));
            let args = readdir::Args { cookie, verifier, dircount: 8192, maxcount: 16 << 10, requested };
            let generation = self.generation();
            let reply = self.call(Operations::at(&self.directory).then(Op::Readdir, &args)).await;
            let Some(mut reply) = reply else { return };
            let page = reply.skip(&[Op::Putfh]).and_then(|()| reply.next::<readdir::ResOk>(Op::Readdir));
            let Ok(page) = page else { return };
            for entry in &page.entries {
                let handle = entry.attributes.to_values().ok().and_then(|values| values.filehandle);
                if let Some(inode) = handle.and_then(|handle| self.known(&handle)) {
                    self.count("attributes by READDIR");
                    self.refresh(&inode, generation, &entry.attributes);
                }
                cookie = entry.cookie;
            }
            verifier = page.verifier;
            if page.eof || page.entries.is_empty() {
                return;
            }
        }
    }
}

/// What OPEN said.
struct Opened {
    stateid: wire_nfs::v4::Stateid,
    handle: Filehandle,
    attributes: Fattr4,
    thresholds: [u64; 2],
}

fn opened(reply: &mut Reply) -> Result<Opened, Nfsstat4> {
    reply.skip(&[Op::Putfh])?;
    let opened: open::ResOk = reply.next(Op::Open)?;
    let handle = reply.handle()?;
    let told: getattr::ResOk = reply.next(Op::Getattr)?;
    let values = told.attributes.to_values().map_err(|_| Nfsstat4::Badxdr)?;
    let hints = values.mdsthreshold.map(|threshold| threshold.hints).unwrap_or_default();
    let ours = hints.iter().find(|hint| hint.layout_type == LayoutType::FLEX_FILES);
    let thresholds = ours.map_or([0; 2], |hint| [hint.read_size.unwrap_or(0), hint.write_size.unwrap_or(0)]);
    Ok(Opened { stateid: opened.stateid, handle, attributes: told.attributes, thresholds })
}
