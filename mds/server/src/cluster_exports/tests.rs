//! A node's knowledge of the cluster's list, over time.

use mds_state::record::ExportList;

use super::*;

fn at(path: &str) -> Export {
    Export { path: path.to_owned(), ..Export::everything() }
}

fn list(before: &ExportList, paths: &[&str]) -> ExportList {
    let exports: Vec<Export> = paths.iter().map(|path| at(path)).collect();
    before.replaced_by(&exports).expect("ids are left")
}

fn paths(exports: &Exports) -> Vec<&str> {
    exports.iter().map(|(_, export)| export.path.as_str()).collect()
}

#[test]
fn without_exports_the_whole_tree_is_one() {
    let none = ClusterExports::new(Vec::new()).unwrap();
    assert_eq!(none.own, [Export::everything()]);
    assert!(none.known(0).is_none(), "nothing was read yet");
    assert!(ClusterExports::new(vec![at("/a"), at("/a")]).is_err());
}

#[test]
fn the_later_read_holds() {
    let exports = ClusterExports::new(vec![at("/own")]).unwrap();
    let first = list(&ExportList::default(), &["/a"]);
    let second = list(&first, &["/b"]);
    assert_eq!(paths(&exports.learn(3, ExportList::default())), ["/own"]);
    assert_eq!(paths(&exports.known(3).unwrap()), ["/own"]);
    assert!(exports.known(4).is_none(), "it has moved");
    assert_eq!(paths(&exports.learn(5, second.clone())), ["/b"]);
    assert_eq!(paths(&exports.learn(4, first)), ["/b"], "an earlier read arrives later");
    let same = exports.known(5).unwrap();
    assert!(Arc::ptr_eq(&same, &exports.learn(6, second)), "an equal list stays");
}
