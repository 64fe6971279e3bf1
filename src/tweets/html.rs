//! Converts a post's HTML to text as displayed, except that links become full addresses, which the
//! cleaning recognises.

use html5gum::{StartTag, Token, Tokenizer};

/// Elements whose content is not displayed.
const HIDDEN: [&str; 5] = ["script", "style", "template", "title", "head"];

/// Elements that form paragraphs of their own.
const BLOCKS: [&str; 12] = ["p", "div", "ul", "ol", "blockquote", "pre", "h1", "h2", "h3", "h4", "h5", "h6"];

/// Class of a fallback for a quoted post, which Mastodon hides because it displays the quote
/// itself.
const QUOTE_STAND_IN: &str = "quote-inline";

/// The text of an HTML fragment, with an empty line between paragraphs and line breaks as newlines.
///
/// Of a link, the text is kept if it is words, a mention or a hashtag; if it is an address,
/// shortened or not, it is replaced by the link's full address.
pub fn to_text(html: &str) -> String {
    let mut text = Text::default();
    for token in Tokenizer::new(html) {
        let Ok(token) = token;
        match token {
            Token::StartTag(tag) => text.open(&tag),
            Token::EndTag(tag) => text.close(&String::from_utf8_lossy(&tag.name)),
            Token::String(string) => text.push(&String::from_utf8_lossy(&string)),
            Token::Comment(_) | Token::Doctype(_) | Token::Error(_) => {}
        }
    }
    text.end_link();
    text.out.trim().to_owned()
}

#[derive(Default)]
struct Text {
    out: String,
    /// An open link: where its text starts in `out`, and its address.
    link: Option<(usize, String)>,
    /// The element that hides its content, and how many elements of that name are open.
    hidden: Option<(String, usize)>,
    /// Number of open `pre` elements, in which white space is kept.
    preformatted: usize,
}

impl Text {
    fn open(&mut self, tag: &StartTag<()>) {
        let name = String::from_utf8_lossy(&tag.name).into_owned();
        if let Some((hider, depth)) = &mut self.hidden {
            if *hider == name {
                *depth += 1;
            }
            return;
        }
        let attribute = |name: &str| {
            let value = tag.attributes.get(name.as_bytes())?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        let class = attribute("class").unwrap_or_default();
        let has_class = |wanted: &str| class.split_ascii_whitespace().any(|class| class == wanted);
        if HIDDEN.contains(&name.as_str()) || has_class(QUOTE_STAND_IN) {
            self.hidden = Some((name, 1));
            return;
        }
        match name.as_str() {
            "br" => self.new_line(1),
            "li" => self.new_line(1),
            "pre" => {
                self.new_line(2);
                self.preformatted += 1;
            }
            "a" => {
                self.end_link();
                let address = attribute("href").filter(|href| is_web_address(href));
                if let (Some(address), false) = (address, has_class("mention") || has_class("hashtag")) {
                    self.link = Some((self.out.len(), address));
                }
            }
            name if BLOCKS.contains(&name) => self.new_line(2),
            _ => {}
        }
    }

    fn close(&mut self, name: &str) {
        if let Some((hider, depth)) = &mut self.hidden {
            if hider == name {
                *depth -= 1;
                if *depth == 0 {
                    self.hidden = None;
                }
            }
            return;
        }
        match name {
            "a" => self.end_link(),
            "pre" => {
                self.preformatted = self.preformatted.saturating_sub(1);
                self.new_line(2);
            }
            name if BLOCKS.contains(&name) => self.new_line(2),
            _ => {}
        }
    }

    fn push(&mut self, text: &str) {
        if self.hidden.is_some() {
            return;
        }
        if self.preformatted > 0 {
            self.out.push_str(text);
            return;
        }
        for c in text.chars() {
            let c = if matches!(c, '\n' | '\r' | '\t' | '\u{c}') { ' ' } else { c };
            if c != ' ' || !(self.out.is_empty() || self.out.ends_with([' ', '\n'])) {
                self.out.push(c);
            }
        }
    }

    /// Ends the line; with `newlines` = 2, an empty line follows.
    fn new_line(&mut self, newlines: usize) {
        self.end_link();
        while self.out.ends_with(' ') {
            self.out.pop();
        }
        let there = self.out.bytes().rev().take(newlines).take_while(|&byte| byte == b'\n').count();
        if !self.out.is_empty() {
            // A `br` always adds one; adjacent blocks share one empty line.
            let more = if newlines == 1 { 1 } else { newlines.saturating_sub(there) };
            (0..more).for_each(|_| self.out.push('\n'));
        }
    }

    fn end_link(&mut self) {
        let Some((start, address)) = self.link.take() else {
            return;
        };
        let shown = self.out.get(start..).unwrap_or_default().trim();
        if is_shown_address(shown, &address) {
            self.out.truncate(start);
            self.out.push_str(&address);
        }
    }
}

fn is_web_address(text: &str) -> bool {
    let scheme =
        |scheme: &str| text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme));
    (scheme("http:") || scheme("https:")) && !text.contains(char::is_whitespace)
}

