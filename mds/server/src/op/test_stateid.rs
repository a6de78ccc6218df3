//! TEST_STATEID: tests which of the client's stateids are valid.
//!
//! Spec: RFC 8881 §18.48.

use mds_state::StateidValue;
use wire_nfs::v4::ops::test_stateid::{Args, ResOk};
use wire_nfs::v4::{Nfsstat4, Stateid};

use crate::context::{Context, OpResult};
use crate::status;

pub(crate) async fn run_op(cx: &mut Context, args: Args) -> OpResult<ResOk> {
    let client = cx.client()?;
    let view = cx.view()?;
    let test = |stateid: &Stateid| {
        if stateid.is_special() {
            return Nfsstat4::BadStateid;
        }
        let stateid = StateidValue { seqid: stateid.seqid, other: stateid.other };
        match view.test_stateid(client, stateid) {
            Ok(_) => Nfsstat4::Ok,
            Err(refusal) => cx.server.revoked.status(client, &stateid.other, status::of_refusal(&refusal)),
        }
    };
    Ok(ResOk { statuses: args.stateids.iter().map(test).collect() })
}
