//! Tells the command which candle it was built with and by which compiler: a
//! run's record names both. Tells the engine a digest of what its kernels are made of: what
//! it measures holds for those alone.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// What decides how quick the engine is, besides the compiler.
const KERNELS: [&str; 5] = ["Cargo.lock", "src/backend", "src/dtype.rs", "src/gpt2", "www/worker-start.js"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for path in KERNELS {
        println!("cargo::rerun-if-changed={path}");
    }
    let digest = digest(&KERNELS.map(Path::new), &compiler()).expect("the package's sources can be read");
    println!("cargo::rustc-env=HUGGINGTWEETS_KERNELS={digest:016x}");
    println!("cargo::rustc-env=HUGGINGTWEETS_CANDLE={}", locked_version("candle-core"));
    println!("cargo::rustc-env=HUGGINGTWEETS_RUSTC={}", compiler());
}

/// FNV-1a, 64 bits, of the files at these paths and below them, names and bytes, and of some
/// text besides. A path that is not there counts as no file.
///
/// # Errors
/// A file cannot be read.
pub fn digest(paths: &[&Path], more: &str) -> io::Result<u64> {
    let mut files = Vec::new();
    for path in paths.iter().filter(|path| path.exists()) {
        list(path, &mut files)?;
    }
    files.sort();
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    let mut take = |bytes: &[u8]| {
        for byte in (bytes.len() as u64).to_le_bytes().iter().chain(bytes) {
            digest = (digest ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    take(more.as_bytes());
    for file in files {
        take(file.to_string_lossy().as_bytes());
        take(&fs::read(&file)?);
    }
    Ok(digest)
}

fn list(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.into());
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        list(&entry?.path(), files)?;
    }
    Ok(())
}

/// The lock file's version of a package; empty where there is no lock file.
fn locked_version(package: &str) -> String {
    let lock = fs::read_to_string("Cargo.lock").unwrap_or_default();
    let entry = format!("name = \"{package}\"\nversion = \"");
    let version = lock.replace("\r\n", "\n").split_once(&entry).map(|(_, rest)| rest.to_owned());
    version.and_then(|rest| rest.split('"').next().map(str::to_owned)).unwrap_or_default()
}

/// `rustc 1.92.0`, without hash and date.
fn compiler() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}