/// Whether a link's text is its address, possibly as shortened by a program: without scheme or
/// `www.`, or with an ellipsis at its end.
pub fn is_shown_address(shown: &str, address: &str) -> bool {
    fn bare(text: &str) -> &str {
        let text = text.split_once("://").map_or(text, |(_, rest)| rest);
        text.strip_prefix("www.").unwrap_or(text)
    }
    if shown.is_empty() || shown.contains(char::is_whitespace) {
        return false;
    }
    let whole = shown.trim_end_matches('…').trim_end_matches("...");
    let cut = whole.len() < shown.len();
    is_web_address(shown)
        || shown.starts_with("www.")
        || !whole.is_empty() && bare(address).starts_with(bare(whole))
        || (cut || shown.contains('/')) && shown.contains('.')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::clean::clean;
    use super::*;

    #[test]
    fn paragraphs_and_breaks_are_lines() {
        assert_eq!(
            to_text("<p>The lamp<br>is lit</p><p>and  so\n am I</p>"),
            "The lamp\nis lit\n\nand so am I"
        );
        assert_eq!(to_text("one<br><br/>two"), "one\n\ntwo");
        assert_eq!(to_text("<ul><li>oil</li><li>wick</li></ul><pre>a\n  b</pre>"), "oil\nwick\n\na\n  b");
    }

    #[test]
    fn entities_are_what_they_stand_for() {
        assert_eq!(
            to_text("<p>fish &amp; chips &lt;3 &quot;x&quot; &#39;y&#39;&nbsp;z</p>"),
            "fish & chips <3 \"x\" 'y'\u{a0}z"
        );
    }

    #[test]
    fn mentions_and_hashtags_stay() {
        let html = r#"<p><span class="h-card"><a href="https://sea.example/@gull" class="u-url mention">@<span>gull</span></a></span>
            so it is <a href="https://sea.example/tags/fog" class="mention hashtag" rel="tag">#<span>fog</span></a></p>"#;
        assert_eq!(to_text(html), "@gull so it is #fog");
    }

    #[test]
    fn links_are_whole_addresses_that_the_cleaning_finds() {
        let mastodon = r#"<p>The log: <a href="https://www.lights.example/log/1871/04" target="_blank" rel="nofollow"><span class="invisible">https://www.</span><span class="ellipsis">lights.example/log</span><span class="invisible">/1871/04</span></a> and more</p>"#;
        assert_eq!(to_text(mastodon), "The log: https://www.lights.example/log/1871/04 and more");
        assert_eq!(clean(&to_text(mastodon)), "The log: and more");
        let shortened = r#"see <a href="https://lights.example/log/1871">lights.example/lo…</a> now"#;
        assert_eq!(clean(&to_text(shortened)), "see now");
        let elsewhere = r#"see <a href="https://short.example/x1">lights.example/log/18...</a> now"#;
        assert_eq!(clean(&to_text(elsewhere)), "see now");
    }

    #[test]
    fn words_that_link_stay_words() {
        let html = r#"read <a href="https://lights.example/log">the log</a>, <a href="https://a.example/">here</a> <a href="javascript:x">a.example</a>"#;
        assert_eq!(to_text(html), "read the log, here a.example");
    }

    #[test]
    fn what_is_not_shown_is_not_text() {
        let html = r#"<p class="quote-inline">RE: <a href="https://a.example/1">https://a.example/1</a></p><p>Well said</p><script>x<y</script><!-- no -->"#;
        assert_eq!(to_text(html), "Well said");
        assert_eq!(to_text("<style>p{}</style>a<b>b</b>"), "ab");
    }

    #[test]
    fn broken_html_is_read_as_far_as_it_goes() {
        assert_eq!(to_text("a <b>c</i> d</p></p> <a href='https://x.example"), "a c d");
        assert_eq!(to_text("1 < 2 && 3 > 2"), "1 < 2 && 3 > 2");
    }

    proptest! {
        #[test]
        fn any_text_is_read(html: String, tags in "(<(p|a href=http:x|br|pre|script|/a|/p|/pre)>|[a &;…./\n]){0,40}") {
            let _ = (to_text(&html), to_text(&tags));
        }

        #[test]
        fn text_without_markup_comes_back(text in "[a-z]{1,9}( [a-z.!?äß灯]{1,9}){0,9}") {
            prop_assert_eq!(to_text(&text), text);
        }
    }
}
