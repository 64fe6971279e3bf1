//! `report.html`: a self-contained report on a run, without scripts or requests, and with all
//! untrusted text escaped.

mod chart;

use minijinja::{AutoEscape, Environment, Value, context};
use serde_json::Value as Json;

use self::chart::{NARROW, Series, WIDE, chart, short};
use super::{MetricsLine, RecordError, Run, Stopped, files};
use crate::card::{date, duration, escape, escaped_by, figure::grouped};

/// The hyper-parameter with the token limit of sample drafts.
pub const SAMPLE_TOKENS: &str = "sample_tokens";

/// Name of the report in the run's folder.
pub(super) const REPORT: &str = "report.html";
const TEMPLATE: &str = include_str!("report.html");

/// Writes a run's report into its folder, replacing an older one atomically.
///
/// # Errors
/// [`RecordError::Report`] if the template fails, or [`RecordError::Io`].
pub fn write(run: &Run) -> Result<(), RecordError> {
    files::replace(&run.dir.join(REPORT), render(run)?.as_bytes())
}

/// Renders the report.
///
/// # Errors
/// [`RecordError::Report`] if the template fails.
pub fn render(run: &Run) -> Result<String, RecordError> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Custom("xml"));
    environment.set_formatter(escaped_by(escape::xml));
    environment.add_template("report", TEMPLATE)?;
    let config = &run.config;
    let summary = run.summary.as_ref();
    Ok(environment.get_template("report")?.render(context! {
        config,
        name => if config.name.is_empty() { "A run" } else { &config.name },
        date => date(config.started_unix_s),
        state => match summary.map(|summary| summary.stopped) {
            None => match &config.broken_off {
                Some(reason) => format!("broken off: {reason}"),
                None => "not ended".into(),
            },
            Some(Stopped::Completed) => "completed".into(),
            Some(Stopped::Early) => "stopped early: the validation loss no longer fell".into(),
            Some(Stopped::MaxSteps) => "stopped after --max-steps".into(),
        },
        ended => summary.is_some(),
        tiles => tiles(run),
        loss => chart("Loss", WIDE, &[
            series(run, "train", |line| line.loss.map(f64::from)),
            Series { dots: true, ..series(run, "validation", |line| line.validation_loss) },
        ]),
        small => [
            ("Learning rate", chart("Learning rate", NARROW, &[series(run, "rate", |line| line.learning_rate)])),
            (
                "Gradient norm",
                chart("Gradient norm", NARROW, &[series(run, "norm", |line| line.gradient_norm.map(f64::from))]),
            ),
            ("Tokens/s", chart("Tokens per second", NARROW, &[series(run, "speed", |line| line.tokens_per_s)])),
        ].into_iter().filter_map(|(title, chart)| Some(context! { title, chart => chart? })).collect::<Vec<_>>(),
        counts => counts(run),
        filtered => config.accounts.iter().any(|account| account.filtered_out > 0),
        hyper_parameters => config.hyper_parameters.iter().map(|(name, value)| (name, plain_value(value)))
            .collect::<Vec<_>>(),
        memorisation => summary.and_then(|summary| summary.memorisation.as_ref()).map(|found| context! {
            percent => format!("{:.1}", 100.0 * found.share()),
            ..Value::from_serialize(found)
        }),
        lowest => run.best().map(|(_, loss)| short(loss)),
        evaluations => run.metrics.iter().filter_map(|line| evaluation(line, run.best())).collect::<Vec<_>>(),
        samples => run.samples.iter().rev().map(|set| context! {
            step => set.step,
            drafts => set.drafts.iter().map(|draft| {
                let rest = draft.text.strip_prefix(&draft.prompt);
                context! {
                    start => if rest.is_some() { &draft.prompt } else { "" },
                    rest => Value::from_safe_string(escape_within(rest.unwrap_or(&draft.text))),
                }
            }).collect::<Vec<_>>(),
        }).collect::<Vec<_>>(),
        sample_tokens => config.hyper_parameters.get(SAMPLE_TOKENS).and_then(Json::as_u64),
        machine => machine(run),
        width => chart::WIDTH,
        height => chart::HEIGHT,
    })?)
}

