//! Where bots are, and the list of those that were opened on this device.

pub mod address;
pub mod card;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::share;
use crate::web::protocol::Precision;

/// Maximum number of bots listed; the oldest are dropped.
const MAX_BOTS: usize = 12;

/// Maximum number of digests remembered of one bot's weights.
const MAX_WEIGHTS: usize = 16;

/// Base URL of the visitor's own files; `.invalid` names never resolve (RFC 6761).
const LOCAL: &str = "https://local.invalid/";

/// The location of a bot.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Absolute URL of a bundle folder, or of a `.gguf` file.
    pub model: String,
    /// The precision of the weights, if the bot lacks the one that the page requests.
    pub precision: Option<Precision>,
    /// The visitor's own files, name -> object URL; else empty.
    pub files: BTreeMap<String, String>,
    /// Size of the weights among these files.
    pub bytes: Option<u64>,
}

/// A bot that was opened on this device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    pub model: String,
    /// As in its [`Place`].
    #[serde(default)]
    pub precision: Option<Precision>,
    pub name: String,
    /// Size of its weights.
    pub bytes: u64,
    pub sha256: Option<String>,
    /// Digests of its other weights that were opened and may be stored here.
    #[serde(default)]
    pub others: Vec<String>,
    /// No longer listed, but its data is still to be removed from this device.
    #[serde(default)]
    pub deleted: bool,
}

/// A bot that is no longer listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forgotten {
    pub model: String,
    /// Digests of its weights, without those that a listed bot has too.
    pub sha256: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bots {
    known: Vec<Known>,
}

/// The files contain no bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoModel;

impl Place {
    pub fn url(model: String) -> Self {
        Self { model, ..Self::default() }
    }

    /// Returns the bundle in a folder that has files of these names, if they are one: with the
    /// requested weights if it has them, else with others.
    pub fn bundle(model: String, requested: Precision, has: impl Fn(&str) -> bool) -> Option<Self> {
        let known = [requested, Precision::Q8_0, Precision::Q4_0];
        let found = known.into_iter().find(|precision| has(precision.file_name()))?;
        let precision = (found != requested).then_some(found);
        has("bot.json").then(|| Self { precision, ..Self::url(model) })
    }

    /// Returns the bot in dropped or chosen files, given as (name, file, bytes): the bundle if there
    /// is a `bot.json` with weights, else a single GGUF. `url` makes an object URL of each file that
    /// the bot has; it returns `None` if the browser cannot.
    ///
    /// # Errors
    /// If there is neither.
    pub fn of_files<F>(
        files: &[(String, F, u64)],
        requested: Precision,
        url: impl Fn(&F) -> Option<String>,
    ) -> Result<Self, NoModel> {
        let find = |wanted: &str| files.iter().find(|(name, ..)| name == wanted);
        if let Some(place) = Self::bundle(LOCAL.into(), requested, |name| find(name).is_some()) {
            let weights = find(place.precision.unwrap_or(requested).file_name());
            let bytes = weights.map(|(_, _, bytes)| *bytes);
            // Of two files with one name, the last.
            let files: BTreeMap<_, _> = files.iter().map(|(name, file, _)| (name, file)).collect();
            let files = files.into_iter().filter_map(|(name, file)| Some((name.clone(), url(file)?)));
            return Ok(Self { files: files.collect(), bytes, ..place });
        }
        let first = || files.iter().find(|(name, ..)| is_gguf(name));
        let (name, file, bytes) = find(requested.file_name()).or_else(first).ok_or(NoModel)?;
        let url = url(file).ok_or(NoModel)?;
        // Characters that would not stay in a URL's path.
        let name: String = name.chars().map(|c| if "?#%/\\".contains(c) { '_' } else { c }).collect();
        let model = format!("{LOCAL}{name}");
        Ok(Self { bytes: Some(*bytes), files: BTreeMap::from([(name, url)]), ..Self::url(model) })
    }

    pub fn is_local(&self) -> bool {
        !self.files.is_empty()
    }

