//! Expansion of a hand-written grammar into posts: the text of the demo bot's fictional account.
//!
//! A grammar is one or more plain texts:
//!
//! ```text
//! // A comment, on a line of its own.
//! # post
//! 3: Tonight I {do}.          three times as likely as its neighbour
//! {Do.doing} takes {a thing}.
//! # do (do, doing)
//! [polish|polishing] the lamp
//! ```
//!
//! `{rule}` expands to one of the rule's alternatives, `{Rule}` capitalises it, `{a rule}`
//! (`{A rule}`) prefixes the right article, and `{rule.form}` picks that column of every `[…|…]` in it.
//! `\n` is a line break. Within one expansion no alternative is used twice. Each line of the rule
//! `once` lists words of which only one alternative per expansion may contain any, so that
//! independently filled slots do not repeat each other.
//!
//! The expansion is a pure function of grammar and seed: no files, no clock.

use std::collections::{BTreeMap, HashSet};

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

mod parse;

use parse::{parse_alternative, parse_heading, words};

/// Maximum depth of rules that refer to rules; anything deeper is taken for a mistake.
const MAX_DEPTH: usize = 16;
/// Number of expansions per wanted post after which [`Grammar::distinct`] gives up.
const MAX_ATTEMPTS_EACH: usize = 40;
/// The rule whose lines are groups of words instead of alternatives.
const ONCE: &str = "once";

/// File and line (from 1) of something in a grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: String,
    pub line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A mistake in a grammar, or a grammar with too few expansions.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GrammarError {
    #[error("{at}: expected \"# name\" or \"# name (form, form)\", found {found:?}")]
    Heading { at: Place, found: String },
    #[error("{at}: text before the first \"# name\"")]
    Homeless { at: Place },
    #[error("{at}: rule {name:?} is already at {first}")]
    Twice { at: Place, name: String, first: Place },
    #[error("{at}: rule {name:?} has no alternative")]
    Empty { at: Place, name: String },
    #[error("{at}: {found:?} is not closed, or not opened, or empty")]
    Bracket { at: Place, found: String },
    #[error("{at}: {found} forms in brackets, the rule declares {expected}")]
    Forms { at: Place, expected: usize, found: usize },
    #[error("{at}: there is no rule {name:?}")]
    Unknown { at: Place, name: String },
    #[error("{at}: rule {name:?} has no form {form:?}")]
    UnknownForm { at: Place, name: String, form: String },
    #[error("{at}: rule {name:?} leads back to itself, or deeper than {MAX_DEPTH} rules")]
    Recursive { at: Place, name: String },
    #[error("{at}: no root leads to rule {name:?}")]
    Unreachable { at: Place, name: String },
    #[error("there is no rule {name:?} to start from")]
    NoRoot { name: String },
    #[error("rule {root:?} gives {found} distinct posts, {wanted} were wanted: add to it")]
    Exhausted { root: String, found: usize, wanted: usize },
}

/// A parsed grammar, in which every reference resolves and the depth is bounded.
#[derive(Debug)]
pub struct Grammar {
    rules: Vec<Rule>,
    index: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct Rule {
    name: String,
    forms: Vec<String>,
    alternatives: Vec<Alternative>,
    at: Place,
}

#[derive(Debug)]
struct Alternative {
    weight: u64,
    parts: Vec<Part>,
    /// Groups of `once` of which this alternative's own text contains a word.
    groups: Vec<usize>,
    at: Place,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Forms(Vec<String>),
    Use {
        name: String,
        form: String,
        article: bool,
        capital: bool,
        /// Rule and column, resolved once all rules are read.
        target: (usize, usize),
    },
}

impl Grammar {
    /// Parses a grammar from pairs of file name and text. `roots` are the rules to expand; every
    /// other rule must be reachable from them.
    pub fn parse(files: &[(&str, &str)], roots: &[&str]) -> Result<Grammar, GrammarError> {
        let mut grammar = Grammar { rules: Vec::new(), index: BTreeMap::new() };
        let mut once = Vec::new();
        for (file, text) in files {
            grammar.read(file, text, &mut once)?;
        }
        if let Some(rule) = grammar.rules.iter().find(|r| r.alternatives.is_empty()) {
            return Err(GrammarError::Empty { at: rule.at.clone(), name: rule.name.clone() });
        }
        grammar.mark_groups(&once);
        grammar.link()?;
        grammar.check_reach(roots)?;
        Ok(grammar)
    }

