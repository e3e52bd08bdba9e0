//! The schedule of a store's faults: which, when and for how long, drawn from
//! the seed alone.

use std::time::Duration;

use super::kinds::{Choice, Kind};
use super::{POSTGRES, QUEUES, REDIS};
use crate::chaos::chance::{Chance, Deck};

/// The kinds of faults of Redis.
const OF_REDIS: [Kind; 7] = [
    Kind::RedisForgets,
    Kind::RedisCrashes,
    Kind::RedisFull,
    Kind::RedisAlone,
    Kind::RedisReadOnly,
    Kind::RedisDemoted,
    Kind::RedisStalls,
];

/// The kinds of faults of PostgreSQL, and of operators' actions in it.
const OF_POSTGRES: [Kind; 6] = [
    Kind::PostgresCrashes,
    Kind::PostgresStalls,
    Kind::PostgresLocked,
    Kind::PostgresHurries,
    Kind::PostgresRefuses,
    Kind::Paused,
];

/// How closely the stores' faults follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chaos) enum Tempo {
    /// Long faults with time to recover.
    Steady,
    /// Every fault once per minute.
    Brisk,
}

/// One future fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Turn {
    /// The time before it.
    pub(super) pause: Duration,
    pub(super) kind: Kind,
    /// How long it lasts, unless that depends on the store.
    pub(super) lasts: Duration,
    /// Which variant it is, if there are two: whether what was sent while the connection
    /// was silent arrives late or never.
    pub(super) late: bool,
}

/// An endless sequence of faults of one store.
pub(super) struct Timetable {
    chance: Chance,
    deck: Deck<Kind>,
    tempo: Tempo,
    /// The time between two faults, milliseconds.
    pause: (u64, u64),
}

impl Timetable {
    /// The sequence of Redis.
    pub(super) fn of_redis(seed: u64, tempo: Tempo, choice: &Choice) -> Self {
        let pause = match tempo {
            Tempo::Steady => (10_000, 35_000),
            Tempo::Brisk => (1_200, 2_200),
        };
        Self::new(seed, "Redis", tempo, pause, choice.of(&OF_REDIS))
    }

    /// The sequence of PostgreSQL.
    pub(super) fn of_postgres(seed: u64, tempo: Tempo, choice: &Choice) -> Self {
        let pause = match tempo {
            Tempo::Steady => (15_000, 40_000),
            Tempo::Brisk => (1_500, 2_500),
        };
        Self::new(seed, "Postgres", tempo, pause, choice.of(&OF_POSTGRES))
    }

    fn new(seed: u64, part: &str, tempo: Tempo, pause: (u64, u64), kinds: Vec<Kind>) -> Self {
        Self { chance: Chance::of(seed, part), deck: Deck::of(kinds), tempo, pause }
    }
}

impl Iterator for Timetable {
    type Item = Turn;

    fn next(&mut self) -> Option<Turn> {
        let chance = &mut self.chance;
        let pause = chance.millis(self.pause.0, self.pause.1);
        let kind = self.deck.draw(chance)?;
        let (low, high) = lasts(kind, self.tempo);
        let lasts = chance.millis(low, high);
        Some(Turn { pause, kind, lasts, late: chance.percent(50) })
    }
}

/// How long a fault lasts, milliseconds.
fn lasts(kind: Kind, tempo: Tempo) -> (u64, u64) {
    let (steady, brisk) = match kind {
        Kind::RedisFull => ((10_000, 25_000), (11_000, 12_000)),
        Kind::RedisStalls => ((10_000, 25_000), (5_000, 7_000)),
        Kind::RedisAlone | Kind::RedisReadOnly | Kind::RedisDemoted => {
            ((8_000, 20_000), (3_000, 4_000))
        }
        Kind::PostgresStalls => ((10_000, 25_000), (6_000, 7_000)),
        // Longer than a request may wait for its statement.
        Kind::PostgresLocked => ((5_000, 25_000), (8_500, 9_500)),
        Kind::PostgresHurries => ((8_000, 15_000), (5_000, 6_000)),
        Kind::PostgresRefuses => ((8_000, 15_000), (4_000, 5_000)),
        Kind::Paused => ((8_000, 16_000), (4_000, 5_000)),
        _ => ((0, 0), (0, 0)),
    };
    match tempo {
        Tempo::Steady => steady,
        Tempo::Brisk => brisk,
    }
}

impl Turn {
    /// The fault and its target, for the report.
    pub(super) fn told(&self) -> (&'static str, &'static str) {
        match self.kind {
            Kind::RedisForgets => ("FLUSHALL", REDIS),
            Kind::RedisCrashes => ("kill -9", REDIS),
            Kind::RedisFull => ("full", REDIS),
            Kind::RedisAlone => ("without replicas", REDIS),
            Kind::RedisReadOnly => ("read-only", REDIS),
            Kind::RedisDemoted => ("demoted", REDIS),
            Kind::RedisStalls if self.late => ("silent, then late", REDIS),
            Kind::RedisStalls => ("silent, then cut", REDIS),
            Kind::PostgresCrashes => ("immediate shutdown", POSTGRES),
            Kind::PostgresStalls if self.late => ("silent, then late", POSTGRES),
            Kind::PostgresStalls => ("silent, then cut", POSTGRES),
            Kind::PostgresLocked => ("table locked", POSTGRES),
            Kind::PostgresHurries => ("statement_timeout", POSTGRES),
            Kind::PostgresRefuses if self.late => ("refuses most (53300)", POSTGRES),
            Kind::PostgresRefuses => ("refuses most (XX000)", POSTGRES),
            Kind::Paused => ("paused", QUEUES),
            Kind::Workers | Kind::Ingresses | Kind::Clocks => ("fault", "processes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::REHEARSAL_SEED;

    fn first(timetable: Timetable, turns: usize) -> Vec<Turn> {
        timetable.take(turns).collect()
    }

    #[test]
    fn equal_seeds_plan_equal_faults() {
        let all = Choice::default();
        let plan = |seed| first(Timetable::of_redis(seed, Tempo::Steady, &all), 20);
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
    }

    #[test]
    fn the_minute_of_the_tests_meets_every_fault() {
        let all = Choice::default();
        let redis = Timetable::of_redis(REHEARSAL_SEED, Tempo::Brisk, &all);
        let postgres = Timetable::of_postgres(REHEARSAL_SEED, Tempo::Brisk, &all);
        for (timetable, kinds) in [(redis, &OF_REDIS[..]), (postgres, &OF_POSTGRES[..])] {
            let turns = first(timetable, kinds.len());
            let mut met: Vec<Kind> = turns.iter().map(|turn| turn.kind).collect();
            met.sort_unstable();
            assert_eq!(met, kinds);
            let took: Duration = turns.iter().map(|turn| turn.pause + turn.lasts).sum();
            // The rest is for stores that crash, fail over and come back.
            assert!(took < Duration::from_secs(50), "{took:?} of a minute");
        }
    }

    #[test]
    fn without_a_kind_to_draw_there_is_no_fault() {
        let choice = Choice::default();
        let mut none = Timetable::new(1, "nobody", Tempo::Brisk, (0, 1), choice.of(&[]));
        assert_eq!(none.next(), None);
    }
}
