//! Revoked layouts: how SEQUENCE, TEST_STATEID and FREE_STATEID report them until the client frees
//! them.
//!
//! They are kept in memory, so the next leader does not know them: there they are bad stateids.
//! Opens and locks are never revoked one by one: they end with their client, which learns it by
//! STALE_CLIENTID. So EXPIRED_ALL_STATE_REVOKED and ADMIN_STATE_REVOKED are never raised.
//!
//! QUIRK(linux): for RECALLABLE_STATE_REVOKED it drops the layouts of all files, and the
//! LAYOUTCOMMITs that it still owes with them; for EXPIRED_SOME_STATE_REVOKED it tests opens, locks
//! and delegations. By neither does it ever free a layout's stateid, so the flag would stay. It
//! finds out by a bad stateid. So a client that identifies itself as Linux, or not at all, gets no
//! flag.
//!
//! Spec: RFC 8881 §8.3, §12.5.5.2, §18.38.3, §18.46.3, §18.48.3.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use wire_nfs::v4::Nfsstat4;
use wire_nfs::v4::ops::sequence::status_flags;

use crate::limits::REVOKED_MAX;

/// The part of a stateid that names it.
pub(crate) type Other = [u8; 12];

/// Revoked layouts that their clients have not freed.
#[derive(Default)]
pub(crate) struct Revoked {
    pub(crate) layouts: Mutex<BTreeMap<(u64, Other), Lost>>,
}

/// Why a layout was revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It was recalled and not returned.
    NotReturned,
    /// It was recalled when the client's lease had run out.
    Expired,
}

impl Lost {
    pub(crate) fn flag(self) -> u32 {
        match self {
            Self::NotReturned => status_flags::RECALLABLE_STATE_REVOKED,
            Self::Expired => status_flags::EXPIRED_SOME_STATE_REVOKED,
        }
    }

    pub(crate) fn status(self) -> Nfsstat4 {
        match self {
            Self::NotReturned => Nfsstat4::DelegRevoked,
            Self::Expired => Nfsstat4::Expired,
        }
    }
}

impl Revoked {
    /// The status for a stateid that is refused with another one.
    pub(crate) fn status(&self, client: u64, other: &Other, refused: Nfsstat4) -> Nfsstat4 {
        if refused != Nfsstat4::BadStateid {
            return refused;
        }
        self.layouts.lock().get(&(client, *other)).map_or(refused, |lost| lost.status())
    }

    /// False if the table is full.
    pub(crate) fn note(&self, client: u64, other: Other, lost: Lost) -> bool {
        let mut layouts = self.layouts.lock();
        let room = layouts.len() < REVOKED_MAX;
        if room {
            layouts.insert((client, other), lost);
        }
        room
    }

    /// Why the layout was revoked, and whether the client has others revoked for the same reason.
    pub(crate) fn free(&self, client: u64, other: Other) -> Option<(Lost, bool)> {
        let mut layouts = self.layouts.lock();
        let lost = layouts.remove(&(client, other))?;
        let mut of_client = layouts.range((client, [0; 12])..=(client, [u8::MAX; 12]));
        Some((lost, of_client.any(|(_, one)| *one == lost)))
    }

    /// Forgets an ended client.
    pub(crate) fn forget(&self, client: u64) {
        self.layouts.lock().retain(|(whose, _), _| *whose != client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_stays_until_the_last_of_its_kind_is_freed() {
        let revoked = Revoked::default();
        let (first, second, third) = ([1; 12], [2; 12], [3; 12]);
        for (other, lost) in [(first, Lost::NotReturned), (second, Lost::NotReturned), (third, Lost::Expired)]
        {
            assert!(revoked.note(7, other, lost));
        }
        assert_eq!(revoked.status(7, &first, Nfsstat4::BadStateid), Nfsstat4::DelegRevoked);
        assert_eq!(revoked.status(7, &third, Nfsstat4::BadStateid), Nfsstat4::Expired);
        assert_eq!(revoked.status(7, &first, Nfsstat4::OldStateid), Nfsstat4::OldStateid);
        assert_eq!(revoked.status(8, &first, Nfsstat4::BadStateid), Nfsstat4::BadStateid, "another client");
        assert_eq!(revoked.free(7, first), Some((Lost::NotReturned, true)));
        assert_eq!(revoked.free(7, first), None, "once");
        assert_eq!(revoked.free(7, second), Some((Lost::NotReturned, false)));
        revoked.forget(7);
        assert_eq!(revoked.free(7, third), None);
    }
}
