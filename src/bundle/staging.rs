//! Write aside, then rename.
