//! Values of the store as bytes: one version byte, then postcard.
//!
//! Bytes that do not decode are an error of the store, never a panic: another version or a broken
//! disk wrote them.

use mds_namespace::FsError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Version of every value that does not name its own.
pub const VALUE_VERSION: u8 = 1;

/// A value that the store keeps.
pub trait Value: Sized {
    /// The version byte.
    const VERSION: u8 = VALUE_VERSION;

    /// Appends the bytes behind the version byte.
    fn write(&self, bytes: Vec<u8>) -> Vec<u8>;

    /// Reads what [`write`](Self::write) wrote; `None` if it is something else.
    fn read(bytes: &[u8]) -> Option<Self>;

    /// The value's bytes in the store.
    fn encode(&self) -> Vec<u8> {
        self.write(vec![Self::VERSION])
    }

    /// Reads a value from the store.
    ///
    /// # Errors
    /// [`FsError::Store`] if the version is unknown or the bytes are not such a value.
    fn decode(bytes: &[u8]) -> Result<Self, FsError> {
        match bytes.split_first() {
            Some((&version, rest)) if version == Self::VERSION => {
                Self::read(rest).ok_or_else(bad_value::<Self>)
            }
            version => Err(bad_version::<Self>(version.map(|(first, _)| *first))),
        }
    }
}

pub(super) fn bad_value<T>() -> FsError {
    FsError::Store(format!("bad {} value", std::any::type_name::<T>()))
}

pub(super) fn bad_version<T>(version: Option<u8>) -> FsError {
    FsError::Store(format!("{} value of version {version:?}", std::any::type_name::<T>()))
}

pub(super) fn write_postcard<T: Serialize>(value: &T, bytes: Vec<u8>) -> Vec<u8> {
    postcard::to_extend(value, bytes)
        .expect("a vector takes every byte and our records have no unsized parts")
}

pub(super) fn read_postcard<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Some(value),
        Ok(_) | Err(_) => None,
    }
}
