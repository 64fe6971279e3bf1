//! `huggingtweets runs`: lists recorded runs, or compares two.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::bail;
use serde::Serialize;
use serde_json::Value;
use time::{OffsetDateTime, macros::format_description};

use super::say::stdout;
use crate::{
    card::{escape, figure::trimmed},
    record::{Artifact, Run},
};

/// How many levels of folders to search for runs.
const DEPTH: usize = 3;
/// Number of hex digits shown of a digest.
const DIGEST_DIGITS: usize = 12;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folders of runs, or folders that contain some up to three levels down
    #[arg(value_name = "DIR", default_value = ".")]
    dirs: Vec<PathBuf>,
    /// Show two runs side by side, given as folders or as ids from the list
    #[arg(long, num_args = 2, value_names = ["A", "B"])]
    compare: Option<Vec<String>>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let mut out = stdout();
    match args.compare.as_deref() {
        Some([a, b]) => {
            let comparison = Comparison::of(&find(a, &args.dirs)?, &find(b, &args.dirs)?);
            if args.json {
                writeln!(out, "{}", serde_json::to_string_pretty(&comparison)?)?;
            } else {
                comparison.write(&mut out)?;
            }
        }
        _ => {
            let rows: Vec<Row> = all(&args.dirs)?.iter().map(Row::of).collect();
            if args.json {
                writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?;
            } else if rows.is_empty() {
                bail!("no run in {}: `huggingtweets train` records one beside the bot", shown(&args.dirs));
            } else {
                write_table(&mut out, &TITLES, &rows.iter().map(Row::cells).collect::<Vec<_>>())?;
            }
        }
    }
    Ok(out.flush()?)
}

fn shown(dirs: &[PathBuf]) -> String {
    dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Finds every readable run below the folders, oldest first. Damaged runs are reported on
/// standard error.
fn all(dirs: &[PathBuf]) -> anyhow::Result<Vec<Run>> {
    let mut found = BTreeMap::new();
    for dir in dirs {
        if !dir.is_dir() {
            bail!("{} is not a folder", dir.display());
        }
        search(dir, DEPTH, &mut found);
    }
    let mut runs: Vec<Run> = found.into_values().collect();
    runs.sort_by_key(|run| run.config.started_unix_s);
    Ok(runs)
}

/// Searches a folder for runs. Does not descend into runs, and skips unreadable folders.
fn search(dir: &Path, depth: usize, found: &mut BTreeMap<PathBuf, Run>) {
    if Run::is_at(dir) {
        match Run::open(dir) {
            Ok(run) => drop(found.insert(dir.canonicalize().unwrap_or_else(|_| dir.into()), run)),
            Err(error) => say!("warning: {error}"),
        }
        return;
    }
    let Some(depth) = depth.checked_sub(1) else { return };
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        // Symlinks are not followed, because they may form cycles.
        if !hidden && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            // Avoid a `./` in front of every path.
            let path = if dir == Path::new(".") { entry.file_name().into() } else { entry.path() };
            search(&path, depth, found);
        }
    }
}

/// Finds a run by its folder, or by its id among those below `dirs`. A copied folder has the same id.
fn find(which: &str, dirs: &[PathBuf]) -> anyhow::Result<Run> {
    let path = Path::new(which);
    if path.exists() {
        return Ok(Run::open(path)?);
    }
    let mut found: Vec<Run> = all(dirs)?.into_iter().filter(|run| run.config.id == which).collect();
    if found.len() > 1 {
        let folders: Vec<PathBuf> = found.iter().map(|run| run.dir.clone()).collect();
        bail!("{which} is the id of several runs, copies of one: name a folder ({})", shown(&folders));
    }
    match found.pop() {
        Some(run) => Ok(run),
        None => bail!("{which} is neither a run's folder nor the id of a run in {}", shown(dirs)),
    }
}

