//! What a source file names: each path of its imports, expressions, types and macros,
//! from the crate's root on, and what its `cfg`s ask for. Items under `#[cfg(test)]`
//! are left out: tests may reach further than what they test.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::{
    Attribute, Field, ImplItem, Item, ItemMod, ItemUse, Macro, Meta, Path, Stmt, TraitItem, UseTree, Variant,
    VisRestricted,
    visit::{self, Visit},
};

#[derive(Debug, Default)]
pub struct Names {
    /// `crate::backend::Backend`, `std::fs`; what a glob brings stands for its module,
    /// a macro's call for its name with `!`.
    pub paths: BTreeSet<String>,
    /// `feature`, `target_os`, `unix`, …
    pub conditions: BTreeSet<String>,
    /// Modules that are there for tests alone, from the crate's root on.
    pub test_modules: BTreeSet<String>,
    /// The module that is being read.
    here: Vec<String>,
}

/// The names of a file below `src`, such as `backend/cpu/mod.rs`.
pub fn names(file: &str, text: &str) -> Names {
    let mut names = Names { here: module(file), ..Names::default() };
    let parsed = syn::parse_file(text).unwrap_or_else(|error| panic!("src/{file}: {error}"));
    names.visit_file(&parsed);
    names
}

/// The module that a file is.
pub fn module(file: &str) -> Vec<String> {
    let path = file.strip_suffix(".rs").unwrap_or(file);
    let path = path.strip_suffix("/mod").unwrap_or(path);
    let parts = path.split('/').filter(|part| *part != "lib");
    parts.map(str::to_owned).collect()
}

impl Names {
    /// Notes a path as it is written here.
    fn path(&mut self, segments: &[String]) {
        let Some((first, rest)) = segments.split_first() else { return };
        let mut full = match first.as_str() {
            "crate" => vec![],
            // Binaries see the library from outside.
            "huggingtweets" if self.here.first().is_some_and(|part| part == "bin") => vec![],
            "self" => self.here.clone(),
            "super" => self.here[..self.here.len().saturating_sub(1)].to_vec(),
            _ => {
                // A name of this module or another crate's; a lone one is no path.
                if !rest.is_empty() {
                    self.paths.insert(segments.join("::"));
                }
                return;
            }
        };
        for part in rest {
            match part.as_str() {
                "super" => drop(full.pop()),
                "self" => {}
                _ => full.push(part.clone()),
            }
        }
        full.insert(0, "crate".to_owned());
        self.paths.insert(full.join("::"));
    }

    fn use_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: &dyn ToString| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.use_tree(&with(&path.ident), &path.tree),
            UseTree::Name(name) => self.imported(&with(&name.ident)),
            UseTree::Rename(renamed) => self.imported(&with(&renamed.ident)),
            UseTree::Glob(_) => self.imported(before),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.use_tree(before, tree)),
        }
    }

    fn imported(&mut self, segments: &[String]) {
        let named = match segments {
            // `use std::fs::{self}`
            [before @ .., last] if last == "self" && !before.is_empty() => before,
            all => all,
        };
        self.path(named);
    }

    /// Paths in what a macro or an attribute is given, which is no syntax tree yet.
    fn tokens(&mut self, before: &[String], tokens: TokenStream) {
        let mut path: Vec<String> = before.to_vec();
        // Whether the last token was a path's `::`.
        let mut open = !before.is_empty();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if !open {
                        self.path(&std::mem::take(&mut path));
                    }
                    path.push(name.to_string());
                    (open, colons) = (false, 0);
                }
                TokenTree::Punct(sign) if sign.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                    open = colons == 2;
                }
                TokenTree::Group(group) => {
                    let grouped = open && group.delimiter() == Delimiter::Brace;
                    let path = std::mem::take(&mut path);
                    if !grouped {
                        self.path(&path);
                    }
                    self.tokens(if grouped { &path } else { &[] }, group.stream());
                    (open, colons) = (false, 0);
                }
                TokenTree::Punct(sign) => {
                    let name = path.last().filter(|_| sign.as_char() == '!').map(|name| format!("{name}!"));
                    self.paths.extend(name);
                    self.path(&std::mem::take(&mut path));
                    // In a group, each part begins where the group does.
                    path.extend_from_slice(before);
                    (open, colons) = (!before.is_empty(), 0);
                }
                TokenTree::Literal(_) => {
                    self.path(&std::mem::take(&mut path));
                    (open, colons) = (false, 0);
                }
            }
        }
        if !open {
            self.path(&path);
        }
    }

    /// Words of a `cfg`'s condition.
    fn condition(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    let name = name.to_string();
                    if !["all", "any", "not", "test"].contains(&name.as_str()) {
                        self.conditions.insert(name);
                    }
                }
                TokenTree::Group(group) => self.condition(group.stream()),
                _ => {}
            }
        }
    }
}

