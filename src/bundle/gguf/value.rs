//! Metadata values as slices of the header's bytes, so that a vocabulary's hundred thousand
//! strings are decoded only once, when requested.

use crate::tokenizer::Texts;

/// A complete metadata value from a header that has been walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    /// GGUF's type number.
    kind: u32,
    bytes: &'a [u8],
}

/// GGUF's type numbers.
pub mod kind {
    pub const U8: u32 = 0;
    pub const I8: u32 = 1;
    pub const U16: u32 = 2;
    pub const I16: u32 = 3;
    pub const U32: u32 = 4;
    pub const I32: u32 = 5;
    pub const F32: u32 = 6;
    pub const BOOL: u32 = 7;
    pub const STRING: u32 = 8;
    pub const ARRAY: u32 = 9;
    pub const U64: u32 = 10;
    pub const I64: u32 = 11;
    pub const F64: u32 = 12;
}

/// Returns the size in bytes of a fixed-size type, by GGUF's type number.
pub fn scalar_bytes(kind: u32) -> Option<u64> {
    match kind {
        kind::U8 | kind::I8 | kind::BOOL => Some(1),
        kind::U16 | kind::I16 => Some(2),
        kind::U32 | kind::I32 | kind::F32 => Some(4),
        kind::U64 | kind::I64 | kind::F64 => Some(8),
        _ => None,
    }
}

impl<'a> Value<'a> {
    pub fn new(kind: u32, bytes: &'a [u8]) -> Self {
        Self { kind, bytes }
    }

    /// Returns the type's name, for error messages.
    pub fn type_name(self) -> &'static str {
        const NAMES: [&str; 13] =
            ["U8", "I8", "U16", "I16", "U32", "I32", "F32", "Bool", "String", "Array", "U64", "I64", "F64"];
        NAMES.get(self.kind as usize).copied().unwrap_or("unknown")
    }

    /// Returns an integer of any width; `None` for other types and on `i64` overflow.
    pub fn integer(self) -> Option<i64> {
        let bytes = self.bytes;
        Some(match self.kind {
            kind::U8 => u8::from_le_bytes(fixed(bytes)?).into(),
            kind::I8 => i8::from_le_bytes(fixed(bytes)?).into(),
            kind::U16 => u16::from_le_bytes(fixed(bytes)?).into(),
            kind::I16 => i16::from_le_bytes(fixed(bytes)?).into(),
            kind::U32 => u32::from_le_bytes(fixed(bytes)?).into(),
            kind::I32 => i32::from_le_bytes(fixed(bytes)?).into(),
            kind::U64 => u64::from_le_bytes(fixed(bytes)?).try_into().ok()?,
            kind::I64 => i64::from_le_bytes(fixed(bytes)?),
            _ => return None,
        })
    }

    pub fn f32(self) -> Option<f32> {
        (self.kind == kind::F32).then(|| fixed(self.bytes).map(f32::from_le_bytes))?
    }

    pub fn string(self) -> Option<String> {
        let (text, _) = (self.kind == kind::STRING).then(|| split_string(self.bytes))??;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    /// Returns the length of an array.
    pub fn len(self) -> Option<usize> {
        self.array().map(|(_, count, _)| count)
    }

    /// Returns the elements of an array of numbers; `None` for each that is not an integer.
    pub fn integers(self) -> Option<impl DoubleEndedIterator<Item = Option<i64>> + ExactSizeIterator + 'a> {
        let (kind, _, bytes) = self.array()?;
        let elements = bytes.chunks_exact(scalar_bytes(kind)? as usize);
        Some(elements.map(move |bytes| Value { kind, bytes }.integer()))
    }

    /// Returns the elements of an array of strings.
    pub fn strings(self) -> Option<Texts> {
        let (kind, count, mut rest) = self.array()?;
        if kind != kind::STRING {
            return None;
        }
        let mut strings =
            Texts::with_capacity(count, rest.len().saturating_sub(count.saturating_mul(size_of::<u64>())));
        for _ in 0..count {
            rest = push_string(&mut strings, rest)?;
        }
        Some(strings)
    }

    /// Returns element type, length and element bytes of an array.
    fn array(self) -> Option<(u32, usize, &'a [u8])> {
        let (kind, rest) = self.bytes.split_first_chunk().filter(|_| self.kind == kind::ARRAY)?;
        let (count, rest) = rest.split_first_chunk()?;
        Some((u32::from_le_bytes(*kind), usize::try_from(u64::from_le_bytes(*count)).ok()?, rest))
    }
}

fn fixed<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.try_into().ok()
}

/// Moves a length-prefixed string to a list; returns the bytes after it.
// By itself: a browser optimises a function for its next call, and there are a hundred thousand.
#[inline(never)]
fn push_string<'a>(strings: &mut Texts, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (text, after) = split_string(bytes)?;
    match str::from_utf8(text) {
        Ok(text) => strings.push(text),
        Err(_) => strings.push(&String::from_utf8_lossy(text)),
    }
    Some(after)
}

/// Splits off a length-prefixed string, which may not be UTF-8. Some writers append a NUL.
fn split_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (text, after) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let end = text.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    Some((&text[..end], after))
}
