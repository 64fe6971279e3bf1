//! Written files are read back by us and by candle; damaged ones are rejected.

use std::io::Cursor;

use candle_core::{
    Device,
    quantized::gguf_file::{Content, Value},
};
use proptest::prelude::*;

use super::*;
use crate::{
    bundle::{Precision, Weights, quantize, weights::Tensor},
    gpt2::{Config, names},
    tokenizer::Tokenizer,
};

fn tokenizer() -> Tokenizer {
    Tokenizer::from_json(include_bytes!("../../../tests/fixtures/tiny-gpt2/tokenizer.json")).unwrap()
}

fn config() -> Config {
    Config::from_json(include_bytes!("../../../tests/fixtures/tiny-gpt2/config.json")).unwrap()
}

/// Neighbouring values differ, so that a wrong transposition is detected.
fn weights(config: &Config) -> Weights {
    let tensors = names::tensors(config).into_iter().zip(1u32..);
    tensors
        .map(|(tensor, seed)| {
            let len: usize = tensor.shape.iter().product();
            let data =
                (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761 ^ seed) >> 16) as f32 / 65536.0 - 0.5);
            (tensor.name, Tensor { shape: tensor.shape, data: data.collect() })
        })
        .collect()
}

fn file(config: &Config, precision: Precision, all_4bit: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let options = WriteOptions { name: "tiny", all_4bit, ..WriteOptions::default() };
    write(config, &tokenizer(), &weights(config), precision, &options, &mut bytes).unwrap();
    bytes
}

fn parse(bytes: &[u8]) -> Result<Header, GgufError> {
    match Header::parse(bytes, Some(bytes.len() as u64))? {
        Parsed::Header(header) => Ok(*header),
        Parsed::NeedMore { at_least } => panic!("a whole file needs {at_least} bytes"),
    }
}

/// Reads a tensor from the file, dequantised, in the file's layout.
fn stored(bytes: &[u8], entry: &TensorEntry) -> Vec<f32> {
    let range = entry.offset as usize..(entry.offset + entry.size_bytes) as usize;
    quantize::dequantize_rows(&bytes[range], entry.dtype).unwrap()
}

#[test]
fn a_written_file_reads_back_as_the_same_model() {
    let config = config();
    let weights = weights(&config);
    for precision in Precision::ALL {
        let bytes = file(&config, precision, false);
        let mut header = parse(&bytes).unwrap();
        assert_eq!(header.config.n_layer, config.n_layer);
        assert_eq!(header.config.vocab_size, config.vocab_size);
        assert_eq!(header.config.layer_norm_epsilon, config.layer_norm_epsilon);
        assert_eq!(header.config.eos_token_id, config.eos_token_id);
        assert_eq!(header.name.as_deref(), Some("tiny"));
        assert_eq!(header.take_tokenizer().unwrap().parts(), tokenizer().parts());
        assert_eq!(header.file_bytes().next_multiple_of(ALIGNMENT), bytes.len() as u64);
        for (entry, tensor) in header.tensors.iter().zip(names::tensors(&config)) {
            assert_eq!(entry.name, tensor.name);
            let read = stored(&bytes, entry);
            for row in 0..entry.rows {
                for col in 0..entry.cols {
                    let data = &weights[&entry.name].data;
                    let at = if tensor.role == names::Role::Matrix {
                        col * entry.rows + row
                    } else {
                        row * entry.cols + col
                    };
                    let bound = quantize::bounds::error_bound(entry.dtype, 0.5);
                    let found = read[row * entry.cols + col];
                    assert!((found - data[at]).abs() <= bound, "{} [{row}, {col}]", entry.name);
                }
            }
        }
    }
}

#[test]
fn candle_reads_the_same_values() {
    let config = config();
    let bytes = file(&config, Precision::Q8_0, false);
    let header = parse(&bytes).unwrap();
    let mut reader = Cursor::new(&bytes);
    let content = Content::read(&mut reader).unwrap();
    assert_eq!(content.tensor_data_offset, header.data_offset);
    assert_eq!(content.tensor_infos.len(), header.tensors.len(), "no output.weight: the head is tied");
    assert!(matches!(&content.metadata[key::TOKENIZER_PRE], Value::String(s) if s == "gpt-2"));
    for entry in &header.tensors {
        let tensor = content.tensor(&mut reader, &entry.gguf_name, &Device::Cpu).unwrap();
        let values = tensor.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap();
        assert_eq!(values.to_vec1::<f32>().unwrap(), stored(&bytes, entry), "{}", entry.name);
    }
}

