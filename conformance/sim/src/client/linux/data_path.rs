//! READ, WRITE and COMMIT of a Linux host: to data servers by NFSv3 as a layout's ids, or in band.
//!
//! Spec: RFC 1813 §3.3.6, §3.3.7, §3.3.21; RFC 8435 §2.2.

use std::sync::Arc;

use bytes::Bytes;
use wire_nfs::v3::{self, Fh3, Nfsstat3, Procedure, Res, StableHow};
use wire_nfs::v4::ops::{getattr, read, write};
use wire_nfs::v4::{Nfsstat4, Op};
use wire_rpc::{AuthSys, Credential};
use wire_xdr::{Decode, Encode, Writer};

use super::cache::{Uncommitted, Verifier, Writing};
use super::host::{Host, Inode, asked, says_state_is_gone};
use super::layouts::{Segment, Target};
use super::pnfs::Through;
use crate::client::compound::Operations;

const CALL_MS: u64 = 4_000;
/// After JUKEBOX the same server is asked again: 5 s in the kernel, at a lease of 90.
const JUKEBOX_MS: u64 = 400;
const PAUSE_MS: u64 = 100;
/// Times that an I/O is tried before the application is told that it failed.
const TRIES_MAX: u32 = 400;
/// Bytes that one READ asks for at most.
const READ_BYTES_MAX: u64 = 1 << 20;

/// Why a data server did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DsError {
    Status(Nfsstat3),
    Unreachable,
}

/// What a read of the servers came to.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) bytes: Vec<u8>,
    /// A server said that the file ends here.
    pub(crate) eof: bool,
    /// A server had nothing, and did not say that the file ends: EIO.
    pub(crate) nothing: bool,
}

impl Host {
    async fn ds_call<O: Decode, F: Decode>(
        &self,
        target: &Target,
        procedure: Procedure,
        args: &impl Encode,
    ) -> Result<O, DsError> {
        let ids = AuthSys { uid: target.uid, gid: target.gid, ..AuthSys::default() };
        let credential = Credential::Sys(ids);
        let rpc = self.data_server(target.address);
        for _ in 0..TRIES_MAX {
            let mut request = Writer::new();
            args.encode(&mut request);
            let number = procedure as u32;
            let answer = rpc.call(v3::PROGRAM, v3::VERSION, number, &credential, request, CALL_MS).await;
            let Ok(mut answer) = answer else {
                rpc.disconnect();
                return Err(DsError::Unreachable);
            };
            match Res::<O, F>::decode(&mut answer) {
                Ok(Res::Ok(done)) => return Ok(done),
                Ok(Res::Fail(Nfsstat3::Jukebox, _)) => {
                    self.count("JUKEBOX");
                    self.sleep_ms(JUKEBOX_MS).await;
                }
                Ok(Res::Fail(status, _)) => return Err(DsError::Status(status)),
                Err(error) => {
                    self.client.record.broken(format!("a data server's answer makes no sense: {error}"));
                    return Err(DsError::Unreachable);
                }
            }
        }
        Err(DsError::Status(Nfsstat3::Jukebox))
    }

    /// Gives the layout back that led to this, and the device up if it may be gone.
    async fn ds_failed(&self, inode: &Inode, segment: &Segment, target: &Target, error: DsError, op: Op) {
        let kept = [
            Nfsstat3::Acces,
            Nfsstat3::Badhandle,
            Nfsstat3::Fbig,
            Nfsstat3::Io,
            Nfsstat3::Nospc,
            Nfsstat3::Rofs,
            Nfsstat3::Stale,
        ];
        let status = match error {
            DsError::Status(status) => Nfsstat4::from_u32(status as u32),
            DsError::Unreachable => Nfsstat4::Nxio,
        };
        if !matches!(error, DsError::Status(status) if kept.contains(&status)) {
            self.leave_device(target.device);
        }
        self.layout_failed(inode, segment, target.device, (status, op)).await;
        self.sleep_ms(PAUSE_MS).await;
    }