    /// The query of the page's URL for this bot, if the page requests this precision; empty for the
    /// visitor's own files.
    pub fn search(&self, requested: Precision) -> String {
        if self.is_local() {
            return String::new();
        }
        let mut parameters = vec![("model", self.model.clone())];
        let precision = self.precision.unwrap_or(requested);
        if precision != Precision::Q8_0 {
            parameters.push(("precision", precision.to_string()));
        }
        share::search(&parameters)
    }

    /// The bundle's URL, ending in `/`; `None` for a single GGUF.
    pub fn folder(&self) -> Option<String> {
        let path = self.model.split(['?', '#']).next()?;
        if is_gguf(path) {
            return None;
        }
        let path = path.strip_suffix("bot.json").unwrap_or(path);
        Some(format!("{}/", path.trim_end_matches('/')))
    }

    /// URL of a file of the bundle; `None` if it cannot have one of that name.
    pub fn file(&self, name: &str) -> Option<String> {
        match self.is_local() {
            true => self.files.get(name).cloned(),
            false => self.folder().map(|folder| folder + name),
        }
    }
}

/// Whether a given file can be part of a bot. `path` begins with the folder, if one was given: only
/// files directly in it belong to a bundle.
pub fn is_wanted(path: &str) -> bool {
    let name = path.split_once('/').map_or(path, |(_, name)| name);
    // The card shows no pictures of local files: they have no URL.
    matches!(name, "bot.json" | "README.md") || (is_gguf(name) && !name.contains('/'))
}

fn is_gguf(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".gguf")
}

impl Known {
    pub fn place(&self) -> Place {
        Place { precision: self.precision, ..Place::url(self.model.clone()) }
    }

    /// Returns the digests of all its weights that may be stored here, the last opened first.
    fn digests(&self) -> impl Iterator<Item = &String> {
        self.sha256.iter().chain(&self.others)
    }
}

