//! CREATE: directories, symbolic links, devices, fifos and sockets. Regular files come from OPEN.
//!
//! Spec: RFC 8881 §18.4.

use mds_namespace::Kind;
use mds_state::command::namespace::Create;
use mds_state::{Command, Outcome};
use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::create::{Args, ObjectType, ResOk};

use crate::attr;
use crate::context::{Context, OpResult};
use crate::name::Name;

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let directory = cx.current()?;
    let caller = cx.writer_at(directory)?;
    let mut symlink_target = Vec::new();
    let kind = match args.object {
        ObjectType::Directory => Kind::Directory,
        ObjectType::Link(target) => {
            symlink_target = target.to_vec();
            Kind::Symlink
        }
        ObjectType::Block(device) => Kind::Block { major: device.major, minor: device.minor },
        ObjectType::Character(device) => Kind::Character { major: device.major, minor: device.minor },
        ObjectType::Fifo => Kind::Fifo,
        ObjectType::Socket => Kind::Socket,
        ObjectType::Other(_) => return Err(Nfsstat4::Badtype.into()),
    };
    let name = Name::check(&args.name)?.to_vec();
    let attributes = attr::to_set(&args.attributes)?;
    if attributes.size_bytes.is_some() {
        return Err(Nfsstat4::Inval.into());
    }
    let create = Create { caller, directory: directory.ino, name, kind, symlink_target, attributes };
    let Outcome::Entry(entry) = cx.propose(Command::Create(create)).await? else {
        return Err(Nfsstat4::Serverfault.into());
    };
    cx.put_current(cx.handle_of(directory, &entry.inode));
    Ok(ResOk { change: attr::change_info(entry.directory), attrs_set: args.attributes.mask })
}
