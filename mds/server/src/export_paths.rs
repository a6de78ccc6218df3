//! Creates exported directories that do not exist yet, so that exports can be mounted at once.

use mds_namespace::{Caller, FsError, Inode, Kind, ROOT_INO, SetAttributes, op};
use mds_raft::ProposeError;
use mds_state::command::namespace::Create;
use mds_state::{Command, Outcome};
use wire_nfs::v4::Nfsstat4;

use crate::export::Export;
use crate::server::Server;

/// Time between two attempts at a directory whose state is unknown.
const AGAIN_MS: u64 = 20;

/// Why a directory is missing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PathError {
    /// Another object has its name.
    #[error("export {path}: {name} is no directory")]
    NoDirectory {
        /// Path of the export.
        path: String,
        /// Name of the object in the way.
        name: String,
    },
    /// It could not be looked up or made.
    #[error("export {path}: {why}")]
    NotMade {
        /// Path of the export.
        path: String,
        /// The cause.
        why: String,
    },
}

/// Creates the exports' missing directories, if this node leads. False if it does not, or no
/// longer.
///
/// # Errors
/// [`PathError`], of the first that cannot be created.
pub(crate) async fn make<'a>(
    server: &Server,
    exports: impl Iterator<Item = &'a Export>,
) -> Result<bool, PathError> {
    if !server.shards.is_leader() {
        return Ok(false);
    }
    for export in exports {
        let mut directory = ROOT_INO;
        for name in export.components() {
            let inode = loop {
                let made = step_or_make(server, directory, name.as_bytes()).await;
                match made.map_err(|why| PathError::NotMade { path: export.path.clone(), why })? {
                    Some(inode) => break inode,
                    None if server.shards.is_leader() => server.env.clock.sleep_ms(AGAIN_MS).await,
                    None => return Ok(false),
                }
            };
            if inode.kind != Kind::Directory {
                let (path, name) = (export.path.clone(), name.to_owned());
                return Err(PathError::NoDirectory { path, name });
            }
            directory = inode.ino;
        }
    }
    Ok(true)
}

/// `None` if it is unknown now whether it exists; the error is a text.
async fn step_or_make(server: &Server, directory: u64, name: &[u8]) -> Result<Option<Inode>, String> {
    let root = Caller::default();
    let view = match server.shards.view() {
        Ok(view) => view,
        Err(ProposeError::Unavailable) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    match op::lookup::find(view.namespace(), &root, directory, name) {
        Ok(Some(inode)) => return Ok(Some(inode)),
        Ok(None) => {}
        Err(FsError::Elsewhere) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    }
    drop(view);
    let create = Create {
        caller: root,
        directory,
        name: name.to_vec(),
        kind: Kind::Directory,
        symlink_target: Vec::new(),
        attributes: SetAttributes { mode: Some(0o755), ..SetAttributes::default() },
    };
    match server.propose(Command::Create(create)).await {
        Ok(Outcome::Entry(entry)) => Ok(Some(entry.inode)),
        // Another request created it meanwhile, or may yet.
        Err(Nfsstat4::Delay | Nfsstat4::Exist) => Ok(None),
        Ok(_) => Err("unexpected outcome".to_owned()),
        Err(status) => Err(status.name().to_owned()),
    }
}
