//! Source ports: what the log says of exports that refuse requests from a port which any program can take.
//!
//! INVARIANT: refusals cost at most one line of the log for each export and [`PORT_REFUSAL_QUIET_MS`].

use std::collections::BTreeMap;
use std::net::SocketAddr;

use parking_lot::Mutex;

use super::{Exports, RESERVED_PORTS_END};
use crate::handle::ExportId;
use crate::limits::PORT_REFUSAL_QUIET_MS;

/// How an administrator switches it off.
const SWITCH: &str =
    "`secure = false` in the [[export]] table takes requests from every port (docs/admin.md, Exports)";

/// When the log last said that an export refused a port. One entry for each export at most.
#[derive(Default)]
pub(crate) struct PortRefusals {
    told_ms: Mutex<BTreeMap<u16, u64>>,
}

impl PortRefusals {
    /// Says it, unless it was said a moment ago.
    pub(crate) fn tell(&self, id: ExportId, path: &str, peer: SocketAddr, now_ms: u64) {
        if self.is_due(id, now_ms) {
            tracing::warn!(
                export = path,
                %peer,
                "request refused with PERM: its source port is not below {RESERVED_PORTS_END}; {SWITCH}"
            );
        }
    }

    fn is_due(&self, id: ExportId, now_ms: u64) -> bool {
        let mut told_ms = self.told_ms.lock();
        let quiet = |last: &u64| now_ms.saturating_sub(*last) < PORT_REFUSAL_QUIET_MS;
        if told_ms.get(&id.0).is_some_and(quiet) {
            return false;
        }
        // Exports that are gone leave room.
        told_ms.retain(|_, last| quiet(last));
        told_ms.insert(id.0, now_ms);
        true
    }
}

/// Names the exports that look at ports. `unasked`: no administrator said so, the list is older than the option.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_one_line_for_each_export_and_minute() {
        let refusals = PortRefusals::default();
        let due: Vec<bool> = (0..50).map(|ms| refusals.is_due(ExportId(0), ms)).collect();
        assert_eq!(due.iter().filter(|due| **due).count(), 1);
        assert!(refusals.is_due(ExportId(1), 3), "another export");
        assert!(!refusals.is_due(ExportId(0), PORT_REFUSAL_QUIET_MS - 1));
        assert!(refusals.is_due(ExportId(0), PORT_REFUSAL_QUIET_MS));
        assert!(refusals.told_ms.lock().len() <= 2);
    }
}
