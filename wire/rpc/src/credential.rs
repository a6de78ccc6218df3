//! Who is calling: credentials and verifiers.
//!
//! AUTH_NONE and AUTH_SYS are understood; every other flavor is carried as the bytes it is, for
//! a layer that knows it. Nothing here decides whether a credential is good enough.
//!
//! Spec: RFC 5531 §8.2, §10, §14.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, Writer, XdrError, list, put_list};

use crate::{AUTH_BODY_BYTES_MAX, GIDS_MAX, MACHINE_NAME_BYTES_MAX};

/// Numbers of the authentication flavors (RFC 5531 §8.2).
pub mod auth_flavor {
    /// No authentication.
    pub const NONE: u32 = 0;
    /// User and group numbers, taken on trust.
    pub const SYS: u32 = 1;
    /// Kerberos and its like (RFC 2203).
    pub const RPCSEC_GSS: u32 = 6;
}

/// A flavor and its body, not looked into.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct OpaqueAuth {
    /// One of [`auth_flavor`], or another.
    pub flavor: u32,
    /// At most [`AUTH_BODY_BYTES_MAX`] bytes.
    pub body: Bytes,
}

impl OpaqueAuth {
    /// Reads flavor and body.
    ///
    /// # Errors
    /// [`XdrError::TooLong`] if the body is above [`AUTH_BODY_BYTES_MAX`]; other [`XdrError`]s.
    pub fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { flavor: r.u32()?, body: r.opaque(AUTH_BODY_BYTES_MAX)? })
    }

    /// Writes flavor and body.
    ///
    /// # Panics
    /// If the body is above [`AUTH_BODY_BYTES_MAX`].
    pub fn encode(&self, w: &mut Writer) {
        assert!(self.body.len() <= AUTH_BODY_BYTES_MAX);
        w.u32(self.flavor);
        w.opaque(&self.body);
    }
}

/// An AUTH_SYS credential (RFC 5531 §14): numbers that the caller's machine vouches for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct AuthSys {
    /// Whatever the caller chose.
    pub stamp: u32,
    /// The caller's machine, in no known character set; at most [`MACHINE_NAME_BYTES_MAX`] bytes.
    pub machine_name: Bytes,
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// Supplementary groups, at most [`GIDS_MAX`].
    pub gids: Vec<u32>,
}

impl Decode for AuthSys {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self {
            stamp: r.u32()?,
            machine_name: r.string(MACHINE_NAME_BYTES_MAX)?,
            uid: r.u32()?,
            gid: r.u32()?,
            gids: list(r, GIDS_MAX)?,
        })
    }
}

impl Encode for AuthSys {
    fn encode(&self, w: &mut Writer) {
        assert!(self.machine_name.len() <= MACHINE_NAME_BYTES_MAX);
        assert!(self.gids.len() <= GIDS_MAX);
        w.u32(self.stamp);
        w.opaque(&self.machine_name);
        w.u32(self.uid);
        w.u32(self.gid);
        put_list(w, &self.gids);
    }
}

/// Who a call is made for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Credential {
    /// AUTH_NONE: no user.
    #[default]
    None,
    /// AUTH_SYS.
    Sys(AuthSys),
    /// A flavor that is not understood here.
    Other(OpaqueAuth),
}

impl Credential {
    /// Reads a credential from its flavor and body.
    ///
    /// # Errors
    /// Any [`XdrError`]: the body is not what its flavor demands.
    pub fn from_opaque(auth: OpaqueAuth) -> Result<Self, XdrError> {
        match auth.flavor {
            // RFC 5531 §10.1 leaves the body of AUTH_NONE undefined, so it is not looked at.
            auth_flavor::NONE => Ok(Self::None),
            auth_flavor::SYS => {
                let mut reader = Reader::new(auth.body);
                let sys = AuthSys::decode(&mut reader)?;
                reader.finish()?;
                Ok(Self::Sys(sys))
            }
            _ => Ok(Self::Other(auth)),
        }
    }

    /// Writes the credential.
    ///
    /// # Panics
    /// If a part is above its bound.
    pub fn encode(&self, w: &mut Writer) {
        match self {
            Self::None => OpaqueAuth::default().encode(w),
            Self::Sys(sys) => {
                w.u32(auth_flavor::SYS);
                let length = w.reserve_u32();
                let start = w.len();
                sys.encode(w);
                let bytes = u32::try_from(w.len() - start).expect("the parts are bounded");
                w.patch_u32(length, bytes);
            }
            Self::Other(auth) => auth.encode(w),
        }
    }
}

/// Why a caller was not let in (RFC 5531 §9, auth_stat).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AuthStat(pub u32);

impl AuthStat {
    /// The credential is malformed.
    pub const BADCRED: Self = Self(1);
    /// The client must begin a new session.
    pub const REJECTEDCRED: Self = Self(2);
    /// The verifier is malformed.
    pub const BADVERF: Self = Self(3);
    /// The verifier expired or was seen before.
    pub const REJECTEDVERF: Self = Self(4);
    /// The credential is too weak for what was asked.
    pub const TOOWEAK: Self = Self(5);
    /// Anything else.
    pub const FAILED: Self = Self(7);
}
