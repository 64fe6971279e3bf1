use super::*;
use crate::record::SampleDraft;

/// The same steps encoded with wandb's own messages, following the run record.
const GOLDEN: &[u8] = include_bytes!("../../../tests/fixtures/record/golden.wandb");

fn run_folder(run_dir: &Path) -> PathBuf {
    let mut folders = fs::read_dir(run_dir.join(FOLDER)).unwrap();
    let folder = folders.next().unwrap().unwrap().path();
    assert!(folders.next().is_none(), "one offline run a run");
    folder
}

fn records(run_dir: &Path) -> Vec<Record> {
    let folder = run_folder(run_dir);
    let id = folder.file_name().unwrap().to_str().unwrap().rsplit('-').next().unwrap().to_owned();
    let bytes = fs::read(folder.join(format!("run-{id}.wandb"))).unwrap();
    log::tests::read(&bytes).iter().map(|record| Record::decode(&record[..]).unwrap()).collect()
}

/// Returns step and keys of every history record, and whether there is an exit record.
pub fn steps(run_dir: &Path) -> (Vec<(i64, Vec<String>)>, bool) {
    let records = records(run_dir);
    let exits = records.iter().any(|record| record.exit.is_some());
    let keys = |history: &History| history.item.iter().map(|item| item.key.clone()).collect();
    let history = records.iter().filter_map(|record| record.history.as_ref());
    (history.map(|history| (history.step.as_ref().unwrap().num, keys(history))).collect(), exits)
}

fn config() -> RunConfig {
    let mut config = RunConfig {
        id: "abcd1234".into(),
        name: "lamp".into(),
        started_unix_s: 1_700_000_000,
        seed: 7,
        ..RunConfig::default()
    };
    config.set_hyper_parameters(&json!({ "learning_rate": 1e-4, "seed": 8 })).unwrap();
    config
}

fn lines() -> [MetricsLine; 2] {
    let line = MetricsLine {
        step: 1,
        loss: Some(3.5),
        learning_rate: Some(0.0001),
        gradient_norm: Some(1.25),
        tokens_per_s: Some(150.0),
        tokens: Some(64),
        unix_s: 1_700_000_001.5,
        ..MetricsLine::default()
    };
    let second = MetricsLine {
        step: 2,
        loss: Some(3.25),
        learning_rate: Some(0.00025),
        gradient_norm: Some(0.75),
        tokens_per_s: Some(160.5),
        tokens: Some(128),
        unix_s: 1_700_000_002.25,
        ..line
    };
    [line, second]
}

fn evaluated(line: MetricsLine) -> MetricsLine {
    MetricsLine { validation_loss: Some(3.125), perplexity: Some(22.75), best: Some(true), ..line }
}

fn set() -> SampleSet {
    let draft = |prompt: &str, text: &str| SampleDraft { prompt: prompt.into(), text: text.into() };
    let drafts = vec![
        draft("My dream is", "My dream is a lamp"),
        draft("", "Tonight the sea & the gulls say \"hush\" 🌊"),
    ];
    SampleSet { step: 2, drafts, unix_s: 1_700_000_003.0 }
}

#[test]
fn the_records_are_wandbs_own_whether_written_at_once_or_step_by_step() {
    let golden: Vec<Record> =
        log::tests::read(GOLDEN).iter().map(|record| Record::decode(&record[..]).unwrap()).collect();
    let golden_bytes = log::tests::read(GOLDEN);
    let [first, second] = lines();
    let home = tempfile::tempdir().unwrap();
    // The last record is the summary, which has its own test, followed by the exit.
    let check = |summary_at: usize| {
        let mut found = records(home.path());
        let summary = found.remove(summary_at);
        assert_eq!(summary.num, 8);
        assert_eq!(found[2..], golden[..]);
        let encoded: Vec<Vec<u8>> = found[2..].iter().map(Message::encode_to_vec).collect();
        assert_eq!(encoded, golden_bytes);
    };
    let ended = Summary { steps: 2, seconds: 90.5, ..Summary::default() };

    let mut run = OfflineRun::create(home.path(), &config(), &[], &[]).unwrap();
    run.line(&first).unwrap();
    run.line(&second).unwrap();
    run.line(&evaluated(second)).unwrap();
    run.samples(&set()).unwrap();
    run.finish(&ended).unwrap();
    drop(run);
    check(7);

    let lines = [first, evaluated(second)];
    let mut run = OfflineRun::create(home.path(), &config(), &lines, &[set()]).unwrap();
    run.finish(&ended).unwrap();
    drop(run);
    check(7);
}

#[test]
fn the_run_has_its_names_its_start_and_every_setting() {
    let home = tempfile::tempdir().unwrap();
    drop(OfflineRun::create(home.path(), &config(), &[], &[]).unwrap());
    let folder = run_folder(home.path());
    assert_eq!(folder.file_name().unwrap(), "offline-run-20231114_221320-abcd1234");
    let records = records(home.path());
    assert_eq!(records[0].header.as_ref().unwrap().version_info.as_ref().unwrap().min_consumer, MIN_CONSUMER);
    let run = records[1].run.clone().unwrap();
    assert_eq!((run.run_id.as_str(), run.display_name.as_str()), ("abcd1234", "lamp"));
    assert_eq!(run.start_time.unwrap().seconds, 1_700_000_000);
    let update = run.config.unwrap().update;
    let values = |key: &str| {
        update.iter().filter(|item| item.key == key).map(|item| item.value_json.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(values("learning_rate"), ["0.0001"]);
    assert_eq!(values("recipe"), ["\"\""]);
    // A hyper-parameter takes precedence over the run's field of the same name; the key is unique.
    assert_eq!(values("seed"), ["8"]);
    assert_eq!(values("lineage").len(), 1);
}

#[test]
fn a_dropped_run_has_its_newest_step_and_no_exit() {
    let home = tempfile::tempdir().unwrap();
    let mut run = OfflineRun::create(home.path(), &config(), &[], &[]).unwrap();
    run.line(&lines()[0]).unwrap();
    drop(run);
    let (history, exits) = steps(home.path());
    assert_eq!((history.len(), exits), (1, false));
}

#[test]
fn tables_are_files_that_history_names_with_their_digest() {
    let home = tempfile::tempdir().unwrap();
    let mut run = OfflineRun::create(home.path(), &config(), &[], &[]).unwrap();
    run.samples(&set()).unwrap();
    drop(run);
    let records = records(home.path());
    let history = records.iter().find_map(|record| record.history.clone()).unwrap();
    let item = history.item.iter().find(|item| item.key == "samples").unwrap();
    let table: serde_json::Value = serde_json::from_str(&item.value_json).unwrap();
    let path = table["path"].as_str().unwrap();
    let bytes = fs::read(run_folder(home.path()).join("files").join(path)).unwrap();
    assert_eq!(table["sha256"].as_str(), Artifact::of_bytes("", &bytes).sha256.as_deref());
    assert_eq!((table["size"].as_u64(), table["nrows"].as_u64()), (Some(bytes.len() as u64), Some(2)));
    let files = records.iter().find_map(|record| record.files.clone()).unwrap();
    assert_eq!(files.files[0].path, path);
}
