//! The rules of ARCHITECTURE.md: who may import whom, which files may name the
//! system around them, which are compiled conditionally, and how long a file may be.

mod names;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::support::root;
use names::{Names, module, names};

/// (module, what it may import of the crate); a file belongs to the longest module that
/// it is in. What is not here must not be imported.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("", &[]),
    ("dtype", &[]),
    ("backend", &["dtype"]),
    ("sample", &[]),
    ("tokenizer", &[]),
    ("bundle", &["dtype", "gpt2::Config", "gpt2::ConfigError", "gpt2::names", "tokenizer"]),
    ("gpt2", &["backend", "bundle", "dtype", "tokenizer"]),
    ("generate", &["backend", "bundle", "gpt2", "sample", "tokenizer"]),
    ("tweets", &["bundle"]),
    ("train", &["bundle", "dtype", "gpt2", "tokenizer", "tweets"]),
    ("card", &["bundle"]),
    (
        "record",
        &["bundle", "card::date", "card::duration", "card::escape", "card::escaped_by", "card::figure"],
    ),
    (
        "cli",
        &[
            "backend",
            "bundle",
            "card",
            "generate",
            "gpt2",
            "record",
            "sample",
            "tokenizer",
            "train",
            "tweets",
        ],
    ),
    ("web", &[]),
    ("web::protocol", &["bundle", "generate", "sample"]),
    ("web::channel", &["web::protocol"]),
    ("web::page", &["web::protocol"]),
    ("web::app", &["bundle::face", "web::page", "web::protocol", "web::channel"]),
    (
        "web::worker",
        &["backend", "bundle", "dtype", "generate", "gpt2", "tokenizer", "web::protocol", "web::channel"],
    ),
    ("web::reader", &["bundle", "tweets", "web::protocol"]),
    ("bin::huggingtweets", &["cli"]),
    ("bin::app", &["web::app"]),
    ("bin::worker", &["web::worker"]),
    ("bin::reader", &["web::protocol", "web::reader"]),
    ("bin::kernel_check", &["backend", "dtype"]),
];

/// (what is outside of the crate, the folders and files that may name it): the core runs in
/// a browser, without files, clock or page.
const MAY_NAME: &[(&str, &[&str])] = &[
    (
        "std::fs",
        &[
            "bundle/checkpoint/",
            "bundle/folder.rs",
            "bundle/hub/",
            "bundle/staging.rs",
            "bundle/staging/",
            "card/mod.rs",
            "cli/",
            "record/",
            "train/checkpoint/",
            "tweets/open.rs",
        ],
    ),
    ("std::time", &["bundle/hub/", "cli/", "record/", "train/laps.rs", "train/run.rs"]),
    ("std::thread", &["backend/cpu/pool/native.rs", "bundle/hub/", "cli/", "record/machine.rs"]),
    ("std::net", &["cli/serve.rs", "cli/serve/"]),
    ("std::process", &["bin/huggingtweets.rs", "cli/", "record/config.rs"]),
    ("std::env", &["bundle/hub.rs", "bundle/hub/", "cli/", "record/machine.rs"]),
    ("web_sys", &["bin/reader.rs", "web/app/", "web/reader/file.rs", "web/channel.rs", "web/worker/"]),
    (
        "js_sys",
        &[
            "backend/webgpu/device/web.rs",
            "bin/worker.rs",
            "web/app/",
            "web/reader/file.rs",
            "web/channel.rs",
            "web/worker/",
        ],
    ),
    ("gloo", &["web/app/", "web/worker/"]),
    ("leptos", &["web/app/"]),
    ("wgpu", &["backend/webgpu/"]),
    ("candle_core", &["bundle/checkpoint/pickle.rs", "bundle/quantize.rs", "train/"]),
    ("candle_transformers", &["cli/train/drafts.rs"]),
    ("tokenizers", &["cli/bench/bundle.rs", "train/scratch.rs"]),
    ("anyhow", &["cli/"]),
    ("indicatif", &["cli/"]),
    ("println!", &[]),
    ("print!", &[]),
    ("eprintln!", &[]),
    ("eprint!", &[]),
];

