//! What happens to the record of a layout: grant, return, recall, commit.
//!
//! One record for each client and file, with one stateid for the READ and the read-write part.
//! Ranges are not kept: Linux gives back whole files. Decides only; `mds-state` stores the record
//! that comes out.
//!
//! INVARIANT: each grant, partial return and new recall moves the seqid by exactly one; `other`
//! never changes.
//! INVARIANT: while a recall is unanswered nothing is granted to that client on that file.
//! Spec: RFC 8881 §12.5.3, §12.5.5, §18.43, §18.44, §20.3.

use serde::{Deserialize, Serialize};

use crate::iomode::Iomode;

/// A layout that is out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayoutRecord {
    /// Identity part of the layout stateid.
    pub other: [u8; 12],
    /// Its sequence: 1 at the first grant.
    pub seqid: u32,
    /// A READ part is out.
    pub read: bool,
    /// A read-write part is out.
    pub read_write: bool,
    /// The sequence that an unanswered recall carries.
    pub recall_seqid: Option<u32>,
}

impl LayoutRecord {
    /// Whether a part of this iomode is out; `None` asks for any.
    #[must_use]
    pub fn holds(&self, iomode: Option<Iomode>) -> bool {
        match iomode {
            Some(Iomode::Read) => self.read,
            Some(Iomode::ReadWrite) => self.read_write,
            None => self.read || self.read_write,
        }
    }

    /// The narrowest iomode that names all that is out: `None` is ANY.
    #[must_use]
    pub fn held(&self) -> Option<Iomode> {
        match (self.read, self.read_write) {
            (true, false) => Some(Iomode::Read),
            (false, true) => Some(Iomode::ReadWrite),
            _ => None,
        }
    }
}

/// The stateid that LAYOUTGET showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// An open, lock or delegation stateid, checked by the caller.
    Open,
    /// The layout stateid of the record, with this seqid.
    Layout {
        /// Its sequence.
        seqid: u32,
    },
}

/// Why a layout act is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The client shows a layout that is not out, or a sequence we never gave (BAD_STATEID). The
    /// client's fault.
    #[error("layout stateid was never given out")]
    BadStateid,
    /// The sequence is behind (OLD_STATEID): the client did not see the reply to another request
    /// yet.
    #[error("layout stateid is old")]
    OldStateid,
    /// A recall is unanswered (RECALLCONFLICT). Neither is at fault: the client gives back and asks
    /// again.
    #[error("layout is being recalled")]
    Recalled,
    /// Only a READ part is out (BADIOMODE).
    #[error("layout does not allow writing")]
    ReadOnly,
}

/// Grants a part of a file to a client.
///
/// `fresh_other` becomes the identity if the client holds nothing on the file yet.
///
/// # Errors
/// [`LayoutError::Recalled`] while a recall is unanswered; [`LayoutError::BadStateid`] for a layout
/// stateid that is not out or lies ahead of the record.
pub fn grant(
    record: Option<&LayoutRecord>,
    shown: Shown,
    iomode: Iomode,
    fresh_other: [u8; 12],
) -> Result<LayoutRecord, LayoutError> {
    let mut next = match (record, shown) {
        (None, Shown::Layout { .. }) => return Err(LayoutError::BadStateid),
        // RFC 8881 §12.5.3: the first grant makes the layout stateid, with seqid 1.
        (None, Shown::Open) => {
            LayoutRecord { other: fresh_other, seqid: 1, read: false, read_write: false, recall_seqid: None }
        }
        (Some(record), shown) => {
            // An old seqid is fine here: §12.5.3 allows LAYOUTGETs in parallel, all with the same
            // stateid. An open stateid comes from OPEN compounds and from clients that forgot: a
            // new identity would make Linux throw away what it holds.
            if let Shown::Layout { seqid } = shown
                && seqid_after(seqid, record.seqid)
            {
                return Err(LayoutError::BadStateid);
            }
            if record.recall_seqid.is_some() {
                return Err(LayoutError::Recalled);
            }
            LayoutRecord { seqid: seqid_next(record.seqid), ..record.clone() }
        }
    };
    match iomode {
        Iomode::Read => next.read = true,
        Iomode::ReadWrite => next.read_write = true,
    }
    assert!(next.holds(Some(iomode)), "what is granted is out");
    assert!(next.recall_seqid.is_none(), "nothing is granted during a recall");
    assert!(record.is_none_or(|record| record.other == next.other), "a layout keeps its identity");
    Ok(next)
}

