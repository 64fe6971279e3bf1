//! The original's three text functions, reproduced exactly so that its bots and ours are trained on
//! the same posts. White space is Python's throughout.

/// A post with fewer own words than this is short.
pub const MIN_WORDS: usize = 3;

/// White space of Python's `str.isspace` and `\s`, which include U+001C to U+001F; Rust's does not.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Replaces `&amp;`, then `&lt;`, then `&gt;`; no other entity.
pub fn fix(text: &str) -> String {
    text.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")
}

/// Deletes links and collapses white space to single spaces. Expects a [`fix`]ed text.
pub fn clean(text: &str) -> String {
    let mut text = text.to_owned();
    for scheme in ["http:", "https:"] {
        text = delete_links(&text, Some(' '), scheme, false);
        text = delete_links(&text, None, scheme, true);
        text = delete_links(&text, Some('\n'), scheme, true);
        text = delete_links(&text, Some('\n'), scheme, false);
        text = delete_links(&text, None, scheme, false);
    }
    // Splitting at white space also collapses runs of U+0020.
    let mut cleaned = String::with_capacity(text.len());
    for word in words(&text) {
        if !cleaned.is_empty() {
            cleaned.push(' ');
        }
        cleaned.push_str(word);
    }
    cleaned
}

/// Whether a cleaned post has fewer than [`MIN_WORDS`] words of its own, that is, without `http`,
/// `@` and `#`.
pub fn is_short(cleaned: &str) -> bool {
    let own = words(cleaned).filter(|word| {
        let word = word.to_lowercase();
        !["http", "@", "#"].iter().any(|mark| word.contains(mark))
    });
    own.take(MIN_WORDS).count() < MIN_WORDS
}

/// Fixes and cleans a post; `None` if the result is short.
pub fn kept(text: &str) -> Option<String> {
    let cleaned = clean(&fix(text));
    if is_short(&cleaned) { None } else { Some(cleaned) }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}

/// Deletes, from left to right, each match of `before` (if any), `scheme`, one or more non-spaces,
/// and one U+0020 if `space_after`.
fn delete_links(text: &str, before: Option<char>, scheme: &str, space_after: bool) -> String {
    let mut kept = String::with_capacity(text.len());
    // The text before `done` is copied or deleted; links are searched from `search` on.
    let (mut done, mut search) = (0, 0);
    while let Some(found) = text[search..].find(scheme) {
        let at = search + found;
        let after_scheme = at + scheme.len();
        search = after_scheme;
        let start = match before {
            None => at,
            Some(before) => match text[done..at].strip_suffix(before) {
                Some(head) => done + head.len(),
                None => continue,
            },
        };
        let rest = &text[after_scheme..];
        let length = rest.find(is_space).unwrap_or(rest.len());
        if length == 0 {
            continue;
        }
        let mut end = after_scheme + length;
        if space_after {
            if !text[end..].starts_with(' ') {
                // Nothing in this run of non-spaces can match.
                search = end;
                continue;
            }
            end += 1;
        }
        kept.push_str(&text[done..start]);
        (done, search) = (end, end);
    }
    kept.push_str(&text[done..]);
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::beside::shared;

    #[derive(Deserialize)]
    struct Case {
        text: String,
        fixed: String,
        cleaned: String,
        kept: bool,
    }

    fn check(cases: &str) -> usize {
        for (number, line) in cases.lines().enumerate() {
            let case: Case = serde_json::from_str(line).unwrap();
            let fixed = fix(&case.text);
            assert_eq!(fixed, case.fixed, "line {}", number + 1);
            let cleaned = clean(&fixed);
            assert_eq!(cleaned, case.cleaned, "line {}: {:?}", number + 1, case.text);
            assert_eq!(!is_short(&cleaned), case.kept, "line {}: {:?}", number + 1, case.text);
        }
        cases.lines().count()
    }

    #[test]
    fn the_constructed_cases_come_out_as_from_the_original() {
        assert!(check(include_str!("../../tests/fixtures/tweets/cleaning-cases.jsonl")) > 300);
    }

    #[test]
    fn all_reference_cases_come_out_as_from_the_original() {
        let Some(path) = shared("reference/cleaning-cases.jsonl") else { return };
        assert!(check(&std::fs::read_to_string(path).unwrap()) >= 830);
    }

    #[test]
    fn python_counts_information_separators_as_space() {
        assert_eq!(clean("a\u{1c}b\u{1f}c"), "a b c");
        assert_eq!(clean("https://t.co/x\u{1d}word"), "word");
    }

    proptest! {
        #[test]
        fn nothing_but_single_spaces_is_left(text in "[a \n\t\u{1c}h]{0,8}(http:|https:|x)?[^\u{0}]{0,40}") {
            let cleaned = clean(&text);
            prop_assert_eq!(words(&cleaned).collect::<Vec<_>>().join(" "), cleaned);
        }
    }
}
