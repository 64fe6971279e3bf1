//! A run's folder: complete, interrupted and resumed.

use std::{fs, io::Write, path::Path};

use super::*;

const PROMPT: &str = "My dream is";

fn config() -> RunConfig {
    let mut config = RunConfig { name: "lamp".into(), seed: 7, ..RunConfig::default() };
    config.set_hyper_parameters(&serde_json::json!({ "learning_rate": 1e-4, "batch": 2 })).unwrap();
    config.lineage.archives = vec![Artifact::of_bytes("posts.txt", b"posts")];
    config
}

/// Reports steps `from..=to`, with an evaluation and drafts at each even one.
fn report_steps(recorder: &mut RunRecorder, from: usize, to: usize) {
    for step in from..=to {
        let loss = 4.0 - 0.125 * step as f32;
        let (learning_rate, gradient_norm) = (1e-4 / step as f64, 1.5);
        recorder
            .step(&StepMetrics {
                step,
                loss,
                learning_rate,
                gradient_norm,
                tokens_per_s: 50.0,
                tokens: 64 * step as u64,
            })
            .unwrap();
        if step % 2 == 0 {
            let validation_loss = 4.5 - 0.25 * step as f64;
            let perplexity = validation_loss.exp();
            recorder.evaluation(&Evaluation { step, validation_loss, perplexity, best: true }).unwrap();
            let text = format!("{PROMPT} <i>step {step}</i>");
            recorder.samples(step, &[SampleDraft { prompt: PROMPT.into(), text }]).unwrap();
        }
    }
}

fn summary() -> Summary {
    Summary {
        steps: 6,
        tokens: 384,
        seconds: 90.0,
        final_loss: Some(3.25),
        best_validation_loss: Some(3.0),
        best_step: Some(6),
        memorisation: Some(Memorisation { drafts: 20, memorised: 1, words: 8, longest_words: 11 }),
        output: Some(Artifact::of_bytes("model.safetensors", b"weights")),
        ..Summary::default()
    }
}

/// Returns everything except times and the folder.
fn timeless(dir: &Path) -> (RunConfig, Vec<MetricsLine>, Vec<SampleSet>, Option<Summary>) {
    let run = Run::open(dir).unwrap();
    let config = RunConfig {
        id: String::new(),
        started_unix_s: 0,
        ended_unix_s: run.config.ended_unix_s.map(|_| 0),
        ..run.config
    };
    let metrics = run.metrics.into_iter().map(|line| MetricsLine { unix_s: 0.0, ..line }).collect();
    let samples = run.samples.into_iter().map(|set| SampleSet { unix_s: 0.0, ..set }).collect();
    (config, metrics, samples, run.summary)
}

#[test]
fn a_whole_run_reads_back() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("a/run");
    let mut recorder = RunRecorder::create(&dir, &config()).unwrap();
    report_steps(&mut recorder, 1, 6);
    recorder.finish(&summary()).unwrap();
    let run = Run::open(&dir).unwrap();
    assert!(run.config.started_unix_s > 1_700_000_000 && run.config.ended_unix_s.is_some());
    assert_eq!(run.config.id.len(), 8);
    assert_eq!(run.config.lineage.output, summary().output);
    assert_eq!(run.metrics.iter().map(|line| line.step).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    let (third, fourth) = (&run.metrics[2], &run.metrics[3]);
    assert_eq!((third.loss, third.validation_loss, third.tokens), (Some(3.625), None, Some(192)));
    assert_eq!((fourth.loss, fourth.validation_loss, fourth.best), (Some(3.5), Some(3.5), Some(true)));
    assert_eq!(run.samples.iter().map(|set| set.step).collect::<Vec<_>>(), [2, 4, 6]);
    assert_eq!(run.summary, Some(summary()));
    assert_eq!((run.steps(), run.best(), run.final_loss()), (6, Some((6, 3.0)), Some(3.25)));
    assert_eq!((run.seconds(), run.median_tokens_per_s()), (Some(90.0), Some(50.0)));
}

