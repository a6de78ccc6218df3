//! Why a step of an attack, or of the honest client, could not be done.

use std::fmt;

/// A step could not be done; the text says which one and why.
#[derive(Clone, Debug)]
pub(crate) struct Failed(pub(crate) String);

/// What a step comes to.
pub(crate) type Outcome<T> = Result<T, Failed>;

impl fmt::Display for Failed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An error of this text.
pub(crate) fn failed(text: impl Into<String>) -> Failed {
    Failed(text.into())
}

/// Names the step in an error.
pub(crate) trait During<T> {
    /// Puts `step` before the error's text.
    fn during(self, step: &str) -> Outcome<T>;
}

impl<T, E: fmt::Display> During<T> for Result<T, E> {
    fn during(self, step: &str) -> Outcome<T> {
        self.map_err(|error| Failed(format!("{step}: {error}")))
    }
}

impl From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<env_transport::CallError> for Failed {
    fn from(error: env_transport::CallError) -> Self {
        Self(error.to_string())
    }
}

impl From<wire_xdr::XdrError> for Failed {
    fn from(error: wire_xdr::XdrError) -> Self {
        Self(format!("an answer makes no sense: {error}"))
    }
}
