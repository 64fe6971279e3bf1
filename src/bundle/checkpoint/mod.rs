//! Reads GPT-2 weights from checkpoints of other programs: `model.safetensors`, its shards
//! behind an index, or PyTorch's `pytorch_model.bin`.
//!
//! The `transformer.` prefix is optional; causal-mask buffers and a tied `lm_head.weight`
//! are ignored. Besides the result, one tensor is in memory at a time.

mod pickle;
mod safetensors;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use half::{bf16, f16};
use serde::Deserialize;
use thiserror::Error;

use super::{
    Weights,
    file_names::{PICKLE, SAFETENSORS, SHARD_INDEX},
    manifest::is_plain_name,
    weights::Tensor,
};
use crate::gpt2::{Config, names};

pub use safetensors::{CheckpointDtype, SafetensorsFile, write_safetensors};

/// Why weights could not be read or written.
#[derive(Debug, Error)]
pub enum CheckpointError {
    #[error("{} has neither model.safetensors nor pytorch_model.bin", folder.display())]
    NoWeights { folder: PathBuf },
    #[error("{}: {source}", file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error("{} is damaged or not a checkpoint: {reason}", file.display())]
    Format { file: PathBuf, reason: String },
    #[error("{} has no tensor `{name}`; expected one of shape {expected:?}", file.display())]
    Missing { file: PathBuf, name: String, expected: Vec<usize> },
    #[error("{}: tensor `{name}` has shape {found:?}; expected {expected:?} from config.json", file.display())]
    Shape { file: PathBuf, name: String, expected: Vec<usize>, found: Vec<usize> },
    #[error("{}: tensor `{name}` is stored as {found}; expected f32, f16 or bf16", file.display())]
    Dtype { file: PathBuf, name: String, found: String },
    #[error("{}: tensor `{name}` does not belong to a layer that config.json describes", file.display())]
    Unexpected { file: PathBuf, name: String },
    #[error("{}: tensor `{name}` holds {found}, which {dtype} cannot", file.display())]
    Range { file: PathBuf, name: String, found: f32, dtype: &'static str },
    #[error("{}: `lm_head.weight` differs from `wte.weight`; only tied heads are supported", file.display())]
    UntiedHead { file: PathBuf },
    #[error("config.json describes {found} layers; at most {max} are supported", max = names::MAX_LAYERS)]
    Layers { found: usize },
}

/// An open checkpoint file, with its directory parsed and checked against its length.
enum File {
    Safetensors(safetensors::SafetensorsFile),
    Pickle(pickle::PickleFile),
}

impl File {
    fn path(&self) -> &Path {
        match self {
            Self::Safetensors(file) => &file.path,
            Self::Pickle(file) => &file.path,
        }
    }

    /// Returns stored name -> shape.
    fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        match self {
            Self::Safetensors(file) => file.shapes(),
            Self::Pickle(file) => file.shapes(),
        }
    }

    fn read(&mut self, stored_name: &str) -> Result<Vec<f32>, CheckpointError> {
        match self {
            Self::Safetensors(file) => file.read(stored_name),
            Self::Pickle(file) => file.read(stored_name),
        }
    }
}

/// A tensor's location: index of its file, name there, and shape.
struct Place {
    file: usize,
    stored_name: String,
    shape: Vec<usize>,
}

