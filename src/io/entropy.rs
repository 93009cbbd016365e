//! Randomness from the kernel, to seed generators with.

/// 32 bytes that nobody can guess. Blocks only in the first moments of a machine's life, until the
/// kernel has gathered enough.
///
/// # Panics
/// If the kernel gives none: a process that cannot have secrets must not go on.
pub fn seed() -> [u8; 32] {
    bytes()
}

/// `N` bytes that nobody can guess, as [`seed`].
pub(super) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("getrandom(2) is in every kernel that runs this program");
    bytes
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_seeds_differ() {
        assert_ne!(super::seed(), super::seed());
    }
}
