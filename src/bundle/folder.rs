//! A bot's folder: a bundle of ours, or any Hugging Face folder of a GPT-2.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use thiserror::Error;

pub use super::checkpoint::CheckpointDtype;
use super::{
    Manifest, Precision, Weights,
    checkpoint::{self, CheckpointError},
    digest::Digester,
    gguf::{self, GgufError, WriteOptions},
    manifest::{BotInfo, CardExtras, FORMAT_VERSION, FileEntry, LogitsCheck, ManifestError},
};
use crate::{
    gpt2::{Config, ConfigError},
    tokenizer::{END_OF_TEXT, Tokenizer, TokenizerError},
};

/// The file that makes a folder a bundle.
pub const MANIFEST: &str = "bot.json";

/// Tokens a draft has at most by default: the original's.
const MAX_LENGTH: usize = 160;

/// Why a folder could not be opened or written.
#[derive(Debug, Error)]
pub enum BundleError {
    #[error("{}: there is no such folder", folder.display())]
    NoFolder { folder: PathBuf },
    #[error("{} has no config.json, so it is no GPT-2 folder", folder.display())]
    NoConfig { folder: PathBuf },
    #[error("{} has neither tokenizer.json nor vocab.json and merges.txt", folder.display())]
    NoTokenizer { folder: PathBuf },
    #[error("{}: {source}", file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error("{}: {source}", file.display())]
    Config { file: PathBuf, source: ConfigError },
    #[error("{}: {source}", file.display())]
    Tokenizer { file: PathBuf, source: TokenizerError },
    #[error("{}: {source}", file.display())]
    Manifest { file: PathBuf, source: ManifestError },
    #[error("{}: {source}", file.display())]
    Gguf { file: PathBuf, source: GgufError },
    #[error("{}: the tokenizer has {tokens} tokens, config.json says {vocab_size}", folder.display())]
    Vocabulary { folder: PathBuf, tokens: usize, vocab_size: usize },
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// An opened folder: everything but the weights.
#[derive(Debug)]
pub struct BotFolder {
    pub path: PathBuf,
    pub config: Config,
    pub tokenizer: Tokenizer,
    /// `None` in a folder that this program did not write.
    pub manifest: Option<Manifest>,
}

impl BotFolder {
    /// Opens a bundle or a Hugging Face folder.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        if !path.is_dir() {
            return Err(BundleError::NoFolder { folder: path.into() });
        }
        let file = path.join("config.json");
        let Some(bytes) = read_if_there(&file)? else {
            return Err(BundleError::NoConfig { folder: path.into() });
        };
        let mut config = Config::from_json(&bytes).map_err(|source| BundleError::Config { file, source })?;
        let tokenizer = open_tokenizer(path)?;
        if tokenizer.vocab_size() > config.vocab_size {
            return Err(BundleError::Vocabulary {
                folder: path.into(),
                tokens: tokenizer.vocab_size(),
                vocab_size: config.vocab_size,
            });
        }
        config.eos_token_id = tokenizer.eos_id();
        let file = path.join(MANIFEST);
        let manifest = match read_if_there(&file)? {
            Some(bytes) => {
                Some(Manifest::from_json(&bytes).map_err(|source| BundleError::Manifest { file, source })?)
            }
            None => None,
        };
        Ok(Self { path: path.into(), config, tokenizer, manifest })
    }

    /// Every weight, f32, from whichever checkpoint file is there.
    pub fn weights(&self) -> Result<Weights, BundleError> {
        Ok(checkpoint::read(&self.path, &self.config)?)
    }

    /// The GGUF of a precision, if the folder has it.
    pub fn gguf_path(&self, precision: Precision) -> Option<PathBuf> {
        let path = self.path.join(precision.file_name());
        (precision != Precision::F32 && path.is_file()).then_some(path)
    }

    /// What to call it: the bundle's name, else the folder's.
    pub fn name(&self) -> String {
        match &self.manifest {
            Some(manifest) => manifest.info.name.clone(),
            None => folder_name(&self.path),
        }
    }
}

/// The last part of a path, or `bot` where it has none.
pub fn folder_name(path: &Path) -> String {
    let name = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    name.file_name().map_or_else(|| "bot".into(), |n| n.to_string_lossy().into_owned())
}

fn read_if_there(file: &Path) -> Result<Option<Vec<u8>>, BundleError> {
    match fs::read(file) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(BundleError::Io { file: file.into(), source }),
    }
}

