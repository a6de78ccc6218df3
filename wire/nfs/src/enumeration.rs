//! An XDR enumeration with its numbers.
//!
//! An enumeration of the protocol is declared as an ordinary `enum` with each number written out;
//! the macro adds the conversions and both codecs. A number that is not listed is refused when
//! decoding. `Nfsstat4`, which has to keep what it does not know, is not made with it.
//!
//! Spec: RFC 4506 §4.3.

macro_rules! xdr_enum {
    (
        $(#[$meta:meta])*
        pub enum $name:ident, $what:literal {
            $($(#[$variant_meta:meta])* $variant:ident = $value:literal,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum $name {
            $($(#[$variant_meta])* $variant = $value,)+
        }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The value that has this number on the wire, if there is one.
            #[must_use]
            pub const fn from_u32(number: u32) -> Option<Self> {
                match number {
                    $($value => Some(Self::$variant),)+
                    _ => None,
                }
            }

            /// The number on the wire.
            #[must_use]
            pub const fn as_u32(self) -> u32 {
                self as u32
            }
        }

        impl wire_xdr::Decode for $name {
            fn decode(r: &mut wire_xdr::Reader) -> Result<Self, wire_xdr::XdrError> {
                let number = r.u32()?;
                Self::from_u32(number).ok_or(wire_xdr::XdrError::BadDiscriminant { what: $what, value: number })
            }
        }

        impl wire_xdr::Encode for $name {
            fn encode(&self, w: &mut wire_xdr::Writer) {
                w.u32(self.as_u32());
            }
        }
    };
}

pub(crate) use xdr_enum;
