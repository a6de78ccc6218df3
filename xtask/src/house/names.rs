//! Names that a file takes from others: `use` trees made flat, paths inside macros, and which file a path leads to.

use proc_macro2::{TokenStream, TokenTree};

use super::read::{File, House};

/// One name that `use` brings into a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Import {
    /// As written, `self` at the end left out: `["crate", "op", "Row"]`.
    pub(crate) path: Vec<String>,
    /// What it is called here; `*` for all.
    pub(crate) called: String,
    /// Others see it here as well.
    pub(crate) shows: bool,
}

/// Makes a tree of `use` flat.
pub(crate) fn flatten(tree: &syn::UseTree, before: &mut Vec<String>, shows: bool, into: &mut Vec<Import>) {
    let mut push = |path: Vec<String>, called: String| into.push(Import { path, called, shows });
    match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, shows, into);
            before.pop();
        }
        syn::UseTree::Name(name) if name.ident == "self" => {
            push(before.clone(), before.last().cloned().unwrap_or_default());
        }
        syn::UseTree::Name(name) => {
            push([&before[..], &[name.ident.to_string()]].concat(), name.ident.to_string());
        }
        syn::UseTree::Rename(renamed) if renamed.ident == "self" => {
            push(before.clone(), renamed.rename.to_string());
        }
        syn::UseTree::Rename(renamed) => {
            push([&before[..], &[renamed.ident.to_string()]].concat(), renamed.rename.to_string());
        }
        syn::UseTree::Glob(_) => push(before.clone(), "*".to_owned()),
        syn::UseTree::Group(group) => {
            group.items.iter().for_each(|tree| flatten(tree, before, shows, into));
        }
    }
}

/// Paths of two segments and more among tokens that are not parsed.
pub(crate) fn paths_in(tokens: &TokenStream) -> Vec<Vec<String>> {
    let (mut found, mut path, mut colons) = (Vec::new(), Vec::<String>::new(), 0);
    let mut end = |path: &mut Vec<String>| {
        if 1 < path.len() {
            found.push(path.clone());
        }
        path.clear();
    };
    let mut inner = Vec::new();
    for token in tokens.clone() {
        match token {
            TokenTree::Ident(name) if path.is_empty() || colons == 2 => {
                path.push(name.to_string());
                colons = 0;
                continue;
            }
            TokenTree::Ident(name) => {
                end(&mut path);
                path.push(name.to_string());
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                colons += 1;
                continue;
            }
            TokenTree::Group(group) => {
                end(&mut path);
                inner.extend(paths_in(&group.stream()));
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => end(&mut path),
        }
        colons = 0;
    }
    end(&mut path);
    found.extend(inner);
    found
}

/// Names that are shown on lead to at most so many files.
const SHOWN_ON_MAX: usize = 8;

impl House {
    /// The file of its crate that a path in `from` leads to, and the name that is taken from it; `None` for what is of other crates, or its own.
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
                // A name that was brought in, or a module below.
                if let Some(import) = file.imports.iter().find(|import| import.called == first) {
                    // `use a::a` would go round.
                    let is_itself = import.path.first().is_some_and(|start| start == first);
                    return if is_itself {
                        None
                    } else {
                        self.absolute(file, &[&import.path[..], rest].concat())
                    };
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
        let through =
            through.into_iter().chain(all.map(|import| [&import.path[..], &[name.clone()]].concat()));
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