fn series<'a>(run: &Run, name: &'a str, value: impl Fn(&MetricsLine) -> Option<f64>) -> Series<'a> {
    let points = run.metrics.iter().filter_map(|line| Some((line.step as f64, value(line)?))).collect();
    Series { name, class: name, points, dots: false }
}

/// Returns the headline figures that are known.
fn tiles(run: &Run) -> Vec<(&'static str, String)> {
    let mut tiles = Vec::new();
    let mut tile = |label, value: Option<String>| tiles.extend(value.map(|value| (label, value)));
    let summary = run.summary.as_ref();
    let best = run.best();
    tile("Validation loss", best.map(|(_, loss)| short(loss)));
    tile("Held-out perplexity", best.map(|(_, loss)| short(loss.exp())));
    tile("Best at step", best.map(|(step, _)| grouped(step as u64)));
    tile("Train loss", run.final_loss().map(short));
    tile("Steps", Some(grouped(run.steps() as u64)));
    tile("Time", run.seconds().map(duration));
    tile("Tokens/s", run.median_tokens_per_s().map(short));
    tile("Peak memory", summary.and_then(|s| s.peak_memory_bytes).map(bytes));
    tile(
        "Memorised",
        summary.and_then(|s| s.memorisation.as_ref()).map(|m| format!("{:.1} %", 100.0 * m.share())),
    );
    tiles
}

/// Returns the rows of the dataset table.
fn counts(run: &Run) -> Vec<(&'static str, String)> {
    let dataset = &run.config.dataset;
    [
        ("Posts trained on", dataset.train_posts as u64),
        ("Posts held out", dataset.validation_posts as u64),
        ("Posts left out (duplicates, filters)", dataset.left_out_posts as u64),
        ("Tokens of the training text, all epochs", dataset.train_tokens),
        ("Tokens held out", dataset.validation_tokens),
        ("Parameters of the network", run.config.parameters),
    ]
    .into_iter()
    .map(|(label, count)| (label, grouped(count)))
    .collect()
}

/// Returns rows on the machine and program versions, omitting unknown ones.
fn machine(run: &Run) -> Vec<(&'static str, String)> {
    let (machine, versions) = (&run.config.machine, &run.config.versions);
    let memory = if machine.memory_bytes > 0 { bytes(machine.memory_bytes) } else { String::new() };
    let cores = if machine.cores > 0 { machine.cores.to_string() } else { String::new() };
    [
        ("Processor", machine.cpu.clone()),
        ("Threads", cores),
        ("Memory", memory),
        ("Accelerator", machine.gpu.clone().unwrap_or_default()),
        ("System", machine.os.clone()),
        ("huggingtweets", versions.huggingtweets.clone()),
        ("candle", versions.candle.clone()),
        ("Compiler", versions.rustc.clone()),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .collect()
}

fn evaluation(line: &MetricsLine, best: Option<(usize, f64)>) -> Option<Value> {
    Some(context! {
        step => grouped(line.step as u64),
        loss => format!("{:.4}", line.validation_loss?),
        perplexity => format!("{:.2}", line.perplexity?),
        lowest => best.is_some_and(|(step, _)| step == line.step),
    })
}

/// Formats a setting for display.
fn plain_value(value: &Json) -> String {
    match value {
        Json::Null => "none".into(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Formats bytes as `3.20 GB` or `640 MB`.
fn bytes(n: u64) -> String {
    match n as f64 {
        n if n >= 1e9 => format!("{:.2} GB", n / 1e9),
        n => format!("{:.0} MB", n / 1e6),
    }
}

/// Escapes like [`escape::xml`], but keeps the leading space between prompt and completion.
fn escape_within(text: &str) -> String {
    let glue = if text.starts_with(char::is_whitespace) { " " } else { "" };
    format!("{glue}{}", escape::xml(text))
}
