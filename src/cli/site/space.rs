//! What turns a site into a static Space of the Hugging Face Hub: a card whose front matter
//! requests the isolation headers, and Git LFS for binary files. The keys are documented at
//! <https://huggingface.co/docs/hub/spaces-config-reference>.

use crate::{bundle::Manifest, card};

/// Returns names and contents of the files to add.
pub fn files(manifest: &Manifest) -> [(&'static str, String); 2] {
    [("README.md", readme(manifest)), (".gitattributes", ATTRIBUTES.into())]
}

/// The Hub rejects large and binary files outside of LFS.
const ATTRIBUTES: &str = "\
*.gguf filter=lfs diff=lfs merge=lfs -text
*.safetensors filter=lfs diff=lfs merge=lfs -text
*.wasm filter=lfs diff=lfs merge=lfs -text
*.png filter=lfs diff=lfs merge=lfs -text
";

fn readme(manifest: &Manifest) -> String {
    let name = card::display_name(&manifest.info);
    // JSON strings are valid YAML double-quoted scalars.
    let title = serde_json::Value::from(name.as_str()).to_string();
    let models = manifest.card.as_ref().and_then(|card| card.repository.as_deref());
    let models = models.map(|repository| {
        let repository = serde_json::Value::from(repository).to_string();
        format!("models:\n  - {repository}\n")
    });
    format!(
        "---
title: {title}
emoji: 🤖
colorFrom: blue
colorTo: indigo
sdk: static
app_file: index.html
pinned: false
short_description: An AI bot that writes posts in your browser
{models}custom_headers:
  cross-origin-embedder-policy: require-corp
  cross-origin-opener-policy: same-origin
  cross-origin-resource-policy: cross-origin
---

A page made by huggingtweets: a GPT-2 that writes posts in somebody's manner, computed in the visitor's own browser. The bot's card is in `bot/README.md`.
",
        models = models.unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::manifest::{BotInfo, CardExtras};

    fn manifest(name: &str) -> Manifest {
        let info = BotInfo { name: name.into(), handles: vec!["h".into()], ..BotInfo::default() };
        let card = CardExtras { repository: Some("owner/bot".into()), ..CardExtras::default() };
        Manifest {
            format_version: 1,
            info,
            files: Default::default(),
            checks: Default::default(),
            card: Some(card),
        }
    }

    #[test]
    fn the_front_matter_asks_for_isolation() {
        let text = readme(&manifest("Maren Holm"));
        let front = text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n")).unwrap().0;
        for line in [
            "title: \"Maren Holm\"",
            "sdk: static",
            "  cross-origin-embedder-policy: require-corp",
            "  cross-origin-opener-policy: same-origin",
            "  - \"owner/bot\"",
        ] {
            assert!(front.lines().any(|found| found == line), "{line} in\n{front}");
        }
    }

    #[test]
    fn a_name_cannot_leave_its_line() {
        let text = readme(&manifest("x\"\nsdk: docker\n---\n"));
        assert_eq!(text.matches("\nsdk:").count(), 1, "{text}");
        assert_eq!(text.lines().filter(|line| *line == "---").count(), 2);
    }
}
