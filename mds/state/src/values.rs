//! Reads values of the protocol state by their keys.

use mds_namespace::{View, store};

use crate::command::Refusal;
use crate::key;
use crate::record::Value;

/// The value of a key; `None` if there is none.
pub(crate) fn read<T: Value>(view: &dyn View, key: &[u8]) -> Result<Option<T>, Refusal> {
    Ok(view.get(key)?.map(|bytes| T::decode(&bytes)).transpose()?)
}

/// All values whose keys begin with `prefix`.
pub(crate) fn list<T: Value>(view: &dyn View, prefix: &[u8]) -> Result<Vec<T>, Refusal> {
    Ok(store::list(view, prefix, &key::after(prefix), usize::MAX, |_, bytes| T::decode(bytes))?)
}
