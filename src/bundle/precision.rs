//! The numeric formats a bot's weights come in.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::file_names::{GGUF_Q4_0, GGUF_Q8_0, SAFETENSORS};

/// Storage format of a bot's weight matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32-bit floats, from `model.safetensors`.
    F32,
    /// GGUF `Q8_0`: blocks of an f16 scale and 32 signed bytes.
    #[default]
    Q8_0,
    /// GGUF `Q4_0`: blocks of an f16 scale and 32 nibbles.
    Q4_0,
}

/// The error for a precision name other than `f32`, `q8_0` or `q4_0`.
#[derive(Debug, Error)]
#[error("unknown precision `{0}`: choose f32, q8_0 or q4_0")]
pub struct UnknownPrecision(String);

impl Precision {
    /// Every precision, most precise first.
    pub const ALL: [Self; 3] = [Self::F32, Self::Q8_0, Self::Q4_0];

    /// Returns `f32`, `q8_0` or `q4_0`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
        }
    }

    /// Returns the name of this precision's file in a bundle.
    pub fn file_name(self) -> &'static str {
        match self {
            Self::F32 => SAFETENSORS,
            Self::Q8_0 => GGUF_Q8_0,
            Self::Q4_0 => GGUF_Q4_0,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|p| p.name() == s).ok_or_else(|| UnknownPrecision(s.into()))
    }
}