/// Reads every tensor of a GPT-2 with this configuration from a folder.
pub fn read(folder: &Path, config: &Config) -> Result<Weights, CheckpointError> {
    if config.n_layer > names::MAX_LAYERS {
        return Err(CheckpointError::Layers { found: config.n_layer });
    }
    let mut files = open_files(folder)?;
    let mut places: BTreeMap<String, Place> = BTreeMap::new();
    for (index, file) in files.iter().enumerate() {
        for (stored_name, shape) in file.shapes() {
            let name = stored_name.strip_prefix(names::HF_PREFIX).unwrap_or(&stored_name).to_owned();
            let place = Place { file: index, stored_name, shape };
            if let Some(other) = places.insert(name.clone(), place) {
                return Err(CheckpointError::Format {
                    file: file.path().to_path_buf(),
                    reason: format!("tensor `{name}` occurs twice (also as `{}`)", other.stored_name),
                });
            }
        }
    }

    let expected = names::tensors(config);
    let known: BTreeSet<&str> = expected.iter().map(|t| t.name.as_str()).collect();
    for (name, place) in &places {
        // Tensors of another task's head are ignored, unknown layer tensors are not.
        if name.starts_with("h.") && !known.contains(name.as_str()) && !names::is_ignored(name) {
            let file = files[place.file].path().to_path_buf();
            return Err(CheckpointError::Unexpected { file, name: name.clone() });
        }
    }
    let mut weights = Weights::new();
    for tensor in expected {
        let Some(place) = places.get(&tensor.name) else {
            let file = match files.as_slice() {
                [only] => only.path().to_path_buf(),
                _ => folder.to_path_buf(),
            };
            return Err(CheckpointError::Missing { file, name: tensor.name, expected: tensor.shape });
        };
        let file = &mut files[place.file];
        if place.shape != tensor.shape {
            return Err(CheckpointError::Shape {
                file: file.path().to_path_buf(),
                name: tensor.name,
                expected: tensor.shape,
                found: place.shape.clone(),
            });
        }
        let data = file.read(&place.stored_name)?;
        weights.insert(tensor.name, Tensor { shape: tensor.shape, data });
    }
    check_head(&mut files, &places, &weights)?;
    Ok(weights)
}

/// Checks that a stored head equals the token embedding, which is used in its place.
fn check_head(
    files: &mut [File],
    places: &BTreeMap<String, Place>,
    weights: &Weights,
) -> Result<(), CheckpointError> {
    let (Some(head), Some(embedding)) = (places.get(names::HEAD), weights.get(names::TOKEN_EMBEDDING)) else {
        return Ok(());
    };
    let file = &mut files[head.file];
    if head.shape != embedding.shape || file.read(&head.stored_name)? != embedding.data {
        return Err(CheckpointError::UntiedHead { file: file.path().to_path_buf() });
    }
    Ok(())
}

fn open_files(folder: &Path) -> Result<Vec<File>, CheckpointError> {
    let open = |name: &String| {
        let path = folder.join(name);
        match name == PICKLE {
            true => pickle::PickleFile::open(&path).map(File::Pickle),
            false => safetensors::SafetensorsFile::open(&path).map(File::Safetensors),
        }
    };
    file_names(folder)?.iter().map(open).collect()
}

/// Returns the names of the files in a folder that [`read`] takes weights from.
///
/// # Errors
/// If there are none, or if the index of a sharded checkpoint cannot be read.
pub fn file_names(folder: &Path) -> Result<Vec<String>, CheckpointError> {
    if folder.join(SAFETENSORS).is_file() {
        return Ok(vec![SAFETENSORS.to_owned()]);
    }
    let index = folder.join(SHARD_INDEX);
    if index.is_file() {
        return Ok(shard_names(&index)?.into_iter().collect());
    }
    if folder.join(PICKLE).is_file() {
        return Ok(vec![PICKLE.to_owned()]);
    }
    Err(CheckpointError::NoWeights { folder: folder.to_path_buf() })
}

/// Returns the distinct files named by an index (`model.safetensors.index.json`).
///
/// # Errors
/// If the index cannot be read, or contains a name that is not a plain file name.
pub fn shard_names(index: &Path) -> Result<BTreeSet<String>, CheckpointError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let format = |reason: String| CheckpointError::Format { file: index.to_path_buf(), reason };
    let bytes =
        std::fs::read(index).map_err(|source| CheckpointError::Io { file: index.to_path_buf(), source })?;
    let parsed: Index = serde_json::from_slice(&bytes).map_err(|e| format(e.to_string()))?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    match names.iter().find(|name| !is_plain_name(name)) {
        Some(name) => {
            let name: String = name.escape_debug().take(100).collect();
            Err(format(format!("it names the file `{name}`, which is not a plain file name")))
        }
        None => Ok(names),
    }
}

/// Little-endian floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FloatType {
    F32,
    F16,
    Bf16,
}

impl FloatType {
    fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    fn decode(self, bytes: &[u8]) -> Vec<f32> {
        let pairs = |convert: fn([u8; 2]) -> f32| {
            bytes.chunks_exact(2).map(|b| convert([b[0], b[1]])).collect::<Vec<f32>>()
        };
        match self {
            Self::F32 => {
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
            }
            Self::F16 => pairs(|b| f16::from_le_bytes(b).to_f32()),
            Self::Bf16 => pairs(|b| bf16::from_le_bytes(b).to_f32()),
        }
    }
}
