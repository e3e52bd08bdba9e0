//! How two classes of work share the workers.

/// The plan lists' shares when both have work: so many of the first for each of
/// the second. A list without turns is left alone, whatever the other one holds.
#[derive(Debug, Clone, Copy)]
pub struct Weights {
    /// Turns of the first list.
    pub first: u32,
    /// Turns of the second list.
    pub second: u32,
}

impl Weights {
    /// The same shares, but no turns for lists that are paused.
    pub fn without(self, first_paused: bool, second_paused: bool) -> Self {
        let unless = |paused, turns| if paused { 0 } else { turns };
        Self { first: unless(first_paused, self.first), second: unless(second_paused, self.second) }
    }

    /// The lists that have turns, the one whose turn pick number `turn` is first.
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

    /// How many to take of each list for `want` picks from pick number `turn`
    /// on, when `have` stand there. The rule of `dispatch/pop.lua`, for jobs that
    /// are not taken through Redis.
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
