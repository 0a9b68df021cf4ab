//! How the work of an operator is dealt to the threads of the pool in which it is called: those of its rank.

/// The threads that the caller's pool lends us.
pub(crate) fn count() -> usize {
    rayon::current_num_threads()
}

/// How many of `count` things one task takes, a multiple of `unit`: a few tasks for each thread, so that none waits long.
pub(crate) fn share(count: usize, threads: usize, unit: usize) -> usize {
    count.div_ceil(4 * threads).next_multiple_of(unit).max(1)
}
