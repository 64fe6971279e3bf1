//! Escaping of untrusted names and posts for Markdown, HTML, YAML, SVG and terminals, so that
//! they are displayed literally.

use crate::bundle::hub::is_repo_name;

/// An empty comment, invisible in HTML but splitting a Markdown text node.
const BREAK: &str = "<!-- -->";

/// Reduces text to one displayable line: collapses whitespace and control characters to single
/// spaces, and removes characters that XML forbids or that override the text direction.
pub fn plain(text: &str) -> String {
    let shown: String = text
        .chars()
        .filter(|&c| !is_forbidden(c))
        .map(|c| if c.is_control() || c.is_whitespace() { ' ' } else { c })
        .collect();
    shown.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Escapes characters that could move a terminal's cursor or override the text direction.
pub fn terminal(text: &str) -> String {
    let escaped = |c: char| -> String {
        if c.is_control() || is_forbidden(c) { c.escape_default().collect() } else { c.into() }
    };
    text.chars().map(escaped).collect()
}

/// Escapes text for a line of Markdown, a table cell or an HTML element (but see [`attribute`]
/// for quoted attributes). Characters with a meaning there become numeric references.
///
/// Markdown renderers turn URLs and e-mail addresses into links. Some match the source, where
/// a numeric reference prevents it; others match the decoded text, where an empty comment
/// does.
pub fn inline(text: &str) -> String {
    let text: Vec<char> = plain(text).chars().collect();
    let mut out = String::with_capacity(text.len());
    for (i, &c) in text.iter().enumerate() {
        let before = i.checked_sub(1).and_then(|i| text.get(i)).copied();
        let after = text.get(i + 1).copied();
        if ends_a_text(c, before, after) {
            out.push_str(BREAK);
        }
        if has_meaning(c, before, after) {
            out.push_str(&format!("&#{};", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// Escapes text for a quoted HTML attribute in Markdown, where nothing is autolinked and a
/// comment would be visible.
pub fn attribute(text: &str) -> String {
    inline(text).replace(BREAK, "")
}

/// Returns one line that cannot close the fenced code block around it.
pub fn code(text: &str) -> String {
    plain(text).replace("```", "'''").replace("~~~", "---")
}

/// Returns a double-quoted YAML scalar, of which JSON strings are a subset.
pub fn yaml(text: &str) -> String {
    serde_json::Value::from(plain(text)).to_string()
}

/// Escapes text for an XML element or a quoted attribute.
pub fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in plain(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Returns an absolute HTTP(S) URL with a trailing `/`, if it is safe in a quoted attribute
/// and in a Markdown link.
pub fn page_url(url: &str) -> Option<String> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:/[]@!$&*+,;=%".contains(c);
    if rest.is_empty() || rest.starts_with('/') || !rest.chars().all(allowed) {
        return None;
    }
    Some(format!("{}/", url.trim_end_matches('/')))
}

/// Returns the name if it is a valid Hub repository, `owner/name` or `name`.
pub fn repository(name: &str) -> Option<&str> {
    is_repo_name(name).then_some(name)
}

/// Returns whether to split the text here to prevent autolinks: before the `@` of an e-mail
/// address, the `/` after a scheme's colon, and the dot of `www.`.
fn ends_a_text(c: char, before: Option<char>, after: Option<char>) -> bool {
    let is_text = |c: Option<char>| c.is_some_and(|c| !c.is_whitespace());
    match c {
        '@' => is_text(before) && is_text(after),
        '/' => before == Some(':'),
        '.' => matches!(before, Some('w' | 'W')) && is_text(after),
        _ => false,
    }
}

fn has_meaning(c: char, before: Option<char>, after: Option<char>) -> bool {
    let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric());
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    match c {
        '&' | '<' | '>' | '"' | '`' | '*' | '[' | ']' | '\\' | '|' | '~' | '$' | '#' | '@' => true,
        // Emphasis applies only outside words.
        '_' => !(word(before) && word(after)),
        // `1.` and `1)` open lists; `www.` and `a.b` may become links.
        '.' if digit(before) && digit(after) => false,
        '.' | ':' => word(after) || after == Some('/') || before.is_none_or(|c| c.is_ascii_digit()),
        ')' => digit(before),
        // Lists and rules only start at the beginning of a line.
        '-' | '+' | '=' => before.is_none(),
        _ => false,
    }
}

fn is_forbidden(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        || u32::from(c) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str =
        "</div><script>alert(1)</script>\n---\nevil: [x](javascript:1) **b** | `c` & \u{202e}\"q\"";

    #[test]
    fn hostile_names_are_inert_in_markdown_and_html() {
        let shown = inline(HOSTILE);
        let shown = shown.replace(BREAK, "");
        assert!(!shown.contains(['<', '>', '"', '`', '*', '[', ']', '|', '\n', '\u{202e}']), "{shown}");
        assert!(shown.replace("&#", "").find('&').is_none());
    }

    #[test]
    fn no_text_moves_a_terminal() {
        assert_eq!(terminal("model-q8_0.gguf, 灯台守  ☂"), "model-q8_0.gguf, 灯台守  ☂");
        assert_eq!(terminal("\u{1b}[2Ja\r\n\0"), "\\u{1b}[2Ja\\r\\n\\u{0}");
        assert_eq!(terminal("a\u{202e}b\u{9b}c"), "a\\u{202e}b\\u{9b}c");
    }

    #[test]
    fn plain_names_stay_readable() {
        assert_eq!(inline("Anna-Lena O'Neil, Jr. (she)"), "Anna-Lena O'Neil, Jr. (she)");
        assert_eq!(inline("keeper_of_the_light"), "keeper_of_the_light");
        assert_eq!(inline("灯台守 ☂"), "灯台守 ☂");
    }

    #[test]
    fn list_openers_and_links_are_inert() {
        assert_eq!(inline("1. one"), "1&#46; one");
        assert_eq!(inline("- one"), "&#45; one");
        assert_eq!(inline("www.example.org"), "www<!-- -->&#46;example&#46;org");
        assert_eq!(inline("https://a.example/b"), "https&#58;<!-- -->//a&#46;example/b");
        assert_eq!(inline("me@a.example"), "me<!-- -->&#64;a&#46;example");
        assert_eq!(inline("@keeper: at 10:30, 1/2"), "&#64;keeper: at 10&#58;30, 1/2");
        assert_eq!(inline("_so_"), "&#95;so&#95;");
    }

    /// Renders Markdown as GitHub and others do, including autolinks.
    fn rendered(markdown: &str) -> String {
        let mut options = comrak::Options::default();
        options.render.r#unsafe = true;
        let extension = &mut options.extension;
        (extension.autolink, extension.table, extension.strikethrough) = (true, true, true);
        (extension.tasklist, extension.footnotes) = (true, true);
        comrak::markdown_to_html(markdown, &options)
    }

    /// The expected rendering of a text: itself, literally.
    fn as_it_stands(text: &str) -> String {
        let text = plain(text);
        let text =
            text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        format!("<p>{text}</p>\n")
    }

    #[test]
    fn addresses_in_names_stay_text() {
        for name in [
            "https://evil.example/x",
            "HTTP://localhost/",
            "http://localhost/ and https://a.b",
            "ftp://a.b/c",
            "me@x.y",
            "me.and+you_@x-z.y",
            "mailto:me@x.y",
            "xmpp:me@x.y/z",
            "www.example.org",
            "WwW.example.org",
            "(www.example.org)",
            "a@b@c.d",
            "https&#58;//a.b",
            "me&#64;x.y",
            "<https://a.b>",
            "<me@x.y>",
            "[a]: https://a.b",
            HOSTILE,
        ] {
            let shown = rendered(&inline(name));
            assert!(!shown.contains("<a"), "{name}: {shown}");
            assert_eq!(shown.replace(BREAK, ""), as_it_stands(name), "{name}");
            // Nor for renderers that match URLs in the decoded text.
            for text in shown.split(['<', '>']) {
                let text = text.to_lowercase();
                assert!(!text.contains("://") && !text.contains("www."), "{name}: {shown}");
            }
        }
    }

    #[test]
    fn yaml_scalars_are_one_quoted_line() {
        let scalar = yaml(HOSTILE);
        assert!(!scalar.contains('\n'));
        assert_eq!(serde_json::from_str::<String>(&scalar).unwrap(), plain(HOSTILE));
    }

    #[test]
    fn code_cannot_leave_its_block() {
        assert_eq!(code("a\n```\n# b"), "a ''' # b");
    }

    #[test]
    fn only_addresses_of_the_web_are_pages() {
        assert_eq!(page_url("https://a.example/b").as_deref(), Some("https://a.example/b/"));
        for bad in
            ["javascript:alert(1)", "https://", "https://a b", "https://a\"><script>", "ftp://a", "//a"]
        {
            assert_eq!(page_url(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_plain_names_are_repositories() {
        assert_eq!(repository("owner/bot-1.2_x"), Some("owner/bot-1.2_x"));
        for bad in ["", "a/b/c", "../b", "a'/b", "a b", "-a/b", "a/b-", "a--b/c"] {
            assert_eq!(repository(bad), None, "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_out(text in proptest::prelude::any::<String>()) {
            let shown = inline(&text).replace(BREAK, "");
            proptest::prop_assert!(!shown.contains(['<', '>', '"', '`', '|', '\n', '\r']));
            proptest::prop_assert!(!xml(&text).contains(['<', '>', '"', '\'']));
            proptest::prop_assert_eq!(plain(&plain(&text)), plain(&text));
        }

        #[test]
        fn every_name_is_shown_as_it_stands(
            name in "[a-z0-9 .:/@_*~`<>&;#!|()\\[\\]{}+=^$'\"-]{1,24}|(https?://|www\\.|[a-z]+@)?[a-z]{1,3}[.:/@_-][a-z.]{1,4}"
        ) {
            // After some text, as in the card's paragraphs and table cells.
            let shown = rendered(&format!("By {}", inline(&name))).replace(BREAK, "");
            proptest::prop_assert_eq!(shown, as_it_stands(&format!("By {name}")));
        }
    }
}
