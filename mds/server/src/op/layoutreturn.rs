//! LAYOUTRETURN: a client gives layouts back, and says which data servers failed it.
//!
//! Spec: RFC 8881 §18.44; RFC 8435 §9.

use layout::Iomode;
use mds_shard::command::layout::{LayoutGiveBack, LayoutReturn, Returned};
use mds_shard::{Command, Outcome};
use wire_nfs::flexfiles::FfLayoutReturn;
use wire_nfs::v4::attr::LayoutType;
use wire_nfs::v4::layout::{Iomode as WireIomode, LENGTH_TO_END};
use wire_nfs::v4::ops::layoutreturn::{Args, ResOk, ReturnFile, ReturnScope};
use wire_nfs::v4::{Nfsstat4, Stateid};

use crate::context::{Context, OpResult, wire_stateid};
use crate::op::layouterror;
use crate::size::settle::before_return;

pub(crate) async fn run(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let handle = cx.current()?;
    let client = cx.client()?;
    if args.layout_type != LayoutType::FLEX_FILES {
        return Err(Nfsstat4::UnknownLayouttype.into());
    }
    if args.reclaim {
        // Layouts outlive restarts here: there is nothing to return on somebody else's behalf.
        return Err(Nfsstat4::NoGrace.into());
    }
    let iomode = match args.iomode {
        WireIomode::Read => Some(Iomode::Read),
        WireIomode::ReadWrite => Some(Iomode::ReadWrite),
        WireIomode::Any => None,
    };
    let what = match args.scope {
        ReturnScope::Fsid | ReturnScope::All => Returned::All { iomode },
        ReturnScope::File(file) => {
            note_errors(cx, client, &file);
            // QUIRK(linux): 6.x sends a zero stateid after a lost session, only to carry errors.
            if file.stateid == Stateid::ANONYMOUS {
                return Ok(ResOk { stateid: None });
            }
            let whole = file.offset == 0 && file.length == LENGTH_TO_END;
            Returned::File { ino: handle.ino, iomode, whole, stateid: cx.resolve(file.stateid)? }
        }
    };
    let returns_all = matches!(what, Returned::All { .. });
    let settlement = match &what {
        // What it wrote is on data servers: they say how long the file is, before nobody asks them any more.
        Returned::File { iomode, whole: true, .. } if *iomode != Some(Iomode::Read) => {
            if cx.recorded()?.is_none() { before_return(&cx.server, handle.ino, client).await } else { None }
        }
        _ => None,
    };
    let settles = settlement.is_some();
    let what = LayoutReturn { client, what };
    let command = Command::LayoutGiveBack(LayoutGiveBack { what, settlement });
    let Outcome::LayoutReturned(left) = cx.propose(command).await? else {
        return Err(Nfsstat4::Serverfault.into());
    };
    if returns_all {
        cx.server.recalls.returned_all(client);
    } else {
        cx.server.recalls.returned(client, handle.ino);
    }
    if !settles {
        cx.server.settling.wake();
    }
    cx.current_stateid = left;
    Ok(ResOk { stateid: left.map(wire_stateid) })
}

/// Errors in the body keep the client off those data servers for a while. A body that does not decode is no reason to
/// keep the layout.
fn note_errors(cx: &Context, client: u64, file: &ReturnFile) {
    match FfLayoutReturn::from_body(&file.body) {
        Ok(body) => {
            for io_error in &body.errors {
                layouterror::note(cx, client, &io_error.errors);
            }
        }
        Err(error) => tracing::warn!(client, %error, "LAYOUTRETURN body does not decode"),
    }
}
