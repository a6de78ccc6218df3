//! Takes XDR values off the front of a message. Opaque data comes out as a slice of the message,
//! never as a copy.
//!
//! INVARIANT: `position` never passes the end; a failed read leaves the position anywhere up to the
//! end.
//! Spec: RFC 4506 §4.

use bytes::Bytes;

use crate::{XdrError, padding};

/// A cursor over one message. Cloning it is cheap and clones the position.
#[derive(Debug, Clone, Default)]
pub struct Reader {
    bytes: Bytes,
    position: usize,
}

impl Reader {
    /// Starts at the first byte of `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes, position: 0 }
    }

    /// Bytes read so far.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Reads an unsigned integer (RFC 4506 §4.2).
    ///
    /// # Errors
    /// [`XdrError::Short`].
    pub fn u32(&mut self) -> Result<u32, XdrError> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// Reads an integer (RFC 4506 §4.1).
    ///
    /// # Errors
    /// [`XdrError::Short`].
    pub fn i32(&mut self) -> Result<i32, XdrError> {
        self.fixed().map(i32::from_be_bytes)
    }

    /// Reads an unsigned hyper integer (RFC 4506 §4.5).
    ///
    /// # Errors
    /// [`XdrError::Short`].
    pub fn u64(&mut self) -> Result<u64, XdrError> {
        self.fixed().map(u64::from_be_bytes)
    }

    /// Reads a hyper integer (RFC 4506 §4.5).
    ///
    /// # Errors
    /// [`XdrError::Short`].
    pub fn i64(&mut self) -> Result<i64, XdrError> {
        self.fixed().map(i64::from_be_bytes)
    }

    /// Reads a boolean (RFC 4506 §4.4).
    ///
    /// # Errors
    /// [`XdrError::Short`]; [`XdrError::BadBool`] if it is neither 0 nor 1.
    pub fn bool(&mut self) -> Result<bool, XdrError> {
        match self.u32()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(XdrError::BadBool),
        }
    }

    /// Reads opaque data of fixed length, and its padding (RFC 4506 §4.9).
    ///
    /// # Errors
    /// [`XdrError::Short`]; [`XdrError::BadPadding`].
    pub fn fixed<const N: usize>(&mut self) -> Result<[u8; N], XdrError> {
        let at = self.advance(N)?;
        let mut value = [0; N];
        value.copy_from_slice(&self.bytes[at..at + N]);
        Ok(value)
    }

    /// Reads opaque data of variable length, and its padding (RFC 4506 §4.10). The result shares
    /// the message's memory.
    ///
    /// # Errors
    /// [`XdrError::TooLong`] if it has more than `max_bytes`; [`XdrError::Short`];
    /// [`XdrError::BadPadding`].
    pub fn opaque(&mut self, max_bytes: usize) -> Result<Bytes, XdrError> {
        let len = self.bounded(max_bytes)?;
        let at = self.advance(len)?;
        Ok(self.bytes.slice(at..at + len))
    }

    /// Reads a string as the bytes it is (RFC 4506 §4.11). XDR does not say which character set;
    /// the caller does.
    ///
    /// # Errors
    /// Those of [`opaque`](Self::opaque).
    pub fn string(&mut self, max_bytes: usize) -> Result<Bytes, XdrError> {
        self.opaque(max_bytes)
    }

    /// Reads the number of elements of a variable-length array (RFC 4506 §4.13). As every element
    /// takes at least four bytes, a count that the rest of the message cannot hold is refused here,
    /// before anyone allocates for it.
    ///
    /// # Errors
    /// [`XdrError::TooLong`] if it is above `max`; [`XdrError::Short`] if the message cannot hold
    /// that many.
    pub fn count(&mut self, max: usize) -> Result<usize, XdrError> {
        let count = self.bounded(max)?;
        let (needed, left) = (count.saturating_mul(4), self.remaining());
        if left < needed {
            return Err(XdrError::Short { needed, left });
        }
        Ok(count)
    }

    /// Takes everything that is left; the reader is then at the end.
    pub fn rest(&mut self) -> Bytes {
        let rest = self.bytes.slice(self.position..);
        self.position = self.bytes.len();
        rest
    }

    /// Ends the reading of a message.
    ///
    /// # Errors
    /// [`XdrError::Trailing`] if bytes are left.
    pub fn finish(self) -> Result<(), XdrError> {
        if self.remaining() == 0 { Ok(()) } else { Err(XdrError::Trailing) }
    }

    fn bounded(&mut self, max: usize) -> Result<usize, XdrError> {
        let len = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        if len <= max { Ok(len) } else { Err(XdrError::TooLong { len, max }) }
    }

    /// Steps over `len` bytes and their padding; says where they begin.
    fn advance(&mut self, len: usize) -> Result<usize, XdrError> {
        let (pad, left) = (padding(len), self.remaining());
        // Compared in two steps, so that no length makes the sum wrap.
        if left < len || left - len < pad {
            return Err(XdrError::Short { needed: len.saturating_add(pad), left });
        }
        let at = self.position;
        self.position = at + len + pad;
        // RFC 4506 §3 wants residual bytes of zero. A sender that puts something else there hides
        // or leaks data.
        if self.bytes[at + len..self.position].iter().any(|byte| *byte != 0) {
            return Err(XdrError::BadPadding);
        }
        Ok(at)
    }
}

impl From<Bytes> for Reader {
    fn from(bytes: Bytes) -> Self {
        Self::new(bytes)
    }
}

#[cfg(test)]
mod tests;
