//! From kept posts to the text that a bot is trained on.

use thiserror::Error;

use super::counts::{Cleaned, SEPARATOR, joined_chars};
use super::shuffle::Shuffler;

/// Fewer characters than this are refused.
pub const MIN_CHARS: usize = 6_000;

/// Fewer characters than this bring a warning.
pub const ADVISED_CHARS: usize = 40_000;

/// Enough to train, but little.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "only {chars} characters of kept posts; a bot gets better from {ADVISED_CHARS} on, and 100000 to 300000 are plenty"
)]
pub struct Warning {
    pub chars: usize,
}

/// Not enough to train; says what was found.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "too few posts to train on: {chars} characters in {tweets_kept} kept posts of {accounts} \
     ({tweets_downloaded} found, {retweets} retweets, {short_tweets} short), \
     at least {MIN_CHARS} characters are needed; add another archive"
)]
pub struct TooFew {
    pub chars: usize,
    /// `@handle`s, joined by `, `.
    pub accounts: String,
    pub tweets_downloaded: usize,
    pub retweets: usize,
    pub short_tweets: usize,
    pub tweets_kept: usize,
}

/// Whether the kept posts of all accounts together, joined by [`SEPARATOR`],
/// are enough.
///
/// # Errors
/// [`TooFew`] under [`MIN_CHARS`] Unicode code points.
pub fn check_size(accounts: &[Cleaned]) -> Result<Option<Warning>, TooFew> {
    let chars = joined_chars(accounts.iter().flat_map(|account| &account.kept));
    let sum = |count: fn(&Cleaned) -> usize| accounts.iter().map(count).sum();
    if chars < MIN_CHARS {
        return Err(TooFew {
            chars,
            accounts: accounts.iter().map(|a| format!("@{}", a.handle)).collect::<Vec<_>>().join(", "),
            tweets_downloaded: sum(|a| a.tweets_downloaded),
            retweets: sum(|a| a.retweets),
            short_tweets: sum(|a| a.short_tweets),
            tweets_kept: sum(|a| a.kept.len()),
        });
    }
    Ok((chars < ADVISED_CHARS).then_some(Warning { chars }))
}

/// The training text: [`SEPARATOR`], then for each epoch all kept posts in a
/// fresh shuffle, each ended by [`SEPARATOR`].
///
/// Of several accounts the smaller ones are repeated, in fresh shuffles, up to
/// the post with which each has as many characters as the largest; then the
/// posts of all are shuffled together, so that a block of tokens holds several
/// accounts. One seed decides every order. Accounts without a kept post are
/// passed over.
pub fn training_text(accounts: &[Cleaned], epochs: usize, seed: u64) -> String {
    let mut shuffler = Shuffler::new(seed);
    let accounts: Vec<&Cleaned> = accounts.iter().filter(|account| !account.kept.is_empty()).collect();
    let largest = accounts.iter().map(|account| account.kept_chars_joined()).max().unwrap_or(0);
    let mut text = String::from(SEPARATOR);
    for _ in 0..epochs {
        let mut posts: Vec<&str> = Vec::new();
        for account in &accounts {
            posts.extend(repeated(account, largest, &mut shuffler));
        }
        shuffler.shuffle(&mut posts);
        for post in posts {
            text.push_str(post);
            text.push_str(SEPARATOR);
        }
    }
    text
}