/// (what a `cfg` asks for, the files with such ones): features choose layers, targets
/// choose between twins behind one name. Tests apart, there is no other conditional code.
const MAY_BE_CONDITIONAL: &[(&str, &[&str])] = &[
    (
        "feature",
        &[
            "backend/mod.rs",
            "bundle/mod.rs",
            "cli/mod.rs",
            "lib.rs",
            "train/chance.rs",
            "train/device.rs",
            "train/graph/dropout.rs",
            "train/graph/mod.rs",
            "tweets/error.rs",
            "tweets/file_tree.rs",
            "tweets/mod.rs",
            "web/mod.rs",
        ],
    ),
    ("target_arch", &["backend/cpu/vector/mod.rs"]),
    ("target_family", &["backend/cpu/pool/mod.rs", "backend/webgpu/device.rs"]),
    ("target_feature", &["backend/cpu/vector/dot.rs", "backend/cpu/vector/mod.rs"]),
    ("target_os", &["bundle/staging/disk.rs", "cli/memory.rs", "train/huge_pages.rs"]),
    ("target_vendor", &["bundle/staging/disk.rs"]),
    ("unix", &["bundle/hub/cache.rs", "bundle/staging/disk.rs", "cli/signals.rs"]),
];

/// CONTRIBUTING.md: a file of over 600 lines is two files. A little over is no other file.
const MAX_LINES: usize = 620;

/// Calls `each` with every file below a folder of the repository, but for what is installed,
/// made, or a fixture.
fn files(folder: &str, each: &mut impl FnMut(&str)) {
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{folder}/{name}");
        if !entry.file_type().unwrap().is_dir() {
            each(&path);
        } else if !["node_modules", "out", "site", "fixtures", "__pycache__"].contains(&name.as_str()) {
            files(&path, each);
        }
    }
}

/// Every source file that is no test's, with what it names.
fn sources() -> Vec<(String, Names)> {
    let mut all = Vec::new();
    files("src", &mut |path| {
        let file = path.strip_prefix("src/").unwrap();
        if file.ends_with(".rs") {
            all.push((file.to_owned(), names(file, &fs::read_to_string(root().join(path)).unwrap())));
        }
    });
    let tests: Vec<String> = all.iter().flat_map(|(_, names)| names.test_modules.clone()).collect();
    all.retain(|(file, _)| !tests.iter().any(|test| is_in(&module(file).join("::"), test)));
    all
}

