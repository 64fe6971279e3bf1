//! Tests that cross modules: the command as its users run it, the reference
//! figures, and the import rules.

mod architecture;
mod bots;
mod build_script;
mod classic;
mod command;
mod demo;
mod end_to_end;
mod hub_server;
mod push;
mod record;
mod reference;
mod resume;
mod serve;
mod support;
#[cfg(feature = "gpu")]
mod webgpu;
