use super::*;
use crate::record::{Evaluation, RunConfig, RunRecorder, StepMetrics, Summary};

/// Records a run of three steps and one evaluation, finished or not.
fn record(dir: &Path, name: &str, learning_rate: f64, started: u64, ends: bool) {
    let mut config =
        RunConfig { name: name.into(), started_unix_s: started, seed: 7, ..RunConfig::default() };
    config.set_hyper_parameters(&serde_json::json!({ "learning_rate": learning_rate, "batch": 1 })).unwrap();
    let mut recorder = RunRecorder::create(dir, &config).unwrap();
    for step in 1..=3 {
        let loss = 4.0 - step as f32;
        recorder
            .step(&StepMetrics {
                step,
                loss,
                learning_rate,
                gradient_norm: 1.0,
                tokens_per_s: 50.0,
                tokens: 64,
            })
            .unwrap();
    }
    let validation_loss = 2.5;
    recorder
        .evaluation(&Evaluation { step: 3, validation_loss, perplexity: validation_loss.exp(), best: true })
        .unwrap();
    if ends {
        recorder.finish(&Summary { steps: 3, seconds: 90.0, ..Summary::default() }).unwrap();
    }
}

#[test]
fn runs_are_found_below_a_folder_oldest_first_and_other_folders_are_not() {
    let home = tempfile::tempdir().unwrap();
    record(&home.path().join("late.run"), "late", 1e-4, 2_000_000_000, true);
    record(&home.path().join("deep/er/early.run"), "early", 1e-4, 1_000_000_000, false);
    fs::create_dir(home.path().join("bot")).unwrap();
    fs::write(home.path().join("bot/config.json"), "{\"n_embd\": 4}").unwrap();
    let rows: Vec<Row> = all(&[home.path().into()]).unwrap().iter().map(Row::of).collect();
    assert_eq!(rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["early", "late"]);
    assert_eq!((rows[0].state, rows[1].state), ("not ended", "completed"));
    assert_eq!((rows[1].steps, rows[1].loss, rows[1].validation_loss), (3, Some(1.0), Some(2.5)));
    assert_eq!(rows[1].minutes, Some(1.5));
    // Given twice, listed once.
    assert_eq!(all(&[home.path().into(), home.path().join("late.run")]).unwrap().len(), 2);
}

#[test]
fn a_spoilt_run_does_not_hide_the_others() {
    let home = tempfile::tempdir().unwrap();
    record(&home.path().join("good"), "good", 1e-4, 1, true);
    record(&home.path().join("bad"), "bad", 1e-4, 2, true);
    fs::write(home.path().join("bad/summary.json"), "{").unwrap();
    assert_eq!(all(&[home.path().into()]).unwrap().len(), 1);
}

#[test]
fn a_comparison_names_what_differs_and_nothing_else() {
    let home = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| home.path().join(name));
    record(&a, "one", 1e-4, 1, true);
    record(&b, "two", 2e-4, 2, false);
    let [a, b] = [a, b].map(|dir| Run::open(&dir).unwrap());
    let comparison = Comparison::of(&a, &b);
    let name = || "learning_rate".to_owned();
    assert_eq!(comparison.differ, [Pair { name: name(), label: name(), a: 1e-4.into(), b: 2e-4.into() }]);
    let metric = |name: &str| comparison.metrics.iter().find(|pair| pair.name == name).unwrap();
    assert_eq!((&metric("loss").a, &metric("loss").b), (&1.0.into(), &1.0.into()));
    assert_eq!(metric("memorised_share").a, Value::Null);
    let json = serde_json::to_value(&comparison).unwrap();
    for pair in json["metrics"].as_array().unwrap() {
        let name = pair["name"].as_str().unwrap();
        assert!(
            name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && pair.get("label").is_none(),
            "{name}"
        );
    }
    let mut text = Vec::new();
    comparison.write(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("loss (last steps)"), "{text}");
    assert!(text.contains("learning_rate") && text.contains("0.0001") && !text.contains("batch"), "{text}");
    let same = Comparison::of(&a, &a);
    assert!(same.differ.is_empty());
}

#[test]
fn a_run_is_found_by_folder_and_by_id() {
    let home = tempfile::tempdir().unwrap();
    record(&home.path().join("a"), "one", 1e-4, 1, true);
    let dirs = [home.path().to_path_buf()];
    let id = all(&dirs).unwrap()[0].config.id.clone();
    assert_eq!(find(&id, &dirs).unwrap().config.name, "one");
    assert_eq!(find(home.path().join("a").to_str().unwrap(), &dirs).unwrap().config.id, id);
    let error = find("nothing", &dirs).unwrap_err().to_string();
    assert!(error.starts_with("nothing is neither a run's folder nor the id of a run"), "{error}");
    let error = find(home.path().to_str().unwrap(), &dirs).unwrap_err().to_string();
    assert!(error.contains("is not the folder of a run"), "{error}");
}

#[test]
fn an_id_that_a_copy_shares_is_not_guessed_at() {
    let home = tempfile::tempdir().unwrap();
    let [a, b] = ["a", "b"].map(|name| home.path().join(name));
    record(&a, "one", 1e-4, 1, true);
    fs::create_dir(&b).unwrap();
    for name in ["config.json", "metrics.jsonl"] {
        fs::copy(a.join(name), b.join(name)).unwrap();
    }
    let id = Run::open(&a).unwrap().config.id;
    let error = find(&id, &[home.path().to_path_buf()]).unwrap_err().to_string();
    assert!(error.contains("is the id of several runs") && error.contains(b.to_str().unwrap()), "{error}");
    assert_eq!(find(b.to_str().unwrap(), &[]).unwrap().dir, b);
}

#[test]
fn tables_set_figures_to_the_right() {
    let mut out = Vec::new();
    let rows = [vec!["one".to_owned(), "2.5".into()], vec!["three".into(), "-".into()]];
    write_table(&mut out, &["name", "loss"], &rows).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "name   loss\none     2.5\nthree     -\n");
}

#[test]
fn figures_keep_four_decimals_and_names_no_control_characters() {
    assert_eq!(cell(&2.5.into()), "2.5");
    assert_eq!(cell(&3.0.into()), "3");
    assert_eq!(cell(&3.00002.into()), "3");
    assert_eq!(cell(&0.0.into()), "0");
    assert_eq!(cell(&1.372e-4.into()), "0.0001372");
    assert_eq!(cell(&"a\u{1b}[2Jb".into()), "a [2Jb");
}

#[test]
fn a_folder_s_name_moves_no_cursor() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("a\u{1b}[2Jb\nc.run");
    record(&dir, "one", 1e-4, 1, true);
    let run = Run::open(&dir).unwrap();
    let mut text = Vec::new();
    write_table(&mut text, &TITLES, &[Row::of(&run).cells()]).unwrap();
    let comparison = Comparison::of(&run, &run);
    comparison.write(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(!text.contains('\u{1b}') && text.contains("a [2Jb c.run"), "{text:?}");
}
