//! What the page fetches on demand: the command's own archive readers ([`check`]) and the renderer
//! of cards ([`card`]). A wasm of its own, so that neither the page nor the engine contains them.

pub mod card;
pub mod check;
pub mod file;
