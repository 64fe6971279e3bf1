//! Bounded parsing of an untrusted GGUF header.
//!
//! No allocation trusts a length claimed by the file: lengths are first checked against the
//! bytes available. After the walk the header is known to be complete, its counts and
//! strings are within limits, and the tensors do not overlap and lie inside the file.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use super::{
    ALIGNMENT, GgufError, MAGIC, MAX_HEADER_BYTES, key,
    value::{Value, kind, scalar_bytes},
};
use crate::dtype::Dtype;

/// Far above GPT-2's 12 tensors per layer, and small enough to bound memory.
const MAX_TENSORS: u64 = 1 << 16;
const MAX_METADATA: u64 = 1 << 12;
const MAX_NAME_BYTES: u64 = 1 << 10;
const MAX_DIMENSIONS: u64 = 4;
/// Maximum number of elements over all arrays. Decoding takes up to 32 bytes per element,
/// whatever its size in the file; GPT-2's vocabulary needs 150,000 elements.
const MAX_ELEMENTS: u64 = 1 << 22;
/// Maximum nesting of arrays. No `gpt2` key nests them at all.
const MAX_DEPTH: usize = 4;

/// An entry of the tensor directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorLine {
    pub name: String,
    /// As stored: innermost dimension (columns) first.
    pub dimensions: Vec<u64>,
    /// ggml's type number.
    pub ggml_type: u32,
    /// Bytes from the start of the tensor data.
    pub offset: u64,
}

/// The contents of a valid header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walked<'a> {
    pub metadata: HashMap<&'a str, Value<'a>>,
    pub tensors: Vec<TensorLine>,
    /// Offset of the tensor data from the start of the file.
    pub data_offset: u64,
}

/// The given bytes end before the header does; at least this many are needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    pub needed: u64,
}

/// Why parsing stopped early.
enum Stop {
    Short(Short),
    Error(GgufError),
}

impl From<GgufError> for Stop {
    fn from(error: GgufError) -> Self {
        Self::Error(error)
    }
}

/// Parses the header in `bytes`, the beginning of a file of `file_size` bytes (if known).
pub fn walk(bytes: &[u8], file_size: Option<u64>) -> Result<Result<Walked<'_>, Short>, GgufError> {
    let mut cursor = Cursor { bytes, at: 0, file_size, elements: 0 };
    match cursor.header() {
        Ok(walked) => Ok(Ok(walked)),
        Err(Stop::Error(error)) => Err(error),
        Err(Stop::Short(Short { needed })) => match file_size {
            Some(size) if needed > size => {
                Err(GgufError::Truncated { what: "the header".into(), needed, size })
            }
            _ if needed > MAX_HEADER_BYTES => {
                Err(GgufError::TooLarge { what: "the header's size", found: needed, limit: MAX_HEADER_BYTES })
            }
            _ => Ok(Err(Short { needed })),
        },
    }
}

/// Returns the type with this ggml number, if supported.
pub fn dtype_of(ggml_type: u32) -> Option<Dtype> {
    match ggml_type {
        0 => Some(Dtype::F32),
        1 => Some(Dtype::F16),
        2 => Some(Dtype::Q4_0),
        8 => Some(Dtype::Q8_0),
        _ => None,
    }
}

/// Returns the ggml number of a type.
pub fn ggml_type_of(dtype: Dtype) -> u32 {
    match dtype {
        Dtype::F32 => 0,
        Dtype::F16 => 1,
        Dtype::Q4_0 => 2,
        Dtype::Q8_0 => 8,
    }
}