/// All posts of the account, then some again until `chars` characters are
/// there. An account without posts gives none.
fn repeated<'a>(account: &'a Cleaned, chars: usize, shuffler: &mut Shuffler) -> Vec<&'a str> {
    let mut posts: Vec<&str> = account.kept.iter().map(String::as_str).collect();
    let mut total = account.kept_chars_joined();
    while total < chars && !account.kept.is_empty() {
        let mut again: Vec<&str> = account.kept.iter().map(String::as_str).collect();
        shuffler.shuffle(&mut again);
        for post in again {
            if total >= chars {
                break;
            }
            total += SEPARATOR.len() + post.chars().count();
            posts.push(post);
        }
    }
    posts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn account(handle: &str, kept: &[&str]) -> Cleaned {
        let kept: Vec<String> = kept.iter().map(|text| (*text).to_owned()).collect();
        Cleaned { handle: handle.to_owned(), tweets_downloaded: kept.len(), kept, ..Cleaned::default() }
    }

    fn posts(text: &str) -> Vec<&str> {
        text.split(SEPARATOR).filter(|post| !post.is_empty()).collect()
    }

    #[test]
    fn each_epoch_holds_every_post_once_in_another_order() {
        let names: Vec<String> = (0..50).map(|n| format!("post {n}")).collect();
        let one = [account("a", &names.iter().map(String::as_str).collect::<Vec<_>>())];
        let text = training_text(&one, 4, 1);
        assert!(text.starts_with("<|endoftext|>post ") && text.ends_with(SEPARATOR));
        assert_eq!(text.matches(SEPARATOR).count(), 1 + 4 * 50);
        let posts = posts(&text);
        let epochs: Vec<_> = posts.chunks(50).collect();
        let mut expected: Vec<_> = names.iter().map(String::as_str).collect();
        expected.sort_unstable();
        for epoch in &epochs {
            let mut found = epoch.to_vec();
            found.sort_unstable();
            assert_eq!(found, expected);
        }
        assert_ne!(epochs[0], epochs[1]);
        assert_eq!(text, training_text(&one, 4, 1));
        assert_ne!(text, training_text(&one, 4, 2));
    }

    #[test]
    fn smaller_accounts_are_repeated_up_to_the_largest_and_interleaved() {
        let large: Vec<String> = (0..300).map(|n| format!("large {n:04}")).collect();
        let large = account("a", &large.iter().map(String::as_str).collect::<Vec<_>>());
        let small = account("b", &["small one", "small two", "small six"]);
        let text = training_text(&[small, large.clone(), account("c", &[])], 1, 3);
        let found = posts(&text);
        let chars = |prefix: &str| {
            let of: Vec<String> =
                found.iter().filter(|p| p.starts_with(prefix)).map(|p| (*p).to_owned()).collect();
            joined_chars(&of)
        };
        assert_eq!(chars("large"), large.kept_chars_joined());
        let over = chars("small") - chars("large");
        assert!(over < SEPARATOR.len() + 9, "{over}");
        for half in [&found[..found.len() / 2], &found[found.len() / 2..]] {
            let small = half.iter().filter(|p| p.starts_with("small")).count();
            assert!(small > half.len() / 3 && small < half.len() * 2 / 3, "{small} of {}", half.len());
        }
    }

    #[test]
    fn too_few_characters_say_what_was_found() {
        let text = "x".repeat(5_999);
        let error = check_size(&[account("a_b", &[&text])]).unwrap_err();
        assert_eq!(error.chars, 5_999);
        assert!(
            error
                .to_string()
                .starts_with("too few posts to train on: 5999 characters in 1 kept posts of @a_b (1")
        );
        let text = "x".repeat(6_000);
        assert_eq!(check_size(&[account("a", &[&text])]), Ok(Some(Warning { chars: 6_000 })));
        let text = "x".repeat(40_000);
        assert_eq!(check_size(&[account("a", &[&text])]), Ok(None));
        assert!(check_size(&[]).is_err());
    }

    proptest! {
        #[test]
        fn any_accounts_give_a_text(kept in prop::collection::vec(prop::collection::vec("[a-c]{1,9}", 0..5), 0..4),
                                    epochs in 0usize..3, seed: u64) {
            let accounts: Vec<Cleaned> = kept
                .iter()
                .map(|kept| account("a", &kept.iter().map(String::as_str).collect::<Vec<_>>()))
                .collect();
            let posts: usize = kept.iter().map(Vec::len).sum();
            let separators = training_text(&accounts, epochs, seed).matches(SEPARATOR).count();
            prop_assert!(separators > posts * epochs);
        }
    }
}
