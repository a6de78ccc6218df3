//! Exports as earlier records and commands have them: without `secure`, which is then on.
//!
//! Spec: docs/formats/state.md.

use layout::ec::Profile;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Anonymous, Export, Network, Squash};

/// An export of an earlier version. INVARIANT: the fields and their order never change.
#[derive(Serialize, Deserialize)]
pub(crate) struct ExportBefore {
    path: String,
    read_only: bool,
    squash: Squash,
    anonymous: Anonymous,
    clients: Vec<Network>,
    pnfs: bool,
    stripes: u32,
    code: Option<Profile>,
}

impl From<ExportBefore> for Export {
    fn from(before: ExportBefore) -> Self {
        let ExportBefore { path, read_only, squash, anonymous, clients, pnfs, stripes, code } = before;
        Self { path, read_only, squash, anonymous, clients, pnfs, stripes, code, secure: true }
    }
}

impl From<&Export> for ExportBefore {
    fn from(export: &Export) -> Self {
        let Export { path, read_only, squash, anonymous, clients, pnfs, stripes, code, secure: _ } =
            export.clone();
        Self { path, read_only, squash, anonymous, clients, pnfs, stripes, code }
    }
}

/// Writes a list of exports without `secure`.
///
/// # Errors
/// The serializer's.
pub fn serialize<S: Serializer>(exports: &[Export], serializer: S) -> Result<S::Ok, S::Error> {
    exports.iter().map(ExportBefore::from).collect::<Vec<_>>().serialize(serializer)
}

/// Reads such a list.
///
/// # Errors
/// The deserializer's.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Export>, D::Error> {
    let exports = Vec::<ExportBefore>::deserialize(deserializer)?;
    Ok(exports.into_iter().map(Export::from).collect())
}
