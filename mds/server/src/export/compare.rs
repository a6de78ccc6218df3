//! Differences between two lists of exports, as text for administrators.

use super::Export;

/// How one list differs from another. The order of the lists does not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference<'a> {
    /// Paths that only the second has.
    pub added: Vec<&'a str>,
    /// Paths that only the first has.
    pub removed: Vec<&'a str>,
    /// Paths that both have, and the options in which they differ, as the configuration file names
    /// them.
    pub changed: Vec<(&'a str, Vec<&'static str>)>,
}

impl<'a> Difference<'a> {
    /// From one list to another.
    #[must_use]
    pub fn between(from: &[&'a Export], to: &[&'a Export]) -> Self {
        let find = |list: &[&'a Export], path: &str| list.iter().copied().find(|one| one.path == path);
        let only = |these: &[&'a Export], those: &[&'a Export]| -> Vec<&'a str> {
            let missing = these.iter().filter(|one| find(those, &one.path).is_none());
            missing.map(|one| one.path.as_str()).collect()
        };
        let changed = to.iter().filter_map(|one| {
            let options = options(find(from, &one.path)?, one);
            (!options.is_empty()).then_some((one.path.as_str(), options))
        });
        Self { added: only(to, from), removed: only(from, to), changed: changed.collect() }
    }

    /// Whether there is any.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// One phrase for each path, with the given phrases for added and removed ones.
    #[must_use]
    pub fn words(&self, added: &str, removed: &str) -> String {
        let changed =
            |(path, options): &(&str, Vec<&str>)| format!("{path} differs in {}", options.join(", "));
        let added = self.added.iter().map(|path| format!("{path} {added}"));
        let removed = self.removed.iter().map(|path| format!("{path} {removed}"));
        added.chain(removed).chain(self.changed.iter().map(changed)).collect::<Vec<_>>().join("; ")
    }
}

fn options(one: &Export, other: &Export) -> Vec<&'static str> {
    let Export { path: _, read_only, squash, anonymous, clients, pnfs, stripes, code, secure } = one;
    let same = [
        ("read_only", *read_only == other.read_only),
        ("squash", *squash == other.squash),
        ("anonymous_uid", anonymous.uid == other.anonymous.uid),
        ("anonymous_gid", anonymous.gid == other.anonymous.gid),
        ("clients", *clients == other.clients),
        ("secure", *secure == other.secure),
        ("pnfs", *pnfs == other.pnfs),
        ("stripes", *stripes == other.stripes),
        ("erasure_code", *code == other.code),
    ];
    same.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::Squash;

    #[test]
    fn lists_are_compared_by_path() {
        let at = |path: &str| Export { path: path.to_owned(), ..Export::everything() };
        let (a, b, c) = (at("/a"), at("/b"), at("/c"));
        let other = Export { squash: Squash::All, read_only: true, ..at("/b") };
        let difference = Difference::between(&[&a, &b], &[&other, &c]);
        let words = difference.words("is new", "is gone");
        assert_eq!(words, "/c is new; /a is gone; /b differs in read_only, squash");
        assert!(Difference::between(&[&a, &b], &[&b, &a]).is_none());
    }
}
