//! Golden bytes of EXPORTS_SET.

use super::*;
use crate::control::tests::check;
use crate::control::{decode_args, encoded};

fn entry() -> ExportEntry {
    ExportEntry {
        path: "/a".to_owned(),
        read_only: true,
        squash: Squashing::Root,
        anonymous_uid: 5,
        anonymous_gid: 6,
        clients: vec![NetworkText("::/0".to_owned())],
        pnfs: false,
        stripes: 4,
        code: Some(NamedCode { data: 4, parity: 2 }),
        secure: true,
    }
}

#[test]
fn setting_exports_has_its_golden_bytes() {
    check(&SetExports { replaces: None, exports: Vec::new() }, "00000000 00000000");
    check(
        &SetExports { replaces: Some(7), exports: vec![entry()] },
        "00000001 0000000000000007 00000001 \
         00000002 2f610000 00000001 00000001 00000005 00000006 00000001 00000004 3a3a2f30 00000000 00000004 \
         00000001 00000004 00000002 00000001",
    );
    let ruling = ExportsRuling { done: true, words: "so".to_owned(), version: 8 };
    check(&ruling, "00000001 00000002 736f0000 0000000000000008");
}

#[test]
fn what_is_too_long_or_unknown_is_refused() {
    let reads = |exports| decode_args::<SetExports>(encoded(&SetExports { replaces: None, exports })).is_ok();
    let small = ExportEntry { clients: Vec::new(), ..entry() };
    assert!(reads(vec![small.clone(); limits::EXPORTS_MAX]));
    assert!(!reads(vec![small.clone(); limits::EXPORTS_MAX + 1]));
    let path = |bytes| reads(vec![ExportEntry { path: "x".repeat(bytes), ..entry() }]);
    assert!(path(limits::EXPORT_PATH_BYTES_MAX) && !path(limits::EXPORT_PATH_BYTES_MAX + 1));
    let network = |bytes| NetworkText("1".repeat(bytes));
    let clients = |clients| reads(vec![ExportEntry { clients, ..entry() }]);
    assert!(clients(vec![network(limits::NETWORK_BYTES_MAX)]));
    assert!(!clients(vec![network(limits::NETWORK_BYTES_MAX + 1)]));
    assert!(clients(vec![network(1); limits::EXPORT_CLIENTS_MAX]));
    assert!(!clients(vec![network(1); limits::EXPORT_CLIENTS_MAX + 1]));
    let words = |bytes| ExportsRuling { done: false, words: "x".repeat(bytes), version: 0 };
    assert!(decode_args::<ExportsRuling>(encoded(&words(limits::WORDS_BYTES_MAX + 1))).is_err());
    assert_eq!(Squashing::from_u32(3), None);
}
