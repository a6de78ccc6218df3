//! Identifiers of fixed length: session ids, device ids, verifiers.
//!
//! Spec: RFC 8881 §3.2, §3.3.14.

use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

macro_rules! identifier {
    ($(#[$meta:meta])* $name:ident, $bytes:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; $bytes]);

        impl Decode for $name {
            fn decode(r: &mut Reader) -> Result<Self, XdrError> {
                r.fixed().map(Self)
            }
        }

        impl Encode for $name {
            fn encode(&self, w: &mut Writer) {
                w.fixed(&self.0);
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "("))?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str(")")
            }
        }
    };
}

identifier! {
    /// Names a session; the server chose it in CREATE_SESSION.
    SessionId, 16
}

identifier! {
    /// Names a storage device within one layout type and client.
    DeviceId, 16
}

identifier! {
    /// Tells one instance of something (a boot, a directory listing, an exclusive create) from
    /// another.
    Verifier, 8
}
