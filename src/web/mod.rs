//! The browser's half: the page ([`app`]), the worker that owns the engine
//! ([`worker`]), and the only thing they share ([`protocol`]).

#[cfg(feature = "web")]
pub mod app;
pub mod protocol;
pub mod worker;
