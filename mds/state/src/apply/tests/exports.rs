//! Setting exports.

use mds_namespace::FsError;

use super::*;
use crate::command::admin::{ExportsSet, SetExports};
use crate::export::Export;
use crate::record::ExportList;

fn set(replaces: u64, paths: &[&str]) -> Command {
    let at = |path: &&str| Export { path: (*path).to_owned(), ..Export::everything() };
    Command::SetExports(SetExports { replaces, exports: paths.iter().map(at).collect() })
}

fn done(version: u64) -> Outcome {
    Outcome::Exports(ExportsSet::Done(version))
}

fn ids(stage: &Stage) -> Vec<(u16, String)> {
    stage.view().exports().unwrap().exports.into_iter().map(|(id, export)| (id, export.path)).collect()
}

#[test]
fn exports_replace_a_version() {
    let mut stage = Stage::new();
    assert_eq!(stage.view().exports(), Ok(ExportList::default()));
    assert_eq!(stage.run(set(0, &["/a", "/b"])), done(1));
    let before = stage.dump();
    assert_eq!(stage.run(set(0, &["/a", "/b"])), done(1), "a repeated command has the same outcome");
    assert_eq!(stage.run(set(0, &["/c"])), Outcome::Exports(ExportsSet::Changed(1)));
    assert_eq!(stage.run(set(2, &["/c"])), Outcome::Exports(ExportsSet::Changed(1)));
    assert_eq!(stage.dump(), before);
    assert_eq!(stage.run(set(1, &["/c", "/b"])), done(2));
    assert_eq!(ids(&stage), [(2, "/c".to_owned()), (1, "/b".to_owned())]);
    assert_eq!(stage.run(set(2, &["/a"])), done(3));
    assert_eq!(ids(&stage), [(0, "/a".to_owned())]);
    stage.check();
}

#[test]
fn an_invalid_list_is_refused() {
    let mut stage = Stage::new();
    for paths in [&[][..], &["a"], &["/a", "/a"], &["/a/../b"]] {
        assert_eq!(stage.refused(set(0, paths)), Refusal::Namespace(FsError::Invalid));
    }
    let odd = Export { stripes: 3, ..Export::everything() };
    let odd = Command::SetExports(SetExports { replaces: 0, exports: vec![odd] });
    assert_eq!(stage.refused(odd), Refusal::Namespace(FsError::Invalid));
}

#[test]
fn a_damaged_list_stops_the_replica() {
    let stage = Stage::new();
    let mut txn = stage.store.begin().unwrap();
    txn.put(crate::key::EXPORTS, b"\x01\x01").unwrap();
    let entry = Entry { now_unix_ns: 1, origin: None, governor: 0, command: set(1, &["/"]) };
    assert!(super::super::apply(&mut *txn, &entry).is_err());
    txn.commit(Durability::Memory).unwrap();
    assert!(stage.view().exports().is_err());
}
