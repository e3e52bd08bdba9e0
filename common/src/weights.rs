//! How two classes of work share the workers.

/// The shares of two lists while both have jobs: this many of the first for each of the
/// second. A list with weight zero is not popped, whatever the other one holds.
#[derive(Debug, Clone, Copy)]
pub struct Weights {
    /// The weight of the first list.
    pub first: u32,
    /// The weight of the second list.
    pub second: u32,
}

impl Weights {
    /// The same weights, but zero for paused lists.
    pub fn without(self, first_paused: bool, second_paused: bool) -> Self {
        let unless = |paused, turns| if paused { 0 } else { turns };
        Self { first: unless(first_paused, self.first), second: unless(second_paused, self.second) }
    }

    /// The lists with a weight above zero; first the one of pick number `turn`.
    pub fn order<T>(self, (first, second): (T, T), turn: u64) -> Vec<T> {
        let cycle = u64::from(self.first) + u64::from(self.second);
        let mut order = Vec::with_capacity(2);
        order.extend((self.first > 0).then_some(first));
        order.extend((self.second > 0).then_some(second));
        if turn % cycle.max(1) >= u64::from(self.first) {
            order.reverse();
        }
        order
    }

    /// How many to take of each list for `want` picks from pick number `turn` on, when
    /// they hold `have`. The same rule as `dispatch/pop.lua`, for jobs that are not
    /// popped from Redis.
    pub fn shares(self, turn: u64, want: usize, have: (usize, usize)) -> (usize, usize) {
        let cycle = u64::from(self.first) + u64::from(self.second);
        let (mut first, mut second) = (0, 0);
        let there = |turns, count| if turns > 0 { count } else { 0 };
        let have = (there(self.first, have.0), there(self.second, have.1));
        for pick in 0..want as u64 {
            let firsts_turn = turn.wrapping_add(pick) % cycle.max(1) < u64::from(self.first);
            let (first_left, second_left) = (first < have.0, second < have.1);
            match (firsts_turn, first_left, second_left) {
                (_, false, false) => break,
                (true, true, _) | (false, true, false) => first += 1,
                (false, _, true) | (true, false, true) => second += 1,
            }
        }
        (first, second)
    }
}
