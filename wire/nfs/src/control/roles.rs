//! Which kind of node may call which procedure of which other kind: one table.
//!
//! INVARIANT: each procedure has one kind of caller and one kind of callee; adding a procedure
//! without a row does not compile.
//! Spec: docs/protocol/control.md, §1.

use super::{NodeKind, PROGRAM, Procedure, RAFT_PROGRAM};

impl Procedure {
    /// Who calls it, and whom. `None` for the procedures that open a connection.
    #[must_use]
    pub fn link(self) -> Option<(NodeKind, NodeKind)> {
        use NodeKind::{Administrator, Data, Metadata};
        Some(match self {
            Self::Null | Self::Hello | Self::Auth => return None,
            Self::Register
            | Self::Heartbeat
            | Self::Copies
            | Self::Images
            | Self::Group
            | Self::Thaw
            | Self::Promise
            | Self::AtRest
            | Self::FileEnd
            | Self::Clock
            | Self::Held
            | Self::Admitted => (Data, Metadata),
            Self::Fence
            | Self::Cut
            | Self::Drop
            | Self::Size
            | Self::Stat
            | Self::Keep
            | Self::Encode
            | Self::Rebuild
            | Self::Adopt
            | Self::Have
            | Self::Prove => (Metadata, Data),
            Self::Attach
            | Self::Replicate
            | Self::Flush
            | Self::ReadImage
            | Self::PutImage
            | Self::EndImage
            | Self::ReadData
            | Self::SayAgain => (Data, Data),
            Self::DsRemove
            | Self::DsDrain
            | Self::Verify
            | Self::Rebalance
            | Self::MdsReadmit
            | Self::ExportsSet
            | Self::Report
            | Self::HandleKeyRotate => (Administrator, Metadata),
        })
    }
}

/// Whether nodes of these kinds have anything to say to each other in a program.
#[must_use]
pub fn may_meet(program: u32, caller: NodeKind, callee: NodeKind) -> bool {
    use NodeKind::{Administrator, Data, Metadata};
    match program {
        PROGRAM => {
            matches!((caller, callee), (Data, _) | (Metadata, Data) | (Administrator, Metadata))
                && matches!(callee, Data | Metadata)
        }
        RAFT_PROGRAM => (caller, callee) == (Metadata, Metadata),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [NodeKind; 4] =
        [NodeKind::Metadata, NodeKind::Data, NodeKind::Gateway, NodeKind::Administrator];

    #[test]
    fn kinds_meet_where_a_procedure_says_so() {
        let links: Vec<_> = (0..64).filter_map(Procedure::from_number).filter_map(Procedure::link).collect();
        for caller in KINDS {
            for callee in KINDS {
                let has_any = links.contains(&(caller, callee));
                assert_eq!(may_meet(PROGRAM, caller, callee), has_any, "{caller:?} to {callee:?}");
                let replicas = (caller, callee) == (NodeKind::Metadata, NodeKind::Metadata);
                assert_eq!(may_meet(RAFT_PROGRAM, caller, callee), replicas, "{caller:?} to {callee:?}");
                assert!(!may_meet(100_003, caller, callee));
            }
        }
    }

    #[test]
    fn what_changes_the_cluster_is_an_administrators_alone() {
        let of = |caller| {
            let all = (0..64).filter_map(Procedure::from_number);
            all.filter(|one| one.link().is_some_and(|link| link.0 == caller))
                .map(Procedure::number)
                .collect::<Vec<_>>()
        };
        assert_eq!(of(NodeKind::Administrator), [28, 29, 30, 31, 32, 33, 35, 40]);
        assert_eq!(of(NodeKind::Metadata), [5, 6, 7, 8, 9, 11, 20, 21, 23, 24, 41]);
        assert_eq!(
            of(NodeKind::Data),
            [3, 4, 10, 12, 13, 14, 15, 16, 17, 18, 19, 22, 25, 26, 27, 34, 36, 37, 38, 39]
        );
        assert_eq!(of(NodeKind::Gateway), [] as [u32; 0]);
    }
}
