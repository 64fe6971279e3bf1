//! The result of every reader: an account and its posts, not yet cleaned.

use super::error::ReadError;

/// A post as in its source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Post {
    /// The text of the source, including HTML entities and links.
    pub text: String,
    /// A repost of somebody else's post: counted, but never trained on.
    pub is_retweet: bool,
    /// Date in the source's own format.
    pub created_at: Option<String>,
    /// Language tags of the source (`en`, `pt-BR`); most sources have at most one.
    pub langs: Vec<String>,
    /// Whether it is a reply (including in its author's own threads); `None` if the source does not
    /// say.
    pub in_reply_to: Option<bool>,
    /// The source's identifier of the post.
    pub id: Option<String>,
}

impl Post {
    /// A post of which only the text is known. It is a retweet if the text begins with `RT @`, the
    /// only mark that X archives have.
    pub fn from_text(text: String) -> Self {
        Self { is_retweet: text.starts_with("RT @"), text, ..Self::default() }
    }
}

/// The posts of one account, in the order of the source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Archive {
    /// Handle without `@`; the file's stem if the source does not say.
    pub handle: String,
    /// Whether the source does not say the handle, so that two files of one name may be two accounts.
    pub handle_from_file: bool,
    /// Display name; the file's stem if the source does not say.
    pub name: String,
    pub posts: Vec<Post>,
    /// Entries that should be posts but could not be read and were skipped.
    pub unreadable: Unreadable,
    /// What the user should know of an archive that was read nevertheless.
    pub warning: Option<String>,
}

/// The number of unreadable entries, and what is wrong with the first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unreadable {
    pub count: usize,
    /// Its place and the reason, `record 4: …`; empty if there is none.
    pub first: String,
}

impl Unreadable {
    /// Counts one entry.
    pub fn add(&mut self, what: impl FnOnce() -> String) {
        if self.count == 0 {
            self.first = what();
        }
        self.count += 1;
    }

    /// Counts the entries of a later source too.
    pub fn extend(&mut self, later: Self) {
        if self.count == 0 && later.count > 0 {
            self.first = later.first;
        }
        self.count += later.count;
    }
}

impl Archive {
    /// An archive from a source that does not name its account.
    pub fn named_after_file(stem: &str, posts: Vec<Post>) -> Self {
        let (handle, name) = (stem.to_owned(), stem.to_owned());
        Self { handle, handle_from_file: true, name, posts, ..Self::default() }
    }

    /// Warns that the file with the account's names cannot be read.
    pub(super) fn warn_unnamed(&mut self, error: &ReadError) {
        self.warning = Some(format!("{error}; the account is named @{}, after the file", self.handle));
    }
}
