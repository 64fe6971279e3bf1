//! A matrix' bytes as they arrive, cut into its rows: what every backend's packer
//! stands on.

use super::{BackendError, Dtype};

/// Takes the bytes of a (rows, cols) matrix in pieces of any size, and gives them
/// on row by row.
#[derive(Debug)]
pub struct ArrivingRows {
    rows: usize,
    cols: usize,
    dtype: Dtype,
    /// Rows given on.
    done: usize,
    /// Bytes of a row that is not complete.
    pending: Vec<u8>,
}

impl ArrivingRows {
    pub fn new(rows: usize, cols: usize, dtype: Dtype) -> Self {
        Self { rows, cols, dtype, done: 0, pending: Vec::new() }
    }

    /// Takes the next bytes; calls `place` with the index and the bytes of every
    /// row that they complete.
    ///
    /// # Errors
    /// More bytes than the matrix has; none of them is taken then.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        mut place: impl FnMut(usize, &[u8]),
    ) -> Result<(), BackendError> {
        let row_bytes = self.dtype.matrix_bytes(1, self.cols);
        let room = (self.rows - self.done) * row_bytes - self.pending.len();
        if bytes.len() > room {
            return Err(self.wrong_size(bytes.len()));
        }
        if !self.pending.is_empty() {
            let (head, rest) = bytes.split_at(bytes.len().min(row_bytes - self.pending.len()));
            self.pending.extend_from_slice(head);
            bytes = rest;
            if self.pending.len() < row_bytes {
                return Ok(());
            }
            place(self.done, &std::mem::take(&mut self.pending));
            self.done += 1;
        }
        let whole = bytes.chunks_exact(row_bytes.max(1));
        self.pending.extend_from_slice(whole.remainder());
        for row in whole {
            place(self.done, row);
            self.done += 1;
        }
        Ok(())
    }

    /// # Errors
    /// Bytes are missing.
    pub fn finish(&self) -> Result<(), BackendError> {
        if self.done < self.rows { Err(self.wrong_size(0)) } else { Ok(()) }
    }

    fn wrong_size(&self, more: usize) -> BackendError {
        let Self { rows, cols, dtype, .. } = *self;
        let found = dtype.matrix_bytes(self.done, cols) + self.pending.len() + more;
        let expected = dtype.matrix_bytes(rows, cols);
        BackendError::MatrixBytes { rows, cols, dtype, expected, found }
    }
}
