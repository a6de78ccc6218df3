//! A handle key as it travels: masked and authenticated under the connection's secret.
//!
//! Spec: docs/protocol/control.md §2.

use wire_xdr::xdr_struct;

use super::auth::ConnectionSecret;

const LABEL_MASK: &[u8] = b"mask";
const LABEL_SEAL: &[u8] = b"seal";

/// The handle key as it travels: masked and authenticated under the connection's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedKey {
    nonce: [u8; 16],
    sealed: [u8; 32],
    mac: [u8; 16],
}

xdr_struct! { SealedKey { nonce, sealed, mac } }

/// A sealed key was not made for this connection, or was changed on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sealed handle key is not genuine")]
pub struct SealBroken;

impl SealedKey {
    /// Seals `key` for the other end of a connection. `nonce` must be fresh random bytes.
    #[must_use]
    pub fn seal(secret: &ConnectionSecret, nonce: [u8; 16], key: &[u8; 32]) -> Self {
        let sealed = masked(secret, &nonce, key);
        Self { nonce, sealed, mac: mac(secret, &nonce, &sealed) }
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`SealBroken`].
    pub fn open(&self, secret: &ConnectionSecret) -> Result<[u8; 32], SealBroken> {
        let expected = mac(secret, &self.nonce, &self.sealed);
        // Every byte is looked at, whatever the first ones say.
        let difference = expected.iter().zip(&self.mac).fold(0, |all, (one, other)| all | (one ^ other));
        if difference == 0 { Ok(masked(secret, &self.nonce, &self.sealed)) } else { Err(SealBroken) }
    }
}

fn masked(secret: &ConnectionSecret, nonce: &[u8; 16], bytes: &[u8; 32]) -> [u8; 32] {
    let mut masked = *secret.keyed(&[LABEL_MASK, nonce]).as_bytes();
    masked.iter_mut().zip(bytes).for_each(|(mask, byte)| *mask ^= byte);
    masked
}

fn mac(secret: &ConnectionSecret, nonce: &[u8; 16], sealed: &[u8; 32]) -> [u8; 16] {
    let hash = secret.keyed(&[LABEL_SEAL, nonce, sealed]);
    let mut mac = [0; 16];
    mac.copy_from_slice(&hash.as_bytes()[..16]);
    mac
}
