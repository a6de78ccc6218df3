//! The file that a path leads to, through what files show of each other.

use super::read::{File, House};

/// Names that are shown on lead to at most so many files.
const SHOWN_ON_MAX: usize = 8;

impl House {
    /// The file of its crate that a path in `from` leads to, and the name that is taken from it;
    /// `None` for what is of other crates, or its own.
    pub(crate) fn leads_to(&self, from: usize, path: &[String]) -> Option<(usize, String)> {
        let absolute = self.absolute(&self.files[from], path)?;
        let (to, name) = self.resolve(&self.files[from].crate_name, absolute, SHOWN_ON_MAX)?;
        (to != from).then_some((to, name))
    }

    /// The path from the crate's root.
    fn absolute(&self, file: &File, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let mut module = file.module.clone();
        match first.as_str() {
            "crate" => return Some(rest.to_vec()),
            "self" => return Some([&module[..], rest].concat()),
            "super" => {}
            first => {
                // A name that was brought in, or a module below; `use a::a` would go round, there
                // `a` is the module.
                let goes_round = |path: &[String]| path.first().is_some_and(|start| start == first);
                let brought = file.imports.iter().find(|import| import.called == first);
                if let Some(import) = brought.filter(|import| !goes_round(&import.path)) {
                    return self.absolute(file, &[&import.path[..], rest].concat());
                }
                let below = [&module[..], &[first.to_owned()]].concat();
                let is_module = self.modules.contains_key(&(file.crate_name.clone(), below));
                return is_module.then(|| [&module[..], path].concat());
            }
        }
        let mut rest = path;
        while let Some((first, more)) = rest.split_first().filter(|(first, _)| *first == "super") {
            debug_assert_eq!(first, "super");
            module.pop()?;
            rest = more;
        }
        Some([&module[..], rest].concat())
    }

    /// The file that defines what an absolute path names, through what others show of it.
    fn resolve(&self, crate_name: &str, path: Vec<String>, hops_left: usize) -> Option<(usize, String)> {
        let at = |count: usize| self.modules.get(&(crate_name.to_owned(), path[..count].to_vec())).copied();
        let (count, file) = (0..=path.len()).rev().find_map(|count| Some((count, at(count)?)))?;
        let Some(name) = path.get(count) else {
            return Some((file, path.last().cloned().unwrap_or_default()));
        };
        let here = &self.files[file];
        if here.items.contains(name) || hops_left == 0 {
            return Some((file, name.clone()));
        }
        let shown = here.imports.iter().find(|import| import.called == *name);
        let all = here.imports.iter().filter(|import| import.called == "*");
        let through = shown.map(|import| import.path.clone());
        let through = through
            .into_iter()
            .chain(all.map(|import| [&import.path[..], std::slice::from_ref(name)].concat()));
        for path_on in through {
            let Some(absolute) = self.absolute(here, &path_on) else { continue };
            let rest = [&absolute[..], &path[count + 1..]].concat();
            let Some(found) = self.resolve(crate_name, rest, hops_left - 1) else { continue };
            let is_there = self.files[found.0].items.contains(&found.1) || shown.is_some();
            if is_there {
                return Some(found);
            }
        }
        Some((file, name.clone()))
    }
}
