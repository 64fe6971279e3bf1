//! Builds the training text from the kept posts.

use std::collections::HashSet;

use thiserror::Error;

use super::counts::{Cleaned, SEPARATOR, joined_chars};
use super::filter::FilteredOut;
use super::shuffle::Shuffler;

/// Minimum length of the kept posts, in characters.
pub const MIN_CHARS: usize = 6_000;

/// Length below which there is a warning, in characters.
pub const ADVISED_CHARS: usize = 40_000;

/// Minimum number of held-out posts; fewer say nothing about a bot.
pub const MIN_HELD_OUT: usize = 10;

/// Maximum length of the training text, all epochs together, in characters; text and ids are in
/// memory as a whole.
pub const MAX_TEXT_CHARS: u64 = 1_000_000_000;

/// Separates the random draw of held-out posts from the epochs' shuffles.
const HOLD_OUT_STREAM: u64 = 0x686f_6c64_5f6f_7574;

/// Enough text to train on, but little.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "only {chars} characters of kept posts; above {ADVISED_CHARS} the bot gets better, and 100000 to 300000 are plenty"
)]
pub struct Warning {
    pub chars: usize,
}

/// Too little text to train on, with what was found.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "too few posts to train on: {chars} characters in {tweets_kept} kept {} of {accounts} \
     ({tweets_downloaded} found, {retweets} retweets, {short_tweets} short{}), \
     at least {MIN_CHARS} characters are needed; {}",
    if *.tweets_kept == 1 { "post" } else { "posts" },
    self.left_out(),
    if .filtered_out.total() > 0 { "loosen the filters, or add another archive" } else { "add another archive" }
)]
pub struct TooFew {
    pub chars: usize,
    /// `@handle`s, joined by `, `.
    pub accounts: String,
    pub tweets_downloaded: usize,
    pub retweets: usize,
    pub short_tweets: usize,
    pub filtered_out: FilteredOut,
    pub duplicates: usize,
    pub tweets_kept: usize,
}

impl TooFew {
    /// The other reasons why posts were not kept, continuing a list.
    fn left_out(&self) -> String {
        let mut text = String::new();
        if self.duplicates > 0 {
            text.push_str(&format!(", {} duplicates", self.duplicates));
        }
        if self.filtered_out.total() > 0 {
            text.push_str(&format!("; filtered out: {}", self.filtered_out.describe()));
        }
        text
    }
}

/// Checks that the kept posts of all accounts together, joined by [`SEPARATOR`], are enough.
///
/// # Errors
/// [`TooFew`] below [`MIN_CHARS`] Unicode code points.
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
            filtered_out: accounts.iter().map(|a| a.filtered_out).sum(),
            duplicates: sum(|a| a.duplicates),
            tweets_kept: sum(|a| a.kept.len()),
        });
    }
    Ok((chars < ADVISED_CHARS).then_some(Warning { chars }))
}

/// Too much text to train on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{epochs} epochs would make a training text of {chars} characters, at most {MAX_TEXT_CHARS} are supported: \
     choose fewer --epochs, or filter the posts"
)]
pub struct TooLong {
    pub epochs: usize,
    pub chars: u64,
}

/// Checks the length of [`training_text`] before it is made.
///
/// # Errors
/// [`TooLong`] above [`MAX_TEXT_CHARS`].
pub fn check_length(accounts: &[Cleaned], epochs: usize, order: Order) -> Result<(), TooLong> {
    let accounts = accounts.iter().filter(|account| !account.kept.is_empty());
    let chars: Vec<u64> = accounts.map(|account| order.chars(account) as u64).collect();
    // Each account is repeated to the length of the largest.
    let largest = chars.iter().copied().max().unwrap_or(0);
    let chars = largest.saturating_mul(chars.len() as u64).saturating_mul(epochs as u64);
    if chars > MAX_TEXT_CHARS { Err(TooLong { epochs, chars }) } else { Ok(()) }
}

/// Checks each account by itself, as the original does: other accounts do not make up for a small
/// one. The warning is that of the smallest.
///
/// # Errors
/// As [`check_size`], for the first account that is too small.
pub fn check_each(accounts: &[Cleaned]) -> Result<Option<Warning>, TooFew> {
    let checked: Result<Vec<Option<Warning>>, TooFew> =
        accounts.iter().map(|account| check_size(std::slice::from_ref(account))).collect();
    Ok(checked?.into_iter().flatten().min_by_key(|warning| warning.chars))
}