#[test]
fn every_line_is_json_with_the_fields_of_the_format() {
    let home = tempfile::tempdir().unwrap();
    let mut recorder = RunRecorder::create(home.path(), &config()).unwrap();
    report_steps(&mut recorder, 1, 2);
    drop(recorder);
    let text = fs::read_to_string(home.path().join("metrics.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    for field in ["step", "loss", "learning_rate", "gradient_norm", "tokens_per_s"] {
        assert!(lines.iter().all(|line| line[field].is_number()), "{field}");
    }
    assert!(lines[0].get("validation_loss").is_none() && lines[1]["validation_loss"] == 4.0);
}

#[test]
fn a_run_gone_on_with_is_as_an_unbroken_one() {
    let home = tempfile::tempdir().unwrap();
    let [whole, broken] = ["whole", "broken"].map(|name| home.path().join(name));
    let mut recorder = RunRecorder::create(&whole, &config()).unwrap();
    report_steps(&mut recorder, 1, 6);
    recorder.finish(&summary()).unwrap();

    for checkpoint in 0..=5 {
        let _ = fs::remove_dir_all(&broken);
        let mut recorder = RunRecorder::create(&broken, &config()).unwrap();
        report_steps(&mut recorder, 1, 5);
        drop(recorder);
        // Killed in the middle of a line.
        for file in ["metrics.jsonl", "samples.jsonl"] {
            let mut file = fs::OpenOptions::new().append(true).open(broken.join(file)).unwrap();
            file.write_all(b"{\"step\":6,\"lo").unwrap();
        }
        let mut recorder = RunRecorder::reopen(&broken, checkpoint).unwrap();
        assert_eq!(Run::open(&broken).unwrap().steps(), checkpoint);
        report_steps(&mut recorder, checkpoint + 1, 6);
        recorder.finish(&summary()).unwrap();
        assert_eq!(timeless(&broken), timeless(&whole), "from step {checkpoint}");
        let events = |dir: &Path| tensorboard::tests::steps(dir);
        assert_eq!(events(&broken), events(&whole), "from step {checkpoint}");
        assert_eq!(wandb::tests::steps(&broken), wandb::tests::steps(&whole), "from step {checkpoint}");
    }
}

#[test]
fn an_ended_run_can_be_gone_on_with() {
    let home = tempfile::tempdir().unwrap();
    let mut recorder = RunRecorder::create(home.path(), &config()).unwrap();
    report_steps(&mut recorder, 1, 6);
    recorder.finish(&summary()).unwrap();
    let id = Run::open(home.path()).unwrap().config.id;
    drop(RunRecorder::reopen(home.path(), 6).unwrap());
    let run = Run::open(home.path()).unwrap();
    assert_eq!((run.summary, run.config.ended_unix_s, run.config.lineage.output), (None, None, None));
    assert_eq!((run.metrics.len(), run.config.id), (6, id));
}

#[test]
fn an_evaluation_before_the_first_step_has_a_line_of_its_own() {
    let home = tempfile::tempdir().unwrap();
    let mut recorder = RunRecorder::create(home.path(), &config()).unwrap();
    let evaluation = Evaluation { step: 0, validation_loss: 5.0, perplexity: 148.4, best: true };
    recorder.evaluation(&evaluation).unwrap();
    report_steps(&mut recorder, 1, 1);
    drop(recorder);
    let run = Run::open(home.path()).unwrap();
    assert_eq!(
        (run.metrics[0].step, run.metrics[0].loss, run.metrics[0].validation_loss),
        (0, None, Some(5.0))
    );
    assert_eq!((run.metrics[1].step, run.metrics[1].validation_loss), (1, None));
    report::render(&run).unwrap();
}

#[test]
fn a_torn_last_line_is_left_out_and_a_spoilt_one_before_it_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let mut recorder = RunRecorder::create(home.path(), &config()).unwrap();
    report_steps(&mut recorder, 1, 4);
    drop(recorder);
    let path = home.path().join("metrics.jsonl");
    let text = fs::read(&path).unwrap();
    let third = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(2).unwrap().0 + 1;
    // For every position at which the last line may be torn.
    for end in third..text.len() {
        fs::write(&path, &text[..end]).unwrap();
        assert_eq!(Run::open(home.path()).unwrap().steps(), 3, "{end}");
    }
    let mut spoilt = text.clone();
    spoilt[third - 10] = b'\n';
    fs::write(&path, spoilt).unwrap();
    assert!(matches!(Run::open(home.path()), Err(RecordError::Json { .. })));
}

