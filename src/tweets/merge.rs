//! Merges archives of the same account, such as an archive and a later one, or one given twice.

use std::collections::HashSet;

use super::post::{Archive, Post};

/// An account, and the archives it was read from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merged {
    pub archive: Archive,
    /// Indices of those archives among the given ones.
    pub sources: Vec<usize>,
    /// Posts of a later archive that an earlier one has too, and which are used once. They are
    /// recognised by identifier and text, because a table's identifier may be a mere row number.
    pub repeated: usize,
}

/// Merges the archives by account, in the order of each account's first archive. Posts without an
/// identifier are all used.
pub fn merged(archives: impl IntoIterator<Item = Archive>) -> Vec<Merged> {
    let mut all: Vec<Merged> = Vec::new();
    for (source, archive) in archives.into_iter().enumerate() {
        match all.iter_mut().find(|other| other.archive.handle.eq_ignore_ascii_case(&archive.handle)) {
            Some(same) => same.take(source, archive),
            None => all.push(Merged { archive, sources: vec![source], repeated: 0 }),
        }
    }
    all
}

impl Merged {
    fn take(&mut self, source: usize, other: Archive) {
        let Archive { posts, unreadable, .. } = other;
        let what = |post: &Post| post.id.clone().map(|id| (id, post.text.clone()));
        let known: HashSet<_> = self.archive.posts.iter().filter_map(what).collect();
        let before = posts.len();
        let is_new = |post: &Post| what(post).is_none_or(|it| !known.contains(&it));
        let new: Vec<_> = posts.into_iter().filter(is_new).collect();
        self.repeated += before - new.len();
        self.archive.posts.extend(new);
        self.archive.unreadable.extend(unreadable);
        self.sources.push(source);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Unreadable;
    use super::*;

    fn archive(handle: &str, posts: &[(&str, Option<&str>)]) -> Archive {
        let post = |&(text, id): &(&str, Option<&str>)| Post {
            id: id.map(str::to_owned),
            ..Post::from_text(text.to_owned())
        };
        Archive {
            name: format!("The {handle}"),
            ..Archive::named_after_file(handle, posts.iter().map(post).collect())
        }
    }

    fn texts(merged: &Merged) -> Vec<&str> {
        merged.archive.posts.iter().map(|post| post.text.as_str()).collect()
    }

    #[test]
    fn archives_of_one_handle_are_one_account() {
        let first = archive("ann", &[("one", Some("1")), ("two", Some("2"))]);
        let later = archive("Ann", &[("two", Some("2")), ("three", Some("1"))]);
        let all = merged([first, archive("bob", &[("two", Some("2"))]), later]);
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].archive.handle.as_str(), all[0].archive.name.as_str()), ("ann", "The ann"));
        assert_eq!((texts(&all[0]), all[0].repeated), (vec!["one", "two", "three"], 1));
        assert_eq!((all[0].sources.as_slice(), all[1].sources.as_slice()), (&[0, 2][..], &[1][..]));
        assert_eq!((texts(&all[1]), all[1].repeated), (vec!["two"], 0));
    }

    #[test]
    fn posts_without_an_identifier_and_those_of_one_archive_are_all_taken() {
        let twice = archive("ann", &[("one", Some("1")), ("one", Some("1")), ("two", None)]);
        let all = merged([twice.clone(), twice]);
        assert_eq!((texts(&all[0]), all[0].repeated), (vec!["one", "one", "two", "two"], 2));
    }

    #[test]
    fn accounts_of_two_servers_are_two() {
        let all = merged(
            ["ann@one.example", "ann@two.example", "ann"].map(|handle| archive(handle, &[("a", None)])),
        );
        assert_eq!(all.len(), 3);
    }

    #[test]
    fn what_could_not_be_read_is_added_up() {
        let mut archives = [archive("ann", &[]), archive("ann", &[])];
        archives[1].unreadable = Unreadable { count: 2, first: "record 4".to_owned() };
        assert_eq!(
            merged(archives)[0].archive.unreadable,
            Unreadable { count: 2, first: "record 4".to_owned() }
        );
    }
}