/// Returns ggml's name of a type, for error messages.
pub fn ggml_type_name(ggml_type: u32) -> String {
    const NAMES: [&str; 16] = [
        "f32", "f16", "q4_0", "q4_1", "", "", "q5_0", "q5_1", "q8_0", "q8_1", "q2_k", "q3_k", "q4_k", "q5_k",
        "q6_k", "q8_k",
    ];
    match NAMES.get(ggml_type as usize) {
        Some(name) if !name.is_empty() => (*name).into(),
        _ if ggml_type == 30 => "bf16".into(),
        _ => format!("unknown type {ggml_type}"),
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    file_size: Option<u64>,
    /// Number of array elements so far.
    elements: u64,
}

impl<'a> Cursor<'a> {
    fn header(&mut self) -> Result<Walked<'a>, Stop> {
        let magic: [u8; 4] = self.array()?;
        if &magic != MAGIC {
            return Err(GgufError::Magic { found: magic }.into());
        }
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            return Err(GgufError::Version { found: version }.into());
        }
        let tensor_count = self.bounded("the number of tensors", MAX_TENSORS)?;
        let metadata_count = self.bounded("the number of metadata entries", MAX_METADATA)?;

        let (metadata, alignment) = self.metadata(metadata_count)?;
        let tensors = self.tensors(tensor_count)?;
        let data_offset = (self.at as u64).next_multiple_of(alignment);
        self.check_layout(&tensors, data_offset, alignment)?;
        Ok(Walked { metadata, tensors, data_offset })
    }

    /// Reads the metadata, and from it the alignment of the tensor data in bytes.
    fn metadata(&mut self, count: u64) -> Result<(HashMap<&'a str, Value<'a>>, u64), Stop> {
        let mut alignment = ALIGNMENT;
        let mut metadata = HashMap::new();
        for _ in 0..count {
            let name = self.name("metadata key")?;
            let value_type = self.u32()?;
            let start = self.at;
            if name == key::ALIGNMENT {
                if value_type != kind::U32 {
                    return Err(invalid(format!("`{name}`"), format!("value type {value_type}, expected 4")));
                }
                alignment = u64::from(self.u32()?);
                if !alignment.is_power_of_two() || !(8..=1 << 16).contains(&alignment) {
                    return Err(invalid(format!("`{name}`"), alignment.to_string()));
                }
            } else {
                self.skip_value(name, value_type, 0)?;
            }
            if metadata.insert(name, Value::new(value_type, &self.bytes[start..self.at])).is_some() {
                return Err(GgufError::Duplicate { what: "the key", name: name.into() }.into());
            }
        }
        Ok((metadata, alignment))
    }

    /// Reads the tensor directory.
    fn tensors(&mut self, count: u64) -> Result<Vec<TensorLine>, Stop> {
        // The smallest entry has 24 bytes besides its name, and one dimension of 8 bytes.
        let mut tensors = Vec::with_capacity((count as usize).min(self.bytes.len() / 32));
        let mut names = HashSet::new();
        for _ in 0..count {
            let name = self.name("tensor name")?;
            let dimension_count = u64::from(self.u32()?);
            if !(1..=MAX_DIMENSIONS).contains(&dimension_count) {
                return Err(invalid(format!("tensor `{name}`"), format!("{dimension_count} dimensions")));
            }
            let mut dimensions = Vec::with_capacity(MAX_DIMENSIONS as usize);
            for _ in 0..dimension_count {
                dimensions.push(self.u64()?);
            }
            let ggml_type = self.u32()?;
            let offset = self.u64()?;
            if !names.insert(name) {
                return Err(GgufError::Duplicate { what: "the tensor", name: name.into() }.into());
            }
            tensors.push(TensorLine { name: name.into(), dimensions, ggml_type, offset });
        }
        Ok(tensors)
    }

    /// Checks that the tensors lie inside the file and do not overlap: streaming loaders read
    /// them one after the other.
    fn check_layout(&self, tensors: &[TensorLine], data_offset: u64, alignment: u64) -> Result<(), Stop> {
        let mut ranges = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            if let Some(range) = self.range(tensor, data_offset, alignment)? {
                ranges.push((range, tensor));
            }
        }
        ranges.sort_by_key(|(range, _)| (range.start, range.end));
        for pair in ranges.windows(2) {
            let [(before, first), (after, second)] = pair else { continue };
            if after.start < before.end {
                let what = format!("tensor `{}`", second.name);
                return Err(invalid(what, format!("it begins inside tensor `{}`", first.name)));
            }
        }
        Ok(())
    }

    /// Returns the tensor's byte range, checked against overflow and the file size. `None` if
    /// the type's size is unknown.
    fn range(
        &self,
        tensor: &TensorLine,
        data_offset: u64,
        alignment: u64,
    ) -> Result<Option<Range<u64>>, Stop> {
        let what = || format!("tensor `{}`", tensor.name);
        let overflow = || invalid(what(), format!("shape {:?}, offset {}", tensor.dimensions, tensor.offset));
        if !tensor.offset.is_multiple_of(alignment) {
            return Err(invalid(
                what(),
                format!("offset {}, which is not a multiple of {alignment}", tensor.offset),
            ));
        }
        let values =
            tensor.dimensions.iter().try_fold(1u64, |n, &d| n.checked_mul(d)).ok_or_else(overflow)?;
        let Some(dtype) = dtype_of(tensor.ggml_type) else {
            // An unknown type only matters if the tensor is used.
            return Ok(None);
        };
        let size = dtype.size_bytes(values).ok_or_else(overflow)?;
        let start = data_offset.checked_add(tensor.offset).ok_or_else(overflow)?;
        let end = start.checked_add(size).ok_or_else(overflow)?;
        match self.file_size {
            Some(size) if end > size => Err(GgufError::Truncated { what: what(), needed: end, size }.into()),
            _ => Ok(Some(start..end)),
        }
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], Stop> {
        let needed = (self.at as u64).saturating_add(len);
        let end = usize::try_from(needed).map_err(|_| Stop::Short(Short { needed }))?;
        let taken = self.bytes.get(self.at..end).ok_or(Stop::Short(Short { needed }))?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let taken = self.take(N as u64)?;
        taken.try_into().map_err(|_| Stop::Short(Short { needed: (self.at + N) as u64 }))
    }

    fn u32(&mut self) -> Result<u32, Stop> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Stop> {
        self.array().map(u64::from_le_bytes)
    }

    fn bounded(&mut self, what: &'static str, limit: u64) -> Result<u64, Stop> {
        let found = self.u64()?;
        if found > limit {
            return Err(GgufError::TooLarge { what, found, limit }.into());
        }
        Ok(found)
    }

    fn name(&mut self, what: &'static str) -> Result<&'a str, Stop> {
        let len = self.bounded("the length of a name", MAX_NAME_BYTES)?;
        let bytes = self.take(len)?;
        match std::str::from_utf8(bytes) {
            Ok(name) if !name.is_empty() && !name.contains(char::is_control) => Ok(name),
            _ => Err(invalid(what.into(), format!("{:?}", String::from_utf8_lossy(bytes)))),
        }
    }

    /// Moves past a value that lies inside `depth` arrays.
    fn skip_value(&mut self, name: &str, value_type: u32, depth: usize) -> Result<(), Stop> {
        match value_type {
            kind::BOOL => match self.take(1)? {
                [0 | 1] => Ok(()),
                other => Err(invalid(format!("`{name}`"), format!("the boolean {other:?}"))),
            },
            kind::STRING => {
                let len = self.u64()?;
                self.take(len).map(drop)
            }
            kind::ARRAY => self.skip_array(name, depth),
            _ => {
                let size = scalar_bytes(value_type).ok_or_else(|| unknown_type(name, value_type))?;
                self.take(size).map(drop)
            }
        }
    }

    fn skip_array(&mut self, name: &str, depth: usize) -> Result<(), Stop> {
        let element = self.u32()?;
        let count = self.u64()?;
        self.elements = self.elements.saturating_add(count);
        if self.elements > MAX_ELEMENTS {
            let (what, found) = ("the number of array elements", self.elements);
            return Err(GgufError::TooLarge { what, found, limit: MAX_ELEMENTS }.into());
        }
        if let Some(size) = scalar_bytes(element) {
            let values = self.take(count.saturating_mul(size))?;
            if element == kind::BOOL && values.iter().any(|&byte| byte > 1) {
                return Err(invalid(format!("`{name}`"), "an array with other values than booleans".into()));
            }
            return Ok(());
        }
        if !matches!(element, kind::STRING | kind::ARRAY) {
            return Err(unknown_type(name, element));
        }
        if depth >= MAX_DEPTH {
            return Err(invalid(format!("`{name}`"), format!("arrays nested over {MAX_DEPTH} deep")));
        }
        // Each element takes at least 8 bytes, which bounds the count by the bytes available.
        let least = (self.at as u64).saturating_add(count.saturating_mul(8));
        if least > self.bytes.len() as u64 {
            return Err(Stop::Short(Short { needed: least }));
        }
        for _ in 0..count {
            self.skip_value(name, element, depth + 1)?;
        }
        Ok(())
    }
}

fn unknown_type(name: &str, found: u32) -> Stop {
    Stop::Error(GgufError::ValueType { what: format!("`{name}`"), found })
}

fn invalid(what: String, found: String) -> Stop {
    Stop::Error(GgufError::Invalid { what, found })
}
