//! Opens and writes a bot's folder: one of our bundles, or any GPT-2 in the Hugging Face
//! layout.

use std::{
    collections::BTreeMap,
    fs, io,
    io::Write,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use thiserror::Error;

use super::{
    Manifest, Precision, Weights,
    checkpoint::{self, CheckpointDtype, CheckpointError},
    digest::{self, DigestError},
    file_names::{BOT, CONFIG, GENERATION_CONFIG, GGUF_F32, MERGES, TOKENIZER, TOKENIZER_CONFIG, VOCABULARY},
    gguf::{self, GgufError},
    manifest::{
        BotInfo, CardExtras, DEFAULT_MAX_TOKENS, FORMAT_VERSION, FileEntry, LogitsCheck, ManifestError,
    },
};
use crate::{
    gpt2::{Config, ConfigError},
    tokenizer::{Tokenizer, TokenizerError},
};

/// Size limit for `bot.json`, `config.json`, `tokenizer.json`, `vocab.json` and
/// `merges.txt`.
pub(super) const MAX_TEXT_BYTES: u64 = 64 << 20;

/// An opened bot folder. Configuration and tokenizer are loaded eagerly, weights on
/// demand.
#[derive(Debug)]
pub struct BotFolder {
    pub path: PathBuf,
    /// `eos_token_id` is taken from the tokenizer, not from `config.json`.
    pub config: Config,
    pub tokenizer: Tokenizer,
    /// `bot.json`; `None` for folders written by other programs.
    pub manifest: Option<Manifest>,
}

/// What a bundle is written from, apart from the bot's metadata.
#[derive(Debug, Clone, Copy)]
pub struct BundleParts<'a> {
    pub config: &'a Config,
    pub tokenizer: &'a Tokenizer,
    pub weights: &'a Weights,
    /// Storage type of `model.safetensors`.
    pub dtype: CheckpointDtype,
    /// `general.name` in the GGUF files.
    pub name: &'a str,
    /// Store every matrix of the q4_0 file in 4 bits.
    pub all_4bit: bool,
    /// The q4_0 file's matrices, as far as they are not to be rounded plainly.
    pub quantized: Option<&'a gguf::Quantized>,
}

