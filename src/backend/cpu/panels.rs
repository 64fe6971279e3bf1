//! Quantised activations times interleaved panels: the choice of kernel, the division into tiles
//! and tasks, and the epilogue.

use super::{
    math,
    matrix::{PANEL, Panels},
    pool::Pool,
    prefetch::prefetch,
    quant::{BLOCK, Filling, QuantRows},
    scalar,
    shared::Shared,
    vector::{self, PanelGroups},
};
use crate::backend::Epilogue;

/// Which integer kernels run. All give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// One product at a time: the reference.
    Scalar,
    /// The target's vector instructions (simd128 in a browser).
    Simd,
}

impl Level {
    /// The name in the status line and in the `backend` parameter.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Simd => "simd",
        }
    }

    /// The instructions that it uses on this machine.
    pub fn instructions(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Simd => vector::instructions(),
        }
    }
}

/// How a panel's bytes store its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Signed bytes.
    #[default]
    Q8,
    /// Unsigned bytes, 128 above the signed value: for instructions that multiply unsigned by
    /// signed bytes.
    U8,
    /// Nibbles, 8 above the signed value.
    Q4,
}

/// Bytes of the scales at the start of a panel's block, one float per row.
pub const SCALES_BYTES: usize = PANEL * size_of::<f32>();

impl Format {
    /// A weight's value plus this is what is stored.
    pub const fn zero(self) -> i32 {
        match self {
            Self::Q8 => 0,
            Self::U8 => 128,
            Self::Q4 => 8,
        }
    }

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

/// Splits a panel's block into the rows' scales and the weights.
pub fn parts(block: &[u8]) -> ([f32; PANEL], &[u8]) {
    let (scales, quants) = block.split_at(SCALES_BYTES);
    let mut floats = [0.0; PANEL];
    for (float, bytes) in floats.iter_mut().zip(scales.as_chunks().0) {
        *float = f32::from_ne_bytes(*bytes);
    }
    (floats, quants)
}

/// The order in which weights are read. All give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// Panels that are multiplied in turn, one block of each. They are far apart, so each is a
    /// stream of its own: most memories deliver more from several streams than from one, some more
    /// from two than from four.
    pub streams: usize,
    /// Tasks per thread into which a matrix is divided, if there are several threads. Fewer tasks
    /// read longer contiguous ranges; with more, a slow thread delays the others less.
    pub tasks: usize,
}

/// The orders that are tried, beginning with the first.
pub const ORDERS: [Order; 4] = [
    Order { streams: 2, tasks: 1 },
    Order { streams: 4, tasks: 1 },
    Order { streams: 1, tasks: 1 },
    Order { streams: 2, tasks: 4 },
];

/// The order for batches that arithmetic limits; no time is measured for them.
pub const MANY_ROWS: Order = Order { streams: MAX_STREAMS, tasks: 4 };

impl Order {
    /// Every order that a batch may be computed in.
    pub fn all() -> impl Iterator<Item = Self> {
        ORDERS.into_iter().chain([MANY_ROWS])
    }
}

/// The largest [`Order::streams`].
const MAX_STREAMS: usize = 4;

/// Which kernel runs, and how.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    pub level: Level,
    pub order: Order,
}

impl Kernel {
    /// The number of tasks for `parts` parts. Threads may join between two calls.
    pub fn tasks(self, pool: &Pool, parts: usize) -> usize {
        match pool.threads() {
            1 => 1,
            threads => (threads * self.order.tasks).min(parts.max(1)),
        }
    }
}

/// Calls `f(task, range)` on all threads, for ranges that partition `0..parts`.
pub fn spread(pool: &Pool, tasks: usize, parts: usize, f: impl Fn(usize, std::ops::Range<usize>) + Sync) {
    pool.run(tasks, &|task| f(task, task * parts / tasks..(task + 1) * parts / tasks));
}

/// Rows of sums in the buffer between kernel and `take`, each of one panel and one activation row.
const HELD: usize = 128;

const _: () = assert!(HELD >= MAX_STREAMS * vector::TILE);

