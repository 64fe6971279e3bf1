//! The length of a tweet: the platform's weighted count, which may be at most 280. Latin letters
//! and common punctuation weigh one, everything else two; a link weighs 23 whatever its length, an
//! emoji two however many code points it has. Source: X's documentation, "Counting characters", and
//! the configuration (version 3) of its twitter-text library.

/// Maximum weight of a post.
pub const MAX_WEIGHT: usize = 280;

const LINK: usize = 23;
const HEAVY: usize = 2;

/// Ranges of code points of weight one.
const LIGHT: [(u32, u32); 4] = [(0, 4351), (8192, 8205), (8208, 8223), (8242, 8247)];

/// Generic domains under which a name without `https://` becomes a link.
const GENERIC: [&str; 22] = [
    "com", "org", "net", "edu", "gov", "mil", "int", "info", "biz", "name", "app", "dev", "page", "blog",
    "social", "online", "site", "shop", "xyz", "news", "art", "cloud",
];
/// Country domains under which it does so even without a path.
const AS_GENERIC: [&str; 2] = ["co", "tv"];

/// The weight of a text in Unicode normalisation form C, as browsers make it.
pub fn weight(text: &str) -> usize {
    let mut total = 0;
    let mut rest = text;
    let mut before = None;
    while let Some(c) = rest.chars().next() {
        let (length, weight) = match link_length(rest, before) {
            Some(length) => (length, LINK),
            None => match emoji_length(rest) {
                Some(length) => (length, HEAVY),
                None => (c.len_utf8(), weight_of(c)),
            },
        };
        total += weight;
        before = rest[..length].chars().next_back();
        rest = &rest[length..];
    }
    total
}

fn weight_of(c: char) -> usize {
    let light = LIGHT.iter().any(|&(first, last)| (first..=last).contains(&u32::from(c)));
    if light { 1 } else { HEAVY }
}

/// Bytes of the link at the start of the text.
fn link_length(text: &str, before: Option<char>) -> Option<usize> {
    // No link begins in the middle of a word, a name or a tag.
    if before.is_some_and(|c| c.is_alphanumeric() || "@#$_.-/".contains(c)) {
        return None;
    }
    let scheme = ["https://", "http://"]
        .into_iter()
        .find(|scheme| text.get(..scheme.len()).is_some_and(|head| head.eq_ignore_ascii_case(scheme)));
    let scheme_length = scheme.map_or(0, str::len);
    let after = &text[scheme_length..];
    let host_length =
        after.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '.')).unwrap_or(after.len());
    let host = after[..host_length].trim_end_matches(['.', '-']);
    // An e-mail address is not a link.
    if after[host.len()..].starts_with('@') {
        return None;
    }
    let path = path_length(&after[host.len()..]);
    let (name, domain) = host.rsplit_once('.')?;
    if name.is_empty() || name.split('.').any(str::is_empty) {
        return None;
    }
    let domain = domain.to_ascii_lowercase();
    let country = domain.len() == 2 && domain.bytes().all(|b| b.is_ascii_lowercase());
    let generic = GENERIC.contains(&domain.as_str());
    let is_link = match scheme {
        Some(_) => domain.len() >= 2 && domain.bytes().all(|b| b.is_ascii_lowercase()),
        // `it.is` in running text is not a link; `it.is/so` is.
        None => generic || country && (path > 0 || name.contains('.') || AS_GENERIC.contains(&&*domain)),
    };
    is_link.then_some(scheme_length + host.len() + path)
}

/// Bytes of a path, query or port after a host, without the punctuation that ends a sentence.
fn path_length(text: &str) -> usize {
    let begins = text.starts_with(['/', '?'])
        || text.strip_prefix(':').is_some_and(|port| port.starts_with(|c: char| c.is_ascii_digit()));
    if !begins {
        return 0;
    }
    let end = text.find(|c: char| c.is_whitespace() || "<>\"“”".contains(c)).unwrap_or(text.len());
    let path = text[..end].trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', ')', '…']);
    path.len()
}

