//! One slice of which several tasks each write their own part.

use std::marker::PhantomData;

/// A mutable slice whose disjoint parts are handed to concurrent tasks.
pub struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: parts are handed out only by `slice`, whose contract keeps them disjoint; using a part on
// another thread moves its elements there, which `T: Send` allows.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub fn new(all: &'a mut [T]) -> Self {
        Self { start: all.as_mut_ptr(), len: all.len(), owner: PhantomData }
    }

    /// Elements `start..start + len`.
    ///
    /// # Panics
    /// If they are not all in the slice.
    ///
    /// # Safety
    /// No two parts may overlap while both are alive.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    pub unsafe fn slice(&self, start: usize, len: usize) -> &mut [T] {
        assert!(len <= self.len && start <= self.len - len);
        // SAFETY: in bounds by the assertion, exclusive by the contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}