/// How the posts of several accounts are ordered, and how an account's length is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Within an epoch, account after account, as in the original. Length counts posts only.
    ByAccount,
    /// All accounts' posts shuffled together, so that a block of tokens mixes accounts. Length
    /// includes separators, so an account of many short posts does not count as smaller than it is.
    Interleaved,
}

impl Order {
    /// Characters that a separator between two posts counts for.
    fn separator_chars(self) -> usize {
        match self {
            Self::ByAccount => 0,
            Self::Interleaved => SEPARATOR.len(),
        }
    }

    /// Length of an account in characters.
    fn chars(self, account: &Cleaned) -> usize {
        let between = account.kept.len().saturating_sub(1);
        account.kept_chars_joined() - between * (SEPARATOR.len() - self.separator_chars())
    }
}

/// The training text: [`SEPARATOR`], then the [`training_posts`], each followed by [`SEPARATOR`].
pub fn training_text(accounts: &[Cleaned], epochs: usize, order: Order, seed: u64) -> String {
    joined(&training_posts(accounts, epochs, order, seed))
}

/// [`SEPARATOR`], then the posts, each followed by [`SEPARATOR`].
pub fn joined(posts: &[&str]) -> String {
    let mut text = String::from(SEPARATOR);
    for post in posts {
        text.push_str(post);
        text.push_str(SEPARATOR);
    }
    text
}

/// The posts to train on: for each epoch all kept posts in a new shuffle.
///
/// Smaller accounts are repeated, in new shuffles, until each has at least as many characters as
/// the largest, to the nearest whole post. One seed determines all orders. Accounts without a kept
/// post are skipped.
pub fn training_posts(accounts: &[Cleaned], epochs: usize, order: Order, seed: u64) -> Vec<&str> {
    let mut shuffler = Shuffler::new(seed);
    let accounts: Vec<&Cleaned> = accounts.iter().filter(|account| !account.kept.is_empty()).collect();
    let largest = accounts.iter().map(|account| order.chars(account)).max().unwrap_or(0);
    let mut all = Vec::new();
    for _ in 0..epochs {
        let mut posts: Vec<&str> = Vec::new();
        for account in &accounts {
            let mut own = repeated(account, largest, order, &mut shuffler);
            if order == Order::ByAccount {
                shuffler.shuffle(&mut own);
            }
            posts.extend(own);
        }
        if order == Order::Interleaved {
            shuffler.shuffle(&mut posts);
        }
        all.extend(posts);
    }
    all
}

/// All posts of the account, then some of them again until there are `chars` characters; empty for
/// an account without posts.
fn repeated<'a>(account: &'a Cleaned, chars: usize, order: Order, shuffler: &mut Shuffler) -> Vec<&'a str> {
    let mut posts: Vec<&str> = account.kept.iter().map(String::as_str).collect();
    let mut total = order.chars(account);
    while total < chars && account.kept.iter().any(|post| !post.is_empty()) {
        let mut again: Vec<&str> = account.kept.iter().map(String::as_str).collect();
        shuffler.shuffle(&mut again);
        for post in again {
            if total >= chars {
                break;
            }
            total += order.separator_chars() + post.chars().count();
            posts.push(post);
        }
    }
    posts
}

/// Drops each kept post whose text already occurred in the same account or in an earlier one.
/// Returns the number dropped; each account also counts its own.
pub fn drop_duplicates(accounts: &mut [Cleaned]) -> usize {
    let mut seen = HashSet::new();
    let mut dropped = 0;
    for account in accounts {
        let before = account.kept.len();
        account.kept.retain(|post| seen.insert(post.clone()));
        account.duplicates += before - account.kept.len();
        dropped += before - account.kept.len();
    }
    dropped
}

/// Too few posts to hold any out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "of {posts} posts {held_out} would be held out, and {MIN_HELD_OUT} at least are needed to measure on, \
     with {MIN_CHARS} characters left to train on; none is held out, so nothing is evaluated and the last \
     weights are kept"
)]
pub struct TooFewToHoldOut {
    pub posts: usize,
    pub held_out: usize,
}