/// Bytes of the emoji at the start of the text.
fn emoji_length(text: &str) -> Option<usize> {
    let first = text.chars().next()?;
    let mut length = first.len_utf8();
    let next = |length: usize| text[length..].chars().next();
    if first.is_ascii_digit() || first == '#' || first == '*' {
        if next(length) == Some('\u{fe0f}') {
            length += '\u{fe0f}'.len_utf8();
        }
        return (next(length) == Some('\u{20e3}')).then(|| length + '\u{20e3}'.len_utf8());
    }
    if is_regional(first) {
        return next(length).filter(|c| is_regional(*c)).map(|second| length + second.len_utf8());
    }
    // ©, ® and ™ are text unless a variation selector makes them emoji.
    let asked = matches!(first, '©' | '®' | '™') && next(length) == Some('\u{fe0f}');
    if !is_pictograph(first) && !asked {
        return None;
    }
    while let Some(c) = next(length) {
        let joined = c == '\u{200d}';
        let after = joined.then(|| next(length + c.len_utf8())).flatten().filter(|c| is_pictograph(*c));
        if let Some(picture) = after {
            length += c.len_utf8() + picture.len_utf8();
        } else if c == '\u{fe0f}' || is_skin(c) || is_tag(c) {
            length += c.len_utf8();
        } else {
            break;
        }
    }
    Some(length)
}

fn is_regional(c: char) -> bool {
    ('\u{1f1e6}'..='\u{1f1ff}').contains(&c)
}

fn is_skin(c: char) -> bool {
    ('\u{1f3fb}'..='\u{1f3ff}').contains(&c)
}

/// Tag characters, which spell a region's flag after 🏴.
fn is_tag(c: char) -> bool {
    ('\u{e0020}'..='\u{e007f}').contains(&c)
}

fn is_pictograph(c: char) -> bool {
    matches!(u32::from(c), 0x1f000..=0x1faff | 0x2600..=0x27bf | 0x2b00..=0x2bff | 0x2300..=0x23ff | 0x3030 | 0x303d | 0x3297 | 0x3299)
        && !is_regional(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latin_weighs_one_and_ideographs_two() {
        for (text, expected) in [
            ("", 0),
            ("fog", 3),
            ("grüße", 5),
            ("“—”…", 5),
            ("霧笛", 4),
            ("きり", 4),
            ("안개", 4),
            ("Привет", 6),
        ] {
            assert_eq!(weight(text), expected, "{text}");
        }
    }

    #[test]
    fn a_link_weighs_23_whatever_its_length() {
        for (text, expected) in [
            ("https://a.co", 23),
            ("see https://example.com/a/very/long/path?with=a&query=of#its own", 4 + 23 + 4),
            ("(http://example.com/a).", 1 + 23 + 2),
            ("example.com", 23),
            ("WWW.example.co.uk now", 23 + 4),
            ("it.is what it.is", 16),
            ("it.is/so", 23),
            ("t.co", 23),
            ("a@example.com", 13),
            ("end.Begin", 9),
            ("1.5 m, e.g. this...", 19),
            ("https://nothing", 15),
        ] {
            assert_eq!(weight(text), expected, "{text}");
        }
    }

    #[test]
    fn an_emoji_weighs_two_however_it_is_made() {
        for text in ["🦭", "👩🏽‍🚀", "👨‍👩‍👧‍👦", "🇩🇪", "3️⃣", "❤️", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "©️", "☂"]
        {
            assert_eq!(weight(text), 2, "{text}");
        }
        assert_eq!(weight("🦭🦭"), 4);
        assert_eq!(weight("3 #4 ©"), 6);
    }

    #[test]
    fn two_hundred_and_eighty_letters_or_half_as_many_ideographs_fit() {
        assert_eq!(weight(&"a".repeat(280)), MAX_WEIGHT);
        assert_eq!(weight(&"霧".repeat(140)), MAX_WEIGHT);
    }
}