    /// Number of alternatives of the rules whose names `pick` accepts.
    pub fn alternatives(&self, pick: impl Fn(&str) -> bool) -> usize {
        let picked = self.rules.iter().filter(|rule| pick(&rule.name));
        picked.map(|rule| rule.alternatives.len()).sum()
    }

    fn read(&mut self, file: &str, text: &str, once: &mut Vec<Vec<String>>) -> Result<(), GrammarError> {
        // `None`: before the first heading; `Some(None)`: in `once`.
        let mut current: Option<Option<usize>> = None;
        for (number, line) in text.lines().enumerate() {
            let at = Place { file: file.to_string(), line: number + 1 };
            let line = line.trim();
            if line.is_empty() || line.starts_with("//") {
                continue;
            }
            if let Some(heading) = line.strip_prefix('#') {
                let (name, forms) = parse_heading(heading)
                    .ok_or_else(|| GrammarError::Heading { at: at.clone(), found: line.to_string() })?;
                current = Some(if name == ONCE { None } else { Some(self.declare(name, forms, at)?) });
                continue;
            }
            match current {
                None => return Err(GrammarError::Homeless { at }),
                Some(None) => once.push(words(line).map(str::to_string).collect()),
                Some(Some(rule)) => {
                    let rule = &mut self.rules[rule];
                    let alternative = parse_alternative(line, rule.forms.len(), at)?;
                    rule.alternatives.push(alternative);
                }
            }
        }
        Ok(())
    }

    fn declare(&mut self, name: String, forms: Vec<String>, at: Place) -> Result<usize, GrammarError> {
        if let Some(&first) = self.index.get(&name) {
            let first = self.rules[first].at.clone();
            return Err(GrammarError::Twice { at, name, first });
        }
        self.index.insert(name.clone(), self.rules.len());
        self.rules.push(Rule { name, forms, alternatives: Vec::new(), at });
        Ok(self.rules.len() - 1)
    }

    fn mark_groups(&mut self, once: &[Vec<String>]) {
        let mut group_of = BTreeMap::new();
        for (group, listed) in once.iter().enumerate() {
            for word in listed {
                group_of.insert(word.to_lowercase(), group);
            }
        }
        for alternative in self.rules.iter_mut().flat_map(|r| &mut r.alternatives) {
            let mut groups = Vec::new();
            for part in &alternative.parts {
                let texts = match part {
                    Part::Text(text) => std::slice::from_ref(text),
                    Part::Forms(texts) => texts,
                    Part::Use { .. } => continue,
                };
                for word in texts.iter().flat_map(|text| words(text)) {
                    groups.extend(group_of.get(&word.to_lowercase()));
                }
            }
            groups.sort_unstable();
            groups.dedup();
            alternative.groups = groups;
        }
    }

    /// Resolves rule and column of every reference.
    fn link(&mut self) -> Result<(), GrammarError> {
        let forms: Vec<Vec<String>> = self.rules.iter().map(|r| r.forms.clone()).collect();
        for alternative in self.rules.iter_mut().flat_map(|r| &mut r.alternatives) {
            for part in &mut alternative.parts {
                let Part::Use { name, form, target, .. } = part else {
                    continue;
                };
                let Some(&rule) = self.index.get(name) else {
                    return Err(GrammarError::Unknown { at: alternative.at.clone(), name: name.clone() });
                };
                let column = match form.as_str() {
                    "" => Some(0),
                    form => forms[rule].iter().position(|known| known == form),
                };
                let Some(column) = column else {
                    return Err(GrammarError::UnknownForm {
                        at: alternative.at.clone(),
                        name: name.clone(),
                        form: form.clone(),
                    });
                };
                *target = (rule, column);
            }
        }
        Ok(())
    }

    fn check_reach(&self, roots: &[&str]) -> Result<(), GrammarError> {
        let mut height = vec![None; self.rules.len()];
        for root in roots {
            let rule = self.root(root)?;
            self.measure(rule, 0, &mut height)?;
        }
        match height.iter().position(Option::is_none) {
            None => Ok(()),
            Some(rule) => Err(GrammarError::Unreachable {
                at: self.rules[rule].at.clone(),
                name: self.rules[rule].name.clone(),
            }),
        }
    }

