//! Posts in: one reader a format, the original's cleaning, and the training text.
pub mod grammar;
