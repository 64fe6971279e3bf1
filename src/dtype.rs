//! The encodings of a tensor's values, under GGUF's names; used in files and in engines.

/// Values in a block of `Q8_0` and of `Q4_0`.
pub const BLOCK: usize = 32;

/// How a tensor's values are stored in a GGUF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// Little-endian f32.
    F32,
    /// Little-endian IEEE half floats.
    F16,
    /// An f16 scale and 32 signed bytes: 34 bytes. A value is its byte times the scale.
    Q8_0,
    /// An f16 scale and 16 bytes of nibbles: 18 bytes. Value `i` is the low half of byte `i`, value
    /// `i + 16` its high half, each less 8 and times the scale.
    Q4_0,
}

impl Dtype {
    /// Every encoding this program reads.
    pub const ALL: [Self; 4] = [Self::F32, Self::F16, Self::Q8_0, Self::Q4_0];

    /// `f32`, `f16`, `q8_0` or `q4_0`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
        }
    }

    /// Values in a block; a row must be a whole number of blocks.
    pub fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 => 1,
            Self::Q8_0 | Self::Q4_0 => BLOCK,
        }
    }

    /// Bytes of a block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::Q8_0 => 2 + BLOCK,
            Self::Q4_0 => 2 + BLOCK / 2,
        }
    }

    /// Bytes of `values` values; `None` if they are not a whole number of blocks or the size
    /// overflows.
    pub fn size_bytes(self, values: u64) -> Option<u64> {
        let block = self.block_len() as u64;
        if values.is_multiple_of(block) {
            (values / block).checked_mul(self.block_bytes() as u64)
        } else {
            None
        }
    }

    /// Bytes of a (rows, cols) matrix; cols must be a whole number of blocks.
    pub fn matrix_bytes(self, rows: usize, cols: usize) -> usize {
        rows * (cols / self.block_len()) * self.block_bytes()
    }
}

impl std::fmt::Display for Dtype {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
