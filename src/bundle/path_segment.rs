//! Percent-encoding of URL path segments (RFC 3986, sections 2.1 and 3.3).

/// Percent-encodes every byte that is not an unreserved character.
pub fn encode(name: &str) -> String {
    let mut segment = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            segment.push(char::from(byte));
        } else {
            segment.push_str(&format!("%{byte:02X}"));
        }
    }
    segment
}

/// Decodes a percent-encoded segment. Returns `None` if a `%` is not followed by two hex
/// digits, or if the result is not UTF-8.
pub fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let (high, low) = (digit()?, digit()?);
            bytes.push((high * 16 + low) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back() {
        for (name, segment) in
            [("model-q8_0.gguf", "model-q8_0.gguf"), ("a b/ü%.txt", "a%20b%2F%C3%BC%25.txt"), ("", "")]
        {
            assert_eq!(encode(name), segment);
            assert_eq!(decode(segment).as_deref(), Some(name));
        }
    }

    #[test]
    fn what_stands_for_no_name_is_none() {
        for segment in ["%", "%2", "%2x", "%ff", "a%"] {
            assert_eq!(decode(segment), None, "{segment}");
        }
    }
}
