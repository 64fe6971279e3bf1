//! A GGUF becomes a model while its bytes arrive: no copy of the whole file is
//! ever held, only the tensor under way.

use thiserror::Error;

use super::{Assembly, AssembleError, Config, Model};
use crate::{
    backend::{
        Dtype,
        cpu::{Cpu, Level, f16_values, f32_values},
    },
    bundle::gguf::{self, GgufError, Header, Parsed},
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
    #[error("the model file's header does not end within {limit} bytes")]
    HeaderTooLong { limit: usize },
}

/// A vocabulary of 50257 takes 1.5 MB; a header far beyond that is hostile.
const MAX_HEADER_BYTES: usize = 64 << 20;

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
    /// Bytes not yet used: the header while it is incomplete, then the tensor under way.
    pending: Vec<u8>,
    /// Position in the file of the first pending byte.
    position: u64,
    /// Do not try the header again before this many bytes are there.
    retry_at: usize,
    body: Option<Body>,
}

struct Body {
    header: Header,
    assembly: Assembly<Cpu>,
    next_tensor: usize,
}

impl Loader {
    pub fn new(level: Level) -> Self {
        Self { level, pending: Vec::new(), position: 0, retry_at: 0, body: None }
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
            // A header that never ended: say why, if the bytes are no GGUF at all.
            return Err(match Header::parse(&self.pending) {
                Err(error) => error.into(),
                Ok(_) => LoadError::Truncated {
                    found: self.pending.len() as u64,
                    expected: self.pending.len() as u64 + 1,
                },
            });
        };
        if body.next_tensor < body.header.tensors.len() {
            return Err(LoadError::Truncated {
                found: self.position + self.pending.len() as u64,
                expected: body.header.file_size,
            });
        }
        let tokenizer = body.header.tokenizer()?;
        let model = body.assembly.finish()?;
        Ok(Loaded { model, tokenizer, config: body.header.config, name: body.header.name })
    }

    fn try_header(&mut self) -> Result<bool, LoadError> {
        if self.pending.len() < self.retry_at {
            return Ok(false);
        }
        match Header::parse(&self.pending)? {
            Parsed::NeedMore => {
                if self.pending.len() > MAX_HEADER_BYTES {
                    return Err(LoadError::HeaderTooLong { limit: MAX_HEADER_BYTES });
                }
                // Doubling keeps repeated attempts linear in the header's size.
                self.retry_at = self.pending.len() * 2;
                Ok(false)
            }
            Parsed::Ready(header) => {
                let assembly = Assembly::new(header.config.clone(), Cpu::new(self.level));
                self.body = Some(Body { header, assembly, next_tensor: 0 });
                Ok(true)
            }
        }
    }

    fn take_body(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let Some(body) = &mut self.body else { return Ok(()) };
        let mut at = 0;
        while let Some(entry) = body.header.tensors.get(body.next_tensor) {
            if self.pending.is_empty() {
                // Padding before the tensor.
                let here = self.position + at as u64;
                let gap = entry.offset.saturating_sub(here).min((bytes.len() - at) as u64);
                at += gap as usize;
                if self.position + (at as u64) < entry.offset {
                    break;
                }
                if self.pending.capacity() < entry.size_bytes {
                    self.pending.reserve_exact(entry.size_bytes);
                }
            }
            let wanted = (entry.size_bytes - self.pending.len()).min(bytes.len() - at);
            self.pending.extend_from_slice(&bytes[at..at + wanted]);
            at += wanted;
            if self.pending.len() < entry.size_bytes {
                break;
            }
            take_tensor(&mut body.assembly, entry, &self.pending)?;
            self.pending.clear();
            body.next_tensor += 1;
        }
        self.position += bytes.len() as u64;
        if body.next_tensor == body.header.tensors.len() {
            self.pending = Vec::new();
        }
        Ok(())
    }
}

fn take_tensor(
    assembly: &mut Assembly<Cpu>,
    entry: &gguf::TensorEntry,
    bytes: &[u8],
) -> Result<(), AssembleError> {
    let dtype = match entry.dtype {
        gguf::Dtype::F32 => Dtype::F32,
        gguf::Dtype::F16 => Dtype::F16,
        gguf::Dtype::Q8_0 => Dtype::Q8_0,
        gguf::Dtype::Q4_0 => Dtype::Q4_0,
    };
    if entry.is_vector {
        let values = if dtype == Dtype::F16 { f16_values(bytes) } else { f32_values(bytes) };
        return assembly.vector(&entry.name, values);
    }
    assembly.matrix(&entry.name, (entry.rows, entry.cols), dtype, bytes)
}
