//! How a type says what it looks like on the wire, and the shapes that XDR builds from other types.
//!
//! INVARIANT: what `encode` writes, `decode` reads back as the same value.
//! Spec: RFC 4506 §4.13, §4.14, §4.19.

use crate::{LIST_RESERVE_MAX, Reader, Writer, XdrError};

/// A type that can be read off the wire.
pub trait Decode: Sized {
    /// Reads one value.
    ///
    /// # Errors
    /// Any [`XdrError`]: the bytes are not such a value.
    fn decode(r: &mut Reader) -> Result<Self, XdrError>;
}

/// A type that can be written to the wire.
pub trait Encode {
    /// Writes the value.
    fn encode(&self, w: &mut Writer);
}

/// Implements [`Decode`] and [`Encode`] for a struct that is declared elsewhere: its fields in the
/// order given, each by its own implementation (RFC 4506 §4.14). Leaving out a field does not
/// compile.
#[macro_export]
macro_rules! xdr_struct {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::Decode for $name {
            fn decode(r: &mut $crate::Reader) -> Result<Self, $crate::XdrError> {
                $(let $field = $crate::Decode::decode(r)?;)+
                Ok(Self { $($field),+ })
            }
        }

        impl $crate::Encode for $name {
            fn encode(&self, w: &mut $crate::Writer) {
                let Self { $($field),+ } = self;
                $($crate::Encode::encode($field, w);)+
            }
        }
    };
}

macro_rules! number {
    ($($name:ident),+) => {$(
        impl Decode for $name {
            fn decode(r: &mut Reader) -> Result<Self, XdrError> {
                r.$name()
            }
        }

        impl Encode for $name {
            fn encode(&self, w: &mut Writer) {
                w.$name(*self);
            }
        }
    )+};
}

number!(u32, i32, u64, i64, bool);

impl<const N: usize> Decode for [u8; N] {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        r.fixed()
    }
}

impl<const N: usize> Encode for [u8; N] {
    fn encode(&self, w: &mut Writer) {
        w.fixed(self);
    }
}

/// Optional data: a boolean, then the value if it is true (RFC 4506 §4.19).
impl<T: Decode> Decode for Option<T> {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        if r.bool()? { T::decode(r).map(Some) } else { Ok(None) }
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, w: &mut Writer) {
        w.bool(self.is_some());
        if let Some(value) = self {
            value.encode(w);
        }
    }
}

/// Reads a variable-length array of at most `max` elements (RFC 4506 §4.13).
///
/// # Errors
/// [`XdrError::TooLong`] if there are more; [`XdrError::Short`]; whatever an element says.
pub fn list<T: Decode>(r: &mut Reader, max: usize) -> Result<Vec<T>, XdrError> {
    let count = r.count(max)?;
    let mut list = Vec::with_capacity(count.min(LIST_RESERVE_MAX));
    for _ in 0..count {
        list.push(T::decode(r)?);
    }
    Ok(list)
}

/// Writes a variable-length array (RFC 4506 §4.13).
pub fn put_list<T: Encode>(w: &mut Writer, list: &[T]) {
    w.count(list.len());
    for value in list {
        value.encode(w);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Pair {
        id: [u8; 3],
        size: u64,
        next: Option<u32>,
    }

    xdr_struct! { Pair { id, size, next } }

    fn golden() -> (Vec<Pair>, &'static [u8]) {
        let pairs =
            vec![Pair { id: *b"abc", size: 5, next: None }, Pair { id: *b"xyz", size: 6, next: Some(7) }];
        let bytes = b"\x00\x00\x00\x02abc\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\
            xyz\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00\x00\x07";
        (pairs, bytes)
    }

    #[test]
    fn struct_and_list_have_their_golden_bytes() {
        let (pairs, bytes) = golden();
        let mut writer = Writer::new();
        put_list(&mut writer, &pairs);
        assert_eq!(writer.to_bytes(), bytes);
        let mut reader = Reader::new(writer.into_bytes());
        assert_eq!(list::<Pair>(&mut reader, 2), Ok(pairs));
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn list_cut_short_is_an_error_at_every_length() {
        let (_, bytes) = golden();
        for len in 0..bytes.len() {
            let mut reader = Reader::new(bytes::Bytes::copy_from_slice(&bytes[..len]));
            assert!(list::<Pair>(&mut reader, 2).is_err(), "{len}");
        }
        let mut reader = Reader::new(bytes::Bytes::copy_from_slice(bytes));
        assert_eq!(list::<Pair>(&mut reader, 1), Err(XdrError::TooLong { len: 2, max: 1 }));
    }
}
