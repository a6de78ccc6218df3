//! Source ports: logs exports that refuse requests from unprivileged ports.

use std::net::SocketAddr;

use env_transport::LogRate;

use super::{Exports, RESERVED_PORTS_END};

/// The option that switches it off.
const SWITCH: &str =
    "`secure = false` in the [[export]] table takes requests from every port (docs/admin.md, Exports)";

/// Logs that an export refused a request for its port; a flood of refusals leaves few lines.
pub(crate) fn refused(path: &str, peer: SocketAddr, now_ms: u64) {
    static RATE: LogRate = LogRate::new();
    if let Some(suppressed) = RATE.admit(now_ms) {
        tracing::warn!(
            export = path,
            %peer,
            suppressed,
            "request refused with PERM: its source port is not below {RESERVED_PORTS_END}; {SWITCH}"
        );
    }
}

/// Logs the exports that check ports. `unasked`: no administrator chose so, the list is older than
/// the option.
pub(crate) fn announce(exports: &Exports, unasked: bool) {
    let secure: Vec<&str> =
        exports.iter().filter(|(_, export)| export.secure).map(|(_, export)| export.path.as_str()).collect();
    if secure.is_empty() {
        return;
    }
    let paths = secure.join(", ");
    if unasked {
        tracing::warn!(
            exports = %paths,
            "these exports were listed before there was `secure`, and have it on now: requests from source ports from \
             {RESERVED_PORTS_END} on are refused; {SWITCH}"
        );
    } else {
        tracing::info!(
            exports = %paths,
            "these exports refuse requests from source ports from {RESERVED_PORTS_END} on; {SWITCH}"
        );
    }
}
