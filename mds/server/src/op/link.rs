//! LINK: a further name, in the current directory, for the saved object.
//!
//! Spec: RFC 8881 §18.9.

use mds_state::command::namespace::Link;
use mds_state::{Command, Outcome};
use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::link::{Args, ResOk};

use crate::attr;
use crate::context::{Context, OpResult};
use crate::name::Name;

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let object = cx.saved()?;
    let directory = cx.current()?;
    if object.export != directory.export {
        return Err(Nfsstat4::Xdev.into());
    }
    let caller = cx.writer_at(directory)?;
    let name = Name::check(&args.name)?.to_vec();
    let link = Link { caller, ino: object.ino, directory: directory.ino, name };
    let Outcome::Entry(entry) = cx.propose(Command::Link(link)).await? else {
        return Err(Nfsstat4::Serverfault.into());
    };
    Ok(ResOk { change: attr::change_info(entry.directory) })
}