#[test]
fn the_4_bit_file_keeps_its_sensitive_matrices_in_8_bits_unless_asked() {
    let dtype = |bytes: &[u8], name: &str| {
        parse(bytes).unwrap().tensors.iter().find(|t| t.name == name).unwrap().dtype
    };
    let bytes = file(&config(), Precision::Q4_0, false);
    assert_eq!(dtype(&bytes, "wte.weight"), Dtype::Q8_0);
    assert_eq!(dtype(&bytes, "h.0.attn.c_attn.weight"), Dtype::Q8_0);
    assert_eq!(dtype(&bytes, "h.1.attn.c_attn.weight"), Dtype::Q4_0);
    assert_eq!(dtype(&bytes, "wpe.weight"), Dtype::F32);
    assert_eq!(dtype(&bytes, "h.0.attn.c_attn.bias"), Dtype::F32);
    assert_eq!(dtype(&bytes, "h.1.mlp.c_proj.weight"), Dtype::Q4_0);
    let all = file(&config(), Precision::Q4_0, true);
    for name in ["wte.weight", "h.0.attn.c_attn.weight"] {
        assert_eq!(dtype(&all, name), Dtype::Q4_0);
    }
}

#[test]
fn rows_that_are_no_whole_blocks_are_f16() {
    let config = Config { n_embd: 24, n_inner: 96, n_head: 4, ..config() };
    let header = parse(&file(&config, Precision::Q8_0, false)).unwrap();
    let dtype = |name: &str| header.tensors.iter().find(|t| t.name == name).unwrap().dtype;
    assert_eq!(dtype("h.0.mlp.c_fc.weight"), Dtype::F16);
    assert_eq!(dtype("h.0.mlp.c_proj.weight"), Dtype::Q8_0);
}

#[test]
fn rows_beyond_the_vocabulary_are_padded_and_unpadded() {
    let config = Config { vocab_size: 520, ..config() };
    let bytes = file(&config, Precision::Q8_0, false);
    let content = Content::read(&mut Cursor::new(&bytes)).unwrap();
    assert_eq!(content.metadata[key::TOKENS].to_vec().unwrap().len(), 520);
    let header = parse(&bytes).unwrap();
    assert_eq!(header.config.vocab_size, 520);
    assert_eq!(header.tokenizer.tokens.len(), 512);
}

#[test]
fn a_beginning_of_the_file_asks_for_more_until_the_header_is_whole() {
    let bytes = file(&config(), Precision::Q4_0, false);
    let whole = parse(&bytes).unwrap();
    let mut len = 16;
    let mut calls = 0;
    let header = loop {
        calls += 1;
        match Header::parse(&bytes[..len], Some(bytes.len() as u64)).unwrap() {
            Parsed::Header(header) => break *header,
            Parsed::NeedMore { at_least } => {
                assert!(at_least > len as u64);
                len = at_least as usize;
            }
        }
    };
    assert_eq!(header, whole);
    assert!(calls < 20, "{calls} calls");
}

#[test]
fn a_tensor_missing_or_of_another_shape_is_named() {
    let config = config();
    let mut out = Vec::new();
    let mut fewer = weights(&config);
    fewer.remove("h.1.ln_2.bias");
    let error = write(&config, &tokenizer(), &fewer, Precision::Q8_0, &WriteOptions::default(), &mut out)
        .unwrap_err();
    assert!(error.to_string().contains("h.1.ln_2.bias"), "{error}");

    let bytes = file(&config, Precision::Q8_0, false);
    // Renaming a directory entry makes a tensor missing.
    let error = parse(&replaced(&bytes, b"blk.1.ffn_up.bias", b"blk.1.ffn_uq.bias")).unwrap_err();
    assert!(
        matches!(&error, GgufError::MissingTensor { name, .. } if name == "blk.1.ffn_up.bias"),
        "{error}"
    );

    let heads = replaced_value(&bytes, key::CONTEXT_LENGTH, 65);
    let error = parse(&heads).unwrap_err();
    assert!(matches!(&error, GgufError::Shape { name, .. } if name == "position_embd.weight"), "{error}");
}

#[test]
fn an_unknown_type_is_named() {
    let mut bytes = file(&config(), Precision::Q8_0, false);
    let name = b"blk.0.attn_qkv.weight";
    let at = find(&bytes, name) + name.len() + 4 + 16;
    bytes[at] = 12;
    let error = parse(&bytes).unwrap_err().to_string();
    assert!(error.contains("blk.0.attn_qkv.weight") && error.contains("q4_k"), "{error}");
}