    /// Writes the dirty bytes at an offset, or some of them, through the layout. False if it cannot
    /// be done so now.
    pub(crate) async fn write_layout(&self, inode: &Inode, offset: u64) -> bool {
        let Some(segment) = inode.layouts.lock().find(offset, true).cloned() else { return false };
        if 1 < segment.mirrors() {
            self.client.record.broken("a layout for writing has several mirrors: not modelled".to_owned());
        }
        let Some((target, end)) = self.target(&segment, offset).await else {
            // `pnfs_read_done_resend_to_mds`: I/O goes in band for as long as the device is left
            // alone.
            inode.layouts.lock().refuse_until(true, self.now_ns() + super::host::UNAVAILABLE_NS);
            self.layout_failed(
                inode,
                &segment,
                wire_nfs::v4::DeviceId::default(),
                (Nfsstat4::Nxio, Op::Write),
            )
            .await;
            return false;
        };
        let writing = {
            let layouts = inode.layouts.lock();
            if layouts.is_returning || !layouts.holds(&segment) {
                return false;
            }
            inode.cache.lock().take_dirty(offset, end)
        };
        let Some(writing) = writing else { return false };
        let args = v3::write::Args {
            file: handle(&target),
            offset: writing.offset,
            stable: StableHow::Unstable,
            data: writing.bytes.clone(),
        };
        let written = self.ds_call::<v3::write::ResOk, v3::WccData>(&target, Procedure::Write, &args).await;
        match written {
            Ok(written) => self.written(inode, &target, &writing, &written),
            Err(error) => {
                inode.cache.lock().written(writing.number, 0, None);
                self.ds_failed(inode, &segment, &target, error, Op::Write).await;
            }
        }
        true
    }

    fn written(&self, inode: &Inode, target: &Target, writing: &Writing, written: &v3::write::ResOk) {
        self.count("WRITE");
        let count = usize::try_from(written.count).unwrap_or(usize::MAX).min(writing.bytes.len());
        let end = writing.offset + count as u64;
        // Its attributes are left out: `ff_layout_write_done_cb`.
        self.update(inode, |known, around, generations| known.written(end, around, generations));
        let unstable = match written.committed {
            StableHow::Unstable => Some((target.clone(), written.verf)),
            StableHow::DataSync | StableHow::FileSync => {
                let mut layouts = inode.layouts.lock();
                let wanted = layouts.wants_commit(writing.offset);
                layouts.committed(end, wanted);
                None
            }
        };
        inode.cache.lock().written(writing.number, count, unstable);
    }

    /// Writes the dirty bytes at an offset in band. False if the application must be told that it
    /// failed.
    pub(crate) async fn write_band(self: &Arc<Self>, inode: &Inode, offset: u64) -> bool {
        let Some(writing) = inode.cache.lock().take_dirty(offset, offset + (64 << 10)) else { return true };
        for _ in 0..TRIES_MAX {
            let args = write::Args {
                stateid: inode.io_stateid(),
                offset: writing.offset,
                stable: write::StableHow::Unstable,
                data: writing.bytes.clone(),
            };
            let generation = self.generation();
            let operations = Operations::at(&inode.handle).then(Op::Write, &args).then(Op::Getattr, &asked());
            let Some(mut reply) = self.call(operations).await else {
                // It may run yet, behind whatever comes now.
                self.doubt(inode, "a WRITE in band");
                continue;
            };
            let told = reply
                .skip(&[Op::Putfh])
                .and_then(|()| reply.next::<write::ResOk>(Op::Write))
                .map(|written| (written, reply.next::<getattr::ResOk>(Op::Getattr)));
            match told {
                Ok((written, attributes)) => {
                    self.count("WRITE in band");
                    self.wire.written_in_band(&inode.handle, writing.end());
                    let attributes = attributes.map(|told| told.attributes).unwrap_or_default();
                    let told = self.told(&inode.handle, generation, &attributes);
                    self.update(inode, |known, around, generations| {
                        known.completed(told, around, generations)
                    });
                    let count = usize::try_from(written.count).unwrap_or(usize::MAX);
                    inode.cache.lock().written(writing.number, count, None);
                    return true;
                }
                Err(Nfsstat4::Nospc | Nfsstat4::Dquot | Nfsstat4::Io | Nfsstat4::Fbig) => break,
                Err(status) if says_state_is_gone(status) => self.recover(inode).await,
                Err(status) => self.count(&format!("WRITE in band {}", status.name())),
            }
            self.sleep_ms(PAUSE_MS).await;
        }
        inode.cache.lock().written(writing.number, 0, None);
        false
    }

