//! Any callback at all: for fuzzers, traces, and tests of one codec after another.
//!
//! Spec: RFC 8881 §20.

use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use super::{layoutrecall, notify_deviceid, notify_lock, recall, recall_any, sequence};
use crate::v4::CbOp;

macro_rules! any_callback {
    ($(#[$meta:meta])* $name:ident, $body:ident) => {
        any_callback! {
            $(#[$meta])* $name, $body,
            Layoutrecall layoutrecall,
            NotifyDeviceid notify_deviceid,
            NotifyLock notify_lock,
            Recall recall,
            RecallAny recall_any,
            Sequence sequence,
        }
    };
    ($(#[$meta:meta])* $name:ident, $body:ident, $($op:ident $module:ident,)*) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[allow(missing_docs, reason = "each variant is the callback of the same name in `CbOp`, which is documented")]
        pub enum $name {
            $($op($module::$body),)*
        }

        impl $name {
            /// Every callback that has a codec.
            pub const OPS: &'static [CbOp] = &[$(CbOp::$op),*];

            /// Reads what belongs to this callback; `None` if it has no codec.
            ///
            /// # Errors
            /// Those of the callback's codec.
            pub fn decode(op: CbOp, r: &mut Reader) -> Result<Option<Self>, XdrError> {
                match op {
                    $(CbOp::$op => $module::$body::decode(r).map(|body| Some(Self::$op(body))),)*
                    _ => Ok(None),
                }
            }

            /// Which callback it is.
            #[must_use]
            pub fn op(&self) -> CbOp {
                match self {
                    $(Self::$op(_) => CbOp::$op,)*
                }
            }
        }

        impl Encode for $name {
            fn encode(&self, w: &mut Writer) {
                match self {
                    $(Self::$op(body) => body.encode(w),)*
                }
            }
        }
    };
}

any_callback! {
    /// The arguments of some callback.
    AnyCbArgs, Args
}

any_callback! {
    /// The result of some callback that went well.
    AnyCbResOk, ResOk
}
