//! close(2): writeback, LAYOUTCOMMIT, and CLOSE with the layouts that go back, once the last
//! process of the host is through.
//!
//! Spec: RFC 8881 §18.2, §18.18, §18.44.

use std::sync::Arc;

use wire_nfs::v4::layout::Iomode;
use wire_nfs::v4::ops::open::share;
use wire_nfs::v4::ops::{close, getattr, layoutreturn, open_downgrade};
use wire_nfs::v4::{Nfsstat4, Op, Stateid};

use super::files::File;
use super::host::{Host, Inode, asked};
use super::pnfs;
use crate::client::compound::Operations;

const PAUSE_MS: u64 = 100;
const TRIES_MAX: u32 = 400;

impl Host {
    /// close(2). False if written bytes are lost.
    pub(crate) async fn close(self: &Arc<Self>, file: File) -> bool {
        let File { inode, access } = file;
        let written = access & share::ACCESS_WRITE == 0 || self.write_back(&inode).await;
        let is_held_on = {
            let mut opens = inode.opens.lock();
            opens.counts[access as usize - 1] -= 1;
            opens.access() == opens.held
        };
        if is_held_on {
            return written;
        }
        self.layoutcommit(&inode).await;
        let _turn = inode.opening.lock().await;
        let (access, held, stateid) = {
            let opens = inode.opens.lock();
            (opens.access(), opens.held, opens.stateid)
        };
        let Some(stateid) = stateid else { return written };
        if access == 0 {
            self.close_at_server(&inode, stateid).await;
        } else if access != held {
            self.downgrade(&inode, stateid, access).await;
        }
        written
    }

    /// CLOSE, behind a LAYOUTRETURN of what goes back with it (`pnfs_roc`).
    async fn close_at_server(&self, inode: &Inode, stateid: Stateid) {
        let _getting = inode.getting.lock().await;
        let mut returns = {
            let layouts = inode.layouts.lock();
            layouts.returned_on_close().filter(|_| !layouts.is_returning).zip(layouts.stateid())
        };
        for _ in 0..TRIES_MAX {
            let mut operations = Operations::at(&inode.handle);
            if let Some((iomode, layout)) = returns {
                operations =
                    operations.then(Op::Layoutreturn, &pnfs::layoutreturn(iomode, layout, Vec::new()));
            }
            let generation = self.generation();
            let args = close::Args { seqid: 0, open_stateid: stateid };
            let operations = operations.then(Op::Getattr, &asked()).then(Op::Close, &args);
            let Some(mut reply) = self.call(operations).await else { break };
            if reply.skip(&[Op::Putfh]).is_err() {
                break;
            }
            if let Some((iomode, _)) = returns {
                match reply.next::<layoutreturn::ResOk>(Op::Layoutreturn) {
                    Ok(left) => self.returned_on_close(inode, iomode, left.stateid),
                    Err(Nfsstat4::Delay) => {
                        self.sleep_ms(PAUSE_MS).await;
                        continue;
                    }
                    Err(status) => {
                        self.count(&format!("LAYOUTRETURN {}", status.name()));
                        inode.layouts.lock().forget();
                        returns = None;
                        continue;
                    }
                }
                returns = None;
            }
            let told = reply.next::<getattr::ResOk>(Op::Getattr);
            if let Ok(told) = &told {
                self.refresh(inode, generation, &told.attributes);
            }
            let closed = told.and_then(|_| reply.next::<close::ResOk>(Op::Close));
            match closed {
                Ok(_) => {
                    self.count("CLOSE");
                    break;
                }
                Err(Nfsstat4::Delay) => self.sleep_ms(PAUSE_MS).await,
                Err(status) => {
                    self.count(&format!("CLOSE {}", status.name()));
                    break;
                }
            }
        }
        let mut opens = inode.opens.lock();
        (opens.stateid, opens.held) = (None, 0);
    }

    fn returned_on_close(&self, inode: &Inode, iomode: Iomode, left: Option<Stateid>) {
        self.count("LAYOUTRETURN by CLOSE");
        self.wire.returned(&inode.handle);
        inode.layouts.lock().returned(iomode, left);
    }

    async fn downgrade(&self, inode: &Inode, stateid: Stateid, access: u32) {
        for _ in 0..TRIES_MAX {
            let args = open_downgrade::Args {
                open_stateid: stateid,
                seqid: 0,
                share_access: access,
                share_deny: share::DENY_NONE,
            };
            let operations = Operations::at(&inode.handle).then(Op::OpenDowngrade, &args);
            let Some(mut reply) = self.call(operations).await else { return };
            let kept = reply
                .skip(&[Op::Putfh])
                .and_then(|()| reply.next::<open_downgrade::ResOk>(Op::OpenDowngrade));
            match kept {
                Ok(kept) => {
                    let mut opens = inode.opens.lock();
                    (opens.stateid, opens.held) = (Some(kept.open_stateid), access);
                    return;
                }
                Err(Nfsstat4::Delay) => self.sleep_ms(PAUSE_MS).await,
                Err(status) => {
                    self.count(&format!("OPEN_DOWNGRADE {}", status.name()));
                    return;
                }
            }
        }
    }
}
