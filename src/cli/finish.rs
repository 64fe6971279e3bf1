//! The last step of every command that writes a bundle.

use std::{collections::BTreeMap, path::Path};

use crate::bundle::{folder, manifest::BotInfo};

/// Completes a folder that [`folder::write_bundle`] filled: `bot.json`, with
/// the digest of every file, comes last.
pub fn finish_bundle(staging: &Path, info: BotInfo) -> anyhow::Result<()> {
    folder::finish(staging, info, BTreeMap::new())?;
    Ok(())
}
