//! Randomness for a core, from a seed that its driver hands in.
//!
//! The seed is 32 bytes of the kernel's entropy in production and a number in the simulator; the
//! stream that follows is ChaCha20's key stream, so one seed is enough for a whole connection.

use chacha20::cipher::{KeyIvInit, StreamCipher};
use zeroize::Zeroize;

/// A cryptographic generator of bytes. Not `Clone`: two copies would give the same secrets.
pub struct Rng {
    stream: chacha20::ChaCha20Legacy,
}

impl Rng {
    /// A generator that is as secret as `seed`, which is wiped.
    pub fn from_seed(mut seed: [u8; 32]) -> Rng {
        let stream = chacha20::ChaCha20Legacy::new(&seed.into(), &[0; 8].into());
        seed.zeroize();
        Rng { stream }
    }

    /// Fills `bytes`.
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
        self.stream.apply_keystream(bytes);
    }

    /// `N` bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// A number below `bound`, without bias that could matter (at most `bound` in 2^64).
    pub fn below(&mut self, bound: u32) -> u32 {
        let wide = u128::from(u64::from_le_bytes(self.bytes()));
        u32::try_from((wide * u128::from(bound)) >> 64).unwrap_or(0)
    }
}

impl std::fmt::Debug for Rng {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Rng(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_bytes_other_seed_other_bytes() {
        let first: [u8; 40] = Rng::from_seed([1; 32]).bytes();
        assert_eq!(first, Rng::from_seed([1; 32]).bytes::<40>());
        assert_ne!(first, Rng::from_seed([2; 32]).bytes::<40>());
        assert_ne!(first, [0; 40]);
    }

    #[test]
    fn below_stays_below_and_reaches_everything() {
        let mut rng = Rng::from_seed([3; 32]);
        let mut seen = [false; 7];
        for _ in 0..1000 {
            seen[rng.below(7) as usize] = true;
        }
        assert_eq!(seen, [true; 7]);
    }
}
