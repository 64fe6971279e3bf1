//! `huggingtweets demo-corpus`: writes the archive of the demo bot's account, a fictional
//! lighthouse keeper, in the layout of an X archive, expanded from the grammar in
//! `model-card/demo-corpus`.
//!
//! It is meant to be imported like any archive, so it has what real ones have: retweets, posts too
//! short to keep, links, `&amp;`, and a `deleted-tweets.js` that must not be read. Grammar, seed
//! and number of posts determine every byte.

use std::io::{Cursor, Write};
use std::path::PathBuf;

use anyhow::Context;
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use serde_json::{Value, json};
use time::OffsetDateTime;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::bundle::staging::replace_file;
use crate::tweets::grammar::{Grammar, GrammarError, draw};

macro_rules! grammar_file {
    ($name:literal) => {
        (
            concat!("model-card/demo-corpus/", $name),
            include_str!(concat!("../../model-card/demo-corpus/", $name)),
        )
    };
}

const GRAMMAR: &[(&str, &str)] = &[
    grammar_file!("post.txt"),
    grammar_file!("openings-keeper.txt"),
    grammar_file!("openings-world.txt"),
    grammar_file!("themes.txt"),
    grammar_file!("truths.txt"),
    grammar_file!("deeds.txt"),
    grammar_file!("words.txt"),
];
const KEPT: &str = "kept";
const RETWEET: &str = "retweet";
const SHORT: &str = "short";

/// X handles have at most 15 characters, so this one cannot belong to anybody.
const HANDLE: &str = "keeper_of_the_gull_light";
const NAME: &str = "The Gull Rock Light";
const BIO: &str = "A fictional lighthouse keeper on an invented rock, written for the demo of \
    huggingtweets. Nobody's account.";
const ACCOUNT_ID: &str = "1000000000000000199";
const DELETED: &str = "This deleted post must never be imported, not even by the gull.";

/// Percentages of retweets and of posts too short to keep.
const RETWEETS_PERCENT: usize = 8;
const SHORT_PERCENT: usize = 4;
/// One kept post in this many ends with a link, which the cleaning removes.
const LINK_EVERY: u64 = 32;
/// Maximum length of a post, in X's weighted characters.
const MAX_WEIGHTED: usize = 280;
/// 2019-01-01T00:00:00Z, and the bound of the random pause between posts, which is added to a
/// minute.
const FIRST_POST_UNIX_S: i64 = 1_546_300_800;
const PAUSE_MAX_S: u64 = 6 * 3600;
/// Minimum increase of ids from post to post; real ids grow with time, too.
const FIRST_ID: u64 = 1_079_900_000_000_000_000;
const ID_STEP: u64 = 40_000_000_000_000;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Archive to write (.zip)
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Posts that stay after cleaning; retweets and short posts come on top
    #[arg(long, default_value_t = 12_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    posts: u32,
    /// One seed, one archive
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let corpus = Corpus::expand(args.posts as usize, args.seed)?;
    let zip = corpus.archive().context("making the archive")?;
    replace_file(&args.out, |file| file.write_all(&zip)).with_context(|| {
        format!(
            "{}: cannot be written; is its folder there, with room for {} MB?",
            args.out.display(),
            zip.len() / 1_000_000 + 1
        )
    })?;
    answer!(
        "{}: {} posts ({} kept, {} retweets, {} short)",
        args.out.display(),
        corpus.posts.len(),
        corpus.kept,
        corpus.retweets,
        corpus.short,
    )?;
    Ok(())
}

/// The account's posts, oldest first, as typed by their author.
struct Corpus {
    posts: Vec<Post>,
    kept: usize,
    retweets: usize,
    short: usize,
}

struct Post {
    text: String,
    link: Option<String>,
    created_unix_s: i64,
    id: u64,
    likes: u64,
}

fn grammar() -> Result<Grammar, GrammarError> {
    Grammar::parse(GRAMMAR, &[KEPT, RETWEET, SHORT])
}