    /// One COMMIT. Says whether anything has to be written again.
    pub(crate) async fn commit_at(&self, inode: &Inode, what: &Uncommitted) -> bool {
        let args = v3::commit::Args { file: handle(&what.target), offset: 0, count: 0 };
        let call = self.ds_call::<v3::commit::ResOk, v3::WccData>(&what.target, Procedure::Commit, &args);
        let verifier: Option<Verifier> = match call.await {
            Ok(committed) => Some(committed.verf),
            Err(error) => {
                self.count(&format!("COMMIT {error:?}"));
                let segment = inode.layouts.lock().find(what.end.saturating_sub(1), true).cloned();
                if let Some(segment) = segment {
                    self.ds_failed(inode, &segment, &what.target, error, Op::Commit).await;
                }
                None
            }
        };
        if verifier.is_some() {
            let mut layouts = inode.layouts.lock();
            let wanted = layouts.wants_commit(what.end.saturating_sub(1));
            layouts.committed(what.end, wanted);
        }
        let again = inode.cache.lock().committed(what, verifier);
        if 0 < again {
            self.count("written again");
        }
        0 < again
    }

    /// Reads from the servers. `whole`: what a server has not up to the end of a request are zeros,
    /// as for the page cache, which goes by `i_size`; otherwise an end of file is believed.
    pub(crate) async fn read_servers(
        self: &Arc<Self>,
        inode: &Inode,
        offset: u64,
        len: u64,
        whole: bool,
    ) -> Option<Read> {
        let mut done = Read::default();
        for _ in 0..TRIES_MAX {
            let at = offset + done.bytes.len() as u64;
            let left = offset + len - at;
            if left == 0 || done.eof || done.nothing {
                return Some(done);
            }
            let piece = match self.layout(inode, at, left, false).await {
                Through::Layout => self.read_layout(inode, at, left).await,
                Through::Band => self.read_band(inode, at, left).await,
                Through::Nothing => return None,
            };
            let Some((piece, asked)) = piece else { continue };
            done.bytes.extend_from_slice(&piece.bytes);
            if whole && piece.eof {
                let rest = asked.saturating_sub(piece.bytes.len() as u64);
                done.bytes.resize(done.bytes.len() + usize::try_from(rest).ok()?, 0);
            } else {
                (done.eof, done.nothing) = (piece.eof, piece.nothing);
            }
        }
        None
    }

    /// One READ, and how much it asked for. `None`: to be tried again.
    async fn read_layout(&self, inode: &Inode, offset: u64, len: u64) -> Option<(Read, u64)> {
        let segment = inode.layouts.lock().find(offset, false).cloned()?;
        let Some((target, end)) = self.target(&segment, offset).await else {
            inode.layouts.lock().refuse_until(false, self.now_ns() + super::host::UNAVAILABLE_NS);
            self.layout_failed(
                inode,
                &segment,
                wire_nfs::v4::DeviceId::default(),
                (Nfsstat4::Nxio, Op::Read),
            )
            .await;
            return None;
        };
        let asked = len.min(end - offset).min(READ_BYTES_MAX);
        let count = u32::try_from(asked).expect("at most 1 MiB");
        let args = v3::read::Args { file: handle(&target), offset, count };
        type Attributes = Option<v3::Fattr3>;
        match self.ds_call::<v3::read::ResOk, Attributes>(&target, Procedure::Read, &args).await {
            Ok(read) => {
                self.count("READ");
                let (data, eof) = self.wire.read(&inode.handle, offset, read.data, read.eof);
                Some((got(data, eof), asked))
            }
            Err(error) => {
                self.ds_failed(inode, &segment, &target, error, Op::Read).await;
                None
            }
        }
    }

    async fn read_band(self: &Arc<Self>, inode: &Inode, offset: u64, len: u64) -> Option<(Read, u64)> {
        let asked = len.min(READ_BYTES_MAX / 4);
        let count = u32::try_from(asked).expect("at most 1 MiB");
        let args = read::Args { stateid: inode.io_stateid(), offset, count };
        let operations = Operations::at(&inode.handle).then(Op::Read, &args).uncached();
        let mut reply = self.call(operations).await?;
        match reply.skip(&[Op::Putfh]).and_then(|()| reply.next::<read::ResOk>(Op::Read)) {
            Ok(read) => {
                self.count("READ in band");
                return Some((got(read.data, read.eof), asked));
            }
            Err(status) if says_state_is_gone(status) => self.recover(inode).await,
            Err(status) => self.count(&format!("READ in band {}", status.name())),
        }
        self.sleep_ms(PAUSE_MS).await;
        None
    }
}

fn got(data: Bytes, eof: bool) -> Read {
    Read { nothing: data.is_empty() && !eof, eof, bytes: data.into() }
}

fn handle(target: &Target) -> Fh3 {
    Fh3::new(target.handle.as_bytes().clone()).expect("a layout's handle is one of NFSv3")
}
