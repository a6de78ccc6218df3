//! Which shard a store is of.

use mds_namespace::{View, superblock};

use crate::command::Refusal;
use crate::key;

/// Whether this is the store of shard 0, which keeps clients and sessions. Its leader is the
/// governor.
pub(super) fn is_first(view: &dyn View) -> Result<bool, Refusal> {
    Ok(view.get(key::GOVERNOR)?.is_none())
}

/// The shard that this store is.
pub(super) fn number(view: &dyn View) -> Result<u16, Refusal> {
    if is_first(view)? { Ok(0) } else { Ok(superblock::shard(view)?) }
}
