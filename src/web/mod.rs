//! The browser side: the page's state ([`page`]) and views (`app`), the worker that owns the engine
//! ([`worker`]), the messages between page and worker ([`protocol`]) and their channel
//! ([`channel`]), and the readers of archives and cards ([`reader`]), which are fetched on demand.

#[cfg(feature = "web")]
pub mod app;
#[cfg(feature = "worker")]
pub mod channel;
#[cfg(feature = "worker")]
pub mod page;
#[cfg(feature = "worker")]
pub mod protocol;
#[cfg(feature = "reader")]
pub mod reader;
#[cfg(feature = "worker")]
pub mod worker;