impl Corpus {
    /// `kept` posts that remain after cleaning, which are distinct before links are added, and the
    /// others in proportion, shuffled.
    fn expand(kept: usize, seed: u64) -> Result<Corpus, GrammarError> {
        let grammar = grammar()?;
        let stays = 100 - RETWEETS_PERCENT - SHORT_PERCENT;
        let (retweets, short) = (kept * RETWEETS_PERCENT / stays, kept * SHORT_PERCENT / stays);
        let fits = |text: &str| weighted_chars(text) + " ".len() + LINK_WEIGHT <= MAX_WEIGHTED;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(1);

        let mut texts = Vec::with_capacity(kept + retweets + short);
        for text in grammar.distinct(KEPT, kept, seed, |t| fits(t) && word_count(t) > 2)? {
            let link = (draw(&mut rng, LINK_EVERY) == 0).then(|| link(&mut rng));
            texts.push((text, link));
        }
        let others = grammar.distinct(RETWEET, retweets, seed, fits)?;
        texts.extend(others.into_iter().map(|text| (text, None)));
        while texts.len() < kept + retweets + short {
            // Not distinct: the keeper may say "Fog." on many days.
            if let Some(text) = grammar.expand(SHORT, &mut rng)? {
                texts.push((text, None));
            }
        }
        for last in (1..texts.len()).rev() {
            texts.swap(last, draw(&mut rng, last as u64 + 1) as usize);
        }

        let (mut created_unix_s, mut id) = (FIRST_POST_UNIX_S, FIRST_ID);
        let posts = texts.into_iter().map(|(text, link)| {
            created_unix_s += 60 + draw(&mut rng, PAUSE_MAX_S) as i64;
            id += ID_STEP + draw(&mut rng, ID_STEP);
            Post { text, link, created_unix_s, id, likes: draw(&mut rng, 200) }
        });
        Ok(Corpus { posts: posts.collect(), kept, retweets, short })
    }

    /// The bytes of the zip file.
    fn archive(&self) -> anyhow::Result<Vec<u8>> {
        let tweets = self.posts.iter().map(Post::to_json);
        let tweets = tweets.collect::<anyhow::Result<Vec<Value>>>()?;
        let account = json!([{ "account": {
            "email": "nobody@gull-rock.example",
            "createdVia": "web",
            "username": HANDLE,
            "accountId": ACCOUNT_ID,
            "createdAt": "2019-01-01T00:00:00.000Z",
            "accountDisplayName": NAME,
        }}]);
        let profile = json!([{ "profile": { "description": {
            "bio": BIO, "website": "", "location": "Gull Rock (fictional)",
        }}}]);
        let deleted = json!([{ "tweet": {
            "full_text": DELETED, "id_str": "9", "id": "9",
            "created_at": "Tue Jan 01 00:00:01 +0000 2019",
            "deleted_at": "Tue Jan 01 00:00:02 +0000 2019",
        }}]);
        let manifest = json!({
            "userInfo": { "accountId": ACCOUNT_ID, "userName": HANDLE, "displayName": NAME },
            "note": BIO,
        });

        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let mut add = |name: &str, text: String| -> anyhow::Result<()> {
            // Without modification times, so that the same corpus gives the same bytes.
            let options = SimpleFileOptions::default().last_modified_time(zip::DateTime::default());
            zip.start_file(name, options)?;
            zip.write_all(text.as_bytes())?;
            Ok(())
        };
        add("data/account.js", part("account", &account)?)?;
        add("data/profile.js", part("profile", &profile)?)?;
        add("data/tweets.js", part("tweets", &Value::Array(tweets))?)?;
        add("data/deleted-tweets.js", part("deleted_tweets", &deleted)?)?;
        let manifest = serde_json::to_string_pretty(&manifest)?;
        add("data/manifest.js", format!("window.__THAR_CONFIG = {manifest}\n"))?;
        add("Your archive.html", format!("<!doctype html>\n<title>{NAME}</title>\n<p>{BIO}</p>\n"))?;
        Ok(zip.finish()?.into_inner())
    }
}

/// A file of the archive: JavaScript up to the first `=`, then JSON.
fn part(name: &str, value: &Value) -> anyhow::Result<String> {
    let json = serde_json::to_string_pretty(value)?;
    Ok(format!("window.YTD.{name}.part0 = {json}\n"))
}

impl Post {
    /// The post as X writes it: HTML entities in the text, numbers as strings.
    fn to_json(&self) -> anyhow::Result<Value> {
        let escaped = self.text.replace('&', "&amp;");
        let mut full_text = escaped.replace('<', "&lt;").replace('>', "&gt;");
        let mut urls = Vec::new();
        if let Some(link) = &self.link {
            let start = full_text.chars().count() + 1;
            full_text = format!("{full_text} {link}");
            urls.push(json!({
                "url": link, "expanded_url": link, "display_url": link,
                "indices": [start.to_string(), full_text.chars().count().to_string()],
            }));
        }
        let mut mentions = Vec::new();
        let passed_on = self.text.strip_prefix("RT @");
        if let Some((handle, _)) = passed_on.and_then(|rest| rest.split_once(':')) {
            mentions.push(json!({
                "name": handle, "screen_name": handle, "id_str": "-1", "id": "-1",
                "indices": ["3", (4 + handle.len()).to_string()],
            }));
        }
        let retweet = !mentions.is_empty();
        let length = full_text.chars().count();
        Ok(json!({ "tweet": {
            "full_text": full_text,
            "created_at": created_at(self.created_unix_s)?,
            "id_str": self.id.to_string(),
            "id": self.id.to_string(),
            "favorite_count": if retweet { 0 } else { self.likes }.to_string(),
            "retweet_count": (self.likes / 7).to_string(),
            "retweeted": false,
            "favorited": false,
            "truncated": false,
            "lang": "en",
            "source": "<a href=\"https://gull-rock.example/\" rel=\"nofollow\">Lamp</a>",
            "display_text_range": ["0", length.to_string()],
            "entities": {
                "hashtags": [], "symbols": [], "user_mentions": mentions, "urls": urls,
            },
        }}))
    }
}

