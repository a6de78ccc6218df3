//! Reports for administrators: plain values, ready to be shown or sent.

mod forward;
mod gather;
mod health;
mod line;
mod mount;

pub use forward::NotLeading;
pub use health::{Health, Problem};
pub use line::{
    BalanceStatus, ClockLine, DataServerLine, ExportLine, HandleKeyStatus, NarrowCode, ReplicaLine,
    ScrubStatus, ShardsStatus, Status,
};
pub use mount::mount_command;

pub(crate) use forward::{answer, query_leader};
pub(crate) use gather::{data_servers, exports, status};
pub(crate) use mount::mount_addresses;
