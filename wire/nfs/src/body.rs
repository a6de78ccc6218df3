//! The codec of a struct whose fields follow each other, some of them bounded.
//!
//! Like `wire_xdr::xdr_struct!`, for the bodies of NFS operations: a field written `name:
//! opaque(MAX)` is a `Bytes` of at most `MAX` bytes, `name: list(MAX)` a `Vec` of at most `MAX`
//! elements; any other field has a codec of its own.
//!
//! Spec: RFC 4506 §4.10, §4.13, §4.14.

macro_rules! xdr_body {
    ($name:ident { $($field:ident $(: $kind:ident($max:expr))?),* $(,)? }) => {
        impl wire_xdr::Decode for $name {
            fn decode(r: &mut wire_xdr::Reader) -> Result<Self, wire_xdr::XdrError> {
                $(let $field = crate::body::xdr_field!(read r $($kind $max)?);)*
                Ok(Self { $($field),* })
            }
        }

        impl wire_xdr::Encode for $name {
            fn encode(&self, w: &mut wire_xdr::Writer) {
                let Self { $($field),* } = self;
                $(crate::body::xdr_field!(write w $field $($kind)?);)*
            }
        }
    };
}

macro_rules! xdr_field {
    (read $r:ident) => {
        wire_xdr::Decode::decode($r)?
    };
    (read $r:ident opaque $max:expr) => {
        $r.opaque($max)?
    };
    (read $r:ident list $max:expr) => {
        wire_xdr::list($r, $max)?
    };
    (write $w:ident $field:ident) => {
        wire_xdr::Encode::encode($field, $w)
    };
    (write $w:ident $field:ident opaque) => {
        $w.opaque_bytes($field.clone())
    };
    (write $w:ident $field:ident list) => {
        wire_xdr::put_list($w, $field)
    };
}

/// The codec of an operation that carries nothing: its `Args` or `ResOk` is an empty struct.
macro_rules! xdr_void {
    ($name:ident) => {
        impl wire_xdr::Decode for $name {
            fn decode(_: &mut wire_xdr::Reader) -> Result<Self, wire_xdr::XdrError> {
                Ok(Self)
            }
        }

        impl wire_xdr::Encode for $name {
            fn encode(&self, _: &mut wire_xdr::Writer) {}
        }
    };
}

pub(crate) use {xdr_body, xdr_field, xdr_void};