/// Calls `take(row, first output, sums)` for every row of x and each panel of the range, in no
/// particular order; the last panel's sums are cut to the existing outputs. Panels are outermost,
/// so weights are read from memory once for all rows, in `streams` streams.
pub fn multiply(
    Kernel { level, order: Order { streams, .. } }: Kernel,
    w: &Panels,
    panels: std::ops::Range<usize>,
    x: &QuantRows,
    mut take: impl FnMut(usize, usize, &[f32]),
) {
    let mut sums = [[0.0f32; PANEL]; HELD];
    let tiles: Vec<_> = x.tiles().collect();
    let stride = panels.len() / streams;
    let rest = panels.start + streams * stride..panels.end;
    for (panels, streams) in [(panels.start..panels.start + stride, streams), (rest, 1)] {
        // With several tiles a panel is read again for each, from a cache if few panels come
        // between.
        let most = if let [tile] = &tiles[..] { HELD / (streams * tile.rows) } else { 1 };
        for first in panels.clone().step_by(most) {
            let groups = most.min(panels.end - first);
            let places = PanelGroups { streams, stride, groups };
            let weights = w.range(first..first + (streams - 1) * stride + groups);
            let mut row = 0;
            for tile in &tiles {
                let panels = vector::Panels::new(w.format, weights, places, tile, &mut sums);
                match level {
                    Level::Scalar => panels.each(|panel, sums| scalar::panel(w.format, panel, tile, sums)),
                    Level::Simd => vector::panels(panels),
                }
                let mut sums = sums.iter();
                for panel in first..first + groups {
                    for first in (0..streams).map(|p| (panel + p * stride) * PANEL) {
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

/// Where the results of a linear layer go.
pub struct Results<'a> {
    /// (R, N)
    pub values: &'a mut [f32],
    /// The results again, quantised for the next product, where one follows; N is a multiple of
    /// [`BLOCK`].
    pub quantised: Option<Filling<'a>>,
}

/// A linear layer: `x W^T` of x (R, K) and w (N, K), with bias (N) and epilogue, into `out` (R, N).
/// `added` is scratch for [`Epilogue::Add`].
#[allow(clippy::too_many_arguments, reason = "a layer's, and where and how it is computed")]
pub fn linear(
    kernel: Kernel,
    pool: &Pool,
    w: &Panels,
    bias: Option<&[f32]>,
    x: &QuantRows,
    epilogue: Epilogue,
    added: &mut Vec<f32>,
    out: Results,
) {
    let n = w.rows;
    let adds = epilogue == Epilogue::Add;
    if adds {
        added.resize(out.values.len(), 0.0);
    }
    let (added, quantised, out) = (Shared::new(added), out.quantised, Shared::new(out.values));
    let sums = if adds { &added } else { &out };
    // Panels that one task has: whole blocks of what it quantises.
    let together = if quantised.is_some() { BLOCK / PANEL } else { 1 };
    let parts = w.panels().div_ceil(together);
    spread(pool, kernel.tasks(pool, parts), parts, |_, parts| {
        let panels = parts.start * together..w.panels().min(parts.end * together);
        let outputs = n.min(panels.start * PANEL)..n.min(panels.end * PANEL);
        multiply(kernel, w, panels, x, |row, first, panel| {
            // SAFETY: the panels of tasks are disjoint, so one task alone has this row's outputs of
            // a panel.
            let sums = unsafe { sums.slice(row * n + first, panel.len()) };
            // A length known at compile time makes two vector moves of what would be a call.
            match (<&mut [f32; PANEL]>::try_from(&mut *sums), <&[f32; PANEL]>::try_from(panel)) {
                (Ok(sums), Ok(panel)) => *sums = *panel,
                _ => sums.copy_from_slice(panel),
            }
        });
        // One contiguous pass after all products: a bias comes from memory as weights do, and
        // reading it piecewise would stall every time.
        let bias = bias.map(|bias| &bias[outputs.clone()]);
        prefetch(bias.unwrap_or_default());
        for row in 0..x.rows() {
            let at = row * n + outputs.start;
            // SAFETY: as above.
            let values = unsafe { sums.slice(at, outputs.len()) };
            finish(values, bias, epilogue);
            if adds {
                // SAFETY: as above, and `values` is in `added`, a different buffer.
                let out = unsafe { out.slice(at, outputs.len()) };
                out.iter_mut().zip(values).for_each(|(out, value)| *out += *value);
            } else if let Some(quantised) = &quantised {
                // SAFETY: as above: a task has whole blocks.
                unsafe { quantised.quantise(row, outputs.start / BLOCK, values) };
            }
        }
        if let Some(quantised) = &quantised {
            // SAFETY: as above.
            unsafe { quantised.pack(outputs.start / BLOCK..outputs.end / BLOCK) };
        }
    });
}

/// Adds the bias (N) to a row's sums (N) and applies the epilogue, except for the residual's
/// addition.
pub fn finish(sums: &mut [f32], bias: Option<&[f32]>, epilogue: Epilogue) {
    if let Some(bias) = bias {
        sums.iter_mut().zip(bias).for_each(|(sum, bias)| *sum += bias);
    }
    if epilogue == Epilogue::Gelu {
        math::gelu(sums);
    }
}
