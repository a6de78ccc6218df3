//! Names that a file takes from others: `use` trees made flat, and paths inside macros.

use proc_macro2::{TokenStream, TokenTree};

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
