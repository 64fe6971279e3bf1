//! Quantised activations times interleaved panels: which kernel, which rows,
//! on which thread, and what happens to a sum before it is stored.

use super::{
    math,
    matrix::{PANEL, Panels},
    pool::Pool,
    quant::QuantRows,
    scalar,
    shared::Shared,
    touch::touch,
    vector::{self, Places},
};
use crate::backend::Epilogue;

/// Which integer kernels run. All give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// One product at a time: the reference.
    Scalar,
    /// The target's vectors (simd128 in a browser).
    Simd,
}

impl Level {
    /// As the status line and the `backend` parameter call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Simd => "simd",
        }
    }

    /// The instructions behind it on this machine.
    pub fn instructions(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Simd => vector::instructions(),
        }
    }
}

/// How a panel's bytes hold its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Signed bytes.
    #[default]
    Q8,
    /// Bytes, 128 above the signed value: for instructions that multiply unsigned bytes by
    /// signed ones.
    U8,
    /// Nibbles, 8 above the signed value.
    Q4,
}

/// Bytes of the scales that a panel's block begins with, a float a row.
pub const SCALES_BYTES: usize = PANEL * size_of::<f32>();

impl Format {
    /// Bytes of one panel's block.
    pub const fn block_bytes(self) -> usize {
        SCALES_BYTES + self.quant_bytes()
    }

    /// Bytes of its weights.
    pub const fn quant_bytes(self) -> usize {
        match self {
            Self::Q8 | Self::U8 => PANEL * 32,
            Self::Q4 => PANEL * 16,
        }
    }
}

/// A panel's block taken apart: the rows' scales, and the weights.
pub fn parts(block: &[u8]) -> ([f32; PANEL], &[u8]) {
    let (scales, quants) = block.split_at(SCALES_BYTES);
    let mut floats = [0.0; PANEL];
    for (float, bytes) in floats.iter_mut().zip(scales.as_chunks().0) {
        *float = f32::from_ne_bytes(*bytes);
    }
    (floats, quants)
}

/// In which order weights are read. All give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Panels that are multiplied in turn, a block of each, far apart: most memories
    /// give several streams more than one, and some two more than four.
    pub beside: usize,
    /// Parts of a matrix for each thread, where there are several: the fewer, the longer
    /// is what is read without a break; the more, the less a slow thread holds up the rest.
    pub tasks: usize,
}

/// Those that are tried, beginning with the first.
pub const ORDERS: [Order; 4] = [
    Order { beside: 2, tasks: 1 },
    Order { beside: 4, tasks: 1 },
    Order { beside: 1, tasks: 1 },
    Order { beside: 2, tasks: 4 },
];

/// The one for what arithmetic holds up, whatever the memory does.
pub const MANY_ROWS: Order = Order { beside: MOST_BESIDE, tasks: 4 };

/// The most panels in turn.
const MOST_BESIDE: usize = 4;

/// Which kernel runs, and how.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    pub level: Level,
    pub order: Order,
}

impl Kernel {
    /// How many tasks `parts` things make. Threads may come and go between two calls.
    pub fn tasks(self, pool: &Pool, parts: usize) -> usize {
        match pool.threads() {
            1 => 1,
            threads => (threads * self.order.tasks).min(parts.max(1)),
        }
    }
}

/// Calls `f(task, range)` for ranges that together are 0..parts, on all threads.
pub fn spread(pool: &Pool, tasks: usize, parts: usize, f: impl Fn(usize, std::ops::Range<usize>) + Sync) {
    pool.run(tasks, &|task| f(task, task * parts / tasks..(task + 1) * parts / tasks));
}

/// Sums of panels and rows that are held before they are taken.
const HELD: usize = 128;

const _: () = assert!(HELD >= MOST_BESIDE * vector::TILE);

