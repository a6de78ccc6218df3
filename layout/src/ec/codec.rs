//! The door to the code itself: which codec a profile can have, and the codec of an id.
//!
//! A codec is linear: an image of a group is a sum of any `k` others, each times a coefficient. It
//! knows windows of bytes, no images, lengths or checksums.
//!
//! Spec: docs/formats/group.md §2.

mod contract;
mod copies;
mod leopard16;

use crate::ec::profile::Profile;

pub use self::contract::{Codec, Coefficients};
pub use crate::ec::codec_id::CodecId;

const _: () = {
    let mut at = 0;
    while at < Profile::ALL.len() {
        let profile = Profile::ALL[at];
        assert!(profile.codec().can(profile), "each profile has a codec that can code it");
        at += 1;
    }
};

impl CodecId {
    /// Whether groups of this profile can be under this codec.
    #[must_use]
    pub const fn can(self, profile: Profile) -> bool {
        match self {
            Self::Copies => profile.data() == 1,
            Self::Leopard16 => 1 < profile.data(),
        }
    }

    /// Makes the codec ready for a profile.
    ///
    /// # Panics
    /// If it [cannot](Self::can) be.
    #[must_use]
    pub fn open(self, profile: Profile) -> Box<dyn Codec> {
        assert!(self.can(profile), "codec and profile are checked where a group is made or read");
        match self {
            Self::Copies => Box::new(copies::Copies { parity: profile.parity() }),
            Self::Leopard16 => Box::new(leopard16::Leopard16::new(profile)),
        }
    }
}

#[cfg(test)]
mod tests;