    /// Length of the longest path of rules from `rule` down, `rule` included.
    fn measure(
        &self,
        rule: usize,
        depth: usize,
        height: &mut [Option<usize>],
    ) -> Result<usize, GrammarError> {
        let below = height[rule].unwrap_or(1);
        if depth + below > MAX_DEPTH {
            return Err(GrammarError::Recursive {
                at: self.rules[rule].at.clone(),
                name: self.rules[rule].name.clone(),
            });
        }
        if height[rule].is_some() {
            return Ok(below);
        }
        let mut tallest = 0;
        for alternative in &self.rules[rule].alternatives {
            for part in &alternative.parts {
                if let Part::Use { target, .. } = part {
                    tallest = tallest.max(self.measure(target.0, depth + 1, height)?);
                }
            }
        }
        height[rule] = Some(tallest + 1);
        Ok(tallest + 1)
    }

    fn root(&self, name: &str) -> Result<usize, GrammarError> {
        let found = self.index.get(name).copied();
        found.ok_or_else(|| GrammarError::NoRoot { name: name.to_string() })
    }

    /// One random expansion of the rule `root`; `None` if every fitting alternative of a rule was
    /// used up, in which case the caller draws again.
    pub fn expand(&self, root: &str, rng: &mut ChaCha8Rng) -> Result<Option<String>, GrammarError> {
        let rule = self.root(root)?;
        let mut used = Used::default();
        Ok(self.expand_rule(rule, 0, rng, &mut used))
    }

    fn expand_rule(
        &self,
        rule: usize,
        column: usize,
        rng: &mut ChaCha8Rng,
        used: &mut Used,
    ) -> Option<String> {
        let fits = |(i, a): &(usize, &Alternative)| {
            !used.alternatives.contains(&(rule, *i)) && a.groups.iter().all(|g| !used.groups.contains(g))
        };
        let alternatives = self.rules[rule].alternatives.iter().enumerate();
        let fitting: Vec<(usize, &Alternative)> = alternatives.filter(fits).collect();
        let total: u64 = fitting.iter().map(|(_, a)| a.weight).sum();
        let mut coin = draw(rng, total);
        let (i, chosen) = fitting.into_iter().find(|(_, a)| {
            let hit = coin < a.weight;
            coin = coin.saturating_sub(a.weight);
            hit
        })?;
        used.alternatives.insert((rule, i));
        used.groups.extend(&chosen.groups);

        let mut text = String::new();
        for part in &chosen.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Forms(forms) => text.push_str(forms.get(column)?),
                Part::Use { article, capital, target, .. } => {
                    let mut filled = self.expand_rule(target.0, target.1, rng, used)?;
                    if *article {
                        filled = format!("{} {filled}", article_for(&filled));
                    }
                    if *capital {
                        filled = capitalised(&filled);
                    }
                    text.push_str(&filled);
                }
            }
        }
        Some(text)
    }

    /// `wanted` distinct expansions of `root` that `accept` returns true for, in the order drawn;
    /// deterministic for a seed.
    pub fn distinct(
        &self,
        root: &str,
        wanted: usize,
        seed: u64,
        accept: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, GrammarError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut seen = HashSet::new();
        let mut posts = Vec::new();
        for _ in 0..wanted.saturating_mul(MAX_ATTEMPTS_EACH) {
            if posts.len() == wanted {
                break;
            }
            match self.expand(root, &mut rng)? {
                Some(post) if accept(&post) && seen.insert(post.clone()) => posts.push(post),
                _ => {}
            }
        }
        if posts.len() < wanted {
            return Err(GrammarError::Exhausted { root: root.to_string(), found: posts.len(), wanted });
        }
        Ok(posts)
    }
}

/// Alternatives and word groups used so far in one expansion.
#[derive(Default)]
struct Used {
    alternatives: HashSet<(usize, usize)>,
    groups: HashSet<usize>,
}

/// A random number below `bound`, or 0 if `bound` is 0.
pub fn draw(rng: &mut ChaCha8Rng, bound: u64) -> u64 {
    ((u128::from(rng.next_u64()) * u128::from(bound)) >> 64) as u64
}