#[test]
fn a_folder_in_use_and_a_folder_of_something_else_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path();
    assert!(matches!(RunRecorder::reopen(dir, 0), Err(RecordError::NotARun { .. })));
    // A bot's `config.json`.
    fs::write(dir.join("config.json"), "{\"n_embd\": 64}").unwrap();
    assert!(matches!(RunRecorder::create(dir, &config()), Err(RecordError::Exists { .. })));
    assert!(matches!(Run::open(dir), Err(RecordError::NotARun { .. })));
    assert!(!Run::is_at(dir));
    fs::write(dir.join("config.json"), "{\"run_format_version\": 99}").unwrap();
    let error = Run::open(dir).unwrap_err().to_string();
    assert!(error.contains("newer version (99)") && error.ends_with("update huggingtweets"), "{error}");
    fs::write(dir.join("config.json"), "{\"run_format_version\"").unwrap();
    assert!(matches!(Run::open(dir), Err(RecordError::Json { .. })));
}

#[test]
fn an_id_that_is_a_path_leads_nowhere() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("run");
    let victim = home.path().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("file"), "kept").unwrap();
    drop(RunRecorder::create(&dir, &config()).unwrap());
    let mut config: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap();
    config["id"] = "/../../../victim".into();
    fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let recorder = RunRecorder::reopen(&dir, 0).unwrap();
    assert!(recorder.config().id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    assert_eq!(fs::read_to_string(victim.join("file")).unwrap(), "kept");
}

#[test]
fn the_report_stands_alone_and_is_inert() {
    let home = tempfile::tempdir().unwrap();
    let hostile = "</title><script>alert(1)</script><img src=x onerror=\"alert(2)\">'";
    let mut config = config();
    config.name = hostile.into();
    config.command = hostile.into();
    config.hyper_parameters.insert(hostile.into(), hostile.into());
    config.lineage.base = Artifact::named(hostile);
    config.accounts = vec![crate::bundle::manifest::AccountCounts {
        handle: hostile.into(),
        name: hostile.into(),
        ..Default::default()
    }];
    let mut recorder = RunRecorder::create(home.path(), &config).unwrap();
    report_steps(&mut recorder, 1, 3);
    recorder.samples(3, &[SampleDraft { prompt: hostile.into(), text: format!("{hostile} rest") }]).unwrap();
    recorder.finish(&summary()).unwrap();
    let page = fs::read_to_string(home.path().join("report.html")).unwrap();
    for markup in ["<script", "<img", "onerror=\""] {
        assert!(!page.contains(markup), "{markup}");
    }
    assert!(page.contains("&lt;i&gt;step 2&lt;/i&gt;"), "a draft is shown as it stands");
    // No requests: the only URL is the empty icon's.
    for request in ["http://", "https://", "url(", "@import", " src=", "<iframe", "<object"] {
        assert!(!page.replace(&crate::card::escape::xml(hostile), "").contains(request), "{request}");
    }
    assert_eq!(page.matches("href=").count(), 1);
    assert!(page.contains("<svg") && page.contains("lowest") && page.contains("1 of 20 drafts (5.0 %)"));
}

#[test]
fn one_step_is_said_as_one() {
    let home = tempfile::tempdir().unwrap();
    let mut recorder = RunRecorder::create(home.path(), &config()).unwrap();
    let draft = || SampleDraft { prompt: String::new(), text: "a lamp".into() };
    for step in 1..=2 {
        report_steps(&mut recorder, step, step);
        recorder.samples(step, &[draft()]).unwrap();
    }
    let memorisation = Memorisation { drafts: 20, memorised: 0, words: 8, longest_words: 1 };
    recorder.finish(&Summary { memorisation: Some(memorisation), ..summary() }).unwrap();
    let page = fs::read_to_string(home.path().join("report.html")).unwrap();
    assert!(page.contains(">After 1 step<") && page.contains(">After 2 steps<"));
    assert!(page.contains("The longest overlap is 1 word."));
}

#[test]
fn a_run_without_any_step_has_a_report() {
    let home = tempfile::tempdir().unwrap();
    drop(RunRecorder::create(home.path(), &RunConfig::default()).unwrap());
    let run = Run::open(home.path()).unwrap();
    let page = fs::read_to_string(home.path().join("report.html")).unwrap();
    assert!(page.contains("not ended") && !page.contains("<svg"));
    assert_eq!(run.state(), "not ended");
    assert_eq!((run.steps(), run.best(), run.final_loss(), run.seconds()), (0, None, None, None));
}