/// A row of the list.
#[derive(Debug, PartialEq, Serialize)]
struct Row {
    id: String,
    name: String,
    /// Seconds since 1970-01-01 UTC.
    started_unix_s: u64,
    /// `completed`, `early`, `max_steps`, `broken off`, or `not ended`.
    state: &'static str,
    steps: usize,
    /// Mean training loss of the last steps, in nats per token.
    loss: Option<f64>,
    /// Lowest validation loss, in nats per token.
    validation_loss: Option<f64>,
    minutes: Option<f64>,
    dir: PathBuf,
}

const TITLES: [&str; 9] =
    ["name", "started (UTC)", "state", "steps", "loss", "validation loss", "minutes", "id", "folder"];

impl Row {
    fn of(run: &Run) -> Self {
        Self {
            id: run.config.id.clone(),
            name: run.config.name.clone(),
            started_unix_s: run.config.started_unix_s,
            state: run.state(),
            steps: run.steps(),
            loss: run.final_loss(),
            validation_loss: run.best().map(|(_, loss)| loss),
            minutes: run.seconds().map(|seconds| seconds / 60.0),
            dir: run.dir.clone(),
        }
    }

    fn cells(&self) -> Vec<String> {
        vec![
            escape::plain(&self.name),
            started(self.started_unix_s),
            self.state.into(),
            self.steps.to_string(),
            figure(self.loss, 4),
            figure(self.validation_loss, 4),
            figure(self.minutes, 1),
            escape::plain(&self.id),
            shown_dir(&self.dir),
        ]
    }
}

/// Formats a folder for a table, without control characters that could affect the terminal.
fn shown_dir(dir: &Path) -> String {
    escape::plain(&dir.display().to_string())
}

fn started(unix_s: u64) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]");
    let time = i64::try_from(unix_s).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    time.and_then(|time| time.format(format).ok()).unwrap_or_default()
}

fn figure(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.digits$}"))
}

/// A comparison of two runs: settings that differ, and metrics.
#[derive(Debug, Serialize)]
struct Comparison {
    a: Row,
    b: Row,
    /// Settings, versions, machine and lineage that differ.
    differ: Vec<Pair>,
    metrics: Vec<Pair>,
}

/// A value for each run; null if the run has none.
#[derive(Debug, PartialEq, Serialize)]
struct Pair {
    name: String,
    /// The name in a table.
    #[serde(skip)]
    label: String,
    a: Value,
    b: Value,
}

impl Comparison {
    fn of(a: &Run, b: &Run) -> Self {
        let (of_a, of_b) = (settings(a), settings(b));
        let names: BTreeSet<&String> = of_a.keys().chain(of_b.keys()).collect();
        let pair = |name: &String| Pair {
            name: name.clone(),
            label: name.clone(),
            a: of_a.get(name).cloned().unwrap_or_default(),
            b: of_b.get(name).cloned().unwrap_or_default(),
        };
        let differ = names.into_iter().map(pair).filter(|pair| pair.a != pair.b).collect();
        let metrics = metrics(a).into_iter().zip(metrics(b)).map(|((name, label, a), (_, _, b))| Pair {
            name: name.into(),
            label: label.into(),
            a: a.into(),
            b: b.into(),
        });
        Self { a: Row::of(a), b: Row::of(b), differ, metrics: metrics.collect() }
    }

    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let cells = |pairs: &[Pair]| -> Vec<Vec<String>> {
            pairs.iter().map(|pair| vec![escape::plain(&pair.label), cell(&pair.a), cell(&pair.b)]).collect()
        };
        let [a, b] = [&self.a, &self.b].map(|row| shown_dir(&row.dir));
        let titles = ["", a.as_str(), b.as_str()];
        if self.differ.is_empty() {
            writeln!(out, "The settings are the same.\n")?;
        } else {
            write_table(out, &titles, &cells(&self.differ))?;
            writeln!(out)?;
        }
        write_table(out, &titles, &cells(&self.metrics))
    }
}

