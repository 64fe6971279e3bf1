//! The model card and its pictures.
//!
//! The card is `model-card/template.md`, rendered from `bot.json` alone so that it can be
//! rewritten at any time; anything not stored there does not appear on it. Template output
//! is escaped for Markdown and HTML unless a filter says otherwise.

use std::{collections::BTreeSet, fs, io, path::Path};

use minijinja::{AutoEscape, Environment, Output, State, Value, context};
use thiserror::Error;
use time::OffsetDateTime;

pub mod curve;
pub mod escape;
pub mod figure;
pub mod picture;
mod segment;
mod svg;
mod typeset;

use figure::grouped;

pub use crate::bundle::manifest::{
    CardExtras, MemorisedShare, PrecisionPerplexity, Recipe, Sample, VerbatimShare,
};
use crate::bundle::{
    face::faces,
    manifest::{BotInfo, Provenance},
};

/// The files that [`write()`] writes for every bot.
pub const FILES: [&str; 3] = ["README.md", "predictions.png", "pipeline.png"];

/// Plot of the validation loss, written if the loss was measured.
pub const VALIDATION_FILE: &str = "validation.png";

/// The prompt suggested by the card and the page.
pub const DEFAULT_START: &str = "My dream is";

const TEMPLATE: &str = include_str!("../../model-card/template.md");
const PIPELINE: &str = include_str!("../../model-card/pipeline.svg");

/// Maximum number of rows in the validation table.
const MAX_VALIDATION_ROWS: usize = 12;

/// Why a card could not be written.
#[derive(Debug, Error)]
pub enum CardError {
    #[error("the card's template: {0}")]
    Template(#[from] minijinja::Error),
    #[error("the card's picture: {0}")]
    Picture(#[from] picture::PictureError),
    #[error("cannot write {path}: {source}")]
    Write { path: String, source: io::Error },
}

/// What could not be rendered as requested.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Written {
    /// Characters that no font on this machine has. The picture shows boxes in their place or
    /// omits them.
    pub without_font: BTreeSet<char>,
}

impl Written {
    /// Returns a sentence naming the missing characters and a remedy, or `None` if none are.
    pub fn warning(&self) -> Option<String> {
        const SHOWN: usize = 12;
        if self.without_font.is_empty() {
            return None;
        }
        let shown: Vec<String> = self
            .without_font
            .iter()
            .take(SHOWN)
            .map(|c| {
                if c.is_alphanumeric() {
                    format!("{c} (U+{:04X})", u32::from(*c))
                } else {
                    format!("U+{:04X}", u32::from(*c))
                }
            })
            .collect();
        let more = match self.without_font.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Some(format!(
            "no font on this machine has {}{more}, so predictions.png shows boxes in their place, or nothing for a symbol: \
             install one (Noto has all) and run `huggingtweets card` on the bot's folder",
            shown.join(", ")
        ))
    }
}

/// Returns the names of the files that [`write()`] writes for a bot with these extras.
pub fn files(extras: &CardExtras) -> Vec<&'static str> {
    let validation = curve::is_drawable(&extras.validation).then_some(VALIDATION_FILE);
    FILES.into_iter().chain(validation).collect()
}

/// Writes [`files`] into an existing folder. Files are written in place, so a folder in use
/// needs a staging folder.
///
/// # Errors
/// If a picture cannot be drawn or a file cannot be written. Characters without a font are
/// not an error.
pub fn write(dir: &Path, info: &BotInfo, extras: &CardExtras) -> Result<Written, CardError> {
    let (start, completion) = shown_draft(extras);
    let picture = picture::draw(info, &start, &completion)?;
    let mut contents = vec![render(info, extras)?.into_bytes(), picture.png, svg::rasterise(PIPELINE)?];
    if curve::is_drawable(&extras.validation) {
        contents.push(curve::draw(&extras.validation)?);
    }
    for (name, bytes) in files(extras).into_iter().zip(contents) {
        let path = dir.join(name);
        fs::write(&path, bytes)
            .map_err(|source| CardError::Write { path: path.display().to_string(), source })?;
    }
    Ok(Written { without_font: picture.without_font })
}

