//! Tests of the card against a golden file, a front matter parser, and hostile names.

use super::*;
use crate::bundle::manifest::AccountCounts;

/// Two fictional accounts with all fields set.
fn full() -> (BotInfo, CardExtras) {
    let account = |handle: &str, name: &str, kept| AccountCounts {
        handle: handle.into(),
        name: name.into(),
        tweets_downloaded: kept + 312,
        retweets: 207,
        short_tweets: 105,
        tweets_kept: kept,
        language: Some("en".into()),
        ..AccountCounts::default()
    };
    let info = BotInfo {
        name: "Maren Holm & The Fog".into(),
        handles: vec!["keeper_of_the_skerry_light".into(), "the_fog_of_the_skerry".into()],
        accounts: vec![
            account("keeper_of_the_skerry_light", "Maren Holm", 5210),
            account("the_fog_of_the_skerry", "The Fog", 871),
        ],
        notice: Some("Both accounts are fictional.".into()),
        provenance: Provenance {
            made_with: "huggingtweets 0.1.0".into(),
            base: Some("scratch".into()),
            command: Some("huggingtweets train keeper.zip fog.zip --base scratch --seed 7 --out bot".into()),
            seed: Some(7),
            epochs: Some(4),
            steps: Some(1240),
            learning_rate: Some(1.372e-4),
            batch: Some(1),
            context: Some(256),
            train_tokens: Some(317_440),
            train_seconds: Some(754.2),
            first_loss: Some(7.6243),
            final_loss: Some(2.0517),
            parameters: Some(4_190_208),
            created_unix_s: Some(1_700_000_000),
            ..Provenance::default()
        },
    };
    let extras = CardExtras {
        page_url: Some("https://lights.example/skerry".into()),
        repository: Some("lights/skerry".into()),
        license: Some("mit".into()),
        samples: vec![
            Sample {
                prompt: "My dream is".into(),
                drafts: vec![
                    "My dream is a fog that knocks.".into(),
                    "My dream isn't *yours*, gull. #skerry".into(),
                ],
                seed: Some(1),
            },
            Sample {
                prompt: "Tonight".into(),
                drafts: vec!["Tonight the lamp says | hello.".into()],
                seed: None,
            },
        ],
        verbatim: Some(VerbatimShare { drafts: 200, verbatim: 31, seed: 1 }),
        held_out_perplexity: vec![
            PrecisionPerplexity { precision: "f32".into(), perplexity: 9.8731 },
            PrecisionPerplexity { precision: "q8_0".into(), perplexity: 9.8802 },
        ],
        perplexity_posts: Some(100),
        recipe: Some(Recipe {
            name: "modern".into(),
            differences: vec![
                "5 % of the posts are held out, and the best checkpoint on them is kept.".into(),
                "Duplicate posts are dropped.".into(),
            ],
        }),
        hyper_parameters: vec![
            ("Dropout".into(), "0.1".into()),
            ("Precision".into(), "32-bit floats".into()),
        ],
        validation: vec![(0, 7.61), (400, 3.02), (800, 2.29), (1240, 2.31)],
        memorisation: Some(MemorisedShare { n_words: 8, share: 0.045, drafts: 200 }),
        notes: vec!["The bot before this one had a perplexity of 11.2 on them.".into()],
        ..CardExtras::default()
    };
    (info, extras)
}

fn hostile() -> (BotInfo, CardExtras) {
    let evil = "x\n---\nevil: true\n</div><script>alert(1)</script> | `a` [l](javascript:alert(1)) **b** {{ name }} \u{202e}\"'";
    let (mut info, mut extras) = full();
    info.name = evil.into();
    info.handles = vec![evil.into()];
    info.accounts.truncate(1);
    info.accounts[0].handle = evil.into();
    info.accounts[0].name = evil.into();
    info.notice = Some(evil.into());
    info.provenance.base = Some(evil.into());
    info.provenance.command = Some(format!("a\n```\n<script>\n{evil}"));
    info.provenance.made_with = evil.into();
    extras.language = Some(evil.into());
    extras.license = Some(evil.into());
    extras.page_url = Some(format!("https://a.example/\"><script>{evil}"));
    extras.repository = Some("a\", __import__('os')".into());
    extras.samples[0].prompt = evil.into();
    extras.samples[0].drafts = vec![evil.into(), "1. one".into(), "- two".into()];
    extras.held_out_perplexity[0].precision = evil.into();
    extras.recipe = Some(Recipe { name: evil.into(), differences: vec![evil.into()] });
    extras.hyper_parameters = vec![(evil.into(), evil.into())];
    extras.notes = vec![evil.into()];
    extras.validation[1].1 = f64::NAN;
    (info, extras)
}

