//! Every kernel the forward pass uses, as variants of their sources.

use super::{
    kernel::{
        Binding::{Piece, Read, Shape, Write},
        Variant,
    },
    matrix::Format,
};
use crate::backend::Epilogue;

/// How wide workgroups are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Invocations of a workgroup that goes through a row.
    pub lanes: u32,
    /// Shares that a product's columns are cut into.
    pub slices: u32,
    /// Panels of outputs that share a read of the activations.
    pub panels: u32,
}

impl Tuning {
    /// Many invocations hide the memory's latency.
    pub const HARDWARE: Self = Self { lanes: 256, slices: 8, panels: 1 };
    /// A processor that plays a GPU pays for every invocation and barrier.
    pub const SOFTWARE: Self = Self { lanes: 64, slices: 1, panels: 2 };
}

fn variant(
    name: &'static str,
    bindings: &'static [super::kernel::Binding],
    definitions: &[(&'static str, u32)],
) -> Variant {
    Variant { name, bindings, definitions: definitions.to_vec() }
}

pub fn embed(format: Format, tuning: Tuning) -> Variant {
    let bindings: &[_] = match format {
        Format::Dense => &[Shape, Piece, Read, Write, Read],
        Format::Q8 | Format::Q4 => &[Shape, Piece, Read, Write, Read, Read],
    };
    let definitions = [
        ("LANES", tuning.lanes),
        ("DENSE", (format == Format::Dense).into()),
        ("Q4", (format == Format::Q4).into()),
    ];
    variant("embed", bindings, &definitions)
}

pub fn norm(tuning: Tuning) -> Variant {
    variant("norm", &[Shape, Read, Read, Read, Write, Write, Write], &[("LANES", tuning.lanes)])
}

pub fn pack(tuning: Tuning) -> Variant {
    variant("pack", &[Shape, Read, Write, Write], &[("LANES", tuning.lanes.min(64))])
}

pub fn dense(tuning: Tuning) -> Variant {
    variant("dense", &[Shape, Read, Read, Read, Write], &[("LANES", tuning.lanes.min(64))])
}

/// A product with quantised weights. `tile` rows of x stand together, and
/// `tiles` of them share a read of the weights; `quantise`: the result is
/// quantised too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linear {
    pub format: Format,
    pub tile: u32,
    pub tiles: u32,
    pub bias: bool,
    pub epilogue: Epilogue,
    pub quantise: bool,
}

impl Linear {
    pub fn variant(self, tuning: Tuning) -> Variant {
        let definitions = [
            ("Q4", (self.format == Format::Q4).into()),
            ("WIDE", (self.tile > 1).into()),
            ("TILE", self.tile),
            ("TILES", self.tiles),
            ("SLICES", tuning.slices),
            ("PANELS", tuning.panels),
            ("BIAS", self.bias.into()),
            ("GELU", (self.epilogue == Epilogue::Gelu).into()),
            ("ADD", (self.epilogue == Epilogue::Add).into()),
            ("QUANTISE", self.quantise.into()),
        ];
        let bindings: &[_] = match self.quantise {
            true => &[Shape, Read, Read, Read, Read, Read, Write, Write, Write],
            false => &[Shape, Read, Read, Read, Read, Read, Write],
        };
        variant("linear", bindings, &definitions)
    }
}

/// Tiles that share a read of the weights, for so many rows.
pub fn tiles(rows: usize) -> u32 {
    match rows {
        0..=4 => 1,
        5..=8 => 2,
        _ => 4,
    }
}

pub fn store(tuning: Tuning) -> Variant {
    variant("store", &[Shape, Piece, Read, Read, Write, Write], &[("LANES", tuning.lanes)])
}

/// Invocations of attention's workgroups: slots looked at together.
pub const ATTENTION_LANES: u32 = 64;

pub fn attention() -> Variant {
    let bindings = &[Shape, Piece, Read, Read, Read, Read, Write, Write, Write];
    variant("attention", bindings, &[("LANES", ATTENTION_LANES)])
}

pub fn select(tuning: Tuning) -> Variant {
    variant("select", &[Shape, Piece, Read, Read, Write], &[("LANES", tuning.lanes)])
}
