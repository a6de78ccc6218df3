//! RENAME: from a name in the saved directory to a name in the current one.
//!
//! Spec: RFC 8881 §18.26.

use mds_state::command::namespace::Rename;
use mds_state::{Command, Outcome};
use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::rename::{Args, ResOk};

use crate::context::{Context, OpResult};
use crate::name::Name;
use crate::{attr, export_tree};

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let from = cx.saved()?;
    let to = cx.current()?;
    if from.export != to.export {
        return Err(Nfsstat4::Xdev.into());
    }
    let rename = Rename {
        caller: cx.writer_at(to)?,
        from_directory: from.ino,
        from_name: Name::check(&args.old_name)?.to_vec(),
        to_directory: to.ino,
        to_name: Name::check(&args.new_name)?.to_vec(),
    };
    if cx.recorded()?.is_none() {
        // The replaced object loses its name as well.
        for (directory, name) in [(from, &rename.from_name), (to, &rename.to_name)] {
            export_tree::check_no_export(&cx.server.exports(), &cx.view()?, directory.ino, name)?;
        }
    }
    let Outcome::Renamed(renamed) = cx.propose(Command::Rename(rename)).await? else {
        return Err(Nfsstat4::Serverfault.into());
    };
    cx.server.work.wake();
    Ok(ResOk { source: attr::change_info(renamed.from), target: attr::change_info(renamed.to) })
}