/// "an" before a spoken vowel, else "a".
pub fn article_for(next: &str) -> &'static str {
    let word = next.to_lowercase();
    let starts = |heads: &[&str]| heads.iter().any(|head| word.starts_with(head));
    // Vowels spoken as w or y, and silent h.
    let consonant = starts(&["one", "once", "uni", "use", "usu", "eu", "ewe"]);
    let silent = starts(&["hour", "honest", "honour", "heir"]);
    if silent || (starts(&["a", "e", "i", "o", "u"]) && !consonant) { "an" } else { "a" }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Grammar, GrammarError> {
        Grammar::parse(&[("g.txt", text)], &["post"])
    }

    fn all(text: &str, wanted: usize) -> Vec<String> {
        let grammar = parse(text).unwrap();
        let mut posts = grammar.distinct("post", wanted, 7, |_| true).unwrap();
        posts.sort();
        posts
    }

    #[test]
    fn forms_articles_capitals_and_new_lines_are_expanded() {
        let text = "# post\n{Do.doing} takes {a thing}.\\nI {do}.\n\
            # do (do, doing)\n[sing|singing] low\n[rest|resting]\n# thing\nhour\n";
        assert_eq!(
            all(text, 2),
            ["Resting takes an hour.\nI sing low.", "Singing low takes an hour.\nI rest."]
        );
    }

    #[test]
    fn no_alternative_comes_twice_in_a_post() {
        assert_eq!(all("# post\n{x} and {x}\n# x\ntea\nfog\n", 2), ["fog and tea", "tea and fog"]);
    }

    #[test]
    fn a_word_listed_once_comes_from_one_alternative_only() {
        let text = "# once\ncat, Ballast\n# post\nthe cat and {x}\n{x} and {y}\n\
            # x\nthe cat\nBallast\ntea\n# y\na cat\n";
        assert_eq!(all(text, 2), ["tea and a cat", "the cat and tea"]);
    }

    #[test]
    fn weights_shift_the_odds() {
        let grammar = parse("# post\n9: often\nseldom\n").unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let often =
            (0..1000).filter(|_| grammar.expand("post", &mut rng).unwrap().unwrap() == "often").count();
        assert!((850..950).contains(&often), "{often} of 1000");
    }

    #[test]
    fn one_seed_gives_one_text() {
        let text = "# post\n{x} {y}\n# x\na\nb\nc\n# y\nd\ne\nf\n";
        let grammar = parse(text).unwrap();
        let five = |seed| grammar.distinct("post", 5, seed, |_| true).unwrap();
        assert_eq!(five(3), five(3));
        assert_ne!(five(3), five(4));
    }

    #[test]
    fn articles_follow_the_sound() {
        for (next, article) in [
            ("otter", "an"),
            ("crab", "a"),
            ("hour", "an"),
            ("one-legged pigeon", "a"),
            ("uniform", "a"),
            ("umbrella", "an"),
            ("", "a"),
        ] {
            assert_eq!(article_for(next), article, "{next}");
        }
    }

    #[test]
    fn slips_are_named_with_file_and_line() {
        for (text, message) in [
            ("hello\n", "g.txt:1: text before the first \"# name\""),
            ("# Post\n", "g.txt:1: expected \"# name\" or \"# name (form, form)\", found \"# Post\""),
            ("# post\n", "g.txt:1: rule \"post\" has no alternative"),
            ("# post\na\n# post\nb\n", "g.txt:3: rule \"post\" is already at g.txt:1"),
            ("# post\nfog {sea}\n", "g.txt:2: there is no rule \"sea\""),
            ("# post\n{post}\n", "g.txt:1: rule \"post\" leads back to itself, or deeper than 16 rules"),
            ("# post\na\n\n# b\nc\n", "g.txt:4: no root leads to rule \"b\""),
            ("# post\nfog {sea\n", "g.txt:2: \"fog {sea\" is not closed, or not opened, or empty"),
            ("# post\nfog}\n", "g.txt:2: \"fog}\" is not closed, or not opened, or empty"),
            ("# post\n[a|b] c\n", "g.txt:2: 2 forms in brackets, the rule declares 0"),
            ("# post\n{x.did}\n# x (do, doing)\ny\n", "g.txt:2: rule \"x\" has no form \"did\""),
            ("# x\ny\n", "there is no rule \"post\" to start from"),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_grammar_that_says_too_little_is_an_error() {
        let grammar = parse("# post\n{x}\n# x\na\nb\n").unwrap();
        let error = grammar.distinct("post", 3, 0, |_| true).unwrap_err();
        assert_eq!(error.to_string(), "rule \"post\" gives 2 distinct posts, 3 were wanted: add to it");
    }

    proptest::proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in "[#a-c{}\\[\\]|: .\n()A0-9é]{0,80}") {
            let _ = parse(&text);
        }
    }
}
