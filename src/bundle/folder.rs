//! Opening and writing bot folders.
