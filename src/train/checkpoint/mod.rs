//! Checkpoints: everything needed to resume a run so that it ends, bit for bit, where an
//! uninterrupted one would.
//!
//! `checkpoint.safetensors` holds the weights, both moments of each, the loss of every step, and in
//! its header the rest of the [`Progress`] and the [`Identity`] of the run. `best-N.safetensors` holds the weights of the best
//! evaluation so far, made after N steps. The checkpoint says which N; a file that it does not name
//! is deleted only once a newer checkpoint is in place. `identity.json` identifies the run from the
//! start, in case it is interrupted before its first checkpoint.

mod file;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::file::Entry;
use super::{TrainError, model::Model, optimizer::AdamW, progress::Progress, values::Values};
use crate::bundle::{
    checkpoint::{CheckpointError, SafetensorsFile},
    staging::{replace_file, sync_folder},
};

const FILE: &str = "checkpoint.safetensors";
const IDENTITY: &str = "identity.json";
/// Key of the state in the file's header.
const STATE: &str = "huggingtweets";
/// The version that this program writes.
const FORMAT: u32 = 2;
/// An older version that it reads: with the losses in the header.
const LOSSES_IN_HEADER: u32 = 1;
/// Name of the tensor of losses.
const LOSSES: &str = "losses";
/// Prefixes of tensor names.
const WEIGHT: &str = "weight/";
const FIRST: &str = "first-moment/";
const SECOND: &str = "second-moment/";

/// Why a checkpoint cannot be written or resumed.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("{} could not be written: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "`{name}` holds values that are not finite, so no checkpoint was written: start over with a lower --lr"
    )]
    NotFinite { name: String },
    #[error("{} is not a checkpoint of this program ({reason}): start over without --resume", path.display())]
    Format { path: PathBuf, reason: String },
    #[error(
        "{} is of another run: {what} was {found}, and is {expected} now; give the same, or start over without --resume",
        path.display()
    )]
    OtherRun { path: PathBuf, what: String, found: String, expected: String },
    #[error("{} cannot be resumed from: {source}; start over without --resume", path.display())]
    Read { path: PathBuf, source: CheckpointError },
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl StoreError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }
}

/// What a run must share with a checkpoint to resume it, by names that users know: settings by
/// their options, data and base by their digests.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity(Vec<(String, String)>);

impl Identity {
    /// Adds a property that affects the result.
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.0.push((name.into(), value.to_string()));
        self
    }

    /// The first property that differs in `other`: its name, our value, the other's.
    fn difference(&self, other: &Self) -> Option<(String, String, String)> {
        let names = self.0.iter().chain(&other.0).map(|(name, _)| name);
        for name in names {
            let (ours, theirs) = (self.value(name), other.value(name));
            if theirs != ours {
                let shown = |value: Option<&str>| value.unwrap_or("not set").to_owned();
                return Some((name.clone(), shown(ours), shown(theirs)));
            }
        }
        None
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    format: u32,
    identity: Identity,
    optimizer_steps: u64,
    progress: Progress,
}

/// The folder of a run's checkpoints.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    identity: Identity,
}

impl Store {
    /// A store for a run with this identity. The folder must exist.
    pub fn new(folder: &Path, identity: Identity) -> Self {
        Self { folder: folder.into(), identity }
    }

    /// Whether the folder has a checkpoint, of any run.
    pub fn is_at(folder: &Path) -> bool {
        folder.join(FILE).exists()
    }

    /// Whether the folder has a run that can be resumed: one whose bot is not written yet.
    pub fn is_begun(folder: &Path) -> bool {
        Self::is_at(folder) || folder.join(IDENTITY).exists()
    }

    /// Whether a file of this name belongs to a checkpoint, or is what a killed process left of
    /// one.
    pub fn is_part(name: &str) -> bool {
        name == IDENTITY || name.starts_with(FILE) || is_best(name)
    }

