//! LAYOUTRETURN: a client returns layouts, and reports data servers that failed it.
//!
//! Spec: RFC 8881 §18.44; RFC 8435 §9.

use env_transport::LogRate;
use layout::Iomode;
use mds_namespace::Ino;
use mds_state::command::layout::{LayoutGiveBack, LayoutReturn, Returned};
use mds_state::{Command, Outcome};
use wire_nfs::flexfiles::FfLayoutReturn;
use wire_nfs::v4::attr::LayoutType;
use wire_nfs::v4::layout::{Iomode as WireIomode, LENGTH_TO_END};
use wire_nfs::v4::ops::layoutreturn::{Args, ResOk, ReturnFile, ReturnScope};
use wire_nfs::v4::{Nfsstat4, Stateid};

use crate::context::{Context, OpResult};
use crate::op::layouterror;
use crate::size::settle::before_return;
use crate::stateid::wire_stateid;

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let client = cx.client()?;
    if args.layout_type != LayoutType::FLEX_FILES {
        return Err(Nfsstat4::UnknownLayouttype.into());
    }
    if args.reclaim {
        // Layouts outlive restarts here: there is none to reclaim.
        return Err(Nfsstat4::NoGrace.into());
    }
    let iomode = match args.iomode {
        WireIomode::Read => Some(Iomode::Read),
        WireIomode::ReadWrite => Some(Iomode::ReadWrite),
        WireIomode::Any => None,
    };
    let what = match args.scope {
        // RFC 8881 §18.44.1: the current filehandle does not count.
        ReturnScope::All => Returned::All { iomode },
        ReturnScope::Fsid => {
            cx.current()?;
            if cx.server.exports().iter().nth(1).is_some() {
                // A layout does not record its export, and so its fsid. A layout kept too long is
                // recalled by itself; one dropped too early would be used without this server's
                // knowledge.
                return Ok(ResOk { stateid: None });
            }
            Returned::All { iomode }
        }
        ReturnScope::File(file) => {
            let ino = cx.current()?.ino;
            note_errors(cx, ino, &file)?;
            // QUIRK(linux): 6.x sends a zero stateid after a lost session, only to carry errors.
            // They are ignored: the client holds no layout, and reports again with its next one.
            if file.stateid == Stateid::ANONYMOUS {
                return Ok(ResOk { stateid: None });
            }
            let whole = file.offset == 0 && file.length == LENGTH_TO_END;
            Returned::File { ino, iomode, whole, stateid: cx.resolve(file.stateid)? }
        }
    };
    let of_file = match &what {
        Returned::File { ino, stateid, .. } => Some((*ino, stateid.other)),
        _ => None,
    };
    let settlement = match &what {
        // Data servers report the file's size before the layout is gone, after which they are not
        // queried.
        Returned::File { ino, iomode, whole: true, .. } if *iomode != Some(Iomode::Read) => {
            if cx.recorded()?.is_none() { before_return(&cx.server, *ino, client).await } else { None }
        }
        _ => None,
    };
    let settles = settlement.is_some();
    let what = LayoutReturn { client, what };
    let returned = cx.propose(Command::LayoutGiveBack(LayoutGiveBack { what, settlement })).await;
    let returned = returned.map_err(|status| match of_file {
        Some((_, other)) => cx.server.revoked.status(client, &other, status),
        None => status,
    });
    let Outcome::LayoutReturned(left) = returned? else {
        return Err(Nfsstat4::Serverfault.into());
    };
    match of_file {
        Some((ino, _)) => cx.server.recalls.returned(client, ino),
        None => cx.server.recalls.returned_all(client),
    }
    if !settles {
        cx.server.settling.wake();
    }
    cx.current_stateid = left;
    Ok(ResOk { stateid: left.map(wire_stateid) })
}

/// Errors in the body exclude those data servers from the client's layouts for a while. A body that
/// does not decode is no reason to keep the layout.
fn note_errors(cx: &Context, ino: Ino, file: &ReturnFile) -> Result<(), Nfsstat4> {
    match FfLayoutReturn::from_body(&file.body) {
        Ok(body) => {
            for io_error in &body.errors {
                layouterror::note(cx, ino, file.stateid, &io_error.errors)?;
            }
        }
        Err(error) => {
            static RATE: LogRate = LogRate::new();
            if let Some(suppressed) = RATE.admit(cx.server.now_ms()) {
                tracing::warn!(ino, %error, suppressed, "LAYOUTRETURN body does not decode");
            }
        }
    }
    Ok(())
}
