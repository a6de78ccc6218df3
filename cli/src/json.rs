//! What `--json` prints: documents with a schema that does not change under those who read them.
//!
//! INVARIANT: a field that is documented is never renamed, removed or given another meaning within
//! a schema; new ones may come.
//! Spec: docs/json.md.

use serde::Serialize;

/// The version of the schema.
pub(crate) const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Document<'a, T> {
    schema: u32,
    kind: &'a str,
    #[serde(flatten)]
    body: &'a T,
}

/// A document of several lines.
///
/// # Errors
/// If the body is nothing that JSON can say.
pub(crate) fn document<T: Serialize>(kind: &str, body: &T) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&Document { schema: SCHEMA, kind, body })
}

/// A document in one line.
///
/// # Errors
/// As [`document`].
pub(crate) fn line<T: Serialize>(kind: &str, body: &T) -> serde_json::Result<String> {
    serde_json::to_string(&Document { schema: SCHEMA, kind, body })
}
