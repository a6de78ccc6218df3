//! Circles of files: each imports, directly or through others, what imports it. A reader of one has
//! to read all.

use std::collections::BTreeMap;

use super::read::House;

/// Files that import each other.
pub(crate) struct Circle {
    /// Indices in the house, in the order of names.
    pub(crate) files: Vec<usize>,
    /// Imports among them.
    pub(crate) imports: Vec<Edge>,
}

/// What one file takes from another.
pub(crate) struct Edge {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Without doubles, in order.
    pub(crate) names: Vec<String>,
}

/// All circles, the largest first.
pub(crate) fn find(house: &House) -> Vec<Circle> {
    let edges = edges(house);
    let mut circles: Vec<Circle> = components(house.files.len(), &edges)
        .into_iter()
        .filter(|files| 1 < files.len())
        .map(|files| {
            let inside = |at: &usize| files.binary_search(at).is_ok();
            let imports = edges.iter().filter(|((from, to), _)| inside(from) && inside(to));
            let imports =
                imports.map(|((from, to), names)| Edge { from: *from, to: *to, names: names.clone() });
            Circle { imports: imports.collect(), files }
        })
        .collect();
    circles.sort_by_key(|circle| (usize::MAX - circle.files.len(), circle.files[0]));
    circles
}

type Edges = BTreeMap<(usize, usize), Vec<String>>;

fn edges(house: &House) -> Edges {
    let mut edges = Edges::new();
    for (from, file) in house.files.iter().enumerate() {
        let imports = file.imports.iter().map(|import| &import.path);
        for path in imports.chain(&file.paths) {
            if let Some((to, name)) = house.leads_to(from, path) {
                edges.entry((from, to)).or_default().push(name);
            }
        }
    }
    for names in edges.values_mut() {
        names.sort();
        names.dedup();
    }
    edges
}

/// Strongly connected components (Tarjan 1972), each sorted.
fn components(count: usize, edges: &Edges) -> Vec<Vec<usize>> {
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); count];
    edges.keys().for_each(|(from, to)| next[*from].push(*to));
    let mut walk = Walk { next, index: vec![None; count], low: vec![0; count], ..Walk::default() };
    walk.on_stack = vec![false; count];
    for at in 0..count {
        if walk.index[at].is_none() {
            walk.visit(at);
        }
    }
    walk.found
}

#[derive(Default)]
struct Walk {
    next: Vec<Vec<usize>>,
    index: Vec<Option<usize>>,
    low: Vec<usize>,
    on_stack: Vec<bool>,
    stack: Vec<usize>,
    seen: usize,
    found: Vec<Vec<usize>>,
}

impl Walk {
    fn visit(&mut self, at: usize) {
        self.index[at] = Some(self.seen);
        self.low[at] = self.seen;
        self.seen += 1;
        self.stack.push(at);
        self.on_stack[at] = true;
        for to in self.next[at].clone() {
            match self.index[to] {
                None => {
                    self.visit(to);
                    self.low[at] = self.low[at].min(self.low[to]);
                }
                Some(index) if self.on_stack[to] => self.low[at] = self.low[at].min(index),
                Some(_) => {}
            }
        }
        if Some(self.low[at]) == self.index[at] {
            let mut component = Vec::new();
            while let Some(top) = self.stack.pop() {
                self.on_stack[top] = false;
                component.push(top);
                if top == at {
                    break;
                }
            }
            component.sort_unstable();
            self.found.push(component);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
        let texts = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let house = House::of(texts).unwrap();
        let name = |at: &usize| house.files[*at].name.clone();
        find(&house).iter().map(|circle| circle.files.iter().map(name).collect()).collect()
    }

    #[test]
    fn files_that_import_downwards_make_no_circle() {
        let files = [
            ("a/src/lib.rs", "mod core; mod op; pub use op::run;"),
            ("a/src/core.rs", "pub struct Core;"),
            ("a/src/op.rs", "use crate::core::Core; pub fn run(_: &Core) {}"),
        ];
        assert!(circles(&files).is_empty());
    }

    #[test]
    fn a_circle_is_found_however_it_is_tied() {
        let core = ("a/src/core.rs", "pub struct Core;");
        for tie in [
            "use crate::op::run;",
            "use super::op::{self, other};",
            "fn f() { crate::op::run(); }",
            "fn f() { assert!(crate::op::run()); }",
            "use crate::op; fn f() { op::run() }",
            "use crate::run;",
        ] {
            let files = [
                ("a/src/lib.rs", "mod core; mod op; pub use op::run;"),
                (core.0, &format!("{} {tie}", core.1)),
                ("a/src/op.rs", "use crate::core::Core; pub fn run(_: &Core) {} pub fn other() {}"),
            ];
            assert_eq!(circles(&files), [["a/src/core.rs", "a/src/op.rs"]], "{tie}");
        }
    }

    #[test]
    fn a_parent_that_calls_its_child_and_is_called_makes_one() {
        let files = [
            ("a/src/seal.rs", "mod join; pub struct Pool; fn f() { join::run() }"),
            ("a/src/seal/join.rs", "use super::Pool; pub fn run() {}"),
        ];
        assert_eq!(circles(&files), [["a/src/seal.rs", "a/src/seal/join.rs"]]);
    }

    #[test]
    fn a_module_and_its_item_may_have_one_name() {
        let files = [
            ("a/src/copies.rs", "mod leave; pub use leave::leave; pub struct Copies;"),
            ("a/src/copies/leave.rs", "use super::Copies; pub fn leave(_: Copies) {}"),
        ];
        assert_eq!(circles(&files), [["a/src/copies.rs", "a/src/copies/leave.rs"]]);
    }

    #[test]
    fn who_may_see_an_item_ties_nothing() {
        let files = [
            ("a/src/lab.rs", "mod server; use server::Server;"),
            ("a/src/lab/server.rs", "pub(in crate::lab) struct Server { pub(in crate::lab) port: u16 }"),
        ];
        assert!(circles(&files).is_empty());
    }

    #[test]
    fn what_only_tests_import_makes_none() {
        let files = [
            ("a/src/core.rs", "pub struct Core; #[cfg(test)] mod tests { use crate::op::run; }"),
            ("a/src/op.rs", "use crate::core::Core; pub fn run() {}"),
        ];
        assert!(circles(&files).is_empty());
    }
}