/// Why a folder could not be opened or written. Every message names the file or folder.
#[derive(Debug, Error)]
pub enum BundleError {
    #[error("{} is not a folder", .0.display())]
    NoFolder(PathBuf),
    #[error("{} has no {missing}: it is neither a bot's folder nor a GPT-2 in the Hugging Face layout", folder.display())]
    MissingFile { folder: PathBuf, missing: &'static str },
    #[error("{} is the record of a training run: give the bot's folder, which train writes to its --out", .0.display())]
    Run(PathBuf),
    #[error("{}: {source}", file.display())]
    Io { file: PathBuf, source: io::Error },
    #[error("{} has {found} bytes; at most {MAX_TEXT_BYTES} are read", file.display())]
    TooLarge { file: PathBuf, found: u64 },
    #[error("{}: {source}", file.display())]
    Config { file: PathBuf, source: ConfigError },
    #[error("{}: {source}", file.display())]
    Manifest { file: PathBuf, source: ManifestError },
    #[error("{}: {source}", file.display())]
    Tokenizer { file: PathBuf, source: TokenizerError },
    #[error("{}: {source}", file.display())]
    Gguf { file: PathBuf, source: Box<GgufError> },
    #[error("{}: the tokenizer has {tokens} tokens, but config.json describes a vocabulary of {vocab_size}", folder.display())]
    Vocabulary { folder: PathBuf, tokens: usize, vocab_size: usize },
    #[error("{} is damaged ({source}): fetch it again, or make the bot again", file.display())]
    Digest { file: PathBuf, source: DigestError },
    #[error("bot.json lists {}, which is missing: fetch it again, or make the bot again", file.display())]
    Gone { file: PathBuf },
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl BotFolder {
    /// Opens a bundle or a Hugging Face folder.
    pub fn open(path: &Path) -> Result<Self, BundleError> {
        if !path.is_dir() {
            return Err(BundleError::NoFolder(path.into()));
        }
        let file = path.join(CONFIG);
        let missing = |missing| BundleError::MissingFile { folder: path.into(), missing };
        let bytes = read_text(&file)?.ok_or_else(|| missing(CONFIG))?;
        let config = Config::from_json(&bytes).map_err(|source| match is_run_config(&bytes) {
            true => BundleError::Run(path.into()),
            false => BundleError::Config { file, source },
        })?;

        let tokenizer =
            read_tokenizer(path)?.ok_or_else(|| missing("tokenizer.json (nor vocab.json and merges.txt)"))?;
        if tokenizer.vocab_size() > config.vocab_size {
            let (tokens, vocab_size) = (tokenizer.vocab_size(), config.vocab_size);
            return Err(BundleError::Vocabulary { folder: path.into(), tokens, vocab_size });
        }
        // Posts are separated and ended by `<|endoftext|>`, whatever `config.json` says.
        let config = Config { eos_token_id: tokenizer.eos_id(), ..config };

        Ok(Self { path: path.into(), config, tokenizer, manifest: read_manifest(path)? })
    }

    /// Returns the bot's name from `bot.json`, or else the folder's name.
    pub fn name(&self) -> String {
        match &self.manifest {
            Some(manifest) if !manifest.info.name.is_empty() => manifest.info.name.clone(),
            Some(manifest) => manifest.info.slug(),
            None => folder_name(&self.path),
        }
    }

    /// Reads all weights as f32, from `model.safetensors` (or its shards) if present, else
    /// from `pytorch_model.bin`.
    pub fn weights(&self) -> Result<Weights, BundleError> {
        Ok(checkpoint::read(&self.path, &self.config)?)
    }

    /// Lists the files that configuration, tokenizer and weights are read from. Other files
    /// in the folder do not affect the network.
    pub fn files_read(&self) -> Result<Vec<String>, BundleError> {
        let tokenizer = match self.path.join(TOKENIZER).is_file() {
            true => &[TOKENIZER][..],
            false => &[VOCABULARY, MERGES],
        };
        let mut files: Vec<String> = tokenizer.iter().map(|&name| name.to_owned()).collect();
        files.push(CONFIG.to_owned());
        files.extend(checkpoint::file_names(&self.path)?);
        files.sort();
        Ok(files)
    }

    /// Returns the path of this precision's file, if it exists.
    pub fn precision_path(&self, precision: Precision) -> Option<PathBuf> {
        let file = self.path.join(precision.file_name());
        file.is_file().then_some(file)
    }

    /// Checks every file listed in `bot.json` against its digests.
    ///
    /// # Errors
    /// [`BundleError::Digest`] if a file does not match, [`BundleError::Gone`] if one is missing,
    /// or [`BundleError::Io`] if one cannot be read.
    pub fn verify(&self) -> Result<(), BundleError> {
        self.verify_if(|_| true)
    }

    /// Like [`BotFolder::verify`], but checks only the files that new ones are derived from,
    /// so that `bot.json` never vouches for files derived from damaged ones.
    ///
    /// # Errors
    /// Those of [`BotFolder::verify`], or if the folder has no weights.
    pub fn verify_sources(&self) -> Result<(), BundleError> {
        let sources = self.files_read()?;
        self.verify_if(|name| sources.iter().any(|source| source == name))
    }

    /// Like [`BotFolder::verify`], but checks only the files that the network is read from at
    /// this precision.
    ///
    /// # Errors
    /// Those of [`BotFolder::verify_sources`].
    pub fn verify_precision(&self, precision: Precision) -> Result<(), BundleError> {
        match precision {
            Precision::Q8_0 | Precision::Q4_0 if self.precision_path(precision).is_some() => {
                self.verify_if(|name| [CONFIG, TOKENIZER, precision.file_name()].contains(&name))
            }
            _ => self.verify_sources(),
        }
    }

    fn verify_if(&self, is_wanted: impl Fn(&str) -> bool) -> Result<(), BundleError> {
        let Some(manifest) = &self.manifest else {
            return Ok(());
        };
        for (name, entry) in manifest.files.iter().filter(|(name, _)| is_wanted(name)) {
            let file = self.path.join(name);
            let checked = fs::File::open(&file).and_then(|opened| digest::verify_reader(entry, opened));
            match checked {
                Ok(Ok(())) => {}
                Ok(Err(source)) => return Err(BundleError::Digest { file, source }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(BundleError::Gone { file });
                }
                Err(source) => return Err(BundleError::Io { file, source }),
            }
        }
        Ok(())
    }
}

/// Reads `bot.json` from a folder. Returns `None` if there is none.
///
/// # Errors
/// [`BundleError::Manifest`] if it is not valid, [`BundleError::TooLarge`], or
/// [`BundleError::Io`] if it cannot be read.
pub fn read_manifest(folder: &Path) -> Result<Option<Manifest>, BundleError> {
    let file = folder.join(BOT);
    let Some(bytes) = read_text(&file)? else { return Ok(None) };
    Manifest::from_json(&bytes).map(Some).map_err(|source| BundleError::Manifest { file, source })
}

/// Checks that every file listed in `bot.json` is there and has its size: cheap, and enough to
/// notice an interrupted copy.
///
/// # Errors
/// [`BundleError::Gone`], [`BundleError::Digest`], or [`BundleError::Io`] if a file cannot be read.
pub fn check_sizes(folder: &Path, manifest: &Manifest) -> Result<(), BundleError> {
    for (name, entry) in &manifest.files {
        let file = folder.join(name);
        let found = match fs::metadata(&file) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(BundleError::Gone { file }),
            Err(source) => return Err(BundleError::Io { file, source }),
        };
        if found != entry.size {
            let source = DigestError::Size { expected: entry.size, found };
            return Err(BundleError::Digest { file, source });
        }
    }
    Ok(())
}

/// Returns whether a `config.json` is that of a run's record, which lies beside the bot.
fn is_run_config(json: &[u8]) -> bool {
    serde_json::from_slice(json).is_ok_and(|config: Value| config.get("run_format_version").is_some())
}

/// Returns the last component of a path, resolving paths such as `.` that have none.
pub fn folder_name(path: &Path) -> String {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    name(path).or_else(|| name(&path.canonicalize().ok()?)).unwrap_or_else(|| "bot".into())
}

fn read_tokenizer(folder: &Path) -> Result<Option<Tokenizer>, BundleError> {
    let file = folder.join(TOKENIZER);
    if let Some(bytes) = read_text(&file)? {
        let tokenizer = Tokenizer::from_json(&bytes);
        return tokenizer.map(Some).map_err(|source| BundleError::Tokenizer { file, source });
    }
    let file = folder.join(VOCABULARY);
    let merges = folder.join(MERGES);
    let (Some(vocab), Some(merge_bytes)) = (read_text(&file)?, read_text(&merges)?) else {
        return Ok(None);
    };
    let merge_text = String::from_utf8(merge_bytes).map_err(|error| BundleError::Io {
        file: merges,
        source: io::Error::new(io::ErrorKind::InvalidData, error),
    })?;
    let tokenizer = Tokenizer::from_vocab_and_merges(&vocab, &merge_text);
    tokenizer.map(Some).map_err(|source| BundleError::Tokenizer { file, source })
}

/// Reads a file of at most [`MAX_TEXT_BYTES`]. Returns `None` if it does not exist.
fn read_text(file: &Path) -> Result<Option<Vec<u8>>, BundleError> {
    let found = match fs::metadata(file) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(BundleError::Io { file: file.into(), source });
        }
    };
    if found > MAX_TEXT_BYTES {
        return Err(BundleError::TooLarge { file: file.into(), found });
    }
    fs::read(file).map(Some).map_err(|source| BundleError::Io { file: file.into(), source })
}

