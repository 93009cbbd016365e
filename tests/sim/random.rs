//! Chance, from the seed alone.

use std::time::Duration;

use convocate::base::rng::Rng;

pub struct Dice(Rng);

impl Dice {
    /// `stream` keeps the choices of different places apart.
    pub fn new(seed: u64, stream: u8) -> Dice {
        let mut bytes = [stream; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Dice(Rng::from_seed(bytes))
    }

    pub fn below(&mut self, bound: u32) -> u32 {
        self.0.below(bound)
    }

    pub fn index(&mut self, len: usize) -> usize {
        self.below(u32::try_from(len).unwrap()) as usize
    }

    /// From 1 to `max`; mostly small, at times all of it.
    pub fn amount(&mut self, max: usize) -> usize {
        match self.below(4) {
            0 => max,
            1 => 1 + self.index(max.min(8)),
            _ => 1 + self.index(max),
        }
    }

    pub fn percent(&mut self, chance: u32) -> bool {
        self.below(100) < chance
    }

    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let span = u32::try_from((high - low).as_micros()).unwrap();
        low + Duration::from_micros(u64::from(self.below(span + 1)))
    }

    pub fn seed(&mut self) -> [u8; 32] {
        self.0.bytes()
    }

    pub fn rng(&mut self) -> &mut Rng {
        &mut self.0
    }
}
