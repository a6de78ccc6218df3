//! The kernel's random number generator, `getrandom(2)`.

use crate::Entropy;

/// The kernel's random number generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

impl OsEntropy {
    /// Opens nothing: the generator is a system call.
    pub fn new() -> Self {
        Self
    }
}

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let mut filled = 0;
        while filled < bytes.len() {
            let rest = &mut bytes[filled..];
            // SAFETY: `rest` is a live, writable slice and its own length is passed with it.
            let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
            match usize::try_from(got) {
                Ok(got) => filled += got,
                // Only EINTR can happen with flags 0 on a kernel that has the call at all.
                Err(_) => {
                    let error = std::io::Error::last_os_error();
                    assert!(error.kind() == std::io::ErrorKind::Interrupted, "getrandom: {error}");
                }
            }
        }
    }
}