/// Writes the parts of a bundle that are derived from the network: configuration, tokenizer,
/// and weights. Only the 4-bit file is left to [`write_gguf`], because there is more than one way to
/// it. Card, picture and `bot.json` are written afterwards ([`finish`] last).
///
/// # Errors
/// If a file cannot be written, or the weights do not match the configuration.
pub fn write_bundle(staging: &Path, parts: &BundleParts) -> Result<(), BundleError> {
    let BundleParts { config, tokenizer, weights, .. } = *parts;
    let config = &Config { eos_token_id: tokenizer.eos_id(), ..config.clone() };
    let mut config_json = config.to_json();
    // The dtype to compute in. Without it, newer `transformers` would use the stored dtype,
    // and f16 on a CPU is slow and rounds differently.
    config_json["dtype"] = json!("float32");
    write_json(&staging.join(CONFIG), &config_json)?;
    write_file(&staging.join(TOKENIZER), tokenizer.to_json().as_bytes())?;
    write_json(&staging.join(TOKENIZER_CONFIG), &tokenizer_config(config, tokenizer))?;
    write_json(&staging.join(GENERATION_CONFIG), &generation_config(config))?;
    let checkpoint = staging.join(Precision::F32.file_name());
    checkpoint::write_safetensors(&checkpoint, config, weights, parts.dtype)?;
    // The same weights in every file, so that a GGUF can be made again from model.safetensors.
    let stored = parts.dtype.rounded(weights);
    let parts = &BundleParts { weights: &stored, ..*parts };
    write_gguf(staging, parts, Precision::Q8_0)
}

/// Writes one precision's GGUF file into a bundle.
///
/// # Errors
/// Those of [`write_bundle`].
pub fn write_gguf(staging: &Path, parts: &BundleParts, precision: Precision) -> Result<(), BundleError> {
    let file = staging.join(match precision {
        Precision::F32 => GGUF_F32,
        _ => precision.file_name(),
    });
    let BundleParts { name, all_4bit, quantized, .. } = *parts;
    let options = gguf::WriteOptions { name, all_4bit, quantized };
    let io = |source| BundleError::Io { file: file.clone(), source };
    let mut writer = io::BufWriter::new(fs::File::create(&file).map_err(io)?);
    let config = Config { eos_token_id: parts.tokenizer.eos_id(), ..parts.config.clone() };
    gguf::write(&config, parts.tokenizer, parts.weights, precision, &options, &mut writer)
        .map_err(|source| BundleError::Gguf { file: file.clone(), source: Box::new(source) })?;
    writer.flush().map_err(io)
}

