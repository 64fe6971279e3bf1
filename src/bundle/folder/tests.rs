//! Folders of other programs open as the same model, bundles hold what other programs need,
//! and errors name the damaged file.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::{bundle::gguf::Header, gpt2::names};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn open(name: &str) -> BotFolder {
    BotFolder::open(&fixture(name)).unwrap()
}

/// A copy of a fixture that a test may damage.
fn copy(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixture(name)).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    dir
}

/// Rewrites the checkpoint after `change` has modified its tensors.
fn rewrite(dir: &Path, change: impl FnOnce(&mut HashMap<String, (safetensors::Dtype, Vec<usize>, Vec<u8>)>)) {
    let file = dir.join("model.safetensors");
    let bytes = fs::read(&file).unwrap();
    let parsed = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors = parsed
        .iter()
        .map(|(name, view)| (name.to_owned(), (view.dtype(), view.shape().to_vec(), view.data().to_vec())))
        .collect();
    change(&mut tensors);
    let views = tensors.iter().map(|(name, (dtype, shape, data))| {
        (name, safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    let bytes = safetensors::serialize(views, None).unwrap();
    fs::write(&file, bytes).unwrap();
}

fn parts<'a>(bot: &'a BotFolder, weights: &'a Weights, dtype: CheckpointDtype) -> BundleParts<'a> {
    BundleParts {
        config: &bot.config,
        tokenizer: &bot.tokenizer,
        weights,
        dtype,
        name: "tiny",
        all_4bit: false,
        quantized: None,
    }
}

/// A bundle with a 4-bit file of plain rounding.
fn write_all(dir: &Path, parts: &BundleParts) {
    write_bundle(dir, parts).unwrap();
    let stored = parts.dtype.rounded(parts.weights);
    write_gguf(dir, &BundleParts { weights: &stored, ..*parts }, Precision::Q4_0).unwrap();
}

fn info() -> BotInfo {
    BotInfo { name: "Tiny".into(), handles: vec!["tiny".into()], ..BotInfo::default() }
}

#[test]
fn every_form_of_a_checkpoint_opens_as_the_same_model() {
    let plain = open("tiny-gpt2");
    let weights = plain.weights().unwrap();
    assert_eq!(weights.len(), names::tensors(&plain.config).len());
    for form in ["tiny-gpt2-hub", "tiny-gpt2-bin"] {
        let bot = open(form);
        assert_eq!(bot.tokenizer.parts(), plain.tokenizer.parts(), "{form}");
        assert!(bot.weights().unwrap() == weights, "{form}");
        assert!(bot.manifest.is_none());
        assert_eq!(bot.name(), form);
    }
}

#[test]
fn shards_behind_an_index_open_as_the_same_model() {
    let dir = copy("tiny-gpt2");
    let whole = open("tiny-gpt2").weights().unwrap();
    let file = dir.path().join("model.safetensors");
    let bytes = fs::read(&file).unwrap();
    let parsed = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut map = BTreeMap::new();
    for (index, keep) in [(0, "h.0."), (1, "")] {
        let shard = format!("model-0000{index}.safetensors");
        let views: Vec<_> =
            parsed.iter().filter(|(name, _)| keep.is_empty() != name.contains("h.0.")).collect();
        map.extend(views.iter().map(|(name, _)| ((*name).to_owned(), shard.clone())));
        fs::write(dir.path().join(&shard), safetensors::serialize(views, None).unwrap()).unwrap();
    }
    fs::remove_file(&file).unwrap();
    let index = json!({ "weight_map": map });
    fs::write(dir.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    assert!(BotFolder::open(dir.path()).unwrap().weights().unwrap() == whole);

    let index = json!({ "weight_map": { "wte.weight": "../elsewhere" } });
    fs::write(dir.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    let error = BotFolder::open(dir.path()).unwrap().weights().unwrap_err().to_string();
    assert!(error.contains("../elsewhere"), "{error}");
}

#[test]
fn half_precision_checkpoints_are_read_as_f32() {
    let whole = open("tiny-gpt2").weights().unwrap();
    for (dtype, bound) in [(safetensors::Dtype::F16, 1.0 / 1024.0), (safetensors::Dtype::BF16, 1.0 / 128.0)] {
        let dir = copy("tiny-gpt2");
        rewrite(dir.path(), |tensors| {
            for (stored, _, data) in tensors.values_mut() {
                let values = data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
                *data = match dtype {
                    safetensors::Dtype::F16 => {
                        values.flat_map(|x| half::f16::from_f32(x).to_le_bytes()).collect()
                    }
                    _ => values.flat_map(|x| half::bf16::from_f32(x).to_le_bytes()).collect(),
                };
                *stored = dtype;
            }
        });
        let half = BotFolder::open(dir.path()).unwrap().weights().unwrap();
        for (name, tensor) in &whole {
            for (x, y) in tensor.data.iter().zip(&half[name].data) {
                assert!((x - y).abs() <= bound * x.abs() + 1e-7, "{name} {x} {y}");
            }
        }
    }
}

#[test]
fn a_missing_tensor_and_a_wrong_shape_are_named_with_their_file() {
    let dir = copy("tiny-gpt2");
    rewrite(dir.path(), |tensors| {
        tensors.remove("transformer.h.1.mlp.c_fc.bias");
    });
    let error = BotFolder::open(dir.path()).unwrap().weights().unwrap_err().to_string();
    assert!(error.contains("h.1.mlp.c_fc.bias") && error.contains("[256]"), "{error}");
    assert!(error.contains("model.safetensors"), "{error}");

    let dir = copy("tiny-gpt2");
    rewrite(dir.path(), |tensors| {
        tensors.get_mut("transformer.wpe.weight").unwrap().1 = vec![32, 128];
    });
    let error = BotFolder::open(dir.path()).unwrap().weights().unwrap_err().to_string();
    assert!(
        error.contains("wpe.weight") && error.contains("[32, 128]") && error.contains("[64, 64]"),
        "{error}"
    );
}

#[test]
fn an_integer_tensor_and_a_layer_too_many_are_named() {
    let dir = copy("tiny-gpt2");
    rewrite(dir.path(), |tensors| {
        tensors.get_mut("transformer.ln_f.bias").unwrap().0 = safetensors::Dtype::I32;
    });
    let error = BotFolder::open(dir.path()).unwrap().weights().unwrap_err().to_string();
    assert!(error.contains("ln_f.bias") && error.contains("I32"), "{error}");

    let dir = copy("tiny-gpt2");
    rewrite(dir.path(), |tensors| {
        let extra = tensors["transformer.ln_f.bias"].clone();
        tensors.insert("transformer.h.2.ln_1.bias".into(), extra);
    });
    let error = BotFolder::open(dir.path()).unwrap().weights().unwrap_err().to_string();
    assert!(error.contains("h.2.ln_1.bias"), "{error}");
}

#[test]
fn a_head_that_is_not_tied_is_refused() {
    let dir = copy("tiny-gpt2-hub");
    rewrite(dir.path(), |tensors| tensors.get_mut("lm_head.weight").unwrap().2[3] ^= 1);
    let error = BotFolder::open(dir.path()).unwrap().weights().unwrap_err().to_string();
    assert!(error.contains("lm_head.weight"), "{error}");
}

#[test]
fn what_is_no_bot_is_said_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let error = BotFolder::open(&dir.path().join("nothing")).unwrap_err();
    assert!(matches!(error, BundleError::NoFolder(_)));
    let error = BotFolder::open(dir.path()).unwrap_err();
    assert!(matches!(error, BundleError::MissingFile { missing: "config.json", .. }));
    fs::copy(fixture("tiny-gpt2/config.json"), dir.path().join("config.json")).unwrap();
    let error = BotFolder::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json") && !error.contains('\n'), "{error}");
    fs::copy(fixture("tiny-gpt2/tokenizer.json"), dir.path().join("tokenizer.json")).unwrap();
    let error = BotFolder::open(dir.path()).unwrap().weights().unwrap_err().to_string();
    assert!(error.contains("model.safetensors"), "{error}");
    fs::write(dir.path().join("model.safetensors"), "version https://git-lfs.github.com/spec/v1\n").unwrap();
    let error = BotFolder::open(dir.path()).unwrap().weights().unwrap_err().to_string();
    assert!(error.contains("model.safetensors"), "{error}");
    fs::write(dir.path().join("config.json"), "{").unwrap();
    let error = BotFolder::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("config.json"), "{error}");
}

#[test]
fn a_bundle_holds_every_file_and_reads_back() {
    let source = open("tiny-gpt2");
    let weights = source.weights().unwrap();
    let dir = tempfile::tempdir().unwrap();
    write_all(dir.path(), &parts(&source, &weights, CheckpointDtype::F32));
    fs::write(dir.path().join("README.md"), "card").unwrap();
    let written = finish(dir.path(), info(), BTreeMap::new(), None).unwrap();
    let listed: Vec<&str> = written.files.keys().map(String::as_str).collect();
    assert_eq!(
        listed,
        [
            "README.md",
            "config.json",
            "generation_config.json",
            "model-q4_0.gguf",
            "model-q8_0.gguf",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
        ]
    );

    let bot = BotFolder::open(dir.path()).unwrap();
    assert_eq!(bot.manifest.as_ref(), Some(&written));
    assert_eq!(bot.name(), "Tiny");
    bot.verify().unwrap();
    assert!(bot.weights().unwrap() == weights);
    assert_eq!(bot.config, source.config);
    for precision in [Precision::Q8_0, Precision::Q4_0] {
        let bytes = fs::read(bot.precision_path(precision).unwrap()).unwrap();
        let parsed = Header::parse(&bytes, Some(bytes.len() as u64)).unwrap();
        let gguf::Parsed::Header(header) = parsed else { panic!("{precision}: a whole file is too short") };
        assert_eq!(header.config.n_layer, source.config.n_layer);
        assert_eq!(header.name.as_deref(), Some("tiny"));
    }
    let generation: Value =
        serde_json::from_slice(&fs::read(dir.path().join("generation_config.json")).unwrap()).unwrap();
    assert_eq!(generation["max_length"], 64, "never over the positions");
    assert_eq!(generation["do_sample"], true);
}

#[test]
fn an_f16_bundle_is_half_as_large_and_nearly_the_same() {
    let source = open("tiny-gpt2");
    let weights = source.weights().unwrap();
    let dir = tempfile::tempdir().unwrap();
    write_all(dir.path(), &parts(&source, &weights, CheckpointDtype::F16));
    let size = |path: PathBuf| fs::metadata(path).unwrap().len();
    assert!(
        size(dir.path().join("model.safetensors")) < size(fixture("tiny-gpt2/model.safetensors")) * 11 / 20
    );
    let read = BotFolder::open(dir.path()).unwrap().weights().unwrap();
    for (name, tensor) in &weights {
        for (x, y) in tensor.data.iter().zip(&read[name].data) {
            assert!((x - y).abs() <= x.abs() / 1024.0 + 1e-7, "{name}");
        }
    }
}

#[test]
fn a_damaged_file_of_a_bundle_is_named() {
    let source = open("tiny-gpt2");
    let weights = source.weights().unwrap();
    let dir = tempfile::tempdir().unwrap();
    write_all(dir.path(), &parts(&source, &weights, CheckpointDtype::F32));
    finish(dir.path(), info(), BTreeMap::new(), None).unwrap();
    let file = dir.path().join("model-q8_0.gguf");
    let mut bytes = fs::read(&file).unwrap();
    let last = bytes.len() - 1000;
    bytes[last] ^= 1;
    fs::write(&file, bytes).unwrap();
    let bot = BotFolder::open(dir.path()).unwrap();
    let error = bot.verify().unwrap_err().to_string();
    assert!(error.contains("model-q8_0.gguf") && error.contains("damaged"), "{error}");
    // It is derived from other files, and can be written again.
    bot.verify_sources().unwrap();
    for source in bot.files_read().unwrap() {
        let file = dir.path().join(&source);
        let whole = fs::read(&file).unwrap();
        let mut bytes = whole.clone();
        bytes[whole.len() / 2] ^= 1;
        fs::write(&file, bytes).unwrap();
        let error = bot.verify_sources().unwrap_err().to_string();
        assert!(error.contains(&source) && error.contains("damaged"), "{error}");
        fs::write(&file, whole).unwrap();
    }
}

#[test]
fn a_refreshed_description_keeps_what_it_said_of_other_files() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    let before = finish(dir.path(), info(), BTreeMap::new(), None).unwrap();
    let aside = tempfile::tempdir().unwrap();
    fs::write(aside.path().join("a"), "new").unwrap();
    // A damaged file, and a foreign one whose name is not valid in a bundle.
    fs::write(dir.path().join("b"), "x").unwrap();
    fs::write(dir.path().join("todo #1.txt"), "private").unwrap();
    let after = refresh(dir.path(), aside.path(), before.clone(), &["a"]).unwrap();
    assert_eq!(after.files.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(after.files["a"], digest::digest(&b"new"[..]).unwrap());
    assert_eq!(after.files["b"], before.files["b"]);
    assert_eq!(read_manifest(aside.path()).unwrap(), Some(after));

    fs::remove_file(dir.path().join("c")).unwrap();
    let error = refresh(dir.path(), aside.path(), before, &["a"]).unwrap_err().to_string();
    assert!(error.contains("/c, which is missing"), "{error}");
}

#[test]
fn a_description_that_could_not_be_read_again_is_not_written() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("todo #1.txt"), "").unwrap();
    let error = finish(dir.path(), info(), BTreeMap::new(), None).unwrap_err().to_string();
    assert!(error.contains("todo #1.txt"), "{error}");
    let nobody = BotInfo { handles: vec![String::new()], ..info() };
    fs::remove_file(dir.path().join("todo #1.txt")).unwrap();
    assert!(finish(dir.path(), nobody, BTreeMap::new(), None).is_err());
    assert!(!dir.path().join("bot.json").exists());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn damaged_checkpoints_are_no_panic(
        bin in any::<bool>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let (form, name) = if bin { ("tiny-gpt2-bin", "pytorch_model.bin") } else { ("tiny-gpt2", "model.safetensors") };
        let mut bytes = fs::read(fixture(form).join(name)).unwrap();
        let len = bytes.len();
        for (at, byte) in changes {
            // Headers and directories: the first 5 kB, and for a zip also the last 5 kB.
            let at = at.index(10_000);
            let at = if at < 5_000 || !bin { at % 5_000 } else { len - (at - 4_999) };
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(len));
        }
        let dir = tempfile::tempdir().unwrap();
        for shared in ["config.json", "tokenizer.json"] {
            fs::copy(fixture(form).join(shared), dir.path().join(shared)).unwrap();
        }
        fs::write(dir.path().join(name), bytes).unwrap();
        let _ = BotFolder::open(dir.path()).unwrap().weights();
    }
}

