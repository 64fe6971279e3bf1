//! What every reader gives: an account and its posts, not yet cleaned.

/// One post as it stands in its source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Post {
    /// The text as the source has it: HTML entities and links still in it.
    pub text: String,
    /// Somebody else's post, passed on. Counted, never trained on.
    pub is_retweet: bool,
    /// When it was written, in the source's own notation.
    pub created_at: Option<String>,
    /// Language tags as the source has them (`en`, `pt-BR`); most sources know one at most.
    pub langs: Vec<String>,
    /// Whether it answers a post (its author's own threads included); `None` where the
    /// source does not say.
    pub in_reply_to: Option<bool>,
    /// The source's identifier of it.
    pub id: Option<String>,
}

impl Post {
    /// A post of which only the text is known. It is a retweet if the text
    /// begins with `RT @`: an X archive marks retweets in no other way.
    pub fn from_text(text: String) -> Self {
        Self { is_retweet: text.starts_with("RT @"), text, ..Self::default() }
    }
}

/// One account's posts, in the order of the source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Archive {
    /// Without `@`. The file's stem where the source does not say.
    pub handle: String,
    /// Display name. The file's stem where the source does not say.
    pub name: String,
    pub posts: Vec<Post>,
    /// Entries that should be posts and cannot be read as such; they are left out.
    pub unreadable: Unreadable,
}

/// How many entries could not be read, and what is wrong with the first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unreadable {
    pub count: usize,
    /// Where it stands and why, `record 4: …`; empty where there is none.
    pub first: String,
}

impl Unreadable {
    /// Counts one more.
    pub fn add(&mut self, what: impl FnOnce() -> String) {
        if self.count == 0 {
            self.first = what();
        }
        self.count += 1;
    }
}

impl Archive {
    /// Posts of a source that does not name its account.
    pub fn named_after_file(stem: &str, posts: Vec<Post>) -> Self {
        Self { handle: stem.to_owned(), name: stem.to_owned(), posts, ..Self::default() }
    }
}
