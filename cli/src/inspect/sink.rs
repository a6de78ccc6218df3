//! Where an inspection goes: lines for people, or the same as JSON, one document a line.
//!
//! Spec: docs/json.md.

use std::io::{self, Write};

use serde_json::{Map, Value};

use crate::json;

/// What a line says besides its words.
pub(super) struct Facts {
    fields: Map<String, Value>,
}

impl Facts {
    /// About something that is as it should be, or not.
    pub(super) fn new(ok: bool) -> Self {
        Self { fields: Map::from_iter([("ok".to_owned(), Value::from(ok))]) }
    }

    /// With a field.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// With all fields of others.
    pub(super) fn and(mut self, others: Self) -> Self {
        let ok = self.fields.get("ok").cloned();
        self.fields.extend(others.fields);
        self.fields.extend(ok.map(|ok| ("ok".to_owned(), ok)));
        self
    }
}

/// Takes the lines.
pub(super) struct Sink<'a> {
    out: &'a mut dyn Write,
    /// Of the documents, if there are to be some.
    kind: Option<&'static str>,
}

impl<'a> Sink<'a> {
    /// Of documents of a kind, or of plain lines.
    pub(super) fn new(out: &'a mut dyn Write, kind: Option<&'static str>) -> Self {
        Self { out, kind }
    }

    /// Prints a line.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn line(&mut self, text: &str, facts: Facts) -> io::Result<()> {
        let Some(kind) = self.kind else { return writeln!(self.out, "{text}") };
        let line = json::line(kind, &facts.with("text", text).fields)?;
        writeln!(self.out, "{line}")
    }
}
