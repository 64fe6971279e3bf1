//! Tests across modules: the command as users run it, the reference results, and the import rules.

mod architecture;
mod beside;
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
