//! Cuts the bytes of a matrix into groups of rows as they arrive; every backend's packer uses it.

use super::BackendError;
use crate::dtype::Dtype;

/// Takes the bytes of a (rows, cols) matrix in pieces of any size and emits them in groups of rows.
#[derive(Debug)]
pub struct ArrivingRows {
    rows: usize,
    cols: usize,
    dtype: Dtype,
    /// Rows of a group; the last group may have fewer.
    group: usize,
    /// Rows already emitted.
    done: usize,
    /// Bytes of an incomplete group.
    pending: Vec<u8>,
}

impl ArrivingRows {
    pub fn new(rows: usize, cols: usize, dtype: Dtype, group: usize) -> Self {
        Self { rows, cols, dtype, group, done: 0, pending: Vec::new() }
    }

    /// Takes the next bytes; calls `place(first row, bytes)` for every group that they complete.
    ///
    /// # Errors
    /// There are more bytes than the matrix has; none of them is taken.
    pub fn push(
        &mut self,
        mut bytes: &[u8],
        mut place: impl FnMut(usize, &[u8]),
    ) -> Result<(), BackendError> {
        let room = self.dtype.matrix_bytes(self.rows - self.done, self.cols) - self.pending.len();
        if bytes.len() > room {
            return Err(self.wrong_size(bytes.len()));
        }
        while !bytes.is_empty() {
            let rows = self.group.min(self.rows - self.done);
            let missing = self.dtype.matrix_bytes(rows, self.cols) - self.pending.len();
            let (now, later) = bytes.split_at(bytes.len().min(missing));
            bytes = later;
            if now.len() < missing {
                self.pending.extend_from_slice(now);
            } else if self.pending.is_empty() {
                place(self.done, now);
                self.done += rows;
            } else {
                self.pending.extend_from_slice(now);
                place(self.done, &self.pending);
                self.pending.clear();
                self.done += rows;
            }
        }
        Ok(())
    }

    /// Checks that the matrix is complete.
    ///
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
