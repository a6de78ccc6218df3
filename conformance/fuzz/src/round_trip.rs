//! What every codec has to hold to beside not panicking: what it took, it writes in a form that it
//! takes as the same.

use bytes::Bytes;
use wire_xdr::{Decode, Encode, Reader, XdrError};

use crate::seed::encoded;

/// Reads a value, writes it, reads that, writes it again: both forms are the same bytes, read to
/// their end.
///
/// Bytes are compared, not values: a value may remember that something of the input was left out.
///
/// # Errors
/// Those of the codec; the value is not valid then, which is fine.
///
/// # Panics
/// If the codec contradicts itself.
pub fn check<T: Decode + Encode>(r: &mut Reader) -> Result<T, XdrError> {
    check_with(r, T::decode)
}

/// [`check`] with a decoder that is no [`Decode`].
///
/// # Errors
/// As [`check`].
///
/// # Panics
/// As [`check`].
pub fn check_with<T: Encode>(
    r: &mut Reader,
    decode: impl Fn(&mut Reader) -> Result<T, XdrError>,
) -> Result<T, XdrError> {
    let value = decode(r)?;
    let once = encoded(&value);
    let mut again = Reader::new(once.clone());
    let second = decode(&mut again).expect("a codec takes what it wrote");
    assert_eq!(again.remaining(), 0, "a codec reads all of what it wrote");
    assert_eq!(encoded(&second), once, "a codec writes the same value the same way");
    Ok(value)
}

/// [`check`] of a whole message: nothing may follow.
///
/// # Errors
/// As [`check`]; [`XdrError::Trailing`].
///
/// # Panics
/// As [`check`].
pub fn check_whole<T: Decode + Encode>(bytes: Bytes) -> Result<T, XdrError> {
    let mut r = Reader::new(bytes);
    let value = check(&mut r)?;
    r.finish()?;
    Ok(value)
}
