//! How the C library's allocator treats large buffers.
//!
//! A server gets and frees a buffer of up to a megabyte with each request. By default each of them
//! is mapped again and given back, and the kernel clears its pages every time; measured, that
//! halves the speed of reads with several requests under way.

/// Buffers below this come from the heap.
const HEAP_BYTES: libc::c_int = 8 << 20;
/// The heap keeps this much free memory for the next request.
const KEPT_BYTES: libc::c_int = 64 << 20;

/// Keeps freed buffers for the next request instead of giving them back to the kernel. To be called
/// before threads start.
pub fn keep_large_buffers() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: mallopt only stores numbers that the allocator reads; no other thread runs yet.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, HEAP_BYTES);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
        }
    }
}