#[test]
fn a_cut_file_is_an_error_that_says_so() {
    let bytes = file(&config(), Precision::Q8_0, false);
    let error = parse(&bytes[..bytes.len() - 4096]).unwrap_err();
    assert!(matches!(error, GgufError::Truncated { .. }), "{error}");
    let error = parse(&bytes[..3000]).unwrap_err();
    assert!(matches!(error, GgufError::Truncated { .. }), "{error}");
}

#[test]
fn hostile_headers_are_refused_without_believing_them() {
    let bytes = file(&config(), Precision::Q8_0, false);
    let with = |at: usize, value: u64| {
        let mut bytes = bytes.clone();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        parse(&bytes).unwrap_err().to_string()
    };
    assert!(with(8, u64::MAX).contains("number of tensors"));
    assert!(with(16, u64::MAX).contains("metadata"));
    assert!(with(24, u64::MAX).contains("name"));
    let tokens = find(&bytes, key::TOKENS.as_bytes()) + key::TOKENS.len();
    assert!(with(tokens + 8, u64::MAX).contains("array elements"));
    assert!(with(tokens + 16, u64::MAX).contains("ends at"));
    let wte = b"token_embd.weight";
    let directory = find(&bytes, wte) + wte.len() + 4;
    assert!(with(directory, u64::MAX).contains("shape"), "dimensions overflow");
    assert!(with(directory + 20, 1 << 40).contains("reaches to byte"), "offset beyond the file");
    assert!(with(directory + 20, 3).contains("multiple"));
    let duplicate = replaced(&bytes, b"blk.0.ffn_up.bias", b"blk.1.ffn_up.bias");
    assert!(parse(&duplicate).unwrap_err().to_string().contains("twice"));
    assert!(matches!(parse(b"GGML0000"), Err(GgufError::Magic { .. })));
}

#[test]
fn a_tensor_that_begins_inside_another_is_named() {
    let bytes = file(&config(), Precision::Q8_0, false);
    let offset_of =
        |name: &str, dimensions: usize| find(&bytes, name.as_bytes()) + name.len() + 8 + 8 * dimensions;
    let (wte, bias) = (offset_of("token_embd.weight", 2), offset_of("blk.0.attn_qkv.bias", 1));
    let begin = u64::from_le_bytes(bytes[wte..wte + 8].try_into().unwrap());
    for inside in [0, ALIGNMENT] {
        let mut bytes = bytes.clone();
        bytes[bias..bias + 8].copy_from_slice(&(begin + inside).to_le_bytes());
        let error = parse(&bytes).unwrap_err().to_string();
        let names = ["`blk.0.attn_qkv.bias`", "`token_embd.weight`", "begins inside"];
        assert!(names.iter().all(|name| error.contains(name)), "{error}");
    }
}

fn find(bytes: &[u8], needle: &[u8]) -> usize {
    bytes.windows(needle.len()).position(|w| w == needle).unwrap()
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = find(bytes, from);
    let mut bytes = bytes.to_vec();
    bytes[at..at + to.len()].copy_from_slice(to);
    bytes
}

/// Replaces the value of a `u32` key.
fn replaced_value(bytes: &[u8], key: &str, value: u32) -> Vec<u8> {
    let at = find(bytes, key.as_bytes()) + key.len() + 4;
    let mut bytes = bytes.to_vec();
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn arbitrary_bytes_are_no_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), magic in any::<bool>()) {
        if magic && bytes.len() > 24 {
            bytes[..8].copy_from_slice(b"GGUF\x03\0\0\0");
            bytes[9..16].fill(0);
            bytes[17..24].fill(0);
        }
        let _ = Header::parse(&bytes, None);
        let _ = Header::parse(&bytes, Some(bytes.len() as u64));
    }

    #[test]
    fn damaged_headers_are_no_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        thread_local!(static FILE: Vec<u8> = {
            let config = Config { n_embd: 4, n_inner: 16, n_head: 2, n_layer: 1, ..config() };
            file(&config, Precision::F32, false)
        });
        FILE.with(|bytes| {
            let header = parse(bytes).unwrap().data_offset as usize;
            let mut bytes = bytes.clone();
            for (at, byte) in changes {
                // Bias changes towards the first 600 bytes, mostly outside the vocabulary.
                let at = at.index(header + 1200);
                let at = if at > header { (at - header) % 600 } else { at };
                bytes[at] = byte;
            }
            if let Ok(Parsed::Header(mut header)) = Header::parse(&bytes, Some(bytes.len() as u64)) {
                let _ = header.take_tokenizer();
                assert!(header.file_bytes() <= bytes.len() as u64);
            }
        });
    }
}