/// Parses the front matter into key -> values, supporting only the YAML that the template
/// uses: plain scalars, JSON strings, and flat lists.
fn front_matter(card: &str) -> Vec<(String, Vec<String>)> {
    let scalar = |text: &str| {
        let text = text.trim();
        if text.starts_with('"') {
            return serde_json::from_str(text).unwrap();
        }
        assert!(
            text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)),
            "not a plain word: {text}"
        );
        text.to_string()
    };
    let (head, _) = card.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap();
    let mut entries: Vec<(String, Vec<String>)> = Vec::new();
    for line in head.lines() {
        if let Some(item) = line.strip_prefix("- ") {
            let item = item.strip_prefix("text: ").unwrap_or(item);
            entries.last_mut().unwrap().1.push(scalar(item));
        } else {
            let (key, value) = line.split_once(':').unwrap();
            let values = if value.is_empty() { vec![] } else { vec![scalar(value)] };
            entries.push((key.into(), values));
        }
    }
    entries
}

fn value<'a>(entries: &'a [(String, Vec<String>)], key: &str) -> Vec<&'a str> {
    let found: Vec<_> = entries.iter().filter(|(k, _)| k == key).collect();
    assert!(found.len() <= 1, "{key} stands twice");
    found.iter().flat_map(|(_, values)| values.iter().map(String::as_str)).collect()
}

/// Set `HUGGINGTWEETS_BLESS` to rewrite the golden file, then review the diff.
#[test]
fn the_card_is_the_golden_one() {
    let (info, extras) = full();
    let card = render(&info, &extras).unwrap();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/card/golden.md");
    if std::env::var_os("HUGGINGTWEETS_BLESS").is_some() {
        std::fs::write(golden, &card).unwrap();
    }
    assert_eq!(card, std::fs::read_to_string(golden).unwrap());
}

#[test]
fn the_front_matter_is_what_the_hub_reads() {
    let (info, extras) = full();
    let entries = front_matter(&render(&info, &extras).unwrap());
    assert_eq!(value(&entries, "language"), ["en"]);
    assert_eq!(value(&entries, "license"), ["mit"]);
    assert_eq!(value(&entries, "library_name"), ["transformers"]);
    assert_eq!(value(&entries, "pipeline_tag"), ["text-generation"]);
    assert_eq!(value(&entries, "thumbnail"), ["https://lights.example/skerry/bot/predictions.png"]);
    assert_eq!(value(&entries, "tags"), ["huggingtweets", "gpt2"]);
    assert_eq!(value(&entries, "widget"), ["My dream is"]);
}

