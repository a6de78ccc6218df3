//! REMOVE: removes a name, and with the last one the object.
//!
//! Spec: RFC 8881 §18.25.

use mds_state::command::namespace::Remove;
use mds_state::{Command, Outcome};
use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::remove::{Args, ResOk};

use crate::context::{Context, OpResult};
use crate::name::Name;
use crate::{attr, export_tree};

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let directory = cx.current()?;
    let caller = cx.writer_at(directory)?;
    let name = Name::check(&args.name)?.to_vec();
    if cx.recorded()?.is_none() {
        export_tree::check_no_export(&cx.server.exports(), &cx.view()?, directory.ino, &name)?;
    }
    let remove = Remove { caller, directory: directory.ino, name };
    let Outcome::Entry(entry) = cx.propose(Command::Remove(remove)).await? else {
        return Err(Nfsstat4::Serverfault.into());
    };
    if entry.inode.nlink == 0 {
        cx.server.work.wake();
    }
    Ok(ResOk { change: attr::change_info(entry.directory) })
}
