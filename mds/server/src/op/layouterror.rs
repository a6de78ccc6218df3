//! LAYOUTERROR: a client could not use a data server.
//!
//! Spec: RFC 7862 §15.6; RFC 8435 §9.1.

use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::layout::DeviceError;
use wire_nfs::v4::ops::layouterror::{Args, ResOk};

use crate::context::{Context, OpResult};

pub(crate) async fn run(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    cx.current()?;
    let client = cx.client()?;
    note(cx, client, &args.errors);
    Ok(ResOk)
}

/// Keeps the client off the data servers that failed it. A fenced or full one has not failed: the next layout tells.
pub(crate) fn note(cx: &Context, client: u64, errors: &[DeviceError]) {
    for error in errors {
        let Some((server, _)) = layout::handle::device_of(&error.device.0) else { continue };
        tracing::info!(
            client,
            server = server.0,
            status = error.status.name(),
            "client reports a data server"
        );
        match error.status {
            Nfsstat4::Stale
            | Nfsstat4::Access
            | Nfsstat4::Badhandle
            | Nfsstat4::Delay
            | Nfsstat4::Grace
            | Nfsstat4::Ok => {}
            Nfsstat4::Nospc => cx.server.data_servers.mark_full(server, cx.server.now_ms()),
            _ => {
                let now_ms = cx.server.now_ms();
                cx.server.data_servers.exclude(client, server, now_ms);
                // Until its next heartbeat it may be dead: whoever asks for it waits to see.
                cx.server.data_servers.mark_broken(server, now_ms);
            }
        }
    }
}