#[test]
fn languages_are_those_of_the_posts_unless_given() {
    let (mut info, mut extras) = full();
    info.accounts[0].language = Some("de".into());
    info.accounts[1].language = Some("nds".into());
    let languages = |info: &BotInfo, extras: &CardExtras| {
        let card = render(info, extras).unwrap();
        value(&front_matter(&card), "language").iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(languages(&info, &extras), ["de", "nds"]);
    info.accounts[1].language = Some("de".into());
    assert_eq!(languages(&info, &extras), ["de"]);
    extras.language = Some("no".into());
    assert_eq!(languages(&info, &extras), ["no"]);
}

/// Returns the contents of the card's fenced code blocks.
fn fenced(card: &str) -> String {
    card.split("```").skip(1).step_by(2).collect()
}

#[test]
fn code_stands_as_it_is_run() {
    let (info, mut extras) = full();
    assert!(fenced(&render(&info, &extras).unwrap()).contains("model=\"lights/skerry\""));
    extras.repository = None;
    extras.page_url = None;
    for card in [render(&info, &extras), render(&hostile().0, &hostile().1)] {
        let code = fenced(&card.unwrap());
        assert!(code.contains("model=\".\"") && !code.contains("&#"), "{code}");
    }
}

#[test]
fn of_many_accounts_three_have_a_face_and_all_a_column() {
    let (mut info, extras) = full();
    for n in 0..3 {
        let mut account = info.accounts[0].clone();
        account.handle = format!("gull_{n}");
        info.handles.push(account.handle.clone());
        info.accounts.push(account);
    }
    info.accounts[4].filtered_out = 17;
    let card = render(&info, &extras).unwrap();
    assert_eq!(card.matches("border-radius: 50%").count(), crate::bundle::face::MAX_FACES);
    let row = |label: &str| card.lines().find(|line| line.starts_with(label)).unwrap().matches('|').count();
    assert_eq!((row("| Posts"), row("| Tweets kept"), row("| Filtered out")), (7, 7, 7));
    assert!(card.contains("| 0 | 0 | 0 | 0 | 17 |"), "{card}");
}

#[test]
fn a_long_run_has_a_short_table_with_its_best() {
    let points: Vec<(u64, f64)> = (0..100).map(|i| (i * 10, if i == 57 { 2.0 } else { 3.0 })).collect();
    let (info, mut extras) = full();
    extras.validation = points;
    let card = render(&info, &extras).unwrap();
    let rows = card.lines().skip_while(|line| !line.starts_with("| Step")).take_while(|l| l.starts_with('|'));
    assert!((10..=2 + MAX_VALIDATION_ROWS).contains(&rows.count()), "{card}");
    assert!(card.contains("| 570 | 2.000 | 7.39 |") && card.contains("| 990 | 3.000 |"), "{card}");
    assert!(card.contains("lowest at step 570"));
}

#[test]
fn one_of_a_kind_is_said_as_one() {
    let (info, mut extras) = full();
    extras.validation.truncate(1);
    extras.perplexity_posts = Some(1);
    extras.samples.truncate(1);
    extras.samples[0].drafts.truncate(1);
    let card = render(&info, &extras).unwrap();
    for words in ["evaluated once, was", "on 1 held-out post (sampled", "1 draft from 1 start, exactly"] {
        assert!(card.contains(words), "{words} in {card}");
    }
}

#[test]
fn small_shares_are_over_zero() {
    assert_eq!((percent(0.0), percent(0.004), percent(0.5)), ("0".into(), "0.4".into(), "50".into()));
}

#[test]
fn a_missing_font_is_said() {
    assert_eq!(Written::default().warning(), None);
    let written = Written { without_font: ['灯', '\u{1f916}'].into() };
    let warning = written.warning().unwrap();
    assert!(
        warning.contains("灯 (U+706F)") && warning.contains("U+1F916") && !warning.contains('\n'),
        "{warning}"
    );
    let many = Written { without_font: ('一'..='丿').collect() };
    assert!(many.warning().unwrap().contains("more"));
}

#[test]
fn what_is_not_known_is_left_out() {
    let info = BotInfo { name: "N".into(), handles: vec!["n".into()], ..BotInfo::default() };
    let card = render(&info, &CardExtras::default()).unwrap();
    for absent in [
        "license:",
        "base_model:",
        "None",
        "none",
        "null",
        "NaN",
        "Learning rate",
        "Drafts",
        "Perplexity",
        "Evaluation",
        "held",
        "ecipe",
        "Filtered",
        "emorisation",
        "language:",
        "evenly",
        "word for word among",
    ] {
        assert!(
            !card.contains(absent) || absent == "none" && card.contains("and none was written"),
            "{absent} in\n{card}"
        );
    }
    assert!(!card.contains("\n\n\n"), "{card}");
    assert!(card.contains("AI BOT") && card.contains("&#64;n<"));
}

#[test]
fn hostile_names_stay_text() {
    let (info, extras) = hostile();
    let card = render(&info, &extras).unwrap();
    let entries = front_matter(&card);
    assert!(value(&entries, "evil").is_empty());
    assert_eq!(value(&entries, "thumbnail"), ["predictions.png"]);
    let (_, body) = card.split_once("\n---\n").unwrap();
    assert!(!body.lines().any(|line| line.trim() == "---"), "{body}");
    let outside_code: String = body.split("```").step_by(2).collect();
    assert!(!outside_code.contains("<script"), "{outside_code}");
    assert!(!outside_code.contains("](javascript"));
    assert!(!body.contains("__import__"));
    // Five blocks with two fences each: python, sh, html, html, sh.
    assert_eq!(body.matches("```").count(), 10, "{body}");
    // Every table row has as many cells as the table's header.
    let mut head = None;
    for line in body.lines() {
        let bars = line.starts_with('|').then(|| line.matches('|').count());
        assert!(head.is_none() || bars.is_none() || head == bars, "{line}");
        head = bars;
    }
}

#[test]
fn a_written_card_has_its_pictures() {
    let (info, extras) = full();
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &info, &extras).unwrap();
    assert_eq!(files(&extras), [&FILES[..], &[VALIDATION_FILE]].concat());
    for name in files(&extras) {
        assert!(dir.path().join(name).metadata().unwrap().len() > 1000, "{name}");
    }
    if let Some(folder) = std::env::var_os("HUGGINGTWEETS_PICTURES") {
        for name in FILES {
            std::fs::copy(dir.path().join(name), Path::new(&folder).join(name)).unwrap();
        }
    }
}

#[test]
fn the_picture_shows_the_first_draft_that_says_something() {
    let (_, mut extras) = full();
    assert_eq!(shown_draft(&extras), ("My dream is".into(), " a fog that knocks.".into()));
    extras.samples[0].drafts[0] = "My dream is".into();
    assert_eq!(shown_draft(&extras), ("My dream is".into(), "n't *yours*, gull. #skerry".into()));
    assert_eq!(shown_draft(&CardExtras::default()), ("My dream is".into(), String::new()));
}

#[test]
fn numbers_read_well() {
    assert_eq!((grouped(7), grouped(1_234_567)), ("7".into(), "1,234,567".into()));
    assert_eq!(
        (duration(12.4), duration(754.2), duration(7505.0)),
        ("12 s".into(), "12 min 34 s".into(), "2 h 5 min".into())
    );
}
