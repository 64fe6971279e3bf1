//! What the build script tells the program.

use std::{fs, path::Path};

#[path = "../../build.rs"]
#[allow(dead_code)]
mod script;

#[test]
fn a_digest_is_of_names_bytes_and_compiler() {
    let folder = tempfile::tempdir().unwrap();
    let (kernels, file) = (folder.path().join("kernels"), folder.path().join("kernels/deep/a.wgsl"));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    let digest = |compiler| script::digest(&[&kernels, Path::new("no-such-file")], compiler).unwrap();
    let mut digests = vec![digest("rustc 1")];
    fs::write(&file, "sum += a * b;").unwrap();
    digests.push(digest("rustc 1"));
    assert_eq!(digest("rustc 1"), digests[1]);
    digests.push(digest("rustc 2"));
    fs::write(&file, "sum += b * a;").unwrap();
    digests.push(digest("rustc 1"));
    fs::write(kernels.join("b.wgsl"), "").unwrap();
    digests.push(digest("rustc 1"));
    fs::rename(&file, kernels.join("c.wgsl")).unwrap();
    digests.push(digest("rustc 1"));
    let count = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), count);
}
