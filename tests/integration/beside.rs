//! The larger reference set, which may stand beside the repository in `../shared`.
//! The library's unit tests and the integration tests share this file.

use std::path::{Path, PathBuf};

/// A file of the set. Where it is absent the comparison is left out, which
/// `tools/cargo-test.sh` says before all tests; with `HUGGINGTWEETS_REFERENCE=require`
/// that is a failure.
pub fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(name);
    if path.exists() {
        return Some(path);
    }
    let required = std::env::var_os("HUGGINGTWEETS_REFERENCE").is_some_and(|value| value == "require");
    assert!(!required, "{} is missing", path.display());
    eprintln!("skipped: {name} is not beside this checkout");
    None
}
