//! SHA-256 of files and of their chunks.
