//! What each file of `src/` imports.
//!
//! A file's imports are its `crate::`, `super::` and `self::` paths. A name that
//! a module re-exports counts for the file that defines it. What `mod` declares
//! is not an import. Unit tests may look at their module from above.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};

/// A module's path from the crate's root; the root is empty.
pub type Module = Vec<String>;

#[derive(Default)]
pub struct File {
    /// Its path below `src/`.
    pub shown: String,
    /// Every path that the file names, resolved from the crate's root.
    pub named: BTreeSet<Module>,
    /// What it hands on: the name here, and the path of what it stands for.
    re_exports: BTreeMap<String, Module>,
}

struct Paths<'a> {
    module: &'a Module,
    file: File,
}

impl Paths<'_> {
    /// The path from the crate's root, or nothing for one that starts elsewhere.
    fn resolve(&self, segments: &[String]) -> Option<Module> {
        let mut resolved = match segments.first()?.as_str() {
            "crate" => Module::new(),
            "self" => self.module.clone(),
            "super" => self.module.split_last()?.1.to_vec(),
            _ => return None,
        };
        for segment in &segments[1..] {
            if segment == "super" {
                resolved.pop();
            } else {
                resolved.push(segment.clone());
            }
        }
        Some(resolved)
    }

    fn tree(&mut self, tree: &syn::UseTree, before: &[String], handed_on: bool) {
        let mut path = before.to_vec();
        let (name, renamed) = match tree {
            syn::UseTree::Path(inner) => {
                path.push(inner.ident.to_string());
                return self.tree(&inner.tree, &path, handed_on);
            }
            syn::UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.tree(tree, before, handed_on));
            }
            syn::UseTree::Name(name) => (name.ident.to_string(), name.ident.to_string()),
            syn::UseTree::Rename(name) => (name.ident.to_string(), name.rename.to_string()),
            syn::UseTree::Glob(_) => ("*".to_owned(), "*".to_owned()),
        };
        if name != "self" {
            path.push(name);
        }
        // `pub use child::Name` names a child without `self::`.
        if handed_on && !matches!(path[0].as_str(), "crate" | "self" | "super") {
            path.insert(0, "self".to_owned());
        }
        let Some(resolved) = self.resolve(&path) else { return };
        if handed_on {
            self.file.re_exports.insert(renamed, resolved);
        } else {
            self.file.named.insert(resolved);
        }
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let handed_on = !matches!(item.vis, syn::Visibility::Inherited);
        self.tree(&item.tree, &[], handed_on);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.file.named.extend(self.resolve(&segments));
        visit::visit_path(self, path);
    }

    /// `pub(super)` imports nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let for_tests = item.attrs.iter().any(|attribute| attribute.path().is_ident("cfg"));
        if !(for_tests && item.ident == "tests") {
            visit::visit_item_mod(self, item);
        }
    }
}

fn module_of(file: &Path, src: &Path) -> Module {
    let path = file.strip_prefix(src).unwrap().with_extension("");
    let mut module: Module = path.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if module.last().is_some_and(|last| last == "mod") || module == ["lib"] {
        module.pop();
    }
    module
}

/// The file that a path leads to, through re-exports. The crate's root is none:
/// it hands on everything.
fn target(path: &Module, files: &BTreeMap<Module, File>) -> Option<Module> {
    let mut path = path.clone();
    // Follows chains of re-exports, to a limit.
    for _ in 0..8 {
        let module = (1..=path.len()).rev().map(|n| &path[..n]).find(|module| files.contains_key(*module));
        let module = module.map(<[_]>::to_vec).unwrap_or_default();
        let handed_on = path.get(module.len()).and_then(|name| files[&module].re_exports.get(name));
        match handed_on {
            Some(original) => path = original.clone(),
            None => return (!module.is_empty()).then_some(module),
        }
    }
    panic!("{path:?} is handed on in a circle");
}

pub fn parse(module: &Module, text: &str, shown: String) -> File {
    let mut paths = Paths { module, file: File { shown, ..File::default() } };
    paths.visit_file(&syn::parse_file(text).unwrap());
    paths.file
}

pub fn imports(files: &BTreeMap<Module, File>) -> BTreeMap<Module, BTreeSet<Module>> {
    files
        .iter()
        .filter(|(module, _)| !module.is_empty())
        .map(|(module, file)| {
            let named = file.named.iter().filter_map(|path| target(path, files));
            (module.clone(), named.filter(|other| other != module).collect())
        })
        .collect()
}

/// Every source file but unit tests and `main.rs`.
pub fn files() -> BTreeMap<Module, File> {
    let src = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    walk(&src, &mut found);
    let files: BTreeMap<_, _> = found
        .iter()
        .filter(|file| file.file_name().is_some_and(|name| name != "tests.rs" && name != "main.rs"))
        .map(|file| {
            let module = module_of(file, &src);
            let text = std::fs::read_to_string(file).unwrap();
            let shown = file.strip_prefix(&src).unwrap().display().to_string();
            let parsed = parse(&module, &text, shown);
            (module, parsed)
        })
        .collect();
    assert!(files.len() > 100, "the sources were not found");
    files
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}