#[test]
fn what_else_lies_in_a_folder_is_not_read() {
    let dir = copy("tiny-gpt2");
    let expected = ["config.json", "model.safetensors", "tokenizer.json"];
    fs::write(dir.path().join("notes.txt"), "").unwrap();
    fs::write(dir.path().join("pytorch_model.bin"), "").unwrap();
    assert_eq!(BotFolder::open(dir.path()).unwrap().files_read().unwrap(), expected);
    let files = open("tiny-gpt2-bin").files_read().unwrap();
    assert!(files.contains(&"pytorch_model.bin".to_owned()), "{files:?}");
}

#[test]
fn a_gguf_made_again_from_f16_weights_is_the_same_file() {
    let bot = open("tiny-gpt2");
    let mut weights = bot.weights().unwrap();
    // Values that f16 does not hold.
    weights.values_mut().flat_map(|tensor| &mut tensor.data).for_each(|x| *x *= 1.0 + 1.0 / 4096.0);
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    write_all(dirs[0].path(), &parts(&bot, &weights, CheckpointDtype::F16));
    let written = BotFolder::open(dirs[0].path()).unwrap();
    let weights = written.weights().unwrap();
    for precision in [Precision::Q8_0, Precision::Q4_0] {
        write_gguf(dirs[1].path(), &parts(&written, &weights, CheckpointDtype::F32), precision).unwrap();
        let [first, again] =
            dirs.each_ref().map(|dir| fs::read(dir.path().join(precision.file_name())).unwrap());
        assert!(first == again, "{precision}");
    }
}

#[test]
fn a_run_s_folder_is_told_from_a_bot_s() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("config.json"), r#"{"run_format_version": 1, "name": "Tiny"}"#).unwrap();
    let error = BotFolder::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("is the record of a training run") && error.contains("--out"), "{error}");
}