/// Calls `take(row, first output, sums)` with the sums of every row of x and
/// each panel of the range, in no order; the last panel's sums are cut to what
/// is there. Panels are outermost: weights are read from memory once for all
/// rows, in as many places at once as are `beside` each other.
pub fn multiply(
    Kernel { level, order: Order { beside, .. } }: Kernel,
    w: &Panels,
    panels: std::ops::Range<usize>,
    x: &QuantRows,
    mut take: impl FnMut(usize, usize, &[f32]),
) {
    let mut sums = [[0.0f32; PANEL]; HELD];
    let tiles: Vec<_> = x.tiles().collect();
    let stride = panels.len() / beside;
    let rest = panels.start + beside * stride..panels.end;
    for (panels, beside) in [(panels.start..panels.start + stride, beside), (rest, 1)] {
        // Several tiles find a panel in a cache only while it is one of few.
        let most = if let [tile] = &tiles[..] { HELD / (beside * tile.rows) } else { 1 };
        for first in panels.clone().step_by(most) {
            let groups = most.min(panels.end - first);
            let places = Places { beside, stride, groups };
            let weights = w.range(first..first + (beside - 1) * stride + groups);
            let mut row = 0;
            for tile in &tiles {
                let panels = vector::Panels::new(w.format, weights, places, tile, &mut sums);
                match level {
                    Level::Scalar => panels.each(|panel, sums| scalar::panel(w.format, panel, tile, sums)),
                    Level::Simd => vector::panels(panels),
                }
                let mut sums = sums.iter();
                for panel in first..first + groups {
                    for first in (0..beside).map(|p| (panel + p * stride) * PANEL) {
                        let outputs = PANEL.min(w.rows - first);
                        for (i, sum) in sums.by_ref().take(tile.rows).enumerate() {
                            take(row + i, first, &sum[..outputs]);
                        }
                    }
                }
                row += tile.rows;
            }
        }
    }
}

/// A linear layer: x (R, K) times w (N, K) transposed, with bias (N) and
/// epilogue, into out (R, N). `added`: memory for what is added to out.
#[allow(clippy::too_many_arguments, reason = "a layer's, and where and how it is computed")]
pub fn linear(
    kernel: Kernel,
    pool: &Pool,
    w: &Panels,
    bias: Option<&[f32]>,
    x: &QuantRows,
    epilogue: Epilogue,
    added: &mut Vec<f32>,
    out: &mut [f32],
) {
    let n = w.rows;
    let adds = epilogue == Epilogue::Add;
    if adds {
        added.resize(out.len(), 0.0);
    }
    let (added, out) = (Shared::new(added), Shared::new(out));
    let sums = if adds { &added } else { &out };
    spread(pool, kernel.tasks(pool, w.panels()), w.panels(), |_, panels| {
        let outputs = n.min(panels.start * PANEL)..n.min(panels.end * PANEL);
        multiply(kernel, w, panels, x, |row, first, panel| {
            // SAFETY: a row's outputs of a panel belong to one task.
            let sums = unsafe { sums.slice(row * n + first, panel.len()) };
            // Of a length that is known: two moves, where a call would be.
            match (<&mut [f32; PANEL]>::try_from(&mut *sums), <&[f32; PANEL]>::try_from(panel)) {
                (Ok(sums), Ok(panel)) => *sums = *panel,
                _ => sums.copy_from_slice(panel),
            }
        });
        // From end to end behind all products: a bias comes from memory as weights do,
        // and is waited for where it is read here and there.
        let bias = bias.map(|bias| &bias[outputs.clone()]);
        touch(bias.unwrap_or_default());
        for row in 0..x.rows() {
            let at = row * n + outputs.start;
            // SAFETY: as above.
            let values = unsafe { sums.slice(at, outputs.len()) };
            finish(values, bias, epilogue);
            if adds {
                // SAFETY: as above, and what is added stands elsewhere.
                let out = unsafe { out.slice(at, outputs.len()) };
                out.iter_mut().zip(values).for_each(|(out, value)| *out += *value);
            }
        }
    });
}

/// Sums become values: bias, and what the epilogue makes of them.
pub fn finish(sums: &mut [f32], bias: Option<&[f32]>, epilogue: Epilogue) {
    if let Some(bias) = bias {
        sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias);
    }
    if epilogue == Epilogue::Gelu {
        math::gelu(sums);
    }
}