    /// Records the run's identity, before its first step, atomically and durably.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn begin(&self) -> Result<(), StoreError> {
        let path = self.folder.join(IDENTITY);
        let text = serde_json::to_vec_pretty(&self.identity)
            .map_err(|error| StoreError::Format { path: path.clone(), reason: error.to_string() })?;
        replace_file(&path, |file| file.write_all(&text))
            .and_then(|()| sync_folder(&self.folder))
            .map_err(|source| StoreError::io(&path, source))
    }

    /// Fails if `found` is the identity of another run.
    fn compare(&self, path: &Path, found: &Identity) -> Result<(), StoreError> {
        match found.difference(&self.identity) {
            Some((what, found, expected)) => {
                Err(StoreError::OtherRun { path: path.into(), what, found, expected })
            }
            None => Ok(()),
        }
    }

    /// Compares with the recorded identity, for a run without a checkpoint.
    fn compare_begun(&self) -> Result<(), StoreError> {
        let path = self.folder.join(IDENTITY);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(StoreError::io(&path, source)),
        };
        let found = serde_json::from_slice(&text)
            .map_err(|error| StoreError::Format { path: path.clone(), reason: error.to_string() })?;
        self.compare(&path, &found)
    }

    fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    fn best_path(&self, step: usize) -> PathBuf {
        self.folder.join(format!("best-{step}.safetensors"))
    }

    /// Replaces the checkpoint, then deletes best weights that it does not name.
    ///
    /// # Errors
    /// If writing fails or a value is not finite; there is still a complete checkpoint.
    pub fn save(&self, model: &Model, optimizer: &AdamW, progress: &Progress) -> Result<(), StoreError> {
        let state = State {
            format: FORMAT,
            identity: self.identity.clone(),
            optimizer_steps: optimizer.steps(),
            progress: progress.clone(),
        };
        let path = self.path();
        let state = serde_json::to_string(&state)
            .map_err(|error| StoreError::Format { path: path.clone(), reason: error.to_string() })?;
        let steps = [progress.losses.len()];
        let shapes: BTreeMap<&str, &[usize]> = model.vars().map(|(name, var)| (name, var.dims())).collect();
        let mut entries = weights(model);
        entries.push(Entry { name: LOSSES.into(), shape: &steps, values: Values::Slice(&progress.losses) });
        for (name, first, second) in optimizer.moments() {
            let shape = shapes.get(name).copied().unwrap_or_default();
            for (prefix, values) in [(FIRST, first), (SECOND, second)] {
                let name = format!("{prefix}{name}");
                entries.push(Entry { name, shape, values });
            }
        }
        file::replace(&path, STATE, &state, &entries)?;
        self.delete_best_but(progress.best().map(|best| best.step));
        Ok(())
    }

    /// Saves the weights as those of the best evaluation, after `step` steps.
    ///
    /// # Errors
    /// As [`Store::save`].
    pub fn save_best(&self, model: &Model, step: usize) -> Result<(), StoreError> {
        file::replace(&self.best_path(step), STATE, "{}", &weights(model))
    }

    /// Loads the weights of the evaluation after `step` steps into the model.
    ///
    /// # Errors
    /// If they do not exist, or are of another network.
    pub fn restore_best(&self, model: &Model, step: usize) -> Result<(), StoreError> {
        let path = self.best_path(step);
        let mut file = open(&path)?;
        restore_weights(&path, &mut file, model)
    }

    /// Loads the checkpoint's weights into the model and returns the rest of it; `None` if there is
    /// no checkpoint.
    ///
    /// # Errors
    /// If the checkpoint or the recorded identity is of another run, or the checkpoint is damaged.
    /// The model may have changed.
    pub fn restore(&self, model: &Model) -> Result<Option<(AdamW, Progress)>, TrainError> {
        let path = self.path();
        if !path.exists() {
            self.compare_begun()?;
            return Ok(None);
        }
        let mut file = open(&path)?;
        let format = |reason: &str| StoreError::Format { path: path.clone(), reason: reason.into() };
        let state = file.note(STATE).ok_or_else(|| format("it does not say of which run it is"))?;
        // The version is checked first: another one may have other fields.
        let value: serde_json::Value = serde_json::from_str(state).map_err(|e| format(&e.to_string()))?;
        if ![FORMAT, LOSSES_IN_HEADER].map(serde_json::Value::from).contains(&value["format"]) {
            return Err(format(&format!("its format is {}, not {FORMAT}", value["format"])).into());
        }
        let mut state: State = serde_json::from_value(value).map_err(|e| format(&e.to_string()))?;
        self.compare(&path, &state.identity)?;
        restore_weights(&path, &mut file, model)?;
        if state.format != LOSSES_IN_HEADER {
            state.progress.losses = file.read(LOSSES).map_err(|e| read_error(&path, e))?;
        }
        let mut moments = BTreeMap::new();
        for (name, _) in model.vars() {
            let mut read =
                |prefix: &str| file.read(&format!("{prefix}{name}")).map_err(|e| read_error(&path, e));
            // Before the first step there are no moments.
            if state.optimizer_steps > 0 {
                moments.insert(name.to_owned(), (read(FIRST)?, read(SECOND)?));
            }
        }
        let optimizer = AdamW::restore(model, state.optimizer_steps, moments)?;
        Ok(Some((optimizer, state.progress)))
    }

    /// Deletes the checkpoint, once the run's bot is written.
    pub fn clear(&self) {
        let _ = fs::remove_file(self.path());
        self.delete_best_but(None);
        // Last: as long as it exists, the folder counts as one with an unfinished run.
        let _ = fs::remove_file(self.folder.join(IDENTITY));
    }

    /// Failures are ignored: a leftover file takes up space but does no harm.
    fn delete_best_but(&self, step: Option<usize>) {
        let kept = step.map(|step| self.best_path(step));
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if is_best(&name) && kept.as_ref().is_none_or(|kept| *kept != entry.path()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

fn is_best(name: &str) -> bool {
    name.starts_with("best-") && name.contains(".safetensors")
}

fn weights(model: &Model) -> Vec<Entry<'_>> {
    let entry = |(name, var)| Entry {
        name: format!("{WEIGHT}{name}"),
        shape: shape(var),
        values: Values::Tensor(var),
    };
    model.vars().map(entry).collect()
}

fn shape(var: &candle_core::Var) -> &[usize] {
    var.dims()
}

fn read_error(path: &Path, source: CheckpointError) -> StoreError {
    StoreError::Read { path: path.into(), source }
}

fn open(path: &Path) -> Result<SafetensorsFile, StoreError> {
    SafetensorsFile::open(path).map_err(|source| read_error(path, source))
}

fn restore_weights(path: &Path, file: &mut SafetensorsFile, model: &Model) -> Result<(), StoreError> {
    let shapes = file.shapes();
    for (name, var) in model.vars() {
        let stored = format!("{WEIGHT}{name}");
        let found = shapes.get(&stored).cloned().unwrap_or_default();
        if found != var.dims() {
            return Err(StoreError::OtherRun {
                path: path.into(),
                what: format!("the shape of `{name}`"),
                found: format!("{found:?}"),
                expected: format!("{:?}", var.dims()),
            });
        }
        let values = file.read(&stored).map_err(|e| read_error(path, e))?;
        var.set(&Tensor::from_vec(values, var.dims(), &Device::Cpu)?.to_device(var.device())?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gpt2::Config,
        train::{
            gradients::Gradients,
            model::{Mode, Model},
            progress::Evaluation,
            scratch,
        },
    };

    fn model(channels: usize) -> Model {
        let config = Config {
            vocab_size: 9,
            n_positions: 4,
            n_embd: channels,
            n_layer: 1,
            n_head: 1,
            n_inner: 4 * channels,
            layer_norm_epsilon: 1e-5,
            embd_pdrop: 0.0,
            attn_pdrop: 0.0,
            resid_pdrop: 0.0,
            eos_token_id: 0,
        };
        let weights = scratch::weights(&config, 2);
        Model::new(config, &weights).unwrap()
    }

    fn after(steps: usize) -> (Model, AdamW, Progress) {
        let (model, mut optimizer) = (model(4), AdamW::default());
        for _ in 0..steps {
            let mut gradients = Gradients::new(&model);
            let (ids, labels) = ([1, 2, 3, 4], [Some(2), Some(3), Some(4), None]);
            model.accumulate(&ids, &labels, 4, Mode::Evaluate, 1.0, &mut gradients).unwrap();
            optimizer.step(&model, &gradients, 1e-2).unwrap();
        }
        let progress = Progress { step: steps, losses: vec![0.1; steps], ..Progress::default() };
        (model, optimizer, progress)
    }

    fn moments(optimizer: &AdamW) -> Vec<(String, Vec<f32>, Vec<f32>)> {
        let read = |values: Values| values.to_memory().unwrap().into_owned();
        optimizer.moments().map(|(name, first, second)| (name.into(), read(first), read(second))).collect()
    }

    fn identity() -> Identity {
        Identity::default().with("--lr", 0.01).with("the base", "abc")
    }

    #[test]
    fn weights_moments_and_progress_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path(), identity());
        let fresh = model(4);
        assert!(store.restore(&fresh).unwrap().is_none());
        for steps in [0, 3] {
            let (model_1, optimizer, progress) = after(steps);
            store.save(&model_1, &optimizer, &progress).unwrap();
            let (restored, progress_2) = store.restore(&fresh).unwrap().unwrap();
            assert!(fresh.weights().unwrap() == model_1.weights().unwrap());
            assert_eq!((progress_2, restored.steps()), (progress, steps as u64));
            assert_eq!(moments(&restored), moments(&optimizer));
        }
        store.clear();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_losses_of_a_long_run_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path(), identity());
        let (model, optimizer, _) = after(1);
        let losses: Vec<f32> = (0..2_000_000u32).map(|i| f32::from_bits(0x3f80_0000 + i)).collect();
        let progress = Progress { step: losses.len(), losses, ..Progress::default() };
        store.save(&model, &optimizer, &progress).unwrap();
        assert!(store.restore(&model).unwrap().unwrap().1 == progress);
    }

    #[test]
    fn a_checkpoint_with_losses_in_its_header_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path(), identity());
        let (model, _, _) = after(1);
        let state = serde_json::json!({
            "format": LOSSES_IN_HEADER,
            "identity": identity(),
            "optimizer_steps": 0,
            "progress": { "step": 2, "tokens": 8, "seconds": 1.5, "losses": [2.5, 2.25], "evaluations": [] },
        });
        file::replace(&store.path(), STATE, &state.to_string(), &weights(&model)).unwrap();
        let (_, progress) = store.restore(&model).unwrap().unwrap();
        assert_eq!((progress.step, progress.losses), (2, vec![2.5, 2.25]));
    }

    #[test]
    fn another_runs_checkpoint_is_refused_by_what_differs() {
        let folder = tempfile::tempdir().unwrap();
        let (model_1, optimizer, progress) = after(1);
        Store::new(folder.path(), identity()).save(&model_1, &optimizer, &progress).unwrap();
        let message = |identity, model: &Model| {
            Store::new(folder.path(), identity).restore(model).err().unwrap().to_string()
        };
        let other = message(Identity::default().with("--lr", 0.02).with("the base", "abc"), &model_1);
        assert!(other.contains("--lr was 0.01, and is 0.02 now"), "{other}");
        let other = message(Identity::default().with("--lr", 0.01).with("the base", "abd"), &model_1);
        assert!(other.contains("the base was abc"), "{other}");
        let other = message(identity(), &model(8));
        assert!(other.contains("the shape of"), "{other}");
        let other = message(identity().with("the order of blocks", "drawn"), &model_1);
        assert!(other.contains("the order of blocks was not set, and is drawn now"), "{other}");
    }

    #[test]
    fn another_run_is_refused_before_its_first_checkpoint_too() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!Store::is_begun(folder.path()));
        let store = Store::new(folder.path(), identity());
        store.begin().unwrap();
        assert!(Store::is_begun(folder.path()) && !Store::is_at(folder.path()));
        assert!(store.restore(&model(4)).unwrap().is_none());
        let other = Store::new(folder.path(), Identity::default().with("--lr", 0.02).with("the base", "abc"));
        let error = other.restore(&model(4)).err().unwrap().to_string();
        assert!(error.contains("identity.json") && error.contains("--lr was 0.01"), "{error}");
        store.clear();
        assert!(!Store::is_begun(folder.path()));
    }

    #[test]
    fn a_recorded_identity_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join(IDENTITY), folder.path().join("old"));
        fs::write(&path, "old").unwrap();
        // A file written in place would change under its other name, too.
        fs::hard_link(&path, &old).unwrap();
        Store::new(folder.path(), identity()).begin().unwrap();
        assert_eq!(fs::read_to_string(&old).unwrap(), "old");
        assert!(fs::read_to_string(&path).unwrap().contains("--lr"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn damaged_files_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path(), identity());
        let (model, optimizer, progress) = after(1);
        store.save(&model, &optimizer, &progress).unwrap();
        let path = folder.path().join(FILE);
        let whole = fs::read(&path).unwrap();
        let mut cases = vec![Vec::new(), b"no checkpoint".to_vec(), whole[..whole.len() - 1].to_vec()];
        cases.push(whole[..whole.len() / 2].to_vec());
        // Another format version, in as many bytes.
        let mut newer = whole.clone();
        let at = newer.windows(13).position(|w| w == br#"\"format\":2,"#).unwrap();
        newer[at + 11] = b'7';
        cases.push(newer);
        for case in cases {
            fs::write(&path, &case).unwrap();
            let error = store.restore(&model).err().unwrap().to_string();
            assert!(error.contains(FILE) && error.contains("--resume"), "{error}");
        }
    }

    #[test]
    fn the_best_weights_stay_as_long_as_a_checkpoint_names_them() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path(), identity());
        let best = |step, loss| Evaluation { step, loss };
        let (model_1, optimizer, mut progress) = after(1);
        store.save_best(&model_1, 1).unwrap();
        progress.evaluations.push(best(1, 2.0));
        store.save(&model_1, &optimizer, &progress).unwrap();
        let (model_2, optimizer_2, mut progress_2) = after(2);
        store.save_best(&model_2, 2).unwrap();
        // A run killed here resumes from the checkpoint of step 1 and needs its best weights.
        store.restore_best(&model_2, 1).unwrap();
        assert!(model_2.weights().unwrap() == model_1.weights().unwrap());
        progress_2.evaluations = vec![best(1, 2.0), best(2, 1.0)];
        store.save(&after(2).0, &optimizer_2, &progress_2).unwrap();
        assert!(store.restore_best(&model_2, 1).is_err());
        store.restore_best(&model_2, 2).unwrap();
        assert!(model_2.weights().unwrap() == after(2).0.weights().unwrap());
    }
}
