//! The variables' values as slices, for the duration of a pass.

use std::{collections::BTreeMap, ops::Deref};

use candle_core::{Storage, Var};

use crate::{bundle::Weights, train::TrainError};

/// Read lock on a variable's storage.
type Guard<'a> = Box<dyn Deref<Target = Storage> + 'a>;

/// All parameters, readable for as long as this lives.
pub(crate) struct Parameters<'a> {
    held: BTreeMap<&'a str, Held<'a>>,
}

/// One parameter's values.
enum Held<'a> {
    /// The lock, and start and end of the values in its storage.
    Variable(Guard<'a>, usize, usize),
    Weight(&'a [f32]),
}

/// Weight (in, out) and bias (out) of a linear layer.
#[derive(Clone, Copy)]
pub(super) struct Linear<'a> {
    pub weight: &'a [f32],
    pub bias: &'a [f32],
}

/// Gain (C) and bias (C) of a layer norm.
#[derive(Clone, Copy)]
pub(super) struct Norm<'a> {
    pub gain: &'a [f32],
    pub bias: &'a [f32],
}

impl<'a> Parameters<'a> {
    /// Locks all variables; fails if one is not contiguous and in main memory.
    pub(crate) fn hold(vars: &'a BTreeMap<String, Var>) -> Result<Self, TrainError> {
        let mut held = BTreeMap::new();
        for (name, var) in vars {
            let (storage, layout) = var.storage_and_layout();
            let offsets = layout.contiguous_offsets();
            let Some((start, end)) = offsets.filter(|_| matches!(&*storage, Storage::Cpu(_))) else {
                return Err(TrainError::NotPlain { name: name.clone() });
            };
            held.insert(name.as_str(), Held::Variable(Box::new(storage), start, end));
        }
        Ok(Self { held })
    }

    /// Weights without variables, for passes that do not learn.
    pub(crate) fn of(weights: &'a Weights) -> Self {
        let held = weights.iter().map(|(name, weight)| (name.as_str(), Held::Weight(&weight.data)));
        Self { held: held.collect() }
    }

    pub(crate) fn get(&self, name: &str) -> Result<&[f32], TrainError> {
        let missing = || TrainError::MissingTensor { name: name.into() };
        let (storage, start, end) = match self.held.get(name).ok_or_else(missing)? {
            Held::Variable(storage, start, end) => (storage, *start, *end),
            Held::Weight(values) => return Ok(values),
        };
        match &***storage {
            Storage::Cpu(values) => Ok(&values.as_slice::<f32>()?[start..end]),
            _ => Err(TrainError::NotPlain { name: name.into() }),
        }
    }

    pub(super) fn linear(&self, name: &str) -> Result<Linear<'_>, TrainError> {
        Ok(Linear { weight: self.get(&format!("{name}.weight"))?, bias: self.get(&format!("{name}.bias"))? })
    }

    pub(super) fn norm(&self, name: &str) -> Result<Norm<'_>, TrainError> {
        Ok(Norm { gain: self.get(&format!("{name}.weight"))?, bias: self.get(&format!("{name}.bias"))? })
    }
}
