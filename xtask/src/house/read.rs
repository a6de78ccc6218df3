//! Reads the product's files as Rust: modules, imports, structs, functions.
//!
//! Test files, and test modules at the end of files, are left out: tests may look anywhere.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use syn::spanned::Spanned as _;
use syn::visit::Visit;

use super::names::{Import, flatten};
use crate::process;

/// All files that count.
pub(crate) struct House {
    /// In the order of their names.
    pub(crate) files: Vec<File>,
    /// By crate and module path (`mds-server`, `["op", "lookup"]`), the index of the file.
    pub(crate) modules: BTreeMap<(String, Vec<String>), usize>,
}

/// One file.
pub(crate) struct File {
    /// From the root of the repository.
    pub(crate) name: String,
    /// The folder of its crate.
    pub(crate) crate_name: String,
    /// Its module path within the crate; empty for the crate's root.
    pub(crate) module: Vec<String>,
    /// What `use` brings in.
    pub(crate) imports: Vec<Import>,
    /// Paths that are named in place, such as `crate::limits::X` or `super::decide(..)`.
    pub(crate) paths: Vec<Vec<String>>,
    /// Items that it defines, by name.
    pub(crate) items: Vec<String>,
    /// Structs among them, with the number of their fields.
    pub(crate) structs: Vec<(String, usize)>,
    /// Functions outside of `impl` that other files may see.
    pub(crate) seen_functions: Vec<String>,
    /// Types in parameters of functions and in fields, by their last segment.
    pub(crate) taken: Vec<Vec<String>>,
    /// Lines of each function.
    pub(crate) functions: Vec<usize>,
    /// `assert!`, `assert_eq!`, `assert_ne!`, `debug_assert!` and `unreachable!`, and `expect` with
    /// what must hold.
    pub(crate) asserts: usize,
    /// Lines of code.
    pub(crate) lines: usize,
}

impl House {
    /// Reads what git knows or would add.
    ///
    /// # Errors
    /// When a file is not Rust.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut git = Command::new("git");
        git.args(["ls-files", "--cached", "--others", "--exclude-standard", "*.rs"]).current_dir(root);
        let listed = process::output(&mut git)?;
        let mut texts = Vec::new();
        for name in listed.lines().filter(|name| is_product(name)) {
            // Deleted, and not yet committed.
            let Ok(text) = std::fs::read_to_string(root.join(name)) else { continue };
            texts.push((name.to_owned(), text));
        }
        Self::of(texts)
    }

    /// The house of these files.
    ///
    /// # Errors
    /// When one is not Rust.
    pub(crate) fn of(mut texts: Vec<(String, String)>) -> Result<Self> {
        texts.sort();
        let mut files = Vec::new();
        for (name, text) in &texts {
            files.push(File::read(name, text).with_context(|| name.clone())?);
        }
        let key = |(at, file): (usize, &File)| ((file.crate_name.clone(), file.module.clone()), at);
        let modules = files.iter().enumerate().map(key).collect();
        Ok(Self { files, modules })
    }
}

/// Whether a file is part of what is built, and no test.
fn is_product(name: &str) -> bool {
    let test = name.ends_with("/tests.rs")
        || ["/tests/", "/benches/", "/examples/", "/fuzz_targets/"]
            .iter()
            .any(|folder| name.contains(folder));
    name.contains("src/") && !test
}

/// The crate's folder and the module path: `mds/server/src/op/lookup.rs` is `mds/server` and `op`,
/// `lookup`.
fn place(name: &str) -> (String, Vec<String>) {
    let (folder, inside) = name.split_once("/src/").unwrap_or(("", name));
    let mut module: Vec<String> = inside.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod") || module == ["lib"] || module == ["main"] {
        module.pop();
    }
    (folder.to_owned(), module)
}

impl File {
    fn read(name: &str, text: &str) -> Result<Self> {
        let parsed = syn::parse_file(text)?;
        let (crate_name, module) = place(name);
        let mut file = Self {
            name: name.to_owned(),
            crate_name,
            module,
            imports: Vec::new(),
            paths: Vec::new(),
            items: Vec::new(),
            structs: Vec::new(),
            seen_functions: Vec::new(),
            taken: Vec::new(),
            functions: Vec::new(),
            asserts: 0,
            lines: 0,
        };
        Reader { file: &mut file }.visit_file(&parsed);
        file.lines = code_lines(text);
        Ok(file)
    }
}

/// Lines that are neither empty nor a comment, up to the test module.
fn code_lines(text: &str) -> usize {
    let until_tests = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    until_tests.filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with("//")).count()
}

struct Reader<'a> {
    file: &'a mut File,
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    let is_cfg_test = |attribute: &syn::Attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    };
    attributes.iter().any(is_cfg_test)
}

fn segments(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

/// All types that are named in a type, whatever they are wrapped in.
struct Types<'a>(&'a mut Vec<Vec<String>>);

impl<'ast> Visit<'ast> for Types<'_> {
    fn visit_type_path(&mut self, path: &'ast syn::TypePath) {
        self.0.push(segments(&path.path));
        syn::visit::visit_type_path(self, path);
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let (attributes, name) = match item {
            syn::Item::Fn(item) => (&item.attrs, Some(&item.sig.ident)),
            syn::Item::Struct(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Enum(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Trait(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Type(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Const(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Static(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Mod(item) => (&item.attrs, None),
            syn::Item::Impl(item) => (&item.attrs, None),
            syn::Item::Use(item) => (&item.attrs, None),
            _ => return syn::visit::visit_item(self, item),
        };
        if is_test(attributes) {
            return;
        }
        self.file.items.extend(name.map(ToString::to_string));
        match item {
            syn::Item::Struct(item) => {
                self.file.structs.push((item.ident.to_string(), item.fields.len()));
            }
            syn::Item::Fn(item) if !matches!(item.vis, syn::Visibility::Inherited) => {
                self.file.seen_functions.push(item.sig.ident.to_string());
            }
            _ => {}
        }
        syn::visit::visit_item(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let shows = !matches!(item.vis, syn::Visibility::Inherited);
        flatten(&item.tree, &mut Vec::new(), shows, &mut self.file.imports);
    }

    /// `pub(in crate::lab)` takes nothing from there.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if 1 < path.segments.len() {
            self.file.paths.push(segments(path));
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_fn_arg(&mut self, argument: &'ast syn::FnArg) {
        if let syn::FnArg::Typed(typed) = argument {
            Types(&mut self.file.taken).visit_type(&typed.ty);
        }
        syn::visit::visit_fn_arg(self, argument);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        Types(&mut self.file.taken).visit_type(&field.ty);
        syn::visit::visit_field(self, field);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.count(item.block.span());
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            self.count(item.block.span());
            syn::visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        let name = called.path.segments.last().map(|segment| segment.ident.to_string());
        let asserts = ["assert", "assert_eq", "assert_ne", "debug_assert", "debug_assert_eq", "unreachable"];
        if name.is_some_and(|name| asserts.contains(&name.as_str())) {
            self.file.asserts += 1;
        }
        // What a macro is given is mostly expressions: `assert!(..)`, `select! { .. }`,
        // `tracing::warn!(..)`.
        self.file.paths.extend(super::names::paths_in(&called.tokens));
        syn::visit::visit_macro(self, called);
    }
}

impl Reader<'_> {
    fn count(&mut self, body: proc_macro2::Span) {
        // The braces' lines are not the body's.
        let lines = body.end().line.saturating_sub(body.start().line);
        self.file.functions.push(lines.saturating_sub(1).max(1));
    }
}
