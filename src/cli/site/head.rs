//! Replaces the page's title and link preview by those of the bot.

use crate::{bundle::manifest::BotInfo, card, card::escape};

/// Prefixes of the `<meta>` names and properties that make up a link preview.
const PREVIEW_KEYS: [&str; 3] = ["og:", "twitter:", "description"];

/// Returns `html` with the bot's title and preview. `page_url` ends in `/`; without it the
/// picture's URL stays relative, which some feeds do not resolve.
pub fn with_bot(html: &str, info: &BotInfo, page_url: Option<&str>) -> String {
    let html = without_preview(html);
    let head = head(info, page_url);
    let lower = html.to_ascii_lowercase();
    // ASCII lower-casing preserves byte offsets.
    let title = tag(&lower, "<title").and_then(|(start, _)| {
        let close = "</title>";
        Some((start, start + lower.get(start..)?.find(close)? + close.len()))
    });
    let (start, end) = title.or_else(|| tag(&lower, "<head").map(|(_, end)| (end, end))).unwrap_or((0, 0));
    let (before, after) = (html.get(..start).unwrap_or_default(), html.get(end..).unwrap_or_default());
    format!("{before}{head}{after}")
}

fn head(info: &BotInfo, page_url: Option<&str>) -> String {
    let name = card::display_name(info);
    let title = escape::xml(&format!("{name} · {}", info.label()));
    let description = escape::xml(&format!(
        "A GPT-2 that writes posts in the manner of {name}, in your own browser. Not a person."
    ));
    let page = escape::xml(page_url.unwrap_or_default());
    let mut head = format!("<title>{title}</title>");
    let mut meta = |kind: &str, key: &str, value: &str| {
        head += &format!("\n<meta {kind}=\"{key}\" content=\"{value}\">");
    };
    meta("name", "description", &description);
    meta("property", "og:type", "website");
    meta("property", "og:title", &title);
    meta("property", "og:description", &description);
    meta("property", "og:image", &format!("{page}bot/predictions.png"));
    meta("property", "og:image:width", &card::picture::WIDTH.to_string());
    meta("property", "og:image:height", &card::picture::HEIGHT.to_string());
    if page_url.is_some() {
        meta("property", "og:url", &page);
    }
    meta("name", "twitter:card", "summary_large_image");
    head
}

/// Removes every `<meta>` whose name or property begins with one of [`PREVIEW_KEYS`].
fn without_preview(html: &str) -> String {
    let lower = html.to_ascii_lowercase();
    let mut out = String::with_capacity(html.len());
    let mut kept = 0;
    let mut at = 0;
    while let Some((start, end)) = lower.get(at..).and_then(|rest| tag(rest, "<meta")) {
        let (start, end) = (at + start, at + end);
        let is_preview = lower.get(start..end).is_some_and(|text| {
            ["name", "property"].iter().any(|kind| {
                PREVIEW_KEYS
                    .iter()
                    .any(|key| ["", "\"", "'"].iter().any(|q| text.contains(&format!(" {kind}={q}{key}"))))
            })
        });
        if is_preview {
            out.push_str(html.get(kept..start).unwrap_or_default().trim_end_matches([' ', '\n']));
            kept = end;
        }
        at = end;
    }
    out.push_str(html.get(kept..).unwrap_or_default());
    out
}

/// Finds the first tag named `name` and returns the byte offsets of its `<` and just past its
/// `>`. A `>` inside quotes does not end the tag.
fn tag(lower: &str, name: &str) -> Option<(usize, usize)> {
    let mut from = 0;
    loop {
        let start = from + lower.get(from..)?.find(name)?;
        let rest = lower.get(start + name.len()..)?;
        from = start + name.len();
        if rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-') {
            continue;
        }
        let mut quote = None;
        for (i, byte) in rest.bytes().enumerate() {
            match (quote, byte) {
                (None, b'>') => return Some((start, from + i + 1)),
                (None, b'"' | b'\'') => quote = Some(byte),
                (Some(open), _) if open == byte => quote = None,
                _ => {}
            }
        }
        return None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bot(name: &str) -> BotInfo {
        BotInfo { name: name.into(), handles: vec!["h".into()], ..BotInfo::default() }
    }

    #[test]
    fn the_bots_name_takes_the_pages_place() {
        let html = "<!DOCTYPE html><html><head><meta charset=\"utf-8\">\n<TITLE>Old > name</TITLE>\n<meta property=\"og:title\" content=\"Old > name\">\n<meta name=description content=Old><header-x></header-x></head><body>é</body></html>";
        let new = with_bot(html, &bot("Maren Holm"), Some("https://a.example/b/"));
        assert!(!new.contains("Old"), "{new}");
        assert!(new.contains("<title>Maren Holm · AI BOT 🤖</title>"));
        assert!(new.contains("<meta charset=\"utf-8\">") && new.contains("<body>é</body>"));
        assert!(new.contains("og:image\" content=\"https://a.example/b/bot/predictions.png\""));
        assert_eq!(new.matches("og:title").count(), 1);
        assert_eq!(with_bot(&new, &bot("Maren Holm"), Some("https://a.example/b/")), new);
    }

    #[test]
    fn hostile_names_stay_text() {
        let new = with_bot("<title>x</title>", &bot("</title><script>\"'&"), None);
        assert!(!new.contains("<script"), "{new}");
        assert_eq!(new.matches("</title>").count(), 1);
        assert!(new.contains("content=\"bot/predictions.png\""));
    }

    #[test]
    fn a_page_without_a_title_gets_one() {
        assert!(
            with_bot("<html><head lang=en><p>", &bot("N"), None).starts_with("<html><head lang=en><title>N")
        );
        assert!(with_bot("", &bot("N"), None).starts_with("<title>N"));
        assert!(with_bot("<title>open", &bot("N"), None).ends_with("<title>open"));
    }

    proptest::proptest! {
        #[test]
        fn any_page_gets_one_title(html in "(<title>|</title>|<meta |name=\"og:|\"|'|>|<head>|é| |x){0,20}") {
            proptest::prop_assert!(with_bot(&html, &bot("N"), None).contains("<title>N · AI BOT 🤖</title>"));
        }
    }
}
