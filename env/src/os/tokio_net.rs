//! TCP through tokio.
