//! Exports: which parts of the tree clients may see, and as whom.
//!
//! An export is a directory of the namespace with options (`mds_state::export`). Where `/` itself
//! is not exported, the directories above the exports form a read-only tree that shows only the way
//! to them. The list of exports is the cluster's (`cluster_exports.rs`).
//!
//! Spec: RFC 8881 §7.3 (server pseudo file system).

pub mod compare;
pub mod entry;
pub(crate) mod ports;

use std::sync::Arc;

pub use mds_state::export::{
    Anonymous, Export, ExportsError, Network, NetworkError, RESERVED_PORTS_END, Squash, check,
};
use mds_state::record::ExportList;

use crate::handle::ExportId;
use crate::report::ExportLine;

/// The exports at one moment: immutable and shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exports {
    version: u64,
    list: Vec<(ExportId, Arc<Export>)>,
}

impl Exports {
    /// The cluster's exports.
    #[must_use]
    pub fn of_cluster(list: ExportList) -> Self {
        let ids = list.exports.into_iter().map(|(id, export)| (ExportId(id), Arc::new(export)));
        Self { version: list.version, list: ids.collect() }
    }

    /// A node's proposal for a cluster without exports. Ids are positions in the list, as they were
    /// when each node had a list of its own.
    #[must_use]
    pub fn proposed(list: &[Export]) -> Self {
        let list = (0..u16::MAX).map(ExportId).zip(list.iter().cloned().map(Arc::new)).collect();
        Self { version: 0, list }
    }

    /// The version of the cluster's list; 0 if it has none yet.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The options of an id; `None` for [`ExportId::PSEUDO`] and for removed exports.
    #[must_use]
    pub fn option(&self, id: ExportId) -> Option<&Arc<Export>> {
        self.list.iter().find(|(one, _)| *one == id).map(|(_, export)| export)
    }

    /// All exports, with their ids.
    pub fn iter(&self) -> impl Iterator<Item = (ExportId, &Export)> {
        self.list.iter().map(|(id, export)| (*id, &**export))
    }

    /// All exports as administrators see them.
    #[must_use]
    pub fn lines(&self) -> Vec<ExportLine> {
        self.iter().map(|(id, export)| ExportLine::of(id, export)).collect()
    }

    /// The export whose path has exactly these components.
    pub fn at_path(&self, path: &[&[u8]]) -> Option<ExportId> {
        self.iter()
            .find(|(_, export)| export.components().map(str::as_bytes).eq(path.iter().copied()))
            .map(|(id, _)| id)
    }

    /// Names that lead from this directory of the pseudo tree towards an export.
    pub fn names_below<'a>(&'a self, path: &'a [&'a [u8]]) -> impl Iterator<Item = &'a str> {
        self.iter().filter_map(move |(_, export)| {
            let mut components = export.components();
            path.iter()
                .all(|name| components.next().map(str::as_bytes) == Some(name))
                .then(|| components.next())?
        })
    }
}

impl ExportLine {
    /// Describes an export.
    #[must_use]
    pub fn of(id: ExportId, export: &Export) -> Self {
        let squash = match export.squash {
            Squash::None => "none",
            Squash::Root => "root",
            Squash::All => "all",
        };
        Self {
            id: Some(id.0),
            path: export.path.clone(),
            access: if export.read_only { "ro" } else { "rw" }.to_owned(),
            squash: squash.to_owned(),
            anonymous: Some((export.anonymous.uid, export.anonymous.gid)),
            clients: export.clients.iter().map(ToString::to_string).collect(),
            secure: Some(export.secure),
            pnfs: export.pnfs,
            stripes: export.stripes,
            erasure_code: export.code.map(|code| code.to_string()),
            mount: String::new(),
            addresses: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &str) -> Export {
        Export { path: path.to_owned(), ..Export::everything() }
    }

    #[test]
    fn the_pseudo_tree_shows_only_the_way() {
        let exports = Exports::proposed(&[at("/a/b"), at("/a/c"), at("/d")]);
        assert_eq!(exports.names_below(&[]).collect::<Vec<_>>(), ["a", "a", "d"]);
        assert_eq!(exports.names_below(&[b"a"]).collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(exports.at_path(&[b"a", b"b"]), Some(ExportId(0)));
        assert_eq!(exports.at_path(&[b"a"]), None);
    }

    #[test]
    fn removed_exports_have_no_options() {
        let first = ExportList::default().replaced_by(&[at("/a"), at("/b")]).expect("ids are left");
        assert_eq!(Exports::of_cluster(first.clone()).iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [0, 1]);
        let second = Exports::of_cluster(first.replaced_by(&[at("/c"), at("/b")]).expect("ids are left"));
        assert_eq!(second.option(ExportId(0)), None);
        assert_eq!(second.option(ExportId(1)).map(|export| export.path.as_str()), Some("/b"));
        assert_eq!(second.option(ExportId(2)).map(|export| export.path.as_str()), Some("/c"));
        assert_eq!((second.option(ExportId::PSEUDO), second.version()), (None, 2));
    }
}