/// Moves a random share (0 to 1) of each account's kept posts, drawn from the seed, to the held-out
/// set, before any epoch is built. The rest keeps its order. Duplicates may end up on both sides,
/// so drop them first.
///
/// # Errors
/// [`TooFewToHoldOut`]; the accounts are then unchanged.
pub fn hold_out(accounts: &mut [Cleaned], share: f64, seed: u64) -> Result<Vec<String>, TooFewToHoldOut> {
    // A separate stream, so that holding out does not change the epochs' shuffles.
    let mut shuffler = Shuffler::new(seed ^ HOLD_OUT_STREAM);
    let posts = accounts.iter().map(|account| account.kept.len()).sum();
    let mut held_out = Vec::new();
    let mut left: Vec<Vec<String>> = Vec::with_capacity(accounts.len());
    for account in accounts.iter() {
        let count = (account.kept.len() as f64 * share.clamp(0.0, 1.0)).round() as usize;
        let mut order: Vec<usize> = (0..account.kept.len()).collect();
        shuffler.shuffle(&mut order);
        let mut drawn = order[..count].to_vec();
        drawn.sort_unstable();
        held_out.extend(drawn.iter().map(|&i| account.kept[i].clone()));
        let stays = |i: &usize| drawn.binary_search(i).is_err();
        left.push((0..account.kept.len()).filter(stays).map(|i| account.kept[i].clone()).collect());
    }
    if held_out.len() < MIN_HELD_OUT || joined_chars(left.iter().flatten()) < MIN_CHARS {
        return Err(TooFewToHoldOut { posts, held_out: held_out.len() });
    }
    for (account, left) in accounts.iter_mut().zip(left) {
        account.kept = left;
    }
    Ok(held_out)
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
        let text = training_text(&one, 4, Order::Interleaved, 1);
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
        assert_eq!(text, training_text(&one, 4, Order::Interleaved, 1));
        assert_ne!(text, training_text(&one, 4, Order::Interleaved, 2));
    }

    #[test]
    fn smaller_accounts_are_repeated_up_to_the_largest_and_interleaved() {
        let large: Vec<String> = (0..300).map(|n| format!("large {n:04}")).collect();
        let large = account("a", &large.iter().map(String::as_str).collect::<Vec<_>>());
        let small = account("b", &["small one", "small two", "small six"]);
        let text = training_text(&[small, large.clone(), account("c", &[])], 1, Order::Interleaved, 3);
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
    fn one_accounts_text_is_the_same_in_both_orders() {
        let one = [account("a", &["one", "two", "three", "four", "five"])];
        let text = |order| training_text(&one, 3, order, 9);
        assert_eq!(text(Order::ByAccount), text(Order::Interleaved));
    }

    #[test]
    fn by_account_an_epoch_holds_one_account_after_the_other() {
        let two = [account("a", &["a1", "a2", "a3"]), account("b", &["b1"])];
        let text = training_text(&two, 2, Order::ByAccount, 5);
        let initials: String = posts(&text).iter().map(|p| &p[..1]).collect();
        assert_eq!(initials, "aaabbbaaabbb");
    }

    #[test]
    fn the_original_measures_accounts_without_what_stands_between_posts() {
        // 24 characters each; 37 and 167 with separators.
        let accounts = [account("a", &["twelve chars"; 2]), account("b", &["aa"; 12])];
        let count = |order| {
            let text = training_text(&accounts, 1, order, 1);
            posts(&text).iter().filter(|post| post.len() > 2).count()
        };
        assert_eq!((count(Order::ByAccount), count(Order::Interleaved)), (2, 8));
    }

    #[test]
    fn the_original_asks_the_least_of_each_account() {
        let (small, large) = ("x".repeat(5_999), "y".repeat(39_000));
        let accounts = [account("large", &[&large]), account("small", &[&small])];
        assert_eq!(check_size(&accounts), Ok(None));
        let error = check_each(&accounts).unwrap_err().to_string();
        assert!(error.contains("1 kept post of @small"), "{error}");
        assert_eq!(check_each(&accounts[..1]), Ok(Some(Warning { chars: 39_000 })));
    }

    #[test]
    fn a_text_that_came_before_is_dropped_whoever_wrote_it() {
        let mut accounts = [account("a", &["one", "two", "one"]), account("b", &["two", "three", "One"])];
        assert_eq!(drop_duplicates(&mut accounts), 2);
        assert_eq!(accounts[0].kept, ["one", "two"]);
        assert_eq!(accounts[1].kept, ["three", "One"]);
        assert_eq!(accounts[0].tweets_downloaded, 3, "what was read is still said");
        assert_eq!((accounts[0].duplicates, accounts[1].duplicates), (1, 1));
    }

    #[test]
    fn a_share_of_every_account_is_held_out_and_in_no_epoch() {
        let many = |prefix: &str, n: usize| -> Vec<String> {
            (0..n).map(|i| format!("{prefix} says that post number {i} is here")).collect()
        };
        let strs = |v: &[String]| account("x", &v.iter().map(String::as_str).collect::<Vec<_>>());
        let whole = [strs(&many("ann", 300)), strs(&many("bob", 100))];
        let mut accounts = whole.clone();
        let held_out = hold_out(&mut accounts, 0.05, 7).unwrap();
        assert_eq!(held_out.iter().filter(|p| p.starts_with("ann")).count(), 15);
        assert_eq!(held_out.iter().filter(|p| p.starts_with("bob")).count(), 5);
        assert_eq!((accounts[0].kept.len(), accounts[1].kept.len()), (285, 95));
        let text = training_text(&accounts, 4, Order::Interleaved, 7);
        assert!(held_out.iter().all(|post| !text.contains(&format!("{SEPARATOR}{post}{SEPARATOR}"))));
        let mut again = whole.clone();
        assert_eq!(hold_out(&mut again, 0.05, 7).unwrap(), held_out);
        let mut other = whole.clone();
        assert_ne!(hold_out(&mut other, 0.05, 8).unwrap(), held_out);
    }

    #[test]
    fn too_little_to_hold_out_leaves_all_to_train_on() {
        let kept: Vec<String> = (0..100).map(|i| format!("post {i} {}", "x".repeat(60))).collect();
        let whole = [account("a", &kept.iter().map(String::as_str).collect::<Vec<_>>())];
        let mut accounts = whole.clone();
        let error = hold_out(&mut accounts, 0.05, 1).unwrap_err();
        assert_eq!(error, TooFewToHoldOut { posts: 100, held_out: 5 });
        assert_eq!(accounts, whole);
        // Enough posts, but too little text would be left to train on.
        assert!(hold_out(&mut accounts, 0.5, 1).is_err());
        assert_eq!(accounts, whole);
    }

    #[test]
    fn too_few_characters_say_what_took_the_others() {
        let mut accounts = [account("a", &["the lamp", "the lamp", "the sea"]), account("b", &["the lamp"])];
        accounts[1].filtered_out = FilteredOut { by_language: 7, replies: 2, ..FilteredOut::default() };
        drop_duplicates(&mut accounts);
        let error = check_size(&accounts).unwrap_err().to_string();
        assert!(
            error.contains(
                "2 kept posts of @a, @b (4 found, 0 retweets, 0 short, 2 duplicates; \
                 filtered out: 7 by language, 2 replies), at least 6000 characters are needed; \
                 loosen the filters, or add another archive"
            ),
            "{error}"
        );
    }

    #[test]
    fn too_few_characters_say_what_was_found() {
        let text = "x".repeat(5_999);
        let error = check_size(&[account("a_b", &[&text])]).unwrap_err();
        assert_eq!(error.chars, 5_999);
        assert!(
            error
                .to_string()
                .starts_with("too few posts to train on: 5999 characters in 1 kept post of @a_b (1")
        );
        assert!(
            error.to_string().ends_with("short), at least 6000 characters are needed; add another archive")
        );
        let text = "x".repeat(6_000);
        assert_eq!(check_size(&[account("a", &[&text])]), Ok(Some(Warning { chars: 6_000 })));
        let text = "x".repeat(40_000);
        assert_eq!(check_size(&[account("a", &[&text])]), Ok(None));
        assert!(check_size(&[]).is_err());
    }

    #[test]
    fn a_text_that_memory_may_not_hold_is_refused_before_it_is_made() {
        let (long, short) = (account("a", &[&"x".repeat(10_000)]), account("b", &["short"]));
        let accounts = [long, short, account("c", &[])];
        for order in [Order::ByAccount, Order::Interleaved] {
            assert_eq!(check_length(&accounts, 50_000, order), Ok(()));
            let error = check_length(&accounts, 50_001, order).unwrap_err();
            assert_eq!(error, TooLong { epochs: 50_001, chars: 1_000_020_000 });
            assert!(error.to_string().contains("fewer --epochs"), "{error}");
            assert!(check_length(&accounts, usize::MAX, order).is_err());
        }
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
            for order in [Order::ByAccount, Order::Interleaved] {
                let separators = training_text(&accounts, epochs, order, seed).matches(SEPARATOR).count();
                prop_assert!(separators > posts * epochs);
            }
        }
    }
}
