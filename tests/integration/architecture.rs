//! The import rules of ARCHITECTURE.md.

use std::{fs, path::Path};

use crate::support::root;

/// (folder or file under src, what it must not name)
const RULES: &[(&str, &[&str])] = &[
    (
        "bundle",
        &[
            "crate::backend",
            "crate::generate",
            "crate::sample",
            "crate::tweets",
            "crate::train",
            "crate::card",
            "crate::cli",
            "crate::web",
            "crate::gpt2::Model",
        ],
    ),
    (
        "sample",
        &[
            "crate::backend",
            "crate::bundle",
            "crate::generate",
            "crate::gpt2",
            "crate::tokenizer",
            "crate::tweets",
            "crate::train",
            "crate::card",
            "crate::cli",
            "crate::web",
        ],
    ),
    (
        "backend",
        &[
            "crate::bundle",
            "crate::generate",
            "crate::gpt2",
            "crate::sample",
            "crate::tokenizer",
            "crate::tweets",
            "crate::train",
            "crate::card",
            "crate::cli",
            "crate::web",
        ],
    ),
    (
        "gpt2",
        &[
            "crate::generate",
            "crate::sample",
            "crate::tweets",
            "crate::train",
            "crate::card",
            "crate::cli",
            "crate::web",
        ],
    ),
    ("generate.rs", &["crate::tweets", "crate::train", "crate::card", "crate::cli", "crate::web"]),
    (
        "tweets",
        &[
            "crate::backend",
            "crate::generate",
            "crate::gpt2",
            "crate::sample",
            "crate::train",
            "crate::card",
            "crate::cli",
            "crate::web",
        ],
    ),
    (
        "train",
        &["crate::backend", "crate::generate", "crate::card", "crate::record", "crate::cli", "crate::web"],
    ),
    (
        "card",
        &[
            "crate::backend",
            "crate::generate",
            "crate::gpt2",
            "crate::record",
            "crate::train",
            "crate::cli",
            "crate::web",
        ],
    ),
    (
        "record",
        &[
            "crate::backend",
            "crate::generate",
            "crate::gpt2",
            "crate::sample",
            "crate::tokenizer",
            "crate::tweets",
            "crate::train",
            "crate::cli",
            "crate::web",
        ],
    ),
    (
        "web/app",
        &[
            "crate::backend",
            "crate::gpt2",
            "crate::tokenizer",
            "crate::web::worker",
            "candle",
            "tokenizers::",
        ],
    ),
    (
        "web/page",
        &[
            "crate::backend",
            "crate::gpt2",
            "crate::tokenizer",
            "crate::web::app",
            "crate::web::worker",
            "leptos",
            "web_sys",
            "js_sys",
        ],
    ),
    ("web/reader", &["crate::backend", "crate::gpt2", "crate::web::app", "crate::web::worker", "leptos"]),
    ("web/worker", &["crate::web::app", "crate::web::page", "leptos"]),
];

/// The shared core runs in a browser: no files, no clock, no page.
const CORE: &[&str] =
    &["backend", "dtype.rs", "gpt2", "sample", "generate.rs", "tokenizer.rs", "bundle", "tweets"];
const CORE_MUST_NOT: &[&str] = &["std::fs", "std::time", "std::thread", "web_sys", "leptos", "println!"];
/// Native files and folders (by how they begin) inside the core's folders: gated by `feature = "native"`,
/// and the native twin of the pool.
const NATIVE_FILES: &[&str] = &[
    "bundle/folder",
    "bundle/checkpoint/",
    "bundle/staging",
    "bundle/hub",
    "tweets/open.rs",
    "backend/cpu/pool/native.rs",
];

fn sources(path: &Path, found: &mut Vec<(String, String)>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            sources(&entry.unwrap().path(), found);
        }
    } else if path.extension().is_some_and(|e| e == "rs") {
        let name = path.strip_prefix(root().join("src")).unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(path).unwrap();
        // Tests may reach further than the code they test.
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let code = code.lines().filter(|l| !l.trim_start().starts_with("//"));
        found.push((name, code.collect::<Vec<_>>().join("\n")));
    }
}

fn under(name: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let path = root().join("src").join(name);
    assert!(path.exists(), "{name} has moved: mend the rules");
    sources(&path, &mut found);
    found
}

#[test]
fn imports_flow_one_way() {
    for (folder, forbidden) in RULES {
        for (file, code) in under(folder) {
            for name in *forbidden {
                assert!(!code.contains(name), "src/{file} names {name}");
            }
        }
    }
}

#[test]
fn the_core_names_no_files_clock_or_page() {
    for folder in CORE {
        for (file, code) in under(folder) {
            if NATIVE_FILES.iter().any(|native| file.starts_with(native)) {
                continue;
            }
            for name in CORE_MUST_NOT {
                assert!(!code.contains(name), "src/{file} names {name}");
            }
        }
    }
}

#[test]
fn one_room_names_the_gpu() {
    for (file, code) in under("") {
        assert!(file.starts_with("backend/webgpu/") || !code.contains("wgpu::"), "src/{file} names wgpu");
    }
}

#[test]
fn files_hold_one_concept() {
    for (file, _) in under("") {
        let lines = fs::read_to_string(root().join("src").join(&file)).unwrap().lines().count();
        assert!(lines <= 620, "src/{file} has {lines} lines: two files");
    }
}
