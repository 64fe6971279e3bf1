//! The four counts of an account, and its posts that are left to train on.

use super::clean::{clean, fix, is_short};
use super::post::Archive;
use crate::bundle::manifest::AccountCounts;

/// What stands between posts, in the training text as in the model.
pub const SEPARATOR: &str = "<|endoftext|>";

/// An account after cleaning. `tweets_downloaded = retweets + short_tweets +
/// kept.len()`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cleaned {
    pub handle: String,
    pub name: String,
    pub tweets_downloaded: usize,
    pub retweets: usize,
    pub short_tweets: usize,
    /// Cleaned posts in the order of the source, duplicates included.
    pub kept: Vec<String>,
}

impl Cleaned {
    /// Sets retweets aside, then cleans and drops the short posts.
    pub fn from_archive(archive: &Archive) -> Self {
        let mut cleaned = Self {
            handle: archive.handle.clone(),
            name: archive.name.clone(),
            tweets_downloaded: archive.posts.len(),
            ..Self::default()
        };
        for post in &archive.posts {
            if post.is_retweet {
                cleaned.retweets += 1;
                continue;
            }
            let text = clean(&fix(&post.text));
            if is_short(&text) {
                cleaned.short_tweets += 1;
            } else {
                cleaned.kept.push(text);
            }
        }
        cleaned
    }

    /// Unicode code points of the kept posts joined by [`SEPARATOR`].
    pub fn kept_chars_joined(&self) -> usize {
        joined_chars(&self.kept)
    }

    /// The account's row in `bot.json` and on the card.
    pub fn counts(&self) -> AccountCounts {
        AccountCounts {
            handle: self.handle.clone(),
            name: self.name.clone(),
            tweets_downloaded: self.tweets_downloaded,
            retweets: self.retweets,
            short_tweets: self.short_tweets,
            tweets_kept: self.kept.len(),
        }
    }
}

impl From<&Cleaned> for AccountCounts {
    fn from(cleaned: &Cleaned) -> Self {
        cleaned.counts()
    }
}

/// Unicode code points of these posts joined by [`SEPARATOR`].
pub(crate) fn joined_chars<'a>(posts: impl IntoIterator<Item = &'a String>) -> usize {
    let (mut chars, mut count) = (0, 0usize);
    for post in posts {
        chars += post.chars().count();
        count += 1;
    }
    chars + count.saturating_sub(1) * SEPARATOR.len()
}

#[cfg(test)]
mod tests {
    use super::super::post::Post;
    use super::*;

    #[test]
    fn downloaded_is_retweets_and_short_and_kept() {
        let texts =
            ["RT @a: three whole words", "two words", "Grüße an alle &amp; jeden https://t.co/x", "a b c"];
        let posts = texts.map(|text| Post::from_text(text.to_owned())).to_vec();
        let archive = Archive { handle: "a_b".to_owned(), name: "A B".to_owned(), posts };
        let cleaned = Cleaned::from_archive(&archive);
        assert_eq!((cleaned.tweets_downloaded, cleaned.retweets, cleaned.short_tweets), (4, 1, 1));
        assert_eq!(cleaned.kept, ["Grüße an alle & jeden", "a b c"]);
        assert_eq!(cleaned.kept_chars_joined(), 21 + 13 + 5);
        assert_eq!(AccountCounts::from(&cleaned).tweets_kept, 2);
        assert_eq!(Cleaned::default().kept_chars_joined(), 0);
    }
}
