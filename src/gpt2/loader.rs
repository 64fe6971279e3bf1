//! Builds a model from a GGUF whose bytes are still arriving: each row goes straight to its place
//! in the engine's layout, so there is never a second copy of the weights.

use thiserror::Error;
use xxhash_rust::xxh3::Xxh3;

use super::{AssembleError, Assembly, Config, Model, names};
use crate::{
    backend::{
        Backend,
        cpu::{f16_values, f32_values},
    },
    bundle::gguf::{GgufError, Header, Parsed, TensorEntry},
    dtype::Dtype,
    tokenizer::{Tokenizer, TokenizerError},
};

/// Why a file is not a usable model.
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
    #[error("`output.weight` differs from `token_embd.weight`; only tied heads are supported")]
    UntiedHead,
}

/// The contents of a GGUF.
pub struct Loaded<B: Backend> {
    pub model: Model<B>,
    pub tokenizer: Tokenizer,
    pub config: Config,
    /// `general.name`
    pub name: Option<String>,
}

/// Takes a file's bytes, in order.
pub struct Loader<B: Backend> {
    /// `Some` until the header has been read.
    backend: Option<B>,
    /// The file's length, if known.
    file_bytes: Option<u64>,
    /// Unused bytes: an incomplete header, later an incomplete vector.
    pending: Vec<u8>,
    /// Bytes of the file taken so far.
    position: u64,
    /// The header is not parsed again before this many bytes are there.
    retry_at: u64,
    body: Option<Body<B>>,
}

struct Body<B: Backend> {
    header: Header,
    /// Built before the weights, while they are downloaded.
    tokenizer: Tokenizer,
    /// In order of their offset in the file.
    tensors: Vec<TensorEntry>,
    assembly: Assembly<B>,
    next_tensor: usize,
    /// `Some` if the file has a separate head in addition to the embedding.
    tie: Option<Box<Tie>>,
}

/// Checksums of the token embedding and of a separate head, which must be equal.
#[derive(Default)]
struct Tie {
    embedding: Xxh3,
    head: Xxh3,
}

impl<B: Backend> Loader<B> {
    /// `file_bytes`: the file's length, if known, so that a header that describes a longer file is
    /// refused at once.
    pub fn new(backend: B, file_bytes: Option<u64>) -> Self {
        Self { backend: Some(backend), file_bytes, pending: Vec::new(), position: 0, retry_at: 0, body: None }
    }