/// Digests every file of a newly written folder and writes `bot.json`, which makes it a
/// bundle. `checks` maps a GGUF file name to the logits expected from it.
///
/// # Errors
/// [`BundleError::Io`], or [`BundleError::Manifest`] if the manifest would be invalid.
pub fn finish(
    staging: &Path,
    info: BotInfo,
    checks: BTreeMap<String, LogitsCheck>,
    card: Option<CardExtras>,
) -> Result<Manifest, BundleError> {
    let io = |source| BundleError::Io { file: staging.into(), source };
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(staging).map_err(io)? {
        let file = entry.map_err(io)?.path();
        let name = folder_name(&file);
        if name == BOT || name.starts_with('.') || !file.is_file() {
            continue;
        }
        files.insert(name, digest_of(&file)?);
    }
    write_manifest(staging, Manifest { format_version: FORMAT_VERSION, info, files, checks, card })
}

/// Writes to `aside` the updated `bot.json` of a bundle whose files `written` are replaced
/// by those in `aside`. Entries of all other files are kept as they are: unlisted files stay
/// unlisted, and damaged ones still fail verification. What was measured on weights that have
/// changed is dropped.
///
/// # Errors
/// Those of [`finish`], and [`BundleError::Gone`] if a listed file is missing.
pub fn refresh(
    folder: &Path,
    aside: &Path,
    mut manifest: Manifest,
    written: &[&str],
) -> Result<Manifest, BundleError> {
    for &name in written {
        let entry = digest_of(&aside.join(name))?;
        let former = manifest.files.get(name);
        if former.is_some_and(|former| former.sha256 != entry.sha256)
            && let Some(card) = &mut manifest.card
        {
            let is_of_it = |precision: Precision| precision.file_name() == name;
            card.held_out_perplexity.retain(|row| !row.precision.parse().is_ok_and(is_of_it));
        }
        manifest.files.insert(name.to_owned(), entry);
    }
    let mut kept = manifest.files.keys().filter(|name| !written.contains(&name.as_str()));
    if let Some(gone) = kept.find(|name| !folder.join(name).is_file()) {
        return Err(BundleError::Gone { file: folder.join(gone) });
    }
    write_manifest(aside, Manifest { format_version: FORMAT_VERSION, ..manifest })
}

fn digest_of(file: &Path) -> Result<FileEntry, BundleError> {
    let digested = fs::File::open(file).and_then(digest::digest);
    digested.map_err(|source| BundleError::Io { file: file.into(), source })
}

fn write_manifest(folder: &Path, manifest: Manifest) -> Result<Manifest, BundleError> {
    let file = folder.join(BOT);
    manifest.validate().map_err(|source| BundleError::Manifest { file: file.clone(), source })?;
    write_file(&file, manifest.to_json().as_bytes())?;
    Ok(manifest)
}

/// Generation defaults, so that the Python example on the card needs no arguments for them.
fn generation_config(config: &Config) -> Value {
    let eos = config.eos_token_id;
    json!({
        "do_sample": true,
        "temperature": 1.0,
        "top_k": 50,
        "top_p": 0.95,
        "min_length": 10,
        "max_length": DEFAULT_MAX_TOKENS.min(config.n_positions),
        "bos_token_id": eos,
        "eos_token_id": eos,
        // Without it, `transformers` warns on every call.
        "pad_token_id": eos,
    })
}

fn tokenizer_config(config: &Config, tokenizer: &Tokenizer) -> Value {
    let eos = tokenizer.tokens().get(tokenizer.eos_id() as usize);
    json!({
        "tokenizer_class": "GPT2Tokenizer",
        "model_max_length": config.n_positions,
        "bos_token": eos,
        "eos_token": eos,
        "unk_token": eos,
        "add_bos_token": false,
        "add_prefix_space": false,
        "clean_up_tokenization_spaces": true,
    })
}

fn write_json(file: &Path, value: &Value) -> Result<(), BundleError> {
    write_file(file, format!("{value:#}\n").as_bytes())
}

fn write_file(file: &Path, bytes: &[u8]) -> Result<(), BundleError> {
    fs::write(file, bytes).map_err(|source| BundleError::Io { file: file.into(), source })
}

#[cfg(test)]
mod tests;
