//! Sharing a draft: its text, and URLs of forms filled in with it. None posts anything by itself.

use super::weight::{MAX_WEIGHT, weight};

/// Where a draft can be posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    X,
    Mastodon,
    Bluesky,
}

impl Network {
    pub const ALL: [Self; 3] = [Self::X, Self::Mastodon, Self::Bluesky];

    pub fn name(self) -> &'static str {
        match self {
            Self::X => "X",
            Self::Mastodon => "Mastodon",
            Self::Bluesky => "Bluesky",
        }
    }

    /// URL of the form, with the text filled in. Mastodon's asks for the visitor's server, and gets
    /// the text in the fragment, which is never sent.
    pub fn post_url(self, text: &str) -> String {
        let form = match self {
            Self::X => "https://x.com/intent/post?text=",
            Self::Mastodon => "https://share.joinmastodon.org/#text=",
            Self::Bluesky => "https://bsky.app/intent/compose?text=",
        };
        format!("{form}{}", encode(text))
    }
}

/// Returns the bot's line and the draft with its prompt in brackets, cut at a word if it is too
/// long for a post.
pub fn share_text(line: &str, start: &str, draft: &str) -> String {
    let heading = format!("🤖 {line}\n\n");
    let room = MAX_WEIGHT.saturating_sub(weight(&heading) + weight("[]"));
    let draft = cut_at_word(draft, room);
    let marked = match draft.strip_prefix(start) {
        Some(rest) if !start.is_empty() => format!("[{start}]{rest}"),
        _ => draft,
    };
    heading + &marked
}

/// Builds a URL query: `?name=value&…`.
pub fn search(parameters: &[(&str, String)]) -> String {
    let pairs = parameters.iter().map(|(name, value)| format!("{name}={}", encode(value)));
    format!("?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// Returns the text if its weight is at most `most`, else as many words as fit with an ellipsis.
fn cut_at_word(text: &str, most: usize) -> String {
    if weight(text) <= most {
        return text.into();
    }
    const ELLIPSIS: &str = "…";
    let fits = |end: &usize| weight(&text[..*end]) + weight(ELLIPSIS) <= most;
    let ends = text.char_indices().map(|(end, _)| end);
    // A character may add no weight to the one before it, but never reduces it.
    let end = ends.take_while(fits).last().unwrap_or(0);
    let head = &text[..end];
    // Cut inside a word if there are no spaces, or cutting at one would lose over half.
    let words = head.rsplit_once(' ').map_or("", |(words, _)| words);
    let whole = text[end..].starts_with(' ');
    let head = if !whole && 2 * words.len() >= head.len() { words } else { head };
    format!("{}{ELLIPSIS}", head.trim_end())
}

/// Percent-encodes everything but unreserved characters.
fn encode(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(byte as char),
            _ => {
                encoded.push('%');
                encoded.push(DIGITS[usize::from(byte >> 4)] as char);
                encoded.push(DIGITS[usize::from(byte & 15)] as char);
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_marked() {
        let text = share_text("Lamp wrote:", "My dream is", "My dream is to sleep.");
        assert_eq!(text, "🤖 Lamp wrote:\n\n[My dream is] to sleep.");
        assert!(share_text("", "", "To sleep.").ends_with("\n\nTo sleep."));
    }

    #[test]
    fn what_is_posted_is_no_longer_than_a_post() {
        for word in ["fog ", "霧", "👩‍🚀 ", "https://example.com/a/long/path/of/a/page "] {
            let draft = word.repeat(200);
            let text = share_text("Lamp, an AI bot, wrote:", word.trim(), &draft);
            assert!(text.ends_with('…'), "{text}");
            let room = MAX_WEIGHT - weight(&text);
            assert!(room < 2 + weight(word), "{text}: {room} left");
        }
        assert_eq!(cut_at_word("short", 250), "short");
        assert_eq!(cut_at_word(&"fog ".repeat(9), 9), "fog fog…");
        assert_eq!(cut_at_word(&"fog ".repeat(9), 8), "fog…");
        assert_eq!(cut_at_word("unbroken", 5), "unb…");
    }

    #[test]
    fn addresses_carry_any_text() {
        let text = "a&b ü#";
        assert_eq!(Network::X.post_url(text), "https://x.com/intent/post?text=a%26b%20%C3%BC%23");
        assert!(Network::Mastodon.post_url(text).ends_with("/#text=a%26b%20%C3%BC%23"));
        assert_eq!(search(&[("a", "1 2".into()), ("b", "=".into())]), "?a=1%202&b=%3D");
    }
}
