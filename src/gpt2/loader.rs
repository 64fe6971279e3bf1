//! A GGUF becomes a model while its bytes arrive: no copy of the whole file is
//! ever held, only the tensor under way.

use thiserror::Error;

use super::{Assembly, AssembleError, Config, Model};
use crate::{
    backend::{
        Dtype,
        cpu::{Cpu, Level, f16_values, f32_values},
    },
    bundle::{
        gguf::{GgufError, Header, Parsed, TensorEntry},
        quantize,
    },
    tokenizer::{Tokenizer, TokenizerError},
};

/// Why a file is no usable model.
#[derive(Debug, Error)]
pub enum LoadError {
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    #[error("the model file ends after {found} bytes, {expected} expected")]
    Truncated { found: u64, expected: u64 },
}

/// Everything a GGUF holds.
pub struct Loaded {
    pub model: Model<Cpu>,
    pub tokenizer: Tokenizer,
    pub config: Config,
    /// `general.name`
    pub name: Option<String>,
}

/// Takes a file's bytes in order.
pub struct Loader {
    level: Level,
    /// The file's length where it is known.
    file_bytes: Option<u64>,
    /// Bytes not yet used: the header while it is incomplete, then the tensor under way.
    pending: Vec<u8>,
    /// Bytes of the file taken so far.
    position: u64,
    /// Do not try the header again before this many bytes are there.
    retry_at: u64,
    body: Option<Body>,
}

struct Body {
    header: Header,
    /// In the order they lie in the file.
    tensors: Vec<TensorEntry>,
    assembly: Assembly<Cpu>,
    next_tensor: usize,
}

impl Loader {
    /// `file_bytes`: the file's length where it is known, so that a header that
    /// promises more is refused at once.
    pub fn new(level: Level, file_bytes: Option<u64>) -> Self {
        Self { level, file_bytes, pending: Vec::new(), position: 0, retry_at: 0, body: None }
    }

    /// Takes the next bytes of the file.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), LoadError> {
        if self.body.is_none() {
            self.pending.extend_from_slice(bytes);
            if !self.try_header()? {
                return Ok(());
            }
            let rest = std::mem::take(&mut self.pending);
            return self.take_body(&rest);
        }
        while !bytes.is_empty() {
            // Pieces of bounded size keep `take_body` from copying twice.
            let (piece, rest) = bytes.split_at(bytes.len().min(1 << 20));
            self.take_body(piece)?;
            bytes = rest;
        }
        Ok(())
    }

    /// The model, once the whole file has been pushed.
    pub fn finish(self) -> Result<Loaded, LoadError> {
        let Some(body) = self.body else {
            let found = self.pending.len() as u64;
            // A header that never ended: say why, if the bytes are no GGUF at all.
            return match Header::parse(&self.pending, Some(found))? {
                Parsed::NeedMore { at_least } => Err(LoadError::Truncated { found, expected: at_least }),
                Parsed::Header(header) => Err(LoadError::Truncated { found, expected: header.file_bytes() }),
            };
        };
        if body.next_tensor < body.tensors.len() {
            return Err(LoadError::Truncated { found: self.position, expected: body.header.file_bytes() });
        }
        let tokenizer = body.header.to_tokenizer()?;
        let model = body.assembly.finish()?;
        Ok(Loaded { model, tokenizer, config: body.header.config, name: body.header.name })
    }

    fn try_header(&mut self) -> Result<bool, LoadError> {
        if (self.pending.len() as u64) < self.retry_at {
            return Ok(false);
        }
        match Header::parse(&self.pending, self.file_bytes)? {
            Parsed::NeedMore { at_least } => {
                self.retry_at = at_least;
                Ok(false)
            }
            Parsed::Header(header) => {
                let assembly = Assembly::new(header.config.clone(), Cpu::new(self.level));
                let mut tensors = header.tensors.clone();
                tensors.sort_by_key(|t| t.offset);
                self.body = Some(Body { header: *header, tensors, assembly, next_tensor: 0 });
                Ok(true)
            }
        }
    }

    fn take_body(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let Some(body) = &mut self.body else { return Ok(()) };
        let mut at = 0;
        while let Some(entry) = body.tensors.get(body.next_tensor) {
            // A header was held against the file's size, and memory is only taken
            // as bytes arrive where that size is not known.
            let size_bytes = entry.size_bytes as usize;
            if self.pending.is_empty() {
                // Padding before the tensor.
                let here = self.position + at as u64;
                let gap = entry.offset.saturating_sub(here).min((bytes.len() - at) as u64);
                at += gap as usize;
                if self.position + (at as u64) < entry.offset {
                    break;
                }
                if self.file_bytes.is_some() {
                    self.pending.reserve_exact(size_bytes);
                }
            }
            let wanted = (size_bytes - self.pending.len()).min(bytes.len() - at);
            self.pending.extend_from_slice(&bytes[at..at + wanted]);
            at += wanted;
            if self.pending.len() < size_bytes {
                break;
            }
            take_tensor(&mut body.assembly, entry, &self.pending)?;
            self.pending.clear();
            body.next_tensor += 1;
        }
        self.position += bytes.len() as u64;
        if body.next_tensor == body.tensors.len() {
            self.pending = Vec::new();
        }
        Ok(())
    }
}

fn take_tensor(
    assembly: &mut Assembly<Cpu>,
    entry: &TensorEntry,
    bytes: &[u8],
) -> Result<(), AssembleError> {
    if entry.rows == 1 && entry.dtype == quantize::Dtype::F32 && !entry.name.ends_with("e.weight") {
        return assembly.vector(&entry.name, f32_values(bytes));
    }
    assembly.matrix(&entry.name, (entry.rows, entry.cols), backend_dtype(entry.dtype), bytes)
}

/// The same encoding in the backend's terms; the two layers do not know each other.
pub(super) fn backend_dtype(stored: quantize::Dtype) -> Dtype {
    match stored {
        quantize::Dtype::F32 => Dtype::F32,
        quantize::Dtype::F16 => Dtype::F16,
        quantize::Dtype::Q8_0 => Dtype::Q8_0,
        quantize::Dtype::Q4_0 => Dtype::Q4_0,
    }
}
