//! The variables' values as slices, for the duration of a pass.

use std::{collections::BTreeMap, ops::Deref};

use candle_core::{Storage, Var};

use crate::train::TrainError;

/// Read lock on a variable's storage.
type Guard<'a> = Box<dyn Deref<Target = Storage> + 'a>;

/// All variables, locked for reading.
pub(crate) struct Parameters<'a> {
    /// The lock, and start and end of the values in its storage.
    held: BTreeMap<&'a str, (Guard<'a>, usize, usize)>,
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
        let mut held: BTreeMap<&'a str, (Guard<'a>, usize, usize)> = BTreeMap::new();
        for (name, var) in vars {
            let (storage, layout) = var.storage_and_layout();
            let offsets = layout.contiguous_offsets();
            let Some((start, end)) = offsets.filter(|_| matches!(&*storage, Storage::Cpu(_))) else {
                return Err(TrainError::NotPlain { name: name.clone() });
            };
            held.insert(name.as_str(), (Box::new(storage), start, end));
        }
        Ok(Self { held })
    }

    pub(crate) fn get(&self, name: &str) -> Result<&[f32], TrainError> {
        let missing = || TrainError::MissingTensor { name: name.into() };
        let (storage, start, end) = self.held.get(name).ok_or_else(missing)?;
        match &***storage {
            Storage::Cpu(values) => Ok(&values.as_slice::<f32>()?[*start..*end]),
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
