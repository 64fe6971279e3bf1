//! `.txt`: one post per line. Blank lines are ignored.

use super::error::{Place, ReadError, utf8};
use super::post::{Archive, Post};

/// Reads the bytes of a text file. `label` names the file in error messages; `stem` is the
/// account's handle and name.
///
/// # Errors
/// [`ReadError::NotUtf8`].
pub fn read(label: &str, stem: &str, bytes: &[u8]) -> Result<Archive, ReadError> {
    let posts = utf8(bytes, || Place::file(label))?
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| Post::from_text(line.to_owned()))
        .collect();
    Ok(Archive::named_after_file(stem, posts))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_line_is_a_post_and_blank_ones_are_none() {
        let archive = read("a.txt", "a", "\u{feff}one here\r\n\n  \nRT @b: two\nthree".as_bytes()).unwrap();
        let texts: Vec<_> = archive.posts.iter().map(|post| (post.text.as_str(), post.is_retweet)).collect();
        assert_eq!(texts, [("one here", false), ("RT @b: two", true), ("three", false)]);
        assert_eq!((archive.handle.as_str(), archive.name.as_str()), ("a", "a"));
    }

    #[test]
    fn text_that_is_not_utf8_is_an_error_with_its_place() {
        let error = read("a.txt", "a", b"fine\nna\xefve").unwrap_err();
        assert_eq!(error.to_string(), "a.txt: is not UTF-8 text (byte 7 of the file); save it as UTF-8");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = read("a.txt", "a", &bytes);
        }
    }
}