/// Renders the text of `README.md`.
///
/// # Errors
/// [`CardError::Template`] if the template fails.
pub fn render(info: &BotInfo, extras: &CardExtras) -> Result<String, CardError> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("inline"));
    environment.set_formatter(escaped_by(escape::inline));
    environment.add_filter("yaml", |text: String| Value::from_safe_string(escape::yaml(&text)));
    environment.add_filter("code", |text: String| Value::from_safe_string(escape::code(&text)));
    environment.add_filter("attribute", |text: String| Value::from_safe_string(escape::attribute(&text)));
    environment.add_filter("raw", |text: String| Value::from_safe_string(text));
    environment.add_template("card", TEMPLATE)?;

    let page_url = extras.page_url.as_deref().and_then(escape::page_url);
    let repository = extras.repository.as_deref().and_then(escape::repository);
    let provenance = &info.provenance;
    let samples: Vec<Value> = extras.samples.iter().map(sample).collect();
    let draft_count: usize = extras.samples.iter().map(|sample| sample.drafts.len()).sum();
    let handles: Vec<String> = info.handles.iter().map(|handle| bare_handle(handle)).collect();
    let mut text = environment.get_template("card")?.render(context! {
        languages => languages(info, extras),
        license => extras.license,
        base_model => provenance.base.as_deref().and_then(base_model),
        thumbnail => match &page_url {
            Some(page) => format!("{page}bot/predictions.png"),
            None => "predictions.png".into(),
        },
        faces => faces(info).iter().map(|face| context! {
            initials => face.initials,
            colour => Value::from_safe_string(format!("hsl({}, 62%, 46%)", face.hue)),
        }).collect::<Vec<_>>(),
        name => display_name(info),
        label => plain_label(info),
        handles,
        alt => format!("A post by {}, {}", display_name(info), plain_label(info)),
        site => page_url.as_deref().unwrap_or("https://example.com/"),
        page_url,
        repository,
        notice => info.notice,
        filtered => info.accounts.iter().any(|account| account.filtered_out > 0),
        accounts => info.accounts.iter().map(|account| context! {
            handle => bare_handle(&account.handle),
            ..Value::from_serialize(account)
        }).collect::<Vec<_>>(),
        procedure => procedure(provenance, extras),
        recipe => extras.recipe,
        validation => validation(&extras.validation),
        trained => provenance.learning_rate.is_some(),
        command => provenance.command,
        perplexities => extras.held_out_perplexity.iter().map(|row| context! {
            precision => row.precision,
            value => format!("{:.2}", row.perplexity),
            loss => format!("{:.3}", row.perplexity.ln()),
        }).collect::<Vec<_>>(),
        perplexity_posts => extras.perplexity_posts,
        verbatim => extras.verbatim.as_ref().map(|share| context! {
            percent => percent(share.verbatim as f64 / share.drafts.max(1) as f64),
            ..Value::from_serialize(share)
        }),
        memorisation => extras.memorisation.as_ref().map(|found| context! {
            percent => percent(found.share),
            ..Value::from_serialize(found)
        }),
        notes => extras.notes,
        samples,
        draft_count,
        made_with => if provenance.made_with.is_empty() { "huggingtweets" } else { &provenance.made_with },
        date => provenance.created_unix_s.and_then(date),
    })?;
    text.truncate(text.trim_end().len());
    text.push('\n');
    Ok(text)
}

/// Returns the display name, or the handles if there is none.
pub(crate) fn display_name(info: &BotInfo) -> String {
    let name = escape::plain(&info.name);
    if name.is_empty() {
        info.handles.iter().map(|h| bare_handle(h)).collect::<Vec<_>>().join(" & ")
    } else {
        name
    }
}

/// Returns the label without its emoji: `AI BOT` or `AI CYBORG`.
pub(crate) fn plain_label(info: &BotInfo) -> String {
    info.label().chars().filter(char::is_ascii).collect::<String>().trim().to_string()
}

/// Returns a handle without `@`, on one line.
pub(crate) fn bare_handle(handle: &str) -> String {
    escape::plain(handle).trim_start_matches('@').to_string()
}

/// Returns the start and completion shown in the picture. The completion is empty if there
/// is no draft.
fn shown_draft(extras: &CardExtras) -> (String, String) {
    let drafts =
        extras.samples.iter().flat_map(|sample| sample.drafts.iter().map(|draft| (&sample.prompt, draft)));
    for (prompt, draft) in drafts {
        let (start, rest) = split_draft(prompt, draft);
        if !rest.trim().is_empty() {
            return (start, rest);
        }
    }
    (DEFAULT_START.into(), String::new())
}

/// Splits a draft into prompt and completion. The prompt is empty if the draft does not begin
/// with it. The completion keeps its leading space, if any.
fn split_draft(prompt: &str, draft: &str) -> (String, String) {
    let (prompt, draft) = (escape::plain(prompt), escape::plain(draft));
    match draft.strip_prefix(prompt.as_str()) {
        Some(rest) if !prompt.is_empty() => {
            let rest = rest.to_string();
            (prompt, rest)
        }
        _ => (String::new(), draft),
    }
}

