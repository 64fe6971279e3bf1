//! Every kernel of the forward pass, as variants of the sources.

use super::{
    kernel::{
        Binding::{Piece, Read, Shape, Write},
        Definitions, Variant,
    },
    matrix::{Format, PANEL},
};
use crate::backend::Epilogue;

/// Workgroup sizes and memory layout for a kind of adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Invocations per workgroup of a kernel that processes rows.
    pub lanes: u32,
    /// Blocks of a product's columns that are computed in parallel: one, or at least as many as a
    /// tile has rows.
    pub slices: u32,
    /// Panels of outputs that share a read of the activations.
    pub panels: u32,
    /// Four invocations exchange what they have read (`quads.wgsl`), and weights are laid out for
    /// that.
    pub quads: bool,
}

impl Tuning {
    /// Many invocations hide memory latency.
    pub const HARDWARE: Self = Self { lanes: 256, slices: 8, panels: 1, quads: false };
    /// A CPU emulating a GPU pays for every invocation and barrier.
    pub const SOFTWARE: Self = Self { lanes: 64, slices: 1, panels: 2, quads: false };
    /// The same with subgroups.
    pub const QUADS: Self = Self { quads: true, ..Self::SOFTWARE };

    /// Returns the tuning for an adapter.
    pub fn of(software: bool, subgroups: bool) -> Self {
        match (software, subgroups) {
            (false, _) => Self::HARDWARE,
            (true, false) => Self::SOFTWARE,
            (true, true) => Self::QUADS,
        }
    }
}

fn variant(
    name: &'static str,
    bindings: &'static [super::kernel::Binding],
    definitions: &[(&'static str, u32)],
) -> Variant {
    Variant { name, bindings, definitions: Definitions::of(definitions, &[]) }
}

pub fn embed(format: Format, tuning: Tuning) -> Variant {
    let bindings: &[_] = match format {
        Format::Dense => &[Shape, Piece, Read, Write, Read],
        Format::Q8 | Format::Q4 => &[Shape, Piece, Read, Write, Read, Read],
    };
    let definitions = [
        ("LANES", tuning.lanes),
        ("QUADS", tuning.quads.into()),
        ("DENSE", (format == Format::Dense).into()),
        ("Q4", (format == Format::Q4).into()),
    ];
    variant("embed", bindings, &definitions)
}

pub fn norm(tuning: Tuning) -> Variant {
    variant("norm", &[Shape, Read, Read, Read, Write, Write, Write], &[("LANES", tuning.lanes)])
}

/// [`norm`] for quads: rows of `width`, a multiple of 32.
pub fn norm_quads(width: usize) -> Variant {
    let definitions = Definitions::of(&[("WIDTH", width as u32)], &[]);
    Variant { name: "norm_quads", definitions, ..norm(Tuning::QUADS) }
}

pub fn pack(tuning: Tuning) -> Variant {
    variant("pack", &[Shape, Read, Write, Write], &[("LANES", tuning.lanes.min(64))])
}

const DENSE_LANES: u32 = 64;

/// Outputs that a workgroup of [`dense`] computes in parallel, with eight partial sums each.
pub const DENSE_OUTPUTS: usize = DENSE_LANES as usize / 8;

pub fn dense() -> Variant {
    variant("dense", &[Shape, Read, Read, Read, Write], &[("LANES", DENSE_LANES)])
}

/// A product with quantised weights. `tile` rows of x are stored together, and `tiles` tiles share
/// a read of the weights; with `quantise`, the result is quantised too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Linear {
    pub format: Format,
    /// Blocks per row of weights.
    pub blocks: u32,
    pub tile: u32,
    pub tiles: u32,
    pub bias: bool,
    pub epilogue: Epilogue,
    pub quantise: bool,
}

impl Linear {
    pub fn variant(self, tuning: Tuning) -> Variant {
        // The slices' sums share workgroup memory, which is limited.
        let slices = if self.tiles > 2 { tuning.slices.min(4) } else { tuning.slices };
        let own: &[_] = match tuning.quads {
            // A kernel is compiled for each row length.
            true => &[("BLOCKS", self.blocks), ("LANES", QUAD_LANES)],
            false => &[("TILES", self.tiles), ("SLICES", slices), ("SLICED", (slices > 1).into())],
        };
        let shared = [
            ("Q4", (self.format == Format::Q4).into()),
            ("WIDE", (self.tile > 1).into()),
            ("TILE", self.tile),
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
        let name = if tuning.quads { "linear_quads" } else { "linear" };
        Variant { name, bindings, definitions: Definitions::of(own, &shared) }
    }
}

/// Invocations per workgroup of a product with quads.
const QUAD_LANES: u32 = 16;

/// Returns how many outputs a workgroup of a product computes.
pub fn outputs(tuning: Tuning) -> usize {
    match tuning.quads {
        true => QUAD_LANES as usize / 4 * 32,
        false => PANEL * tuning.panels as usize,
    }
}

/// Returns how many tiles share a read of the weights, for a number of rows.
pub fn tiles(tuning: Tuning, rows: usize) -> u32 {
    match rows {
        _ if tuning.quads => 1,
        0..=4 => 1,
        5..=8 => 2,
        _ => 4,
    }
}

pub fn store(tuning: Tuning) -> Variant {
    variant("store", &[Shape, Piece, Read, Read, Write, Write], &[("LANES", tuning.lanes)])
}

/// Invocations per workgroup of attention.
const ATTENTION_LANES: u32 = 64;

/// Maximum number of slots that a row attends to: their scores are held in workgroup memory, of
/// which WebGPU guarantees 16 KiB.
pub const MAX_VISIBLE: usize = 3584;

/// Attention over up to `visible` slots.
pub fn attention(visible: usize) -> Variant {
    let bindings = &[Shape, Piece, Read, Read, Read, Read, Write, Write, Write];
    // Rounded up to one of two sizes, so that GPT-2's context of 1024 is compiled only once.
    let visible = if visible <= 1024 { 1024 } else { MAX_VISIBLE as u32 };
    variant("attention", bindings, &[("LANES", ATTENTION_LANES), ("VISIBLE", visible)])
}

/// [`attention`] for quads: heads of `head` channels, a multiple of 32.
pub fn attention_quads(visible: usize, width: usize, head: usize) -> Variant {
    let general = attention(visible);
    let (width, head) = (width as u32, head as u32);
    let sizes = [("WIDTH", width), ("HEAD", head), ("EIGHTHS", head / 8), ("HEAD_BLOCKS", head / 32)];
    let definitions = Definitions::of(general.definitions.as_slice(), &sizes);
    Variant { name: "attention_quads", definitions, ..general }
}

pub fn select(tuning: Tuning) -> Variant {
    variant("select", &[Shape, Piece, Read, Read, Write], &[("LANES", tuning.lanes)])
}