impl Bots {
    /// Parses what was stored; invalid text counts as empty.
    pub fn parse(json: &str) -> Self {
        let mut bots: Self = serde_json::from_str(json).unwrap_or_default();
        bots.known.truncate(2 * MAX_BOTS);
        bots
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Listed bots, the last opened first.
    pub fn known(&self) -> impl Iterator<Item = &Known> {
        self.known.iter().filter(|bot| !bot.deleted)
    }

    /// Puts a bot first; those beyond the limit are marked as deleted.
    pub fn remember(&mut self, mut bot: Known) {
        // Its other weights may be stored as well.
        let old = self.known.iter().filter(|old| old.model == bot.model).flat_map(Known::digests);
        let others: Vec<_> = old.filter(|digest| Some(*digest) != bot.sha256.as_ref()).cloned().collect();
        bot.others.extend(others);
        bot.others.truncate(MAX_WEIGHTS);
        self.known.retain(|old| old.model != bot.model);
        self.known.insert(0, bot);
        for old in self.known.iter_mut().filter(|bot| !bot.deleted).skip(MAX_BOTS) {
            old.deleted = true;
        }
    }

    /// Removes a bot from the list; [`Bots::take_deleted`] returns the data to remove.
    pub fn forget(&mut self, bot: &Known) {
        if !self.known.iter().any(|known| known.model == bot.model) {
            self.known.push(bot.clone());
        }
        for known in self.known.iter_mut().filter(|known| known.model == bot.model) {
            known.deleted = true;
        }
    }

    /// Takes the data to be removed from this device; each is returned only once.
    #[must_use]
    pub fn take_deleted(&mut self) -> Vec<Forgotten> {
        let (deleted, known) = std::mem::take(&mut self.known).into_iter().partition(|bot| bot.deleted);
        self.known = known;
        let deleted: Vec<Known> = deleted;
        let needed =
            |digest: &String| self.known.iter().flat_map(Known::digests).any(|other| other == digest);
        let forgotten = |bot: Known| Forgotten {
            sha256: bot.digests().filter(|digest| !needed(digest)).cloned().collect(),
            model: bot.model,
        };
        deleted.into_iter().map(forgotten).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn forgotten(model: &str) -> Forgotten {
        Forgotten { model: model.into(), sha256: vec![format!("digest of {model}")] }
    }

    fn known(model: &str) -> Known {
        let sha256 = Some(format!("digest of {model}"));
        let (others, deleted) = (Vec::new(), false);
        Known { model: model.into(), precision: None, name: "Lamp".into(), bytes: 5, sha256, others, deleted }
    }

    #[test]
    fn the_last_opened_stands_first() {
        let mut bots = Bots::default();
        for model in ["a", "b", "a"] {
            bots.remember(known(model));
        }
        let models = |bots: &Bots| bots.known().map(|bot| bot.model.clone()).collect::<Vec<_>>();
        assert_eq!(models(&bots), ["a", "b"]);
        assert_eq!(bots.take_deleted(), []);
        bots.forget(&known("a"));
        assert_eq!(models(&bots), ["b"]);
        // Closing the page before the removal leaves it to the next visit.
        let mut again = Bots::parse(&bots.to_json());
        assert_eq!(again, bots);
        assert_eq!(again.take_deleted(), [forgotten("a")]);
        assert_eq!(again.take_deleted(), []);
        assert_eq!(Bots::parse("nonsense"), Bots::default());
    }

    #[test]
    fn all_weights_of_a_bot_are_deleted_with_it() {
        let other = |digest: &str| Known { sha256: Some(digest.into()), ..known("a") };
        let mut bots = Bots::default();
        for digest in ["eight", "four", "eight", "four"] {
            bots.remember(other(digest));
        }
        assert_eq!(bots.known().count(), 1);
        bots.forget(&other("four"));
        let sha256 = vec!["four".to_owned(), "eight".to_owned()];
        assert_eq!(bots.clone().take_deleted(), [Forgotten { model: "a".into(), sha256 }]);
        // A bot that is opened again meanwhile stays, and its other weights are remembered.
        bots.remember(other("eight"));
        assert_eq!(bots.take_deleted(), []);
        assert_eq!(bots.known().next().unwrap().others, ["four"]);
        // Weights that another bot has too stay.
        bots.remember(Known { sha256: Some("four".into()), ..known("b") });
        bots.forget(&other("eight"));
        let sha256 = vec!["eight".to_owned()];
        assert_eq!(bots.take_deleted(), [Forgotten { model: "a".into(), sha256 }]);
    }

    #[test]
    fn what_falls_out_is_deleted_unless_another_has_the_same_weights() {
        let mut bots = Bots::default();
        let fill = |bots: &mut Bots, first: Known| {
            let rest = (1..MAX_BOTS).map(|n| known(&n.to_string()));
            std::iter::once(first).chain(rest).for_each(|bot| bots.remember(bot));
            assert_eq!(bots.take_deleted(), []);
        };
        fill(&mut bots, known("first"));
        bots.remember(known("one more"));
        assert_eq!(bots.known().count(), MAX_BOTS);
        assert_eq!(bots.take_deleted(), [forgotten("first")]);
        let mut bots = Bots::default();
        fill(&mut bots, Known { model: "elsewhere".into(), ..known("5") });
        bots.remember(known("one more"));
        let without = Forgotten { model: "elsewhere".into(), sha256: Vec::new() };
        assert_eq!(bots.take_deleted(), [without]);
    }

    #[test]
    fn the_address_names_weights_that_are_not_the_usual() {
        let place = Place::url("https://a.example/".into());
        let plain = "?model=https%3A%2F%2Fa.example%2F";
        assert_eq!(place.search(Precision::Q8_0), plain);
        assert_eq!(place.search(Precision::Q4_0), format!("{plain}&precision=q4_0"));
        let own = |precision| Place { precision: Some(precision), ..place.clone() };
        assert_eq!(own(Precision::Q8_0).search(Precision::Q4_0), plain);
        assert_eq!(own(Precision::Q4_0).search(Precision::Q8_0), format!("{plain}&precision=q4_0"));
    }

    #[test]
    fn a_list_of_an_older_page_is_read() {
        let bots = Bots::parse(r#"[{"model":"a","name":"Lamp","bytes":5,"sha256":null}]"#);
        assert_eq!(bots.known().next().unwrap().place(), Place::url("a".into()));
    }

    fn of_files(names: &[&str]) -> Result<Place, NoModel> {
        let files: Vec<_> = names.iter().map(|name| (name.to_string(), *name, name.len() as u64)).collect();
        Place::of_files(&files, Precision::Q8_0, |name| Some(format!("blob:{name}")))
    }

    #[test]
    fn a_bundle_or_one_gguf_is_a_bot() {
        let bundle = of_files(&["README.md", "bot.json", "model-q4_0.gguf", "model-q8_0.gguf"]).unwrap();
        assert_eq!((bundle.model.as_str(), bundle.precision, bundle.bytes), (LOCAL, None, Some(15)));
        assert_eq!(bundle.files.len(), 4);
        let alone = of_files(&["a#b.GGUF"]).unwrap();
        assert_eq!(alone.model, "https://local.invalid/a_b.GGUF");
        assert_eq!(alone.files["a_b.GGUF"], "blob:a#b.GGUF");
        assert_eq!(of_files(&["bot.json", "notes.txt"]), Err(NoModel));
    }

    #[test]
    fn a_bundle_with_other_weights_is_still_a_bundle() {
        let place = of_files(&["bot.json", "model-q4_0.gguf"]).unwrap();
        assert_eq!((place.model.as_str(), place.precision), (LOCAL, Some(Precision::Q4_0)));
        // Weights that a bundle does not name are a bot by themselves.
        let place = of_files(&["bot.json", "mine.gguf"]).unwrap();
        assert_eq!((place.model.as_str(), place.files.len()), ("https://local.invalid/mine.gguf", 1));
        assert_eq!(of_files(&["a.gguf", "model-q8_0.gguf"]).unwrap().files.len(), 1);
    }

    #[test]
    fn only_files_of_the_bot_get_object_urls() {
        let made = RefCell::new(Vec::new());
        let url = |name: &&str| {
            made.borrow_mut().push(name.to_string());
            Some(format!("blob:{name}"))
        };
        let of_files = |names: &[&'static str]| {
            let files: Vec<_> = names.iter().map(|name| (name.to_string(), *name, 1)).collect();
            let place = Place::of_files(&files, Precision::Q8_0, url);
            (place.map(|place| place.files.len()), made.take())
        };
        assert_eq!(of_files(&["a.gguf", "README.md", "b.gguf"]), (Ok(1), vec!["a.gguf".into()]));
        assert_eq!(of_files(&["bot.json", "README.md"]), (Err(NoModel), vec![]));
        // From two folders.
        let twice = ["bot.json", "model-q8_0.gguf", "bot.json"];
        assert_eq!(of_files(&twice), (Ok(2), vec!["bot.json".into(), "model-q8_0.gguf".into()]));
    }

    #[test]
    fn a_bundles_files_are_in_its_folder() {
        for model in ["https://a.example/bot", "https://a.example/bot/", "https://a.example/bot/bot.json?x"] {
            let card = Place::url(model.into()).file("README.md");
            assert_eq!(card.as_deref(), Some("https://a.example/bot/README.md"), "{model}");
        }
        assert_eq!(Place::url("https://a.example/x.GGUF?download".into()).file("README.md"), None);
        let local = of_files(&["bot.json", "model-q8_0.gguf"]).unwrap();
        assert_eq!(local.file("bot.json").as_deref(), Some("blob:bot.json"));
        assert_eq!(local.file("README.md"), None);
    }

    #[test]
    fn of_a_folder_only_its_own_files_are_looked_at() {
        for wanted in ["bot.json", "bot/bot.json", "bot/README.md", "a b.gguf", "bot/Model.GGUF"] {
            assert!(is_wanted(wanted), "{wanted}");
        }
        for other in
            ["bot/.git/index", "bot/old/bot.json", "bot/old/x.gguf", "bot/model.safetensors", "bot/p.png", ""]
        {
            assert!(!is_wanted(other), "{other}");
        }
    }
}