fn sample(sample: &Sample) -> Value {
    let drafts: Vec<Value> = sample
        .drafts
        .iter()
        .map(|draft| {
            let (start, rest) = split_draft(&sample.prompt, draft);
            // Marked safe, because escaping would trim the space.
            let glue = Value::from_safe_string(if rest.starts_with(' ') { " " } else { "" }.into());
            context! { start, glue, rest }
        })
        .collect();
    context! { prompt => sample.prompt, seed => sample.seed, drafts }
}

/// Returns the Hub repository of the base model, if it is one.
fn base_model(base: &str) -> Option<&str> {
    match base {
        "gpt2" => Some("openai-community/gpt2"),
        base if base.contains('/') => escape::repository(base),
        _ => None,
    }
}

/// Returns the language tags of the posts: the given one, else those of the archives.
fn languages(info: &BotInfo, extras: &CardExtras) -> Vec<String> {
    if let Some(language) = &extras.language {
        return vec![language.clone()];
    }
    let mut found: Vec<String> = Vec::new();
    for language in info.accounts.iter().filter_map(|account| account.language.clone()) {
        if !found.contains(&language) {
            found.push(language);
        }
    }
    found
}

/// Returns the validation table, reduced to at most [`MAX_VALIDATION_ROWS`] rows that include
/// the first, the last and the lowest.
fn validation(points: &[(u64, f64)]) -> Option<Value> {
    let best = curve::lowest(points)?;
    let stride = points.len().div_ceil(MAX_VALIDATION_ROWS - 2).max(1);
    let shown = |i: usize| i.is_multiple_of(stride) || i + 1 == points.len() || i == best;
    let row = |&(step, loss): &(u64, f64)| {
        context! { step => grouped(step), loss => format!("{loss:.3}"), perplexity => format!("{:.2}", loss.exp()) }
    };
    let rows: Vec<Value> =
        points.iter().enumerate().filter(|(i, _)| shown(*i)).map(|(_, point)| row(point)).collect();
    let picture = curve::is_drawable(points).then_some(VALIDATION_FILE);
    Some(context! { rows, picture, best => row(&points[best]), count => points.len() })
}

/// Formats a fraction as a percentage, with a decimal below 10 % so that small values do not
/// round to 0.
fn percent(share: f64) -> String {
    match 100.0 * share {
        p if p > 0.0 && p < 10.0 => format!("{p:.1}"),
        p => format!("{p:.0}"),
    }
}

/// Returns the known training settings as table rows.
fn procedure(p: &Provenance, extras: &CardExtras) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    let mut row =
        |label: &str, value: Option<String>| rows.extend(value.map(|value| (label.to_owned(), value)));
    row("Recipe", extras.recipe.as_ref().map(|recipe| recipe.name.clone()));
    row(
        "Started from",
        p.base.as_deref().map(|base| if base == "scratch" { "random weights".into() } else { base.into() }),
    );
    row("Parameters", p.parameters.map(grouped));
    row("Epochs", p.epochs.map(|n| n.to_string()));
    row("Steps", p.steps.map(|n| grouped(n as u64)));
    row("Learning rate", p.learning_rate.map(|rate| format!("{rate:e}")));
    row("Batch", p.batch.map(|n| n.to_string()));
    row("Tokens per block", p.context.map(|n| grouped(n as u64)));
    row("Tokens seen", p.train_tokens.map(grouped));
    row("Seed", p.seed.map(|n| n.to_string()));
    row("Loss at the start", p.first_loss.map(|loss| format!("{loss:.3}")));
    row("Loss at the end", p.final_loss.map(|loss| format!("{loss:.3}")));
    row("Time", p.train_seconds.map(duration));
    rows.extend(extras.hyper_parameters.iter().cloned());
    rows
}

/// Formats seconds as `2 h 5 min`, `3 min 20 s` or `12 s`.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// Formats a UTC date as `2026-01-31`.
pub(crate) fn date(unix_s: u64) -> Option<String> {
    let time = OffsetDateTime::from_unix_timestamp(i64::try_from(unix_s).ok()?).ok()?;
    Some(time.date().to_string())
}

/// Returns a template formatter that passes output through `escape`, unless a filter marked
/// it as safe.
pub(crate) fn escaped_by(
    escape: fn(&str) -> String,
) -> impl Fn(&mut Output, &State, &Value) -> Result<(), minijinja::Error> {
    move |out, _, value| {
        if value.is_undefined() || value.is_none() {
            return Ok(());
        }
        match value.as_str() {
            Some(text) if !value.is_safe() => out.write_str(&escape(text))?,
            Some(text) => out.write_str(text)?,
            None => write!(out, "{value}")?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
