//! Tells the command which candle it was built with and by which compiler: a
//! run's record names both.

use std::{env, fs, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=Cargo.lock");
    println!("cargo::rustc-env=HUGGINGTWEETS_CANDLE={}", locked_version("candle-core"));
    println!("cargo::rustc-env=HUGGINGTWEETS_RUSTC={}", compiler());
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
