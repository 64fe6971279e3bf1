//! A draft as it leaves the page: texts and the addresses that open a form
//! with them. None posts anything by itself.

/// Longest draft in a share text, in characters, before an ellipsis.
const SHARED_CHARACTERS: usize = 250;

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

    /// The form with the text in it. Mastodon's asks which server is the
    /// visitor's, and gets the text in the part that is never sent.
    pub fn post_url(self, text: &str) -> String {
        let form = match self {
            Self::X => "https://x.com/intent/post?text=",
            Self::Mastodon => "https://share.joinmastodon.org/#text=",
            Self::Bluesky => "https://bsky.app/intent/compose?text=",
        };
        format!("{form}{}", encode(text))
    }
}

/// The bot's line, then the draft with its start in brackets, cut at a word.
pub fn share_text(line: &str, start: &str, draft: &str) -> String {
    let draft = cut_at_word(draft, SHARED_CHARACTERS);
    let marked = match draft.strip_prefix(start.trim()) {
        Some(rest) if !start.trim().is_empty() => format!("[{}]{rest}", start.trim()),
        _ => draft,
    };
    format!("🤖 {line}\n\n{marked}")
}

/// The search part of an address: `?name=value&…`.
pub fn search(parameters: &[(&str, String)]) -> String {
    let pairs = parameters.iter().map(|(name, value)| format!("{name}={}", encode(value)));
    format!("?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// The text, or its first words and an ellipsis.
fn cut_at_word(text: &str, characters: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(characters) else { return text.into() };
    let head = &text[..end];
    let head = head.rsplit_once(' ').map_or(head, |(words, _)| words);
    format!("{}…", head.trim_end())
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
        let text = share_text("Lamp wrote:", "My dream is ", "My dream is to sleep.");
        assert_eq!(text, "🤖 Lamp wrote:\n\n[My dream is] to sleep.");
        assert!(share_text("", "", "To sleep.").ends_with("\n\nTo sleep."));
    }

    #[test]
    fn a_long_draft_is_cut_at_a_word() {
        let text = share_text("", "", &"fog ".repeat(100));
        assert!(text.ends_with("fog…"), "{text}");
        assert!(cut_at_word(&"ü".repeat(300), 250).chars().count() == 251);
        assert_eq!(cut_at_word("short", 250), "short");
    }

    #[test]
    fn addresses_carry_any_text() {
        let text = "a&b ü#";
        assert_eq!(Network::X.post_url(text), "https://x.com/intent/post?text=a%26b%20%C3%BC%23");
        assert!(Network::Mastodon.post_url(text).ends_with("/#text=a%26b%20%C3%BC%23"));
        assert_eq!(search(&[("a", "1 2".into()), ("b", "=".into())]), "?a=1%202&b=%3D");
    }
}
