//! Filters for an account's own posts. Without a filter all are used, and the counts are the
//! original's.
//!
//! Retweets are set aside first, and short posts are counted before the minimum length applies, so
//! a filter does not change the meaning of these two counts. Until duplicates are dropped,
//! `downloaded = retweets + filtered out + short + kept`.

use serde::{Deserialize, Serialize};
use time::Date;

use super::date;
use super::language;
use super::post::Post;

/// What a post must satisfy. The default accepts every post.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// First day (UTC) to use.
    pub since: Option<Date>,
    /// Last day (UTC) to use.
    pub until: Option<Date>,
    /// Language tags (`en`, `pt-BR`), one of which a post must have; if empty, any language.
    pub languages: Vec<String>,
    /// Leave out replies, including those in the author's own threads.
    pub no_replies: bool,
    /// Minimum length of a cleaned post, in Unicode code points.
    pub min_chars: usize,
}

/// Why a post is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Written before `since` or after `until`.
    Date,
    /// A range of dates is set, but the post has no readable date.
    Undated,
    /// In none of the languages, or without a language tag.
    Language,
    Reply,
    /// Replies are excluded, but the source does not say whether this is one.
    PerhapsReply,
    TooFewChars,
}

/// Numbers of posts left out, by the first reason that applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct FilteredOut {
    pub by_date: usize,
    pub undated: usize,
    pub by_language: usize,
    pub replies: usize,
    pub perhaps_replies: usize,
    pub too_few_chars: usize,
}

impl Filter {
    /// The reason to leave out a post, judged by its data in the source.
    pub fn refuses(&self, post: &Post) -> Option<Refusal> {
        if self.since.is_some() || self.until.is_some() {
            let Some(day) = post.created_at.as_deref().and_then(date::day) else {
                return Some(Refusal::Undated);
            };
            if self.since.is_some_and(|first| day < first) || self.until.is_some_and(|last| day > last) {
                return Some(Refusal::Date);
            }
        }
        let spoken = |wanted: &String| post.langs.iter().any(|tag| language::is_within(tag, wanted));
        if !self.languages.is_empty() && !self.languages.iter().any(spoken) {
            return Some(Refusal::Language);
        }
        match post.in_reply_to {
            _ if !self.no_replies => None,
            Some(false) => None,
            Some(true) => Some(Refusal::Reply),
            None => Some(Refusal::PerhapsReply),
        }
    }

    /// The reason to leave out a post, judged by its cleaned text.
    pub fn refuses_cleaned(&self, cleaned: &str) -> Option<Refusal> {
        let enough = self.min_chars == 0 || cleaned.chars().nth(self.min_chars - 1).is_some();
        (!enough).then_some(Refusal::TooFewChars)
    }
}

impl FilteredOut {
    /// Counts one post.
    pub fn count(&mut self, refusal: Refusal) {
        *match refusal {
            Refusal::Date => &mut self.by_date,
            Refusal::Undated => &mut self.undated,
            Refusal::Language => &mut self.by_language,
            Refusal::Reply => &mut self.replies,
            Refusal::PerhapsReply => &mut self.perhaps_replies,
            Refusal::TooFewChars => &mut self.too_few_chars,
        } += 1;
    }

    /// The total over all reasons.
    pub fn total(&self) -> usize {
        self.reasons().iter().map(|(count, _)| count).sum()
    }

    /// `12 by date, 3 replies`; empty if nothing was left out.
    pub fn describe(&self) -> String {
        let reasons = self.reasons();
        let some = reasons.iter().filter(|(count, _)| *count > 0);
        some.map(|(count, reason)| format!("{count} {reason}")).collect::<Vec<_>>().join(", ")
    }

    fn reasons(&self) -> [(usize, &'static str); 6] {
        [
            (self.by_date, "by date"),
            (self.undated, "without a date"),
            (self.by_language, "by language"),
            (self.replies, "replies"),
            (self.perhaps_replies, "in a file that does not say which posts are replies"),
            (self.too_few_chars, "under the minimum length"),
        ]
    }
}

impl std::iter::Sum for FilteredOut {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |a, b| Self {
            by_date: a.by_date + b.by_date,
            undated: a.undated + b.undated,
            by_language: a.by_language + b.by_language,
            replies: a.replies + b.replies,
            perhaps_replies: a.perhaps_replies + b.perhaps_replies,
            too_few_chars: a.too_few_chars + b.too_few_chars,
        })
    }
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    fn post(created_at: Option<&str>, langs: &[&str], in_reply_to: impl Into<Option<bool>>) -> Post {
        Post {
            created_at: created_at.map(str::to_owned),
            langs: langs.iter().map(|tag| (*tag).to_owned()).collect(),
            in_reply_to: in_reply_to.into(),
            ..Post::from_text("a post".to_owned())
        }
    }

    #[test]
    fn no_filter_refuses_nothing() {
        let filter = Filter::default();
        assert_eq!(filter.refuses(&post(None, &[], true)), None);
        assert_eq!(filter.refuses_cleaned(""), None);
    }

    #[test]
    fn both_days_count_themselves() {
        let filter = Filter {
            since: Some(date!(2020 - 02 - 01)),
            until: Some(date!(2020 - 02 - 29)),
            ..Filter::default()
        };
        let on = |moment: &str| filter.refuses(&post(Some(moment), &[], false));
        assert_eq!(on("2020-02-01T00:00:00Z"), None);
        assert_eq!(on("Sat Feb 29 23:59:59 +0000 2020"), None);
        assert_eq!(on("2020-01-31T23:59:59Z"), Some(Refusal::Date));
        assert_eq!(on("2020-03-01T00:00:00Z"), Some(Refusal::Date));
        assert_eq!(on("in winter"), Some(Refusal::Undated));
        assert_eq!(filter.refuses(&post(None, &[], false)), Some(Refusal::Undated));
    }

    #[test]
    fn one_language_of_several_is_enough() {
        let filter = Filter { languages: vec!["en".into(), "pt-BR".into()], ..Filter::default() };
        let in_languages = |langs: &[&str]| filter.refuses(&post(None, langs, false));
        assert_eq!(in_languages(&["en-GB"]), None);
        assert_eq!(in_languages(&["de", "EN"]), None);
        assert_eq!(in_languages(&["pt-br"]), None);
        assert_eq!(in_languages(&["pt"]), Some(Refusal::Language));
        assert_eq!(in_languages(&["und"]), Some(Refusal::Language));
        assert_eq!(in_languages(&[]), Some(Refusal::Language));
    }

    #[test]
    fn replies_and_few_characters_are_refused() {
        let filter = Filter { no_replies: true, min_chars: 4, ..Filter::default() };
        assert_eq!(filter.refuses(&post(None, &[], true)), Some(Refusal::Reply));
        assert_eq!(filter.refuses(&post(None, &[], false)), None);
        assert_eq!(filter.refuses(&post(None, &[], None)), Some(Refusal::PerhapsReply));
        assert_eq!(filter.refuses_cleaned("äöü"), Some(Refusal::TooFewChars));
        assert_eq!(filter.refuses_cleaned("äöüß"), None);
    }

    #[test]
    fn what_was_left_out_is_said() {
        let mut out = FilteredOut::default();
        assert_eq!(out.describe(), "");
        for refusal in [Refusal::Date, Refusal::Reply, Refusal::Date, Refusal::TooFewChars] {
            out.count(refusal);
        }
        assert_eq!(out.total(), 4);
        assert_eq!(out.describe(), "2 by date, 1 replies, 1 under the minimum length");
    }
}