fn open_tokenizer(folder: &Path) -> Result<Tokenizer, BundleError> {
    let file = folder.join("tokenizer.json");
    if let Some(bytes) = read_if_there(&file)? {
        return Tokenizer::from_json(&bytes).map_err(|source| BundleError::Tokenizer { file, source });
    }
    let (vocab, merges) = (folder.join("vocab.json"), folder.join("merges.txt"));
    match (read_if_there(&vocab)?, read_if_there(&merges)?) {
        (Some(vocab_json), Some(merges_txt)) => {
            Tokenizer::from_vocab_and_merges(&vocab_json, &String::from_utf8_lossy(&merges_txt))
                .map_err(|source| BundleError::Tokenizer { file: vocab, source })
        }
        _ => Err(BundleError::NoTokenizer { folder: folder.into() }),
    }
}

/// What a bundle is made of, before its card.
pub struct BundleParts<'a> {
    pub config: &'a Config,
    pub tokenizer: &'a Tokenizer,
    /// `general.name` of the GGUFs.
    pub name: &'a str,
    pub weights: &'a Weights,
    /// How `model.safetensors` stores them.
    pub dtype: CheckpointDtype,
}

/// Writes everything but the card and `bot.json` into an empty folder.
pub fn write_bundle(folder: &Path, parts: &BundleParts) -> Result<(), BundleError> {
    let eos = parts.config.eos_token_id;
    let max_length = MAX_LENGTH.min(parts.config.n_positions);
    write_json(folder, "config.json", &parts.config.to_json())?;
    write(folder, "tokenizer.json", parts.tokenizer.to_json().as_bytes())?;
    write_json(
        folder,
        "tokenizer_config.json",
        &json!({
            "add_prefix_space": false,
            "bos_token": END_OF_TEXT,
            "clean_up_tokenization_spaces": true,
            "eos_token": END_OF_TEXT,
            "model_max_length": parts.config.n_positions,
            "tokenizer_class": "GPT2Tokenizer",
            "unk_token": END_OF_TEXT,
        }),
    )?;
    write_json(
        folder,
        "generation_config.json",
        &json!({
            "bos_token_id": eos,
            "do_sample": true,
            "eos_token_id": eos,
            "max_length": max_length,
            "min_length": 10,
            "pad_token_id": eos,
            "temperature": 1.0,
            "top_k": 50,
            "top_p": 0.95,
        }),
    )?;
    checkpoint::write_safetensors(
        &folder.join(Precision::F32.file_name()),
        parts.config,
        parts.weights,
        parts.dtype,
    )?;
    for precision in [Precision::Q8_0, Precision::Q4_0] {
        write_gguf(folder, parts, precision)?;
    }
    Ok(())
}

/// Writes one GGUF of a bundle.
pub fn write_gguf(folder: &Path, parts: &BundleParts, precision: Precision) -> Result<(), BundleError> {
    let file = folder.join(precision.file_name());
    let io_error = |source| BundleError::Io { file: file.clone(), source };
    let mut writer = BufWriter::new(File::create(&file).map_err(io_error)?);
    let options = WriteOptions { name: parts.name.into(), ..WriteOptions::default() };
    gguf::write(parts.config, parts.tokenizer, parts.weights, precision, &options, &mut writer)
        .map_err(|source| BundleError::Gguf { file: file.clone(), source })?;
    writer.flush().map_err(io_error)
}

/// Digests every file of a finished folder and writes `bot.json`, last.
pub fn finish(
    folder: &Path,
    info: BotInfo,
    checks: BTreeMap<String, LogitsCheck>,
    card: Option<CardExtras>,
) -> Result<(), BundleError> {
    let mut files = BTreeMap::new();
    let entries = fs::read_dir(folder).map_err(|source| BundleError::Io { file: folder.into(), source })?;
    for entry in entries {
        let entry = entry.map_err(|source| BundleError::Io { file: folder.into(), source })?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_file() && name != MANIFEST && !name.starts_with('.') {
            files.insert(name, digest(&entry.path())?);
        }
    }
    let manifest = Manifest { format_version: FORMAT_VERSION, info, files, checks, card };
    write(folder, MANIFEST, manifest.to_json().as_bytes())
}

/// Size and digests of a file.
pub fn digest(file: &Path) -> Result<FileEntry, BundleError> {
    let io_error = |source| BundleError::Io { file: file.into(), source };
    let mut reader = File::open(file).map_err(io_error)?;
    let mut digester = Digester::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match reader.read(&mut piece).map_err(io_error)? {
            0 => return Ok(digester.finish()),
            n => digester.push(&piece[..n]),
        }
    }
}

fn write_json(folder: &Path, name: &str, value: &Value) -> Result<(), BundleError> {
    write(folder, name, format!("{value:#}\n").as_bytes())
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), BundleError> {
    let file = folder.join(name);
    fs::write(&file, bytes).map_err(|source| BundleError::Io { file, source })
}
