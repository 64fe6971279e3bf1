//! The page's state: plain types and methods, without views or browser APIs, tested natively. The
//! views are in `web/app`.

pub mod bots;
pub mod curve;
pub mod draft;
pub mod fallback;
pub mod history;
pub mod hub;
pub mod link;
pub mod preferences;
pub mod query;
pub mod settings;
pub mod share;
pub mod shared_engine;
pub mod starts;
pub mod state;
#[cfg(test)]
mod state_tests;
pub mod text;
pub mod weight;
mod word;
pub mod words;
pub mod worker_loss;
pub mod worker_options;

pub use word::Word;
