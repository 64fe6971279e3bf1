//! What a decode step reads from memory, and a plain read of exactly that: together they tell how
//! near a step is to the machine's limit.

use super::Model;
use crate::backend::{cpu::Cpu, stream};

impl Model<Cpu> {
    /// Bytes of weights that every step reads: all except the position embedding, of which it reads
    /// one row. The token embedding counts because it is the head.
    pub fn weight_bytes(&self) -> usize {
        self.step_memory().map(|(bytes, floats)| bytes.len() + size_of_val(floats)).sum()
    }

    /// Bytes of keys and values that a step reads for each position that it sees.
    pub fn position_bytes(&self) -> usize {
        2 * self.config().n_layer * self.config().n_embd * size_of::<f32>()
    }

    /// Reads [`Model::weight_bytes`] once, layer by layer. The result only keeps the reads from
    /// being optimised away.
    pub fn read_weights(&self) -> u64 {
        self.step_memory()
            .fold(0, |sum, (bytes, floats)| sum ^ stream::read_bytes(bytes) ^ stream::read_floats(floats))
    }

    fn step_memory(&self) -> impl Iterator<Item = (&[u8], &[f32])> {
        let parts = self.parts();
        let layers = parts.layers.iter().flat_map(|layer| {
            let norms = [&layer.ln_1, &layer.ln_2].into_iter().flat_map(|n| [&n.gain, &n.bias]);
            let linears = [&layer.c_attn, &layer.attn_proj, &layer.c_fc, &layer.mlp_proj];
            let vectors = norms.chain(linears.map(|l| &l.bias)).map(|v| (&[][..], v.as_slice()));
            linears.map(|l| l.weight.memory()).into_iter().chain(vectors)
        });
        let last = [&parts.ln_f.gain, &parts.ln_f.bias].map(|v| (&[][..], v.as_slice()));
        layers.chain(last).chain([parts.wte.memory()])
    }
}