    /// Takes the next bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        if self.body.is_none() {
            self.pending.extend_from_slice(bytes);
            if !self.try_header()? {
                return Ok(());
            }
            let rest = std::mem::take(&mut self.pending);
            return self.take_body(&rest);
        }
        self.take_body(bytes)
    }

    /// The backend and the dtype of most layers' matrices, once the header has been read.
    pub fn layers(&self) -> Option<(&B, Dtype)> {
        let body = self.body.as_ref()?;
        let mut tensors = body.header.tensors.iter();
        let matrix = tensors.find(|t| t.name.starts_with("h.0.mlp.") && !names::is_vector(&t.name))?;
        Some((body.assembly.backend(), matrix.dtype))
    }

    /// Abandons the file and returns the backend.
    pub fn into_backend(self) -> Option<B> {
        self.backend.or_else(|| self.body.map(|body| body.assembly.into_backend()))
    }

    /// The model, once the whole file has been pushed.
    pub fn finish(self) -> Result<Loaded<B>, LoadError> {
        let Some(body) = self.body else {
            let found = self.pending.len() as u64;
            // The header never ended. Parsing reports the cause if the bytes are not a GGUF at all.
            return match Header::parse(&self.pending, None)? {
                Parsed::NeedMore { at_least } => Err(LoadError::Truncated { found, expected: at_least }),
                Parsed::Header(header) => Err(LoadError::Truncated { found, expected: header.file_bytes() }),
            };
        };
        if body.next_tensor < body.tensors.len() {
            return Err(LoadError::Truncated { found: self.position, expected: body.header.file_bytes() });
        }
        if body.tie.is_some_and(|tie| tie.embedding.digest128() != tie.head.digest128()) {
            return Err(LoadError::UntiedHead);
        }
        let model = body.assembly.finish()?;
        Ok(Loaded { model, tokenizer: body.tokenizer, config: body.header.config, name: body.header.name })
    }

    fn try_header(&mut self) -> Result<bool, LoadError> {
        if (self.pending.len() as u64) < self.retry_at {
            return Ok(false);
        }
        match Header::parse(&self.pending, self.file_bytes)? {
            Parsed::NeedMore { at_least } => {
                // Parsing starts over each time, so not for every piece.
                let twice = 2 * self.pending.len() as u64;
                self.retry_at = at_least.max(self.file_bytes.map_or(0, |all| all.min(twice)));
                Ok(false)
            }
            Parsed::Header(mut header) => {
                let Some(backend) = self.backend.take() else { return Ok(false) };
                let assembly = Assembly::new(header.config.clone(), backend);
                let mut tensors: Vec<_> = header.tensors.iter().chain(&header.head).cloned().collect();
                let tie = header.head.is_some().then(Box::default);
                tensors.sort_by_key(|t| t.offset);
                let tokenizer = header.take_tokenizer()?;
                self.body = Some(Body { header: *header, tokenizer, tensors, assembly, next_tensor: 0, tie });
                Ok(true)
            }
        }
    }

    fn take_body(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let Some(body) = &mut self.body else { return Ok(()) };
        let mut rest = bytes;
        while let Some(entry) = body.tensors.get(body.next_tensor) {
            let here = self.position + (bytes.len() - rest.len()) as u64;
            let end = entry.offset.saturating_add(entry.size_bytes);
            if here < entry.offset {
                // Padding before the tensor.
                let gap = (entry.offset - here).min(rest.len() as u64) as usize;
                rest = &rest[gap..];
                if gap == 0 {
                    break;
                }
                continue;
            }
            let is_vector = names::is_vector(&entry.name);
            let is_head = entry.name == names::HEAD;
            if here == entry.offset && !is_vector && !is_head {
                let shape = (entry.rows, entry.cols);
                body.assembly.begin(&entry.name, shape, entry.dtype)?;
            }
            let (now, later) = rest.split_at(end.saturating_sub(here).min(rest.len() as u64) as usize);
            match (is_vector, &mut body.tie) {
                (true, _) => self.pending.extend_from_slice(now),
                (false, Some(tie)) if is_head => tie.head.update(now),
                (false, tie) => {
                    if let Some(tie) = tie.as_mut().filter(|_| entry.name == names::TOKEN_EMBEDDING) {
                        tie.embedding.update(now);
                    }
                    body.assembly.push(now)?;
                }
            }
            rest = later;
            if here + (now.len() as u64) < end {
                break;
            }
            match is_vector {
                true => {
                    let f16 = entry.dtype == Dtype::F16;
                    let bytes = std::mem::take(&mut self.pending);
                    let values = if f16 { f16_values(&bytes) } else { f32_values(&bytes) };
                    body.assembly.vector(&entry.name, values)?;
                }
                false => body.assembly.end()?,
            }
            body.next_tensor += 1;
        }
        self.position += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::{
            Batch, CacheShape,
            cpu::{Cpu, Level, Pool},
        },
        bundle::{
            Precision, Weights,
            gguf::{self, WriteOptions},
            weights::Tensor,
        },
        gpt2::from_weights,
    };
    use candle_core::{
        Device,
        quantized::{QStorage, QTensor, gguf_file},
    };
    use proptest::prelude::*;
    use std::io::Cursor;

    fn config() -> Config {
        Config {
            vocab_size: 300,
            n_positions: 20,
            n_embd: 64,
            n_layer: 2,
            n_head: 4,
            n_inner: 256,
            layer_norm_epsilon: 1e-5,
            embd_pdrop: 0.1,
            attn_pdrop: 0.1,
            resid_pdrop: 0.1,
            eos_token_id: 0,
        }
    }

    fn weights(config: &Config) -> Weights {
        let mut state = 1u32;
        let mut next = move || {
            state = state.wrapping_mul(1664525).wrapping_add(1013904223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        let tensors = names::tensors(config).into_iter();
        tensors
            .map(|t| {
                let data = (0..t.shape.iter().product()).map(|_| next() * 0.3).collect();
                (t.name, Tensor { shape: t.shape, data })
            })
            .collect()
    }

    fn file(precision: Precision) -> Vec<u8> {
        let config = config();
        let tokenizer =
            Tokenizer::from_json(include_bytes!("../../tests/fixtures/tiny-gpt2/tokenizer.json")).unwrap();
        let config = Config { vocab_size: tokenizer.vocab_size(), ..config };
        let mut bytes = Vec::new();
        let options = WriteOptions::default();
        gguf::write(&config, &tokenizer, &weights(&config), precision, &options, &mut bytes).unwrap();
        bytes
    }

    fn logits(model: &mut Model<Cpu>) -> Vec<f32> {
        let shape = CacheShape { prompt: 4, drafts: 0, tail: 0 };
        model.forward(&Batch::prompt(&[0, 5, 9, 200], vec![1, 3], shape)).unwrap().logits.clone()
    }

    #[test]
    fn a_file_in_any_pieces_is_the_checkpoint_it_came_from() {
        for precision in [Precision::Q8_0, Precision::Q4_0] {
            let bytes = file(precision);
            for piece in [1, 7, 1000, usize::MAX] {
                let mut loader = Loader::new(Cpu::new(Level::Simd, Pool::serial()), Some(bytes.len() as u64));
                for piece in bytes.chunks(piece) {
                    loader.push(piece).unwrap();
                }
                let mut loaded = loader.finish().unwrap();
                let config = loaded.config.clone();
                let mut direct = from_weights(
                    &config,
                    &weights(&config),
                    precision,
                    Cpu::new(Level::Scalar, Pool::serial()),
                )
                .unwrap();
                assert_eq!(logits(&mut loaded.model), logits(&mut direct));
            }
        }
    }

    #[test]
    fn a_file_cut_short_says_how_much_is_there() {
        let bytes = file(Precision::Q8_0);
        for length in [0, 3, 100, bytes.len() / 2, bytes.len() - 40] {
            let mut loader = Loader::new(Cpu::new(Level::Simd, Pool::serial()), None);
            loader.push(&bytes[..length]).unwrap();
            assert!(matches!(loader.finish(), Err(LoadError::Truncated { .. })), "{length}");
        }
    }

    /// The file with a separate head added, in one byte of which a bit may be flipped.
    fn with_head(file: &[u8], flipped: Option<usize>) -> Vec<u8> {
        let mut reader = Cursor::new(file);
        let content = gguf_file::Content::read(&mut reader).unwrap();
        let mut tensors: Vec<(String, QTensor)> = content
            .tensor_infos
            .keys()
            .map(|name| (name.clone(), content.tensor(&mut reader, name, &Device::Cpu).unwrap()))
            .collect();
        let wte = content.tensor(&mut reader, "token_embd.weight", &Device::Cpu).unwrap();
        let mut bytes = wte.data().unwrap().into_owned();
        flipped.into_iter().for_each(|at| bytes[at] ^= 1);
        let storage = QStorage::from_data(bytes.into(), &Device::Cpu, wte.dtype()).unwrap();
        tensors.push(("output.weight".into(), QTensor::new(storage, wte.shape()).unwrap()));
        let metadata: Vec<_> = content.metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
        let tensors: Vec<_> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let mut out = Cursor::new(Vec::new());
        gguf_file::write(&mut out, &metadata, &tensors).unwrap();
        out.into_inner()
    }

    #[test]
    fn a_head_of_its_own_must_be_the_embedding() {
        let load = |bytes: &[u8]| {
            let mut loader = Loader::new(Cpu::new(Level::Simd, Pool::serial()), Some(bytes.len() as u64));
            bytes.chunks(999).for_each(|piece| loader.push(piece).unwrap());
            loader.finish().map(|mut loaded| logits(&mut loaded.model))
        };
        let file = file(Precision::Q8_0);
        assert_eq!(load(&with_head(&file, None)).unwrap(), load(&file).unwrap());
        for byte in [0, 5000] {
            assert!(matches!(load(&with_head(&file, Some(byte))), Err(LoadError::UntiedHead)));
        }
    }

    #[test]
    fn a_prompt_in_pieces_gives_the_logits_of_one_pass() {
        // More rows than one piece, then a draft's tokens one by one.
        let config = Config { n_positions: 200, ..config() };
        let mut model =
            from_weights(&config, &weights(&config), Precision::Q8_0, Cpu::new(Level::Simd, Pool::serial()))
                .unwrap();
        let tokens: Vec<u32> = (0..150).map(|i| i * 7 % 300).collect();
        let shape = |prompt| CacheShape { prompt, drafts: 1, tail: 150 - prompt };
        let whole = model.forward(&Batch::prompt(&tokens, vec![149], shape(150))).unwrap().logits.clone();
        model.forward(&Batch::prompt(&tokens[..100], vec![99], shape(100))).unwrap();
        let mut last = Vec::new();
        for (position, &token) in tokens.iter().enumerate().skip(100) {
            let place = crate::backend::Place { sequence: crate::backend::Sequence::Draft(0), position };
            let batch =
                Batch { tokens: vec![token], places: vec![place], outputs: vec![0], ..Batch::default() };
            last = model.forward(&batch).unwrap().logits.clone();
        }
        assert_eq!(whole, last);
    }

    #[test]
    fn logits_do_not_depend_on_whose_are_wanted() {
        let config = Config { n_positions: 200, ..config() };
        let cpu = Cpu::new(Level::Simd, Pool::serial());
        let mut model = from_weights(&config, &weights(&config), Precision::Q8_0, cpu).unwrap();
        // Pieces with one, several and none of the outputs.
        let tokens: Vec<u32> = (0..200).map(|i| i * 7 % 300).collect();
        let shape = CacheShape { prompt: 200, drafts: 0, tail: 0 };
        let mut of = |outputs: Vec<usize>| {
            let outputs = model.forward(&Batch::prompt(&tokens, outputs, shape)).unwrap();
            outputs.logits.chunks_exact(outputs.vocab).map(<[f32]>::to_vec).collect::<Vec<_>>()
        };
        let all = of((0..200).collect());
        for some in [vec![199], vec![3, 60, 130], vec![]] {
            assert_eq!(of(some.clone()), some.iter().map(|&row| all[row].clone()).collect::<Vec<_>>());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_damaged_file_is_an_error_and_no_panic(at in 0usize..4000, byte: u8, cut in 1usize..100_000) {
            let mut bytes = file(Precision::Q8_0);
            bytes[at] = byte;
            bytes.truncate(cut.max(at + 1));
            for size in [None, Some(bytes.len() as u64)] {
                let mut loader = Loader::new(Cpu::new(Level::Simd, Pool::serial()), size);
                let pushed = bytes.chunks(5000).try_for_each(|piece| loader.push(piece));
                if pushed.is_ok() && let Ok(mut loaded) = loader.finish() {
                    logits(&mut loaded.model);
                }
            }
        }
    }
}
