//! Whether an image is all there is of its extent: what an image that is in use is above, and
//! below.
//!
//! Does not know which servers are to be told. An image that came into use, or was found in the
//! journal at the start, is taken for all there is until it is said otherwise.
//!
//! INVARIANT: where [`Store::above_image`] answers 0, no byte was said above the image, and none
//! that has its place will be.
//! Spec: docs/protocol/seal.md §2, §8.

use layout::ExtentId;

use crate::store::Store;

impl Store {
    /// Metadata servers know that something lies above the image with this sequence. Nothing is
    /// noted if another one shows by now.
    pub fn thawed(&self, extent: ExtentId, image: u64) {
        let mut shard = self.inner.index.shard(extent);
        let base = shard.get_mut(&extent).and_then(|known| known.base.as_mut());
        if let Some(base) = base.filter(|base| base.sequence == image) {
            base.thawed = true;
        }
    }

    /// The sequence of the image that shows, if it is not thawed.
    #[must_use]
    pub fn frozen(&self, extent: ExtentId) -> Option<u64> {
        let shard = self.inner.index.shard(extent);
        let base = shard.get(&extent)?.base.as_ref().filter(|base| !base.thawed);
        base.map(|base| base.sequence)
    }

    /// What lies above the image with the sequence `image`: 0 for nothing, else the highest
    /// sequence that was given to an act of the extent. `None` if that image does not show; or if
    /// acts are under way, and what they come to is not known yet.
    #[must_use]
    pub fn above_image(&self, extent: ExtentId, image: u64) -> Option<u64> {
        let shard = self.inner.index.shard(extent);
        let known = shard.get(&extent)?;
        known.base.as_ref().filter(|base| base.sequence == image)?;
        // A mark, or what an overlay leaves free, has a sequence and says no byte.
        if known.pieces.iter().any(|(_, piece)| image < piece.sequence) {
            return Some(known.sequence);
        }
        known.is_idle().then_some(0)
    }
}
