//! Builds a [`Model`] from named tensors: the only place where a file's tensors and the network's
//! parts meet.

use std::collections::HashMap;

use thiserror::Error;

use super::{
    Config, Model,
    model::{Layer, Linear, Norm, Parts},
    names,
};
use crate::{
    backend::{Backend, BackendError},
    dtype::Dtype,
};

/// Why tensors do not make a model.
#[derive(Debug, Error)]
pub enum AssembleError {
    #[error("the model has no tensor `{name}`")]
    Missing { name: String },
    #[error("tensor `{name}`: {source}")]
    Matrix { name: String, source: BackendError },
    #[error("tensor `{name}` has {found} values, {expected} expected")]
    Vector { name: String, found: usize, expected: usize },
}

/// Collects tensors in any order, by checkpoint name.
pub struct Assembly<B: Backend> {
    config: Config,
    backend: B,
    matrices: HashMap<String, B::Matrix>,
    vectors: HashMap<String, B::Vector>,
    /// The required length of each vector.
    lengths: HashMap<String, usize>,
    /// The matrix whose bytes are arriving.
    arriving: Option<(String, B::Packer)>,
}

impl AssembleError {
    fn matrix(name: &str, source: BackendError) -> Self {
        Self::Matrix { name: name.into(), source }
    }
}

impl<B: Backend> Assembly<B> {
    pub fn new(config: Config, backend: B) -> Self {
        let vectors = names::tensors(&config).into_iter().filter(|t| t.role == names::Role::Vector);
        let lengths = vectors.map(|t| (t.name, t.shape.iter().product())).collect();
        Self { config, backend, matrices: HashMap::new(), vectors: HashMap::new(), lengths, arriving: None }
    }

    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Drops the tensors and returns the backend.
    pub fn into_backend(self) -> B {
        self.backend
    }

    /// Takes a whole matrix (rows = outputs, cols), its bytes in `dtype`.
    pub fn matrix(
        &mut self,
        name: &str,
        shape: (usize, usize),
        dtype: Dtype,
        bytes: &[u8],
    ) -> Result<(), AssembleError> {
        self.begin(name, shape, dtype)?;
        self.push(bytes)?;
        self.end()
    }

    /// Begins a matrix (rows = outputs, cols) whose bytes follow in pieces.
    pub fn begin(
        &mut self,
        name: &str,
        (rows, cols): (usize, usize),
        dtype: Dtype,
    ) -> Result<(), AssembleError> {
        let packer = self.backend.packer(rows, cols, dtype).map_err(|e| AssembleError::matrix(name, e))?;
        self.arriving = Some((name.into(), packer));
        Ok(())
    }

    /// Takes the next bytes of the matrix that was begun.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), AssembleError> {
        match &mut self.arriving {
            Some((name, packer)) => {
                self.backend.pack(packer, bytes).map_err(|e| AssembleError::matrix(name, e))
            }
            None => Ok(()),
        }
    }

    /// Ends the matrix that was begun.
    pub fn end(&mut self) -> Result<(), AssembleError> {
        if let Some((name, packer)) = self.arriving.take() {
            let matrix = self.backend.matrix(packer).map_err(|e| AssembleError::matrix(&name, e))?;
            self.matrices.insert(name, matrix);
        }
        Ok(())
    }

    /// Takes a vector.
    pub fn vector(&mut self, name: &str, values: Vec<f32>) -> Result<(), AssembleError> {
        if let Some(&expected) = self.lengths.get(name)
            && expected != values.len()
        {
            return Err(AssembleError::Vector { name: name.into(), found: values.len(), expected });
        }
        let vector = self.backend.vector(values);
        self.vectors.insert(name.into(), vector);
        Ok(())
    }

    /// The model.
    ///
    /// # Errors
    /// A tensor is missing.
    pub fn finish(mut self) -> Result<Model<B>, AssembleError> {
        let layers = (0..self.config.n_layer)
            .map(|index| {
                let part = |name: &str| format!("h.{index}.{name}");
                Ok(Layer {
                    ln_1: self.norm(&part("ln_1"))?,
                    c_attn: self.linear(&part("attn.c_attn"))?,
                    attn_proj: self.linear(&part("attn.c_proj"))?,
                    ln_2: self.norm(&part("ln_2"))?,
                    c_fc: self.linear(&part("mlp.c_fc"))?,
                    mlp_proj: self.linear(&part("mlp.c_proj"))?,
                })
            })
            .collect::<Result<_, AssembleError>>()?;
        let parts = Parts {
            wte: self.take_matrix(names::TOKEN_EMBEDDING)?,
            wpe: self.take_matrix("wpe.weight")?,
            layers,
            ln_f: self.norm("ln_f")?,
        };
        Ok(Model::new(self.config, self.backend, parts))
    }

    fn linear(&mut self, name: &str) -> Result<Linear<B>, AssembleError> {
        Ok(Linear {
            weight: self.take_matrix(&format!("{name}.weight"))?,
            bias: self.take_vector(&format!("{name}.bias"))?,
        })
    }

    fn norm(&mut self, name: &str) -> Result<Norm<B>, AssembleError> {
        Ok(Norm {
            gain: self.take_vector(&format!("{name}.weight"))?,
            bias: self.take_vector(&format!("{name}.bias"))?,
        })
    }

    fn take_matrix(&mut self, name: &str) -> Result<B::Matrix, AssembleError> {
        self.matrices.remove(name).ok_or_else(|| AssembleError::Missing { name: name.into() })
    }

    fn take_vector(&mut self, name: &str) -> Result<B::Vector, AssembleError> {
        self.vectors.remove(name).ok_or_else(|| AssembleError::Missing { name: name.into() })
    }
}
