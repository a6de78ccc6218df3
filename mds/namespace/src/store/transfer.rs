//! Transfers a whole store: export of a snapshot in chunks, and replacement of a store by such
//! chunks.
//!
//! Used for snapshots of the replicated state machine. An interrupted replacement leaves the store
//! on disk as it was at its last checkpoint, if no checkpoint is made in between.

use std::ops::ControlFlow;

use super::{Durability, KEY_SPACE_END, MetaStore, StoreError, View};
use crate::limits::LOAD_PAIRS_PER_COMMIT;

/// A part of a store: pairs in key order.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Reads the pairs behind key `after` (`None`: from the first), about `chunk_bytes` of them and at
/// least one. An empty result is the end. `limits::EXPORT_CHUNK_BYTES` is a good size.
///
/// # Errors
/// [`StoreError::Engine`] if the engine fails.
pub fn export(view: &dyn View, after: Option<&[u8]>, chunk_bytes: usize) -> Result<Pairs, StoreError> {
    // The least key greater than `after`.
    let from = after.map_or_else(Vec::new, |key| [key, &[0]].concat());
    let mut pairs = Pairs::new();
    let mut bytes = 0;
    view.range(&from, KEY_SPACE_END, &mut |key, value| {
        bytes += key.len() + value.len();
        pairs.push((key.to_vec(), value.to_vec()));
        if bytes < chunk_bytes { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    debug_assert!(pairs.is_sorted_by(|(one, _), (next, _)| one < next), "in the order of keys");
    debug_assert!(
        after.is_none_or(|after| pairs.iter().all(|(key, _)| after < key.as_slice())),
        "none twice"
    );
    Ok(pairs)
}

/// Replaces everything in `store` by the chunks, then makes it durable.
///
/// # Errors
/// [`StoreError::Engine`] if the engine fails, and any error that `chunks` yields.
pub fn replace(
    store: &dyn MetaStore,
    chunks: impl IntoIterator<Item = Result<Pairs, StoreError>>,
) -> Result<(), StoreError> {
    store.clear()?;
    for chunk in chunks {
        for part in chunk?.chunks(LOAD_PAIRS_PER_COMMIT) {
            let mut txn = store.begin()?;
            for (key, value) in part {
                txn.put(key, value)?;
            }
            txn.commit(Durability::Memory)?;
        }
    }
    store.checkpoint()
}