/// Whether this is compiled for tests alone.
fn for_tests(attributes: &[Attribute]) -> bool {
    fn asks(condition: &Meta) -> bool {
        match condition {
            Meta::Path(path) => path.is_ident("test"),
            Meta::List(all) if all.path.is_ident("all") => {
                let parts = syn::punctuated::Punctuated::<Meta, syn::Token![,]>::parse_terminated;
                all.parse_args_with(parts).is_ok_and(|parts| parts.iter().any(asks))
            }
            _ => false,
        }
    }
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<Meta>().is_ok_and(|condition| asks(&condition))
    })
}

/// The attributes of a node that may be left out.
macro_rules! attributes {
    ($node:expr, $kind:ident: $($variant:ident)*) => {
        match $node {
            $($kind::$variant(it) => &it.attrs[..],)*
            _ => &[],
        }
    };
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = attributes!(item, Item: Const Enum ExternCrate Fn ForeignMod Impl Macro Mod Static
            Struct Trait TraitAlias Type Union Use);
        if !for_tests(attributes) {
            return visit::visit_item(self, item);
        }
        if let Item::Mod(module) = item {
            let path = [&self.here[..], &[module.ident.to_string()]].concat();
            self.test_modules.insert(path.join("::"));
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        if !for_tests(attributes!(item, ImplItem: Const Fn Type Macro)) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_trait_item(&mut self, item: &'ast TraitItem) {
        if !for_tests(attributes!(item, TraitItem: Const Fn Type Macro)) {
            visit::visit_trait_item(self, item);
        }
    }

    fn visit_stmt(&mut self, statement: &'ast Stmt) {
        let attributes = match statement {
            Stmt::Local(local) => &local.attrs[..],
            Stmt::Macro(called) => &called.attrs[..],
            _ => &[],
        };
        if !for_tests(attributes) {
            visit::visit_stmt(self, statement);
        }
    }

    fn visit_field(&mut self, field: &'ast Field) {
        if !for_tests(&field.attrs) {
            visit::visit_field(self, field);
        }
    }

    fn visit_variant(&mut self, variant: &'ast Variant) {
        if !for_tests(&variant.attrs) {
            visit::visit_variant(self, variant);
        }
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        self.here.push(module.ident.to_string());
        visit::visit_item_mod(self, module);
        self.here.pop();
    }

    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        import.attrs.iter().for_each(|attribute| self.visit_attribute(attribute));
        self.use_tree(&[], &import.tree);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        let segments: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        self.path(&segments);
        visit::visit_path(self, path);
    }

    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}

    fn visit_macro(&mut self, called: &'ast Macro) {
        if let Some(name) = called.path.segments.last() {
            self.paths.insert(format!("{}!", name.ident));
            if name.ident == "cfg" {
                self.condition(called.tokens.clone());
            }
        }
        self.visit_path(&called.path);
        self.tokens(&[], called.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        let Meta::List(list) = &attribute.meta else { return };
        if list.path.is_ident("cfg") {
            self.condition(list.tokens.clone());
        } else if list.path.is_ident("cfg_attr") {
            // Up to the first comma it is a condition.
            let condition = list.tokens.clone().into_iter();
            let condition =
                condition.take_while(|token| !matches!(token, TokenTree::Punct(p) if p.as_char() == ','));
            self.condition(condition.collect());
        }
        self.tokens(&[], list.tokens.clone());
    }
}
