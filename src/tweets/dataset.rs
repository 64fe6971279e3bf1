//! From cleaned posts to the training text, as the original makes it.

use thiserror::Error;

use super::{Cleaned, counts::{SEPARATOR, joined_chars}, shuffle::Shuffler};

/// Fewer characters than this cannot train a bot.
pub const MIN_CHARS: usize = 6_000;

/// Fewer than this make a poor one.
pub const FEW_CHARS: usize = 40_000;

/// Too little to train on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "only {chars} characters in {posts} kept posts (of {downloaded}: {retweets} retweets, {short} too short); at least {MIN_CHARS} are needed, so add posts or another archive"
)]
pub struct TooFew {
    pub chars: usize,
    pub posts: usize,
    pub downloaded: usize,
    pub retweets: usize,
    pub short: usize,
}

/// Enough to train on, but little.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    pub chars: usize,
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let chars = self.chars;
        write!(f, "only {chars} characters of posts; the bot will be better with {FEW_CHARS} or more")
    }
}

/// Holds the joined length of all accounts' kept posts against the original's
/// two limits.
pub fn check_size(accounts: &[Cleaned]) -> Result<Option<Warning>, TooFew> {
    let chars = joined_chars(accounts.iter().flat_map(|a| &a.kept));
    let sum = |f: fn(&Cleaned) -> usize| accounts.iter().map(f).sum();
    if chars < MIN_CHARS {
        return Err(TooFew {
            chars,
            posts: sum(|a| a.kept.len()),
            downloaded: sum(|a| a.tweets_downloaded),
            retweets: sum(|a| a.retweets),
            short: sum(|a| a.short_tweets),
        });
    }
    Ok((chars < FEW_CHARS).then_some(Warning { chars }))
}

/// The training text: `<|endoftext|>`, then for each epoch all posts in a
/// fresh shuffle, each followed by `<|endoftext|>`.
///
/// Of several accounts, the smaller are repeated (their posts over again from
/// the first) until each has as many characters as the largest; the shuffle
/// interleaves them.
pub fn training_text(accounts: &[Cleaned], epochs: usize, seed: u64) -> String {
    let posts = balanced(accounts);
    let mut shuffler = Shuffler::new(seed);
    let mut text = String::from(SEPARATOR);
    for _ in 0..epochs {
        let mut order: Vec<&str> = posts.clone();
        shuffler.shuffle(&mut order);
        for post in order {
            text.push_str(post);
            text.push_str(SEPARATOR);
        }
    }
    text
}

fn balanced(accounts: &[Cleaned]) -> Vec<&str> {
    let chars = |posts: &[String]| posts.iter().map(|p| p.chars().count()).sum::<usize>();
    let largest = accounts.iter().map(|a| chars(&a.kept)).max().unwrap_or(0);
    let mut posts = Vec::new();
    for account in accounts {
        let mut have = 0;
        let mut again = account.kept.iter().cycle();
        let mut whole = account.kept.len();
        // All posts once, then over again while characters are missing.
        while let Some(post) = again.next() {
            if whole == 0 && have >= largest {
                break;
            }
            whole = whole.saturating_sub(1);
            have += post.chars().count().max(1);
            posts.push(post.as_str());
        }
    }
    posts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(posts: &[&str]) -> Cleaned {
        Cleaned { kept: posts.iter().map(|p| p.to_string()).collect(), ..Cleaned::default() }
    }

    #[test]
    fn each_epoch_holds_every_post_once_in_its_own_order() {
        let posts: Vec<String> = (0..20).map(|i| format!("post {i}")).collect();
        let names: Vec<&str> = posts.iter().map(String::as_str).collect();
        let text = training_text(&[account(&names)], 3, 9);
        let found: Vec<&str> = text.split(SEPARATOR).collect();
        assert_eq!((found[0], found.len()), ("", 20 * 3 + 2));
        let epochs: Vec<Vec<&str>> = found[1..61].chunks(20).map(<[&str]>::to_vec).collect();
        for epoch in &epochs {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            let mut all = names.clone();
            all.sort_unstable();
            assert_eq!(sorted, all);
        }
        assert_ne!(epochs[0], epochs[1]);
        assert_eq!(text, training_text(&[account(&names)], 3, 9));
        assert_ne!(text, training_text(&[account(&names)], 3, 10));
    }

    #[test]
    fn smaller_accounts_are_repeated_up_to_the_largest() {
        let text = training_text(&[account(&["aaaa", "bbbb", "cccc"]), account(&["xx", "yy"])], 1, 0);
        let count = |post| text.matches(post).count();
        assert_eq!((count("aaaa"), count("cccc")), (1, 1));
        assert_eq!((count("xx"), count("yy")), (3, 3));
    }

    #[test]
    fn limits_are_the_originals() {
        let of = |chars: usize| check_size(&[account(&["x".repeat(chars).as_str()])]);
        assert!(of(5_999).unwrap_err().to_string().contains("5999"));
        assert_eq!(of(39_999).unwrap(), Some(Warning { chars: 39_999 }));
        assert_eq!(of(40_000).unwrap(), None);
        assert!(check_size(&[]).is_err() && check_size(&[account(&[])]).is_err());
        assert_eq!(training_text(&[account(&[])], 2, 0), SEPARATOR);
    }
}