#[test]
fn a_run_that_breaks_off_says_why_until_it_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let mut recorder = RunRecorder::create(home.path(), &config()).unwrap();
    report_steps(&mut recorder, 1, 3);
    recorder.break_off("the loss became NaN at step 4").unwrap();
    let run = Run::open(home.path()).unwrap();
    assert_eq!((run.state(), run.steps()), ("broken off", 3));
    assert!(run.config.ended_unix_s.is_some());
    let page = fs::read_to_string(home.path().join("report.html")).unwrap();
    assert!(page.contains("broken off: the loss became NaN at step 4") && page.contains("<svg"));
    drop(RunRecorder::reopen(home.path(), 3).unwrap());
    let run = Run::open(home.path()).unwrap();
    assert_eq!((run.state(), run.config.ended_unix_s), ("not ended", None));
    assert!(!fs::read_to_string(home.path().join("report.html")).unwrap().contains("broken off"));
}

#[test]
fn the_report_counts_what_filters_left_out_and_says_where_drafts_are_cut() {
    let home = tempfile::tempdir().unwrap();
    let mut config = config();
    config.set_hyper_parameters(&serde_json::json!({ report::SAMPLE_TOKENS: 40 })).unwrap();
    let account =
        |filtered_out| crate::bundle::manifest::AccountCounts { filtered_out, ..Default::default() };
    config.accounts = vec![account(0), account(17)];
    let mut recorder = RunRecorder::create(home.path(), &config).unwrap();
    report_steps(&mut recorder, 1, 2);
    drop(recorder);
    let page = fs::read_to_string(home.path().join("report.html")).unwrap();
    assert!(page.contains(">filtered out</th>") && page.contains(">0</td>") && page.contains(">17</td>"));
    assert!(page.contains("after 40 tokens at the latest"));
}

#[test]
fn digests_of_files_and_folders_are_those_that_sha256sum_prints() {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("base");
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::write(folder.join("b.txt"), "b").unwrap();
    fs::write(folder.join("sub/a.txt"), "abc").unwrap();
    let file = Artifact::of_file(&folder.join("sub/a.txt")).unwrap();
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(file, Artifact { name: "a.txt".into(), sha256: Some(abc.into()), size_bytes: Some(3) });
    let b = "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d";
    let listing = format!("{b}  b.txt\n{abc}  sub/a.txt\n");
    let found = Artifact::of_files(&folder, &["b.txt".into(), "sub/a.txt".into()]).unwrap();
    assert_eq!(found.sha256, Artifact::of_bytes("", listing.as_bytes()).sha256);
    assert_eq!((found.name.as_str(), found.size_bytes), ("base", Some(4)));
    assert!(matches!(Artifact::of_file(&home.path().join("none")), Err(RecordError::Io { .. })));
}

#[test]
fn this_build_knows_its_versions() {
    let versions = Versions::of_this_build();
    assert_eq!(versions.huggingtweets, env!("CARGO_PKG_VERSION"));
    assert!(versions.candle.starts_with("0."), "{versions:?}");
    assert!(versions.rustc.starts_with("rustc 1."), "{versions:?}");
}

#[test]
fn figures_come_back_to_the_last_bit() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("run");
    let mut recorder = RunRecorder::create(&dir, &config()).unwrap();
    // xorshift, scaled to the range of magnitudes of losses and learning rates.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut written = vec![2.6650749988191054];
    written.extend((0..400).map(|i| next() * 10f64.powi(i % 12 - 6)));
    for (step, &learning_rate) in (1..).zip(&written) {
        let step =
            StepMetrics { step, loss: 1.0, learning_rate, gradient_norm: 1.0, tokens_per_s: 1.0, tokens: 1 };
        recorder.step(&step).unwrap();
    }
    drop(recorder);
    for _ in 0..2 {
        drop(RunRecorder::reopen(&dir, written.len()).unwrap());
        let read: Vec<f64> =
            Run::open(&dir).unwrap().metrics.iter().filter_map(|m| m.learning_rate).collect();
        let moved = read.iter().zip(&written).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
        assert_eq!((read.len(), moved), (written.len(), 0));
    }
}
