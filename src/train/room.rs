//! Room for what training reads and writes in strides: weights, gradients,
//! moments, logits. Where the system gives large pages to who asks, these ask:
//! with small ones a product waits for addresses (benches/README.md).

/// n zeros.
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

/// Asks for large pages where a buffer is large enough to hold some. Comes
/// before the buffer is written: that is when it gets its pages.
#[cfg(target_os = "linux")]
fn in_large_pages<T>(buffer: &[T]) {
    /// What a large page has on x86-64, and on aarch64 as it is usually set up.
    const LARGE: usize = 2 << 20;
    let start = buffer.as_ptr().addr().next_multiple_of(LARGE);
    let end = (buffer.as_ptr().addr() + size_of_val(buffer)) / LARGE * LARGE;
    if start < end {
        // SAFETY: the pages are inside the buffer, and advice on the size of
        // pages changes nothing that they hold. Without it all works as well.
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