/// Returns everything that determined a run, by name.
fn settings(run: &Run) -> BTreeMap<String, Value> {
    let config = &run.config;
    let mut all: BTreeMap<String, Value> = config.hyper_parameters.clone();
    let mut add = |name: &str, value: Value| drop(all.insert(name.into(), value));
    add("recipe", config.recipe.clone().into());
    add("seed", config.seed.into());
    add("parameters", config.parameters.into());
    for part in [
        ("dataset", serde_json::to_value(&config.dataset)),
        ("versions", serde_json::to_value(&config.versions)),
        ("machine", serde_json::to_value(&config.machine)),
    ] {
        let (name, Ok(Value::Object(fields))) = part else { continue };
        fields.into_iter().for_each(|(field, value)| add(&format!("{name}.{field}"), value));
    }
    for (name, artifact) in
        [("lineage.dataset", &config.lineage.dataset), ("lineage.base", &config.lineage.base)]
    {
        add(name, described(artifact).into());
    }
    for (number, archive) in (1..).zip(&config.lineage.archives) {
        add(&format!("lineage.archive_{number}"), described(archive).into());
    }
    all
}

fn described(artifact: &Artifact) -> String {
    let digest = artifact.sha256.as_deref().map(|digest| digest.get(..DIGEST_DIGITS).unwrap_or(digest));
    [Some(artifact.name.as_str()), digest].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Returns a run's metrics as (name, label, value), with the same names in the same order for every
/// run.
fn metrics(run: &Run) -> Vec<(&'static str, &'static str, Option<f64>)> {
    let summary = run.summary.as_ref();
    let memorisation = summary.and_then(|summary| summary.memorisation.as_ref());
    let best = run.best();
    let tokens = run.metrics.iter().rev().find_map(|line| line.tokens);
    let peak_memory = summary.and_then(|summary| summary.peak_memory_bytes);
    vec![
        ("steps", "steps", Some(run.steps() as f64)),
        ("tokens", "tokens", tokens.map(|tokens| tokens as f64)),
        ("minutes", "minutes", run.seconds().map(|seconds| seconds / 60.0)),
        ("tokens_per_s", "tokens/s (median)", run.median_tokens_per_s()),
        ("loss", "loss (last steps)", run.final_loss()),
        ("validation_loss", "validation loss (lowest)", best.map(|(_, loss)| loss)),
        ("perplexity", "perplexity (lowest)", best.map(|(_, loss)| loss.exp())),
        ("best_step", "best step", best.map(|(step, _)| step as f64)),
        ("memorised_share", "memorised share", memorisation.map(|found| found.share())),
        ("peak_memory_bytes", "peak memory, bytes", peak_memory.map(|bytes| bytes as f64)),
    ]
}

/// Formats a value for a table, with at most four decimals.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => escape::plain(text),
        Value::Number(number) => match number.as_f64() {
            Some(n) if number.is_f64() && n == 0.0 => "0".into(),
            Some(n) if number.is_f64() && (1e-3..1e15).contains(&n.abs()) => trimmed(n, 4),
            _ => number.to_string(),
        },
        other => escape::plain(&other.to_string()),
    }
}

/// Writes an aligned table, with numeric columns aligned to the right.
fn write_table(out: &mut impl Write, titles: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let length = |text: &str| text.chars().count();
    let is_figure = |text: &str| text == "-" || text.parse::<f64>().is_ok();
    let column = |at: usize| rows.iter().filter_map(move |row| row.get(at));
    let columns: Vec<(usize, bool)> = titles
        .iter()
        .enumerate()
        .map(|(at, title)| {
            let width = column(at).map(|cell| length(cell)).chain([length(title)]).max().unwrap_or(0);
            (width, column(at).all(|cell| is_figure(cell)))
        })
        .collect();
    let titles: Vec<String> = titles.iter().map(|title| (*title).into()).collect();
    for row in std::iter::once(&titles).chain(rows) {
        let cells: Vec<String> = row
            .iter()
            .zip(&columns)
            .map(
                |(cell, &(width, right))| {
                    if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
                },
            )
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
