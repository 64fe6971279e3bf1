//! The variables' values as slices, for as long as a pass lasts.

use std::{collections::BTreeMap, ops::Deref};

use candle_core::{Storage, Var};

use crate::train::TrainError;

/// Keeps a variable's storage from being written.
type Guard<'a> = Box<dyn Deref<Target = Storage> + 'a>;

/// Every variable, held for reading.
pub(crate) struct Parameters<'a> {
    /// A guard, and where the values lie in what it guards.
    held: BTreeMap<&'a str, (Guard<'a>, usize, usize)>,
}

/// A linear layer's weight (in, out) and bias (out).
#[derive(Clone, Copy)]
pub(super) struct Linear<'a> {
    pub weight: &'a [f32],
    pub bias: &'a [f32],
}

/// A layer norm's gain and bias (C).
#[derive(Clone, Copy)]
pub(super) struct Norm<'a> {
    pub gain: &'a [f32],
    pub bias: &'a [f32],
}

impl<'a> Parameters<'a> {
    /// Errors where a variable is not contiguous f32 in main memory.
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
