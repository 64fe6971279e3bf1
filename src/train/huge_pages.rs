//! Allocation of the large buffers that training streams through (weights, gradients, moments,
//! logits), in huge pages where the system gives them on request. With small pages, products wait
//! for address translation (benches/README.md).

/// A buffer of n zeros.
pub(super) fn zeros(n: usize) -> Vec<f32> {
    let room = vec![0.0; n];
    in_large_pages(&room);
    room
}

/// A copy of `values`.
pub(super) fn copy(values: &[f32]) -> Vec<f32> {
    let mut room = Vec::with_capacity(values.len());
    in_large_pages(room.spare_capacity_mut());
    room.extend_from_slice(values);
    room
}

/// Requests huge pages if the buffer is large enough to contain one. Must precede the first write
/// to the buffer, which is when pages are allocated.
#[cfg(target_os = "linux")]
fn in_large_pages<T>(buffer: &[T]) {
    /// Size of a huge page on x86-64, and on aarch64 in the usual configuration.
    const LARGE: usize = 2 << 20;
    let start = buffer.as_ptr().addr().next_multiple_of(LARGE);
    let end = (buffer.as_ptr().addr() + size_of_val(buffer)) / LARGE * LARGE;
    if start < end {
        // SAFETY: the pages lie inside the buffer, and MADV_HUGEPAGE does not change their
        // contents. A failure is harmless and ignored.
        unsafe {
            libc::madvise(
                buffer.as_ptr().with_addr(start).cast_mut().cast(),
                end - start,
                libc::MADV_HUGEPAGE,
            )
        };
    }
}

#[cfg(not(target_os = "linux"))]
fn in_large_pages<T>(_: &[T]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_it_was_made_of() {
        for n in [0, 5, 3 << 20] {
            assert!(zeros(n).iter().all(|&value| value == 0.0));
            let values: Vec<f32> = (0..n).map(|i| i as f32).collect();
            assert_eq!(copy(&values), values);
        }
    }
}
