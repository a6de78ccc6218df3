//! LAYOUTERROR: a client reports that it could not use a data server.
//!
//! Spec: RFC 7862 §15.6; RFC 8435 §9.1.

use env_transport::LogRate;
use mds_namespace::Ino;
use wire_nfs::v4::layout::DeviceError;
use wire_nfs::v4::ops::layouterror::{Args, ResOk};
use wire_nfs::v4::{Nfsstat4, Stateid};

use crate::context::{Context, OpResult};
use crate::status;

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let handle = cx.current()?;
    cx.export(handle)?;
    note(cx, handle.ino, args.stateid, &args.errors)?;
    Ok(ResOk)
}

/// Excludes data servers that failed the client from its layouts, if it shows a layout of the file:
/// without one it cannot have used them. STALE is no failure: the next layout names the new
/// primary.
///
/// A report is a claim. It affects this client's layouts, and makes the metadata server probe the
/// data server (docs/protocol/control.md §2).
pub(crate) fn note(cx: &Context, ino: Ino, stateid: Stateid, errors: &[DeviceError]) -> Result<(), Nfsstat4> {
    let client = cx.client()?;
    let held = cx.view()?.layout(ino, client).map_err(|error| status::of_refusal(&error))?;
    let is_holder = held.is_some_and(|held| held.other == stateid.other);
    for error in errors {
        let Some((server, _)) = layout::handle::device_of(&error.device.0) else { continue };
        static RATE: LogRate = LogRate::new();
        if let Some(suppressed) = RATE.admit(cx.server.now_ms()) {
            tracing::info!(
                client,
                server = server.0,
                status = error.status.name(),
                is_holder,
                suppressed,
                "client reports a data server"
            );
        }
        let now_ms = cx.server.now_ms();
        match error.status {
            _ if !is_holder => {}
            // The server is healthy: it does not know the client's address. In band the client is
            // known.
            Nfsstat4::Access => cx.server.data_servers.exclude(client, server, now_ms),
            Nfsstat4::Stale | Nfsstat4::Badhandle | Nfsstat4::Delay | Nfsstat4::Grace | Nfsstat4::Ok => {}
            Nfsstat4::Nospc => cx.server.data_servers.exclude_full(client, server, now_ms),
            _ => {
                cx.server.data_servers.exclude(client, server, now_ms);
                // It may be dead until its next heartbeat: requests that need it wait for the
                // probe.
                cx.server.data_servers.mark_broken(server, now_ms);
            }
        }
    }
    Ok(())
}
