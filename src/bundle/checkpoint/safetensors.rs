//! Reads and writes `model.safetensors` one tensor at a time.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fs,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use half::f16;
use safetensors::{
    Dtype, View,
    tensor::{Metadata, SafeTensorError, serialize_to_file},
};

use super::{CheckpointError, FloatType};
use crate::{
    bundle::{Weights, weights::Tensor},
    gpt2::{Config, names},
};

/// Header size limit, above any GPT-2's (XL's has 60 kB).
const MAX_HEADER_BYTES: u64 = 16 << 20;

/// An open file whose header has been checked against its length.
pub struct SafetensorsFile {
    pub path: PathBuf,
    file: fs::File,
    metadata: Metadata,
    /// Offset of the tensor data.
    data_offset: u64,
}

impl SafetensorsFile {
    /// Opens a file and checks its header.
    ///
    /// # Errors
    /// If the file cannot be read, is truncated, or is not a safetensors file.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let io = |source| CheckpointError::Io { file: path.to_path_buf(), source };
        let format = |reason: String| CheckpointError::Format { file: path.to_path_buf(), reason };
        let mut file = fs::File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let mut length = [0; 8];
        if size < 8 {
            return Err(format(format!("it has only {size} bytes")));
        }
        file.read_exact(&mut length).map_err(io)?;
        let header_bytes = u64::from_le_bytes(length);
        if header_bytes > MAX_HEADER_BYTES || header_bytes > size - 8 {
            return Err(format(format!("its header claims {header_bytes} bytes, but it has {size}")));
        }
        let mut header = vec![0; header_bytes as usize];
        file.read_exact(&mut header).map_err(io)?;
        // Also checks that the tensors lie end to end and have the size of their shape.
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|e| format(e.to_string()))?;
        let data_offset = 8 + header_bytes;
        let expected = data_offset.saturating_add(metadata.data_len() as u64);
        if expected != size {
            return Err(format(format!("its header describes {expected} bytes, but it has {size}")));
        }
        Ok(Self { path: path.to_path_buf(), file, metadata, data_offset })
    }

    /// Returns name -> shape.
    pub fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        self.metadata.tensors().into_iter().map(|(name, info)| (name, info.shape.clone())).collect()
    }

    /// Returns the header's metadata entry with this key.
    pub fn note(&self, key: &str) -> Option<&str> {
        self.metadata.metadata().as_ref()?.get(key).map(String::as_str)
    }

    /// Reads one tensor's values.
    pub fn read(&mut self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let file = || self.path.clone();
        let Some(info) = self.metadata.info(name) else {
            return Err(CheckpointError::Missing { file: file(), name: name.into(), expected: vec![] });
        };
        let float = match info.dtype {
            Dtype::F32 => FloatType::F32,
            Dtype::F16 => FloatType::F16,
            Dtype::BF16 => FloatType::Bf16,
            other => {
                let found = format!("{other:?}");
                return Err(CheckpointError::Dtype { file: file(), name: name.into(), found });
            }
        };
        let (start, end) = info.data_offsets;
        // Bounded by the file's length, which `open` has checked.
        let mut bytes = vec![0; end - start];
        self.file
            .seek(SeekFrom::Start(self.data_offset + start as u64))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(|source| CheckpointError::Io { file: self.path.clone(), source })?;
        Ok(float.decode(&bytes))
    }
}

/// Storage type of a bundle's `model.safetensors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckpointDtype {
    /// The trained values, unrounded.
    #[default]
    F32,
    /// Half the size; rounds to 11 significant bits.
    F16,
}

impl CheckpointDtype {
    /// Returns the weights as they are read back after being stored in this type.
    pub fn rounded(self, weights: &Weights) -> Cow<'_, Weights> {
        if self == Self::F32 {
            return Cow::Borrowed(weights);
        }
        let round = |tensor: &Tensor| Tensor {
            shape: tensor.shape.clone(),
            data: tensor.data.iter().map(|&x| f16::from_f32(x).to_f32()).collect(),
        };
        Cow::Owned(weights.iter().map(|(name, tensor)| (name.clone(), round(tensor))).collect())
    }
}

/// A tensor that is encoded only when it is written.
struct Stored<'a> {
    tensor: &'a Tensor,
    dtype: CheckpointDtype,
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        match self.dtype {
            CheckpointDtype::F32 => Dtype::F32,
            CheckpointDtype::F16 => Dtype::F16,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.tensor.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = self.tensor.data.iter();
        Cow::Owned(match self.dtype {
            CheckpointDtype::F32 => values.flat_map(|x| x.to_le_bytes()).collect(),
            CheckpointDtype::F16 => values.flat_map(|x| f16::from_f32(*x).to_le_bytes()).collect(),
        })
    }

    fn data_len(&self) -> usize {
        let size = match self.dtype {
            CheckpointDtype::F32 => 4,
            CheckpointDtype::F16 => 2,
        };
        size * self.tensor.data.len()
    }
}

/// Writes the tensors as `transformers` does: with its name prefix, Conv1D weights (in, out),
/// and no tied head.
pub fn write_safetensors(
    path: &Path,
    config: &Config,
    weights: &Weights,
    dtype: CheckpointDtype,
) -> Result<(), CheckpointError> {
    let mut views = Vec::new();
    for expected in names::tensors(config) {
        let file = || path.to_path_buf();
        let Some(tensor) = weights.get(&expected.name) else {
            return Err(CheckpointError::Missing {
                file: file(),
                name: expected.name,
                expected: expected.shape,
            });
        };
        if tensor.shape != expected.shape || tensor.data.len() != expected.shape.iter().product::<usize>() {
            return Err(CheckpointError::Shape {
                file: file(),
                name: expected.name,
                expected: expected.shape,
                found: tensor.shape.clone(),
            });
        }
        let (limit, dtype_name) = match dtype {
            CheckpointDtype::F32 => (f32::MAX, "f32"),
            CheckpointDtype::F16 => (f16::MAX.to_f32(), "f16"),
        };
        if let Some(&found) = tensor.data.iter().find(|x| !x.is_finite() || x.abs() > limit) {
            return Err(CheckpointError::Range {
                file: file(),
                name: expected.name,
                found,
                dtype: dtype_name,
            });
        }
        views.push((format!("{}{}", names::HF_PREFIX, expected.name), Stored { tensor, dtype }));
    }
    let io = |source| CheckpointError::Io { file: path.to_path_buf(), source };
    // The crate renames a temporary file into place that only its owner can read. Restore the
    // permissions that a new file would have.
    let permissions = fs::File::create(path).and_then(|f| f.metadata()).map_err(io)?.permissions();
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    serialize_to_file(views, Some(metadata), path).map_err(|error| match error {
        SafeTensorError::IoError(source) => io(source),
        other => CheckpointError::Format { file: path.to_path_buf(), reason: other.to_string() },
    })?;
    fs::set_permissions(path, permissions).map_err(io)
}
