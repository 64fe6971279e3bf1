//! An account's counts, and its posts that remain for training.

use super::clean::{clean, fix, is_short};
use super::filter::{Filter, FilteredOut};
use super::language;
use super::post::{Archive, Unreadable};
use crate::bundle::manifest::AccountCounts;

/// The separator of posts, in the training text and in the vocabulary.
pub const SEPARATOR: &str = "<|endoftext|>";

/// An account after cleaning. Until posts are held out, `tweets_downloaded = retweets +
/// filtered_out.total() + short_tweets + duplicates + kept.len()`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cleaned {
    pub handle: String,
    pub name: String,
    pub tweets_downloaded: usize,
    pub retweets: usize,
    pub short_tweets: usize,
    /// Zero without a filter, as in the original.
    pub filtered_out: FilteredOut,
    /// Dropped by [`super::dataset::drop_duplicates`].
    pub duplicates: usize,
    /// Entries that could not be read; they are in no other count.
    pub unreadable: Unreadable,
    /// Language of most of the kept posts, if the source says: a tag without region.
    pub language: Option<String>,
    /// Cleaned posts in the order of the source, including duplicates until they are dropped.
    pub kept: Vec<String>,
}

impl Cleaned {
    /// Counts retweets, cleans the other posts and drops short ones.
    pub fn from_archive(archive: &Archive) -> Self {
        Self::filtered(archive, &Filter::default())
    }

    /// Like [`Cleaned::from_archive`], with only the posts that pass the filter. Short posts are
    /// counted before its minimum length is applied.
    pub fn filtered(archive: &Archive, filter: &Filter) -> Self {
        let mut kept_langs: Vec<&[String]> = Vec::new();
        let mut cleaned = Self {
            handle: archive.handle.clone(),
            name: archive.name.clone(),
            tweets_downloaded: archive.posts.len(),
            unreadable: archive.unreadable.clone(),
            ..Self::default()
        };
        for post in &archive.posts {
            if post.is_retweet {
                cleaned.retweets += 1;
                continue;
            }
            if let Some(refusal) = filter.refuses(post) {
                cleaned.filtered_out.count(refusal);
                continue;
            }
            let text = clean(&fix(&post.text));
            if is_short(&text) {
                cleaned.short_tweets += 1;
            } else if let Some(refusal) = filter.refuses_cleaned(&text) {
                cleaned.filtered_out.count(refusal);
            } else {
                kept_langs.push(&post.langs);
                cleaned.kept.push(text);
            }
        }
        cleaned.language = language::of_most(kept_langs);
        cleaned
    }

    /// Length of the kept posts joined by [`SEPARATOR`], in Unicode code points.
    pub fn kept_chars_joined(&self) -> usize {
        joined_chars(&self.kept)
    }

    /// The account's row in `bot.json` and on the model card.
    pub fn counts(&self) -> AccountCounts {
        AccountCounts {
            handle: self.handle.clone(),
            name: self.name.clone(),
            tweets_downloaded: self.tweets_downloaded,
            retweets: self.retweets,
            short_tweets: self.short_tweets,
            tweets_kept: self.kept.len(),
            filtered_out: self.filtered_out.total(),
            language: self.language.clone(),
        }
    }
}

/// Length of these posts joined by [`SEPARATOR`], in Unicode code points.
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
        let archive = Archive { name: "A B".to_owned(), ..Archive::named_after_file("a_b", posts) };
        let cleaned = Cleaned::from_archive(&archive);
        assert_eq!((cleaned.tweets_downloaded, cleaned.retweets, cleaned.short_tweets), (4, 1, 1));
        assert_eq!(cleaned.kept, ["Grüße an alle & jeden", "a b c"]);
        assert_eq!(cleaned.kept_chars_joined(), 21 + 13 + 5);
        assert_eq!(cleaned.counts().tweets_kept, 2);
        assert_eq!(Cleaned::default().kept_chars_joined(), 0);
    }

    #[test]
    fn a_filter_changes_neither_retweets_nor_what_is_short() {
        let post = |text: &str, created_at: &str, lang: &str| Post {
            created_at: Some(created_at.to_owned()),
            langs: vec![lang.to_owned()],
            ..Post::from_text(text.to_owned())
        };
        let posts = vec![
            post("RT @a: three whole words", "2018-01-01", "en"),
            post("two words", "2020-01-01", "en"),
            post("three old words", "2018-01-01", "en"),
            post("drei neue Wörter", "2020-01-01", "de"),
            post("a b c", "2020-01-01", "en"),
            post("three new words", "2020-01-01", "en"),
        ];
        let archive = Archive::named_after_file("a", posts);
        let filter = Filter {
            since: crate::tweets::date::day("2019-01-01"),
            languages: vec!["en".to_owned()],
            min_chars: 6,
            ..Filter::default()
        };
        let cleaned = Cleaned::filtered(&archive, &filter);
        assert_eq!(cleaned.kept, ["three new words"]);
        assert_eq!((cleaned.retweets, cleaned.short_tweets), (1, 1));
        let out = FilteredOut { by_date: 1, by_language: 1, too_few_chars: 1, ..FilteredOut::default() };
        assert_eq!(cleaned.filtered_out, out);
        let counts = cleaned.counts();
        assert_eq!((counts.filtered_out, counts.language.as_deref()), (3, Some("en")));
        let sum = cleaned.retweets + out.total() + cleaned.short_tweets + cleaned.kept.len();
        assert_eq!(cleaned.tweets_downloaded, sum);
        assert_eq!(Cleaned::filtered(&archive, &Filter::default()), Cleaned::from_archive(&archive));
    }
}
