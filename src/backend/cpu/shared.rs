//! One slice that several tasks write, each its own part.

use std::marker::PhantomData;

/// A mutable slice whose parts are handed to tasks that run at once.
pub struct Shared<'a, T> {
    start: *mut T,
    len: usize,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: parts are handed out only by `slice`, whose contract keeps them
// apart; moving a part to another thread moves its elements.
unsafe impl<T: Send> Send for Shared<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Shared<'_, T> {}

impl<'a, T> Shared<'a, T> {
    pub fn new(all: &'a mut [T]) -> Self {
        Self { start: all.as_mut_ptr(), len: all.len(), owner: PhantomData }
    }

    /// Elements start..start + len.
    ///
    /// # Panics
    /// Where they are not all in the slice.
    ///
    /// # Safety
    /// No two parts that are alive at once may overlap.
    #[allow(clippy::mut_from_ref)]
    #[inline(always)]
    pub unsafe fn slice(&self, start: usize, len: usize) -> &mut [T] {
        assert!(len <= self.len && start <= self.len - len);
        // SAFETY: in bounds by the assert, exclusive by the contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}
