//! A failure of any procedure, without attributes: the well-formed way not to do something.
//!
//! Every procedure but NULL has a status and a failure body of its own shape. A client that finds
//! another shape takes the reply for garbage, so a server that does not support a procedure still
//! has to know it.
//!
//! Spec: RFC 1813 §3.3 (the failure arm of each procedure).

use wire_xdr::{Encode, Writer};

use super::{Nfsstat3, Procedure};

/// Says that `procedure` failed with `status`, and nothing about attributes. There is none for
/// NULL, which cannot fail.
///
/// # Panics
/// If the status is [`Nfsstat3::Ok`].
pub fn failure(procedure: Procedure, status: Nfsstat3) -> Option<Failure> {
    assert_ne!(status, Nfsstat3::Ok);
    absent_attributes(procedure).map(|absent| Failure { status, absent })
}

/// A result that carries a status and only absent attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    status: Nfsstat3,
    absent: usize,
}

impl Encode for Failure {
    fn encode(&self, w: &mut Writer) {
        self.status.encode(w);
        for _ in 0..self.absent {
            w.bool(false);
        }
    }
}

/// How many optional attributes the failure arm has: a `post_op_attr` is one, a `wcc_data` two.
fn absent_attributes(procedure: Procedure) -> Option<usize> {
    Some(match procedure {
        Procedure::Null => return None,
        Procedure::Getattr => 0,
        Procedure::Lookup
        | Procedure::Access
        | Procedure::Readlink
        | Procedure::Read
        | Procedure::Readdir
        | Procedure::Readdirplus
        | Procedure::Fsstat
        | Procedure::Fsinfo
        | Procedure::Pathconf => 1,
        Procedure::Setattr
        | Procedure::Write
        | Procedure::Create
        | Procedure::Mkdir
        | Procedure::Symlink
        | Procedure::Mknod
        | Procedure::Remove
        | Procedure::Rmdir
        | Procedure::Commit => 2,
        // The file's post_op_attr and the directory's wcc_data.
        Procedure::Link => 3,
        // The wcc_data of both directories.
        Procedure::Rename => 4,
    })
}
