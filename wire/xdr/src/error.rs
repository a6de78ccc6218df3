//! What can be wrong with bytes that claim to be XDR. Always the sender's fault.

/// Why bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XdrError {
    /// The message ends inside a value.
    #[error("{needed} bytes needed, {left} left")]
    Short {
        /// Bytes that the value takes, padding included.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// A variable-length value is longer than its bound.
    #[error("length {len} above {max}")]
    TooLong {
        /// The length that was sent: bytes of an opaque, elements of a list.
        len: usize,
        /// The bound.
        max: usize,
    },
    /// A boolean is neither 0 nor 1.
    #[error("a boolean is neither 0 nor 1")]
    BadBool,
    /// The bytes that fill opaque data up to a multiple of four are not zero.
    #[error("padding is not zero")]
    BadPadding,
    /// An enum or a union has a value that names none of its arms.
    #[error("{what} cannot be {value}")]
    BadDiscriminant {
        /// The enum or union.
        what: &'static str,
        /// The value that was sent.
        value: u32,
    },
    /// The message goes on after its last value.
    #[error("bytes after the end")]
    Trailing,
    /// A value is well-formed but not allowed where it stands.
    #[error("invalid {field}")]
    Invalid {
        /// The field.
        field: &'static str,
    },
}
