//! What the page fetches when it is wanted: the command's own readers of
//! archives ([`check`]), and the card's Markdown ([`card`]). A wasm of its own,
//! so that neither the page nor the engine carries them.

pub mod card;
pub mod check;
pub mod file;