/// `Tue Jan 01 00:00:01 +0000 2019`
fn created_at(unix_s: i64) -> anyhow::Result<String> {
    let format = time::macros::format_description!(
        "[weekday repr:short] [month repr:short] [day] [hour]:[minute]:[second] +0000 [year]"
    );
    Ok(OffsetDateTime::from_unix_timestamp(unix_s)?.format(format)?)
}

/// A link on a reserved domain, which nobody can register.
fn link(rng: &mut ChaCha8Rng) -> String {
    format!("https://gull-rock.example/view/{}", draw(rng, 100_000))
}

/// Weight of any link on X.
const LINK_WEIGHT: usize = 23;

/// X counts characters up to U+10FF and common punctuation once, all others twice.
fn weighted_chars(text: &str) -> usize {
    let weight = |c: char| match u32::from(c) {
        0..=0x10FF | 0x2000..=0x200D | 0x2010..=0x201F | 0x2032..=0x2037 => 1,
        _ => 2,
    };
    text.chars().map(weight).sum()
}

fn word_count(text: &str) -> usize {
    text.split_whitespace().count()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};
    use std::io::Read;

    use super::*;
    use crate::tweets::grammar::article_for;

    const POSTS: usize = 6_000;

    fn corpus() -> &'static Corpus {
        static CORPUS: std::sync::OnceLock<Corpus> = std::sync::OnceLock::new();
        CORPUS.get_or_init(|| Corpus::expand(POSTS, 1).unwrap())
    }

    fn is_retweet(post: &Post) -> bool {
        post.text.starts_with("RT @")
    }

    fn kept() -> impl Iterator<Item = &'static Post> {
        let posts = corpus().posts.iter();
        posts.filter(|p| !is_retweet(p) && word_count(&p.text) > 2)
    }

    #[test]
    fn thousands_of_distinct_posts_are_kept_and_the_others_are_there() {
        let distinct: HashSet<&str> = kept().map(|p| p.text.as_str()).collect();
        assert_eq!(distinct.len(), POSTS);
        let all = corpus().posts.len();
        let retweets = corpus().posts.iter().filter(|p| is_retweet(p)).count();
        let short = all - POSTS - retweets;
        assert!((7..=9).contains(&(100 * retweets / all)), "{retweets}");
        assert!((3..=5).contains(&(100 * short / all)), "{short}");
        assert_eq!((retweets, short), (corpus().retweets, corpus().short));
    }

    #[test]
    fn hundreds_of_templates() {
        let own = |name: &str| name.starts_with("o-") || name.ends_with(['1', '2']);
        let templates = grammar().unwrap().alternatives(own);
        assert!(templates > 900, "{templates}");
    }

    #[test]
    fn every_post_fits_and_the_mean_is_a_post_s() {
        let (mut sum, mut count) = (0, 0);
        for post in kept() {
            let link = post.link.as_ref().map_or(0, |_| 1 + LINK_WEIGHT);
            let weighted = weighted_chars(&post.text) + link;
            assert!(weighted <= MAX_WEIGHTED, "{}", post.text);
            (sum, count) = (sum + weighted, count + 1);
        }
        assert!((60..=130).contains(&(sum / count)), "{}", sum / count);
    }

    #[test]
    fn templates_leave_no_braces_no_double_spaces_and_right_ends() {
        for post in &corpus().posts {
            let text = &post.text;
            assert!(!text.contains(['{', '}', '[', ']', '|', '\\']), "{text}");
            assert!(!text.contains("  ") && text.trim() == text, "{text}");
            assert!(!text.contains(" .") && !text.contains(".."), "{text}");
            assert!(!text.contains("the the ") && !text.contains(" a a "), "{text}");
        }
    }

    #[test]
    fn articles_agree() {
        for post in &corpus().posts {
            let text = post.text.replace(" > ", " ");
            let words: Vec<&str> = text.split_whitespace().collect();
            for pair in words.windows(2) {
                let article = pair[0].to_lowercase();
                if article == "a" || article == "an" {
                    assert_eq!(article, article_for(pair[1]), "{text}");
                }
            }
        }
    }

    #[test]
    fn the_openings_that_people_type_are_there() {
        let mut seen: BTreeMap<&str, usize> = OPENINGS.split('|').map(|o| (o, 0)).collect();
        for post in kept() {
            for (opening, count) in &mut seen {
                *count += usize::from(post.text.starts_with(*opening));
            }
        }
        let rare: Vec<_> = seen.iter().filter(|(_, count)| **count < 3).collect();
        assert!(rare.is_empty(), "too rare: {rare:?}");
    }

    const OPENINGS: &str = "\
        My dream is|I wish|I think|I love|I like|I hate|I want|I need|I have|I am|I was|\
        I can|I don't|I asked|I tried|I never|I miss|I hope|I know|I believe|I just|\
        The best thing about|The worst|The fog|The sea|The lamp|The gull|The cat|The ghost|\
        The moon|The trouble with|Nobody tells you|Nothing|No |If you|If I|When the|When I|\
        People ask|People|Visitors|Today|Today I|Tomorrow|Yesterday|Last night|This morning|\
        Tonight|Why do|Who|What|Where|How to|Is it|Does any|Can we|Do not|Dear ships|Dear|\
        Breaking:|Reminder:|Unpopular opinion:|Hot take:|Fun fact:|Note to self:|Things I|\
        In my|My aunt|My favourite|My cat|There is|There are|It is|It was|It turns out|We|\
        We are|She|He|They|You|You can|Love|Life|Happy|Happy birthday|Good morning|\
        Good night|Never|Always|Every|Everyone|Some|Somebody|Sometimes|Once|One day|After|\
        Before|While|Maybe|Please|Thank|Sorry|Welcome|Imagine|Remember|Congratulations|Let |\
        This is|That|So |And|But|At |On |From|For|In |All |Not |Hello";

    #[test]
    fn one_seed_gives_the_same_bytes() {
        let bytes = |seed| Corpus::expand(300, seed).unwrap().archive().unwrap();
        assert_eq!(bytes(5), bytes(5));
        assert_ne!(bytes(5), bytes(6));
    }

    #[test]
    fn nobody_can_have_these_handles() {
        assert!(HANDLE.len() > 15);
        for post in corpus().posts.iter().filter(|p| is_retweet(p)) {
            let handle = post.text["RT @".len()..].split(':').next().unwrap();
            assert!(handle.len() > 15, "{handle}");
        }
    }

    #[test]
    fn the_archive_has_the_layout_of_an_x_archive() {
        let bytes = corpus().archive().unwrap();
        let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut read = |name: &str, prefix: &str| -> Value {
            let mut text = String::new();
            zip.by_name(name).unwrap().read_to_string(&mut text).unwrap();
            let (before, json) = text.split_once('=').unwrap();
            assert_eq!(before.trim(), prefix);
            serde_json::from_str(json).unwrap()
        };
        let account = read("data/account.js", "window.YTD.account.part0");
        assert_eq!(account[0]["account"]["username"], HANDLE);
        assert_eq!(account[0]["account"]["accountDisplayName"], NAME);
        let profile = read("data/profile.js", "window.YTD.profile.part0");
        assert_eq!(profile[0]["profile"]["description"]["bio"], BIO);
        let manifest = read("data/manifest.js", "window.__THAR_CONFIG");
        assert_eq!(manifest["userInfo"]["userName"], HANDLE);

        let deleted = read("data/deleted-tweets.js", "window.YTD.deleted_tweets.part0");
        assert_eq!(deleted[0]["tweet"]["full_text"], DELETED);
        let tweets = read("data/tweets.js", "window.YTD.tweets.part0");
        let tweets = tweets.as_array().unwrap();
        assert_eq!(tweets.len(), corpus().posts.len());
        let texts: Vec<&str> = tweets.iter().map(|t| t["tweet"]["full_text"].as_str().unwrap()).collect();
        assert!(!texts.contains(&DELETED));
        for exercised in ["&amp;", "&gt;", " https://", "\n"] {
            assert!(texts.iter().any(|t| t.contains(exercised)), "{exercised:?}");
        }
        let first = &tweets[0]["tweet"];
        assert!(first["id_str"].is_string() && first["favorite_count"].is_string());
        assert_eq!(first["retweeted"], false);
        assert!(first["created_at"].as_str().unwrap().ends_with(" +0000 2019"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("none/demo.zip");
        let args = Args { out: out.clone(), posts: 20, seed: 1 };
        let error = format!("{:#}", run(args).unwrap_err());
        assert!(error.contains(&out.display().to_string()), "{error}");
        assert!(!error.contains('\n'));
    }

    #[test]
    fn dates_are_written_as_x_writes_them() {
        assert_eq!(created_at(FIRST_POST_UNIX_S).unwrap(), "Tue Jan 01 00:00:00 +0000 2019");
    }
}
