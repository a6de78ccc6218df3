//! REPORT: how the cluster is, as the leading metadata server knows it, in the form that
//! administrators are shown.
//!
//! Spec: docs/protocol/admin.md §9.

use wire_xdr::{Decode, Encode, Reader, Writer, XdrError};

use super::limits;
use crate::enumeration::xdr_enum;

xdr_enum! {
    /// What a report is about.
    pub enum Subject, "subject of a report" {
        /// The cluster as a whole: one object.
        Status = 1,
        /// Exports: a list.
        Exports = 2,
        /// Data servers: a list.
        DataServers = 3,
    }
}

/// Arguments of REPORT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskReport {
    /// What about.
    pub subject: Subject,
    /// Of a list: how many of its items the caller has.
    pub from: u32,
}

impl Decode for AskReport {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        Ok(Self { subject: Subject::decode(r)?, from: r.u32()? })
    }
}

impl Encode for AskReport {
    fn encode(&self, w: &mut Writer) {
        self.subject.encode(w);
        w.u32(self.from);
    }
}

/// Body of the reply to REPORT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reported {
    /// JSON: the object, or a part of the list; at most [`limits::REPORT_BYTES_MAX`] bytes.
    pub json: String,
    /// How many items the caller has with these, if there are more.
    pub next: Option<u32>,
}

impl Decode for Reported {
    fn decode(r: &mut Reader) -> Result<Self, XdrError> {
        let bytes = r.string(limits::REPORT_BYTES_MAX)?;
        let json = std::str::from_utf8(&bytes).map_err(|_| XdrError::Invalid { field: "json" })?.to_owned();
        Ok(Self { json, next: Option::decode(r)? })
    }
}

impl Encode for Reported {
    fn encode(&self, w: &mut Writer) {
        w.string(&self.json);
        self.next.encode(w);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{decode_args, encoded};
    use super::*;

    #[test]
    fn a_report_has_the_documented_bytes() {
        let ask = AskReport { subject: Subject::DataServers, from: 7 };
        assert_eq!(encoded(&ask)[..], [0, 0, 0, 3, 0, 0, 0, 7]);
        assert_eq!(decode_args::<AskReport>(encoded(&ask)), Ok(ask));
        let reported = Reported { json: "[]".to_owned(), next: Some(9) };
        let bytes = [0, 0, 0, 2, b'[', b']', 0, 0, 0, 0, 0, 1, 0, 0, 0, 9];
        assert_eq!(encoded(&reported)[..], bytes);
        assert_eq!(decode_args::<Reported>(encoded(&reported)), Ok(reported));
        assert!(decode_args::<Reported>(vec![0, 0, 0, 1, 0xff, 0, 0, 0, 0, 0, 0, 0].into()).is_err());
        let long = Reported { json: "x".repeat(limits::REPORT_BYTES_MAX + 1), next: None };
        assert!(decode_args::<Reported>(encoded(&long)).is_err());
    }
}