/// What a return leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Nothing: the record goes, the reply says that no stateid is left.
    Nothing,
    /// This record; the reply carries its stateid.
    Record(LayoutRecord),
}

/// Takes back the parts of an iomode (`None` is ANY). With `whole` false only a range is returned,
/// and nothing goes.
///
/// # Errors
/// [`LayoutError::BadStateid`] for a sequence we never gave, [`LayoutError::OldStateid`] for one
/// that is behind.
pub fn give_back(
    record: &LayoutRecord,
    seqid: u32,
    iomode: Option<Iomode>,
    whole: bool,
) -> Result<Kept, LayoutError> {
    check_seqid(record, seqid)?;
    let mut next = record.clone();
    if whole {
        next.read &= iomode == Some(Iomode::ReadWrite);
        next.read_write &= iomode == Some(Iomode::Read);
    }
    if !next.holds(None) {
        return Ok(Kept::Nothing);
    }
    next.seqid = seqid_next(record.seqid);
    // Recalls exist for the sake of the read-write part, or of everything; in both cases the wait
    // is over once no read-write part is out. Holding on for the READ part too could lock the
    // client out for good.
    if whole && iomode != Some(Iomode::Read) {
        next.recall_seqid = None;
    }
    let gained = |before: bool, after: bool| !before && after;
    assert!(
        !gained(record.read, next.read) && !gained(record.read_write, next.read_write),
        "a return adds no part"
    );
    Ok(Kept::Record(next))
}

/// Begins the recall of the parts of an iomode (`None` is ANY), or repeats one; `None` if no such
/// part is out.
///
/// The record that comes out carries the stateid to send. A recall that is repeated sends the same
/// stateid again; a new one is exactly one ahead of what the client was last told, else Linux
/// refuses it.
#[must_use]
pub fn recall(record: &LayoutRecord, iomode: Option<Iomode>) -> Option<LayoutRecord> {
    if !record.holds(iomode) {
        return None;
    }
    if record.recall_seqid == Some(record.seqid) {
        return Some(record.clone());
    }
    let seqid = seqid_next(record.seqid);
    assert!(seqid_after(seqid, record.seqid), "a new recall is ahead of what the client was told");
    Some(LayoutRecord { seqid, recall_seqid: Some(seqid), ..record.clone() })
}

/// Checks the stateid that LAYOUTCOMMIT showed.
///
/// An old sequence is fine: writes under an earlier grant are still to be committed, also during a
/// recall.
///
/// # Errors
/// [`LayoutError::BadStateid`] for a sequence we never gave, [`LayoutError::ReadOnly`] without a
/// read-write part.
pub fn check_commit(record: &LayoutRecord, seqid: u32) -> Result<(), LayoutError> {
    if seqid_after(seqid, record.seqid) {
        return Err(LayoutError::BadStateid);
    }
    if record.read_write { Ok(()) } else { Err(LayoutError::ReadOnly) }
}

fn check_seqid(record: &LayoutRecord, seqid: u32) -> Result<(), LayoutError> {
    if seqid_after(seqid, record.seqid) {
        return Err(LayoutError::BadStateid);
    }
    // RFC 8881 §8.2.2: zero asks for the current sequence.
    if seqid == 0 || seqid == record.seqid {
        return Ok(());
    }
    // RFC 8881 §12.5.5.2.1: a return and our recall may cross on the wire; the client had not seen
    // our seqid yet.
    let crossed = record.recall_seqid == Some(record.seqid) && seqid_next(seqid) == record.seqid;
    if crossed { Ok(()) } else { Err(LayoutError::OldStateid) }
}

/// The sequence after this one. Zero is left out: it has a meaning of its own on the wire.
fn seqid_next(seqid: u32) -> u32 {
    let next = if seqid == u32::MAX { 1 } else { seqid + 1 };
    assert!(next != 0, "zero asks for the current sequence");
    next
}

/// Whether `seqid` comes after `than`, on the circle.
fn seqid_after(seqid: u32, than: u32) -> bool {
    seqid != 0 && 0 < seqid.wrapping_sub(than).cast_signed()
}

#[cfg(test)]
mod tests;
