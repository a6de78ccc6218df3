//! The shape of every result: a status, then one body if it is OK and another if it is not.
//!
//! Spec: RFC 1813 §3.3 (`XXX3res` unions).

use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use super::Nfsstat3;

/// The result of a procedure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Res<O, F> {
    /// It succeeded.
    Ok(O),
    /// It failed with this status, which is never [`Nfsstat3::Ok`].
    Fail(Nfsstat3, F),
}

impl<O, F> Res<O, F> {
    /// The status.
    pub fn status(&self) -> Nfsstat3 {
        match self {
            Self::Ok(_) => Nfsstat3::Ok,
            Self::Fail(status, _) => *status,
        }
    }
}

impl<O: Decode, F: Decode> Decode for Res<O, F> {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        match Nfsstat3::decode(r)? {
            Nfsstat3::Ok => O::decode(r).map(Self::Ok),
            status => F::decode(r).map(|body| Self::Fail(status, body)),
        }
    }
}

impl<O: Encode, F: Encode> Encode for Res<O, F> {
    fn encode(&self, w: &mut Writer) {
        match self {
            Self::Ok(body) => {
                Nfsstat3::Ok.encode(w);
                body.encode(w);
            }
            Self::Fail(status, body) => {
                assert_ne!(*status, Nfsstat3::Ok);
                status.encode(w);
                body.encode(w);
            }
        }
    }
}