/// Whether a path is this one or below it.
fn is_in(path: &str, above: &str) -> bool {
    above.is_empty() || path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The imports of a file that the table forbids.
fn forbidden_imports(file: &str, names: &Names) -> Vec<String> {
    let here = module(file).join("::");
    let (layer, allowed) = MAY_IMPORT
        .iter()
        .filter(|(layer, _)| if layer.is_empty() { here.is_empty() } else { is_in(&here, layer) })
        .max_by_key(|(layer, _)| layer.len())
        .unwrap_or_else(|| panic!("src/{file} is in no module of the table"));
    let own = |path: &str| !layer.is_empty() && is_in(path, layer);
    let imports = names.paths.iter().filter_map(|path| match path.as_str() {
        // Under another name, the whole crate could be reached through it.
        "crate" => Some(""),
        path => path.strip_prefix("crate::"),
    });
    imports
        .filter(|path| !own(path) && !allowed.iter().any(|other| is_in(path, other)))
        .map(|path| format!("src/{file} names crate::{path}"))
        .collect()
}

/// What a file names outside of the crate and must not.
fn forbidden_names(file: &str, names: &Names) -> Vec<String> {
    let forbidden = MAY_NAME.iter().filter(|(_, files)| !files.iter().any(|path| file.starts_with(path)));
    forbidden
        .filter(|(name, _)| names.paths.iter().any(|path| is_in(path, name)))
        .map(|(name, _)| format!("src/{file} names {name}"))
        .collect()
}

#[test]
fn imports_flow_one_way() {
    let wrong: Vec<String> =
        sources().iter().flat_map(|(file, names)| forbidden_imports(file, names)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_clock_page_and_gpu_are_named_where_the_table_says() {
    let sources = sources();
    let wrong: Vec<String> = sources.iter().flat_map(|(file, names)| forbidden_names(file, names)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for (name, places) in MAY_NAME {
        for place in *places {
            let used = sources.iter().filter(|(file, _)| file.starts_with(place));
            let mut paths = used.flat_map(|(_, names)| &names.paths);
            assert!(paths.any(|path| is_in(path, name)), "{place} no longer names {name}: mend the table");
        }
    }
}

#[test]
fn conditional_code_is_where_the_table_says() {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, names) in sources() {
        for condition in names.conditions {
            found.entry(condition).or_default().insert(file.clone());
        }
    }
    let listed = MAY_BE_CONDITIONAL
        .iter()
        .map(|(name, files)| ((*name).to_owned(), files.iter().map(|file| (*file).to_owned()).collect()));
    assert_eq!(found, listed.collect());
}

#[test]
fn files_hold_one_concept() {
    const KINDS: [&str; 9] = ["rs", "js", "mjs", "css", "html", "sh", "py", "wgsl", "cu"];
    let mut long = Vec::new();
    for folder in ["src", "tests", "benches", "www", "tools"] {
        files(folder, &mut |path| {
            let kind = Path::new(path).extension().and_then(|kind| kind.to_str()).unwrap_or_default();
            if KINDS.contains(&kind) {
                let lines = fs::read_to_string(root().join(path)).unwrap().lines().count();
                if lines > MAX_LINES {
                    long.push(format!("{path} has {lines} lines: two files"));
                }
            }
        });
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// What the rules are checked with, on a file that breaks them in every way.
#[test]
fn a_forbidden_name_is_found_however_it_is_written() {
    let text = r#"
        //! crate::train in a comment, and below in a string, is nothing.
        use crate::{dtype::Dtype, bundle::{self, manifest::BotInfo}};
        use std::{collections::HashMap, fs::{self, File as Handle}};
        use super::super::tokenizer::Tokenizer;

        #[cfg(test)]
        mod tests;
        #[cfg(all(test, unix))]
        use crate::cli;

        pub(crate) fn step(sampler: &crate::sample::Sampler, text: &str) {
            assert_ne!(text, "crate::train");
            println!("{}", crate::web::page::title());
            #[cfg(target_os = "linux")]
            let name = view! { <p>{crate::generate::{one_line, Drafts}}</p> };
        }

        impl Step {
            #[cfg(test)]
            fn probe() -> std::time::Instant {
                crate::record::now()
            }
        }

        // Not cut off by what is there for tests.
        fn after() -> Option<crate::card::Escaped> {
            if cfg!(feature = "native") { std::thread::yield_now() }
            wgpu::Limits::default()
        }
    "#;
    let file = "backend/cpu/step.rs";
    let found = names(file, text);
    let expected = [
        "bundle",
        "bundle::manifest::BotInfo",
        "card::Escaped",
        "generate::Drafts",
        "generate::one_line",
        "sample::Sampler",
        "web::page::title",
    ];
    let expected = expected.map(|path| format!("src/{file} names crate::{path}"));
    // `super` of `backend::cpu::step` is `backend::cpu`, and its `super` is `backend`.
    assert_eq!(forbidden_imports(file, &found), expected);
    assert!(found.paths.contains("crate::backend::tokenizer::Tokenizer"));
    let names = ["std::fs", "std::thread", "wgpu", "println!"].map(|name| format!("src/{file} names {name}"));
    assert_eq!(forbidden_names(file, &found), names);
    assert_eq!(found.conditions, ["feature", "target_os"].map(str::to_owned).into());
    assert_eq!(found.test_modules, ["backend::cpu::step::tests".to_owned()].into());

    let outward = forbidden_in("backend/step.rs", "use super::super::train; use crate as all;");
    assert_eq!(outward, ["src/backend/step.rs names crate::", "src/backend/step.rs names crate::train"]);
    assert_eq!(forbidden_in("bin/app.rs", "fn main() { huggingtweets::cli::main() }").len(), 1);
    assert!(
        forbidden_in("web/app/mod.rs", "use crate::web::{page::Word, channel}; use super::app;").is_empty()
    );
}

fn forbidden_in(file: &str, text: &str) -> Vec<String> {
    forbidden_imports(file, &names(file, text))
}
