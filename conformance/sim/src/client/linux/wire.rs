//! Faults of servers as Linux hosts would see them, planted on the wire: in what hosts send, and in
//! what they are answered.
//!
//! The product is not changed. What an older server knew of a file's size (its log: SETATTR,
//! LAYOUTCOMMIT, WRITE in band, and what came with the layouts when they went back) is kept here,
//! and answers are made to look as if nothing else were known.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use wire_nfs::v4::{AttrValues, Filehandle};

use super::attributes::Told;
use crate::planted::Planted;

/// Sizes that the log has, by file; all hosts see the same.
type Logged = Arc<Mutex<BTreeMap<Filehandle, u64>>>;

/// The wire of one host.
pub(crate) struct Wire {
    planted: Planted,
    logged: Logged,
    /// Sizes that stood in the log when a layout was granted to this host.
    granted: Mutex<BTreeMap<Filehandle, u64>>,
}

impl Wire {
    pub(crate) fn new(planted: Planted) -> Self {
        Self { planted, logged: Arc::default(), granted: Mutex::default() }
    }

    /// The wire of another host of the same servers.
    pub(crate) fn of_another_host(&self) -> Self {
        Self { planted: self.planted, logged: Arc::clone(&self.logged), granted: Mutex::default() }
    }

    fn is_used(&self) -> bool {
        matches!(self.planted, Planted::StaleSizes | Planted::GrownTruncation | Planted::OldEof)
    }

    fn note(&self, handle: &Filehandle, size: impl FnOnce(u64) -> u64) {
        if self.is_used() {
            let mut logged = self.logged.lock();
            let known = logged.entry(handle.clone()).or_default();
            *known = size(*known);
        }
    }

    /// What a reply says of a file. `stale-sizes`: no more than the log has.
    pub(crate) fn told(&self, handle: &Filehandle, told: Told) -> Told {
        let Some(size) = told.size.filter(|_| self.is_used()) else { return told };
        let mut logged = self.logged.lock();
        let known = logged.entry(handle.clone()).or_insert(size);
        *known = size.min(*known);
        if self.planted == Planted::StaleSizes { Told { size: Some(*known), ..told } } else { told }
    }

    /// LAYOUTCOMMIT was answered.
    pub(crate) fn layoutcommitted(&self, handle: &Filehandle, end: u64) {
        self.note(handle, |known| known.max(end));
    }

    /// A WRITE in band was answered.
    pub(crate) fn written_in_band(&self, handle: &Filehandle, end: u64) {
        self.note(handle, |known| known.max(end));
    }

    /// A layout went back: the next answer says what the log has then.
    pub(crate) fn returned(&self, handle: &Filehandle) {
        self.logged.lock().remove(handle);
    }

    /// The attributes that a SETATTR is to set. `grown-truncation`: what does not shorten the file
    /// as the log has it cuts nothing.
    pub(crate) fn to_set(&self, handle: &Filehandle, values: AttrValues) -> AttrValues {
        let known = self.logged.lock().get(handle).copied();
        match (values.size, known) {
            (Some(size), Some(known)) if self.planted == Planted::GrownTruncation && known <= size => {
                AttrValues { size: None, ..values }
            }
            _ => values,
        }
    }

    /// SETATTR was answered.
    pub(crate) fn set_size(&self, handle: &Filehandle, size: Option<u64>) {
        if let Some(size) = size {
            self.note(handle, |_| size);
        }
    }

    /// A layout was granted.
    pub(crate) fn granted(&self, handle: &Filehandle) {
        let known = self.logged.lock().get(handle).copied();
        if let Some(known) = known {
            self.granted.lock().insert(handle.clone(), known);
        }
    }

    /// What a data server read. `old-eof`: the file ends where it ended when the layout was
    /// granted.
    pub(crate) fn read(&self, handle: &Filehandle, offset: u64, data: Bytes, eof: bool) -> (Bytes, bool) {
        let end = self.granted.lock().get(handle).copied().filter(|_| self.planted == Planted::OldEof);
        match end {
            Some(end) if end <= offset + data.len() as u64 => {
                let left = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
                (data.slice(..left.min(data.len())), true)
            }
            _ => (data, eof),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(size: u64) -> Told {
        Told { generation: 1, size: Some(size), change: None }
    }

    #[test]
    fn stale_sizes_are_what_the_log_has() {
        let wire = Wire::new(Planted::StaleSizes);
        let file = Filehandle::default();
        assert_eq!(wire.told(&file, told(0)), told(0));
        assert_eq!(wire.told(&file, told(500)), told(0), "written to a data server only");
        wire.layoutcommitted(&file, 300);
        assert_eq!(wire.of_another_host().told(&file, told(500)), told(300));
        let sound = Wire::new(Planted::Nothing);
        assert_eq!((sound.told(&file, told(0)), sound.told(&file, told(500))), (told(0), told(500)));
    }

    #[test]
    fn a_grown_truncation_cuts_nothing_that_the_log_does_not_know() {
        let wire = Wire::new(Planted::GrownTruncation);
        let file = Filehandle::default();
        let set = |size| AttrValues { size: Some(size), ..AttrValues::default() };
        wire.told(&file, told(100));
        assert_eq!(wire.to_set(&file, set(50)).size, Some(50));
        assert_eq!(wire.to_set(&file, set(200)).size, None);
    }

    #[test]
    fn an_old_end_of_file_is_that_of_the_grant() {
        let wire = Wire::new(Planted::OldEof);
        let file = Filehandle::default();
        wire.told(&file, told(3));
        wire.granted(&file);
        wire.layoutcommitted(&file, 9);
        let data = Bytes::from_static(b"abcdef");
        assert_eq!(wire.read(&file, 0, data.clone(), false), (data.slice(..3), true));
        assert_eq!(wire.read(&file, 5, data, false), (Bytes::new(), true));
    }
}
