//! Seeded randomness: a run with the same seed draws the same faults, users and
//! histories. Each part of a run has its own sequence.

/// A stream of random numbers (SplitMix64).
#[derive(Debug, Clone)]
pub(super) struct Chance(u64);

impl Chance {
    /// The sequence of one part of a run.
    pub(super) fn of(seed: u64, part: &str) -> Self {
        // FNV-1a: parts with different names draw different numbers.
        let hash = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        let mut chance = Self(part.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, hash));
        chance.draw();
        chance
    }

    /// Any number.
    pub(super) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 when there is none.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.draw() % end).unwrap_or_default()
    }

    /// True with this probability in percent.
    pub(super) fn percent(&mut self, share: u64) -> bool {
        self.draw() % 100 < share
    }

    /// A duration between two numbers of milliseconds.
    pub(super) fn millis(&mut self, low: u64, high: u64) -> std::time::Duration {
        let span = high.saturating_sub(low).max(1);
        std::time::Duration::from_millis(low + self.draw() % span)
    }

    /// One of `these`; none of an empty list.
    pub(super) fn pick<'a, T>(&mut self, these: &'a [T]) -> Option<&'a T> {
        these.get(self.below(these.len()))
    }

    /// A random UUID.
    pub(super) fn uuid(&mut self) -> uuid::Uuid {
        let (high, low) = (u128::from(self.draw()), u128::from(self.draw()));
        uuid::Builder::from_random_bytes(((high << 64) | low).to_be_bytes()).into_uuid()
    }
}

/// Cards drawn without repetition until all were drawn, then shuffled again, so that even
/// a short run draws every card.
#[derive(Debug)]
pub(super) struct Deck<T> {
    cards: Vec<T>,
    left: Vec<T>,
}

impl<T: Copy> Deck<T> {
    /// A full deck.
    pub(super) fn of(cards: Vec<T>) -> Self {
        Self { cards, left: Vec::new() }
    }

    /// The next card; none from an empty deck.
    pub(super) fn draw(&mut self, chance: &mut Chance) -> Option<T> {
        if self.left.is_empty() {
            self.left.clone_from(&self.cards);
        }
        let at = chance.below(self.left.len());
        (at < self.left.len()).then(|| self.left.swap_remove(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_draw_equal_numbers_and_parts_draw_their_own() {
        let draws = |seed, part| {
            let mut chance = Chance::of(seed, part);
            [0; 8].map(|_| chance.draw())
        };
        assert_eq!(draws(1, "workers"), draws(1, "workers"));
        assert_ne!(draws(1, "workers"), draws(2, "workers"));
        assert_ne!(draws(1, "workers"), draws(1, "stores"));
    }

    #[test]
    fn a_deck_gives_every_card_before_any_again() {
        let mut chance = Chance::of(3, "cards");
        let mut deck = Deck::of(vec![1, 2, 3]);
        for _ in 0..5 {
            let mut drawn = [0; 3].map(|_| deck.draw(&mut chance).unwrap());
            drawn.sort_unstable();
            assert_eq!(drawn, [1, 2, 3]);
        }
    }
}
