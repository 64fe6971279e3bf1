//! Language tags: whether one is part of another, and the language of an account.

use std::collections::BTreeMap;

/// Tags that name no language: undetermined, no linguistic content, multiple, uncoded, artificial.
/// X also uses its own in the private range `qaa` to `qtz` (only hashtags, only media).
const NO_LANGUAGE: [&str; 5] = ["und", "zxx", "mul", "mis", "art"];

/// Old codes that X still uses, and their replacements.
const RENAMED: [(&str, &str); 3] = [("in", "id"), ("iw", "he"), ("ji", "yi")];

/// Normalises a tag: lower case, `-` between its parts, current codes. `None` if it names no
/// language.
pub fn normal(tag: &str) -> Option<String> {
    let tag = tag.trim().replace('_', "-").to_lowercase();
    let (primary, rest) = tag.split_once('-').map_or((tag.as_str(), None), |(p, rest)| (p, Some(rest)));
    let private = primary.len() == 3 && ("qaa"..="qtz").contains(&primary);
    let shaped = (2..=3).contains(&primary.len()) && primary.bytes().all(|b| b.is_ascii_lowercase());
    if !shaped || private || NO_LANGUAGE.contains(&primary) {
        return None;
    }
    let primary = RENAMED.iter().find(|(old, _)| *old == primary).map_or(primary, |(_, new)| new);
    Some(match rest {
        Some(rest) if !rest.is_empty() => format!("{primary}-{rest}"),
        _ => primary.to_owned(),
    })
}

/// The language without region or script.
pub fn primary(tag: &str) -> Option<String> {
    Some(normal(tag)?.split('-').next()?.to_owned())
}

/// Whether `tag` is `wanted` or a variety of it: `en-GB` is within `en`.
pub fn is_within(tag: &str, wanted: &str) -> bool {
    let (Some(tag), Some(wanted)) = (normal(tag), normal(wanted)) else {
        return false;
    };
    tag.strip_prefix(&wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// The language of more than half of the posts that have one, if any. A post in several languages
/// counts for each.
pub fn of_most<'a>(posts: impl IntoIterator<Item = &'a [String]>) -> Option<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut known = 0usize;
    for langs in posts {
        let mut tags: Vec<String> = langs.iter().filter_map(|tag| primary(tag)).collect();
        tags.sort();
        tags.dedup();
        known += usize::from(!tags.is_empty());
        for tag in tags {
            *counts.entry(tag).or_default() += 1;
        }
    }
    let (tag, count) = counts.into_iter().max_by_key(|(_, count)| *count)?;
    (2 * count > known).then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_have_one_form() {
        assert_eq!(normal("en").as_deref(), Some("en"));
        assert_eq!(normal("PT_br").as_deref(), Some("pt-br"));
        assert_eq!(normal("in").as_deref(), Some("id"));
        assert_eq!(normal("iw-IL").as_deref(), Some("he-il"));
        assert_eq!(primary("zh-Hans-CN").as_deref(), Some("zh"));
        for none in ["", "und", "zxx", "qme", "qht", "x", "e1", "english", "a language"] {
            assert_eq!(normal(none), None, "{none}");
        }
    }

    #[test]
    fn a_region_is_within_its_language() {
        assert!(is_within("en-GB", "en") && is_within("en", "EN") && is_within("in", "id"));
        assert!(!is_within("en", "en-GB") && !is_within("eng", "en") && !is_within("und", "und"));
    }

    #[test]
    fn the_language_of_most_posts_wins_only_with_more_than_half() {
        let posts = |tags: &[&[&str]]| {
            let posts: Vec<Vec<String>> =
                tags.iter().map(|langs| langs.iter().map(|tag| (*tag).to_owned()).collect()).collect();
            of_most(posts.iter().map(Vec::as_slice))
        };
        assert_eq!(posts(&[&["de"], &["de-AT"], &["en"], &["und"], &[]]).as_deref(), Some("de"));
        assert_eq!(posts(&[&["de"], &["en"]]), None);
        assert_eq!(posts(&[&["de", "en"], &["en"]]).as_deref(), Some("en"));
        assert_eq!(posts(&[&["und"], &[]]), None);
    }
}
