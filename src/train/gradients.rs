//! Gradients of all variables, on the device of the variables.

use candle_core::{Tensor, Var};

use super::{TrainError, graph::DeviceSums, model::Model, pass, values::Values};

/// One gradient per variable, summed over the micro-batches of a step.
pub struct Gradients {
    sums: Sums,
}

/// Storage of the sums.
pub(super) enum Sums {
    Memory(pass::Sums),
    Device(DeviceSums),
}

impl Gradients {
    /// Empty gradients for the model's variables, on their device.
    pub fn new(model: &Model) -> Self {
        let length = |(name, var): (_, &Var)| (name, var.elem_count());
        let sums = if model.is_graph() {
            Sums::Device(DeviceSums::new())
        } else {
            Sums::Memory(pass::Sums::new(model.vars().map(length)))
        };
        Self { sums }
    }

    /// Discards the sums, for the next step.
    pub fn clear(&mut self) {
        match &mut self.sums {
            Sums::Memory(sums) => sums.clear(),
            Sums::Device(sums) => sums.clear(),
        }
    }

    /// A variable's gradient, row-major; `None` until one has been added.
    pub fn get(&self, name: &str) -> Option<Values<'_>> {
        match &self.sums {
            Sums::Memory(sums) => sums.get(name).map(Values::Slice),
            Sums::Device(sums) => sums.get(name).map(Values::Tensor),
        }
    }

    /// The L2 norm of all gradients together.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn norm(&self) -> Result<f32, TrainError> {
        match &self.sums {
            Sums::Memory(sums) => Ok(sums.norm()),
            Sums::Device(sums) if sums.is_empty() => Ok(0.0),
            Sums::Device(sums) => {
                let squares = sums.values().map(|sum| sum.sqr()?.sum_all());
                let squares = squares.collect::<candle_core::Result<Vec<Tensor>>>()?;
                // One synchronisation with the device instead of one per variable.
                let squares = Tensor::stack(&squares, 0)?.to_vec1::<f32>()?;
                Ok(squares.iter().map(|&square| f64::from(square)).sum::<f64>().sqrt() as f32)
            }
        }
    }

    pub(super) fn sums_mut(&mut self) -> &mut Sums {
        &mut self.sums
    }
}
