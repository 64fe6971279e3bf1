//! A draft as it leaves the page: the address that opens a post form with it.

/// Longest draft in a share text, in characters, before an ellipsis.
const SHARED_CHARACTERS: usize = 250;

/// The bot's line, then the draft with its start in brackets, cut at a word.
pub fn share_text(bot: &str, start: &str, draft: &str) -> String {
    let draft = cut_at_word(draft, SHARED_CHARACTERS);
    let marked = match draft.strip_prefix(start.trim()) {
        Some(rest) if !start.trim().is_empty() => format!("[{}]{rest}", start.trim()),
        _ => draft,
    };
    format!("🤖 {bot}, an AI bot, wrote:\n\n{marked}")
}

/// Opens the platform's form with the text in it; posts nothing by itself.
pub fn post_url(text: &str) -> String {
    format!("https://x.com/intent/post?text={}", encode(text))
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
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(byte as char),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_marked() {
        let text = share_text("Lamp", "My dream is ", "My dream is to sleep.");
        assert_eq!(text, "🤖 Lamp, an AI bot, wrote:\n\n[My dream is] to sleep.");
        assert!(share_text("Lamp", "", "To sleep.").ends_with("\n\nTo sleep."));
    }

    #[test]
    fn a_long_draft_is_cut_at_a_word() {
        let text = share_text("Lamp", "", &"fog ".repeat(100));
        assert!(text.ends_with("fog…"), "{text}");
        assert!(cut_at_word(&"ü".repeat(300), 250).chars().count() == 251);
        assert_eq!(cut_at_word("short", 250), "short");
    }

    #[test]
    fn addresses_carry_any_text() {
        assert_eq!(post_url("a&b ü#"), "https://x.com/intent/post?text=a%26b%20%C3%BC%23");
    }
}
