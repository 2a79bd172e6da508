//! Giving memory back. mimalloc returns pages to the system only while something allocates; a worker that has become idle
//! asks for it. The only unsafe code of Penstock.

/// Gives back what this thread does not need.
#[allow(unsafe_code, reason = "the allocator's interface is C")]
pub(super) fn collect() {
    // SAFETY: mi_collect may be called at any time, from any thread, and only touches the calling thread's heap.
    unsafe { libmimalloc_sys::mi_collect(false) }
}
