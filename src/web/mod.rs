//! The browser's half: what the page knows ([`page`]) and its views (`app`),
//! the worker that owns the engine ([`worker`]), what page and worker say to
//! each other ([`protocol`]) and over what ([`wire`]), and the readers of archives and cards ([`reader`]), which
//! are fetched when somebody wants them.

#[cfg(feature = "web")]
pub mod app;
#[cfg(feature = "worker")]
pub mod page;
#[cfg(feature = "worker")]
pub mod protocol;
#[cfg(feature = "reader")]
pub mod reader;
#[cfg(feature = "worker")]
pub mod wire;
#[cfg(feature = "worker")]
pub mod worker;
