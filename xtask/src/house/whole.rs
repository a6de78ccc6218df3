//! Structs that many files take whole: as a parameter of a function or as a field, by reference or
//! in an `Arc`.

use std::collections::{BTreeMap, BTreeSet};

use super::read::House;

/// Fields of a struct that is a thing of many parts, and not a value.
const FIELDS_MIN: usize = 8;

/// A struct, and who takes it.
pub(crate) struct Taken {
    pub(crate) name: String,
    /// The file that defines it.
    pub(crate) file: usize,
    /// Files of its crate that take it whole, its own not counted.
    pub(crate) by: Vec<usize>,
}

/// All structs of many fields that other files take whole, the most taken first.
pub(crate) fn find(house: &House) -> Vec<Taken> {
    let mut by_struct: BTreeMap<(usize, String), BTreeSet<usize>> = BTreeMap::new();
    for (from, file) in house.files.iter().enumerate() {
        for path in &file.taken {
            let full = match path.len() {
                1 => file.imports.iter().find(|import| import.called == path[0]).map(|import| &import.path),
                _ => Some(path),
            };
            let Some((to, name)) = full.and_then(|path| house.leads_to(from, path)) else { continue };
            let is_large = |(known, fields): &(String, usize)| *known == name && FIELDS_MIN <= *fields;
            if house.files[to].structs.iter().any(is_large) {
                by_struct.entry((to, name)).or_default().insert(from);
            }
        }
    }
    let taken = |((file, name), by): ((usize, String), BTreeSet<usize>)| Taken {
        name,
        file,
        by: by.into_iter().collect(),
    };
    let mut all: Vec<Taken> = by_struct.into_iter().map(taken).collect();
    all.sort_by_key(|taken| (usize::MAX - taken.by.len(), taken.name.clone()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_fields_count_and_results_do_not() {
        let texts = [
            (
                "a/src/server.rs",
                "pub struct Server { a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8 }",
            ),
            ("a/src/value.rs", "pub struct Value { a: u8 }"),
            ("a/src/e.rs", "use crate::value::Value; fn f(_: Value) {}"),
            ("a/src/b.rs", "use crate::server::Server; fn f(_: &Server) {}"),
            ("a/src/c.rs", "use std::sync::Arc; struct C { s: Arc<crate::server::Server> }"),
            ("a/src/d.rs", "use crate::server::Server; fn f() -> Server { Server }"),
        ];
        let texts = texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let house = House::of(texts).unwrap();
        let taken = find(&house);
        assert_eq!(taken.len(), 1);
        assert_eq!((taken[0].name.as_str(), taken[0].by.len()), ("Server", 2));
    }
}
