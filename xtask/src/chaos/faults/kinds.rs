//! Which faults there are, how each is called, and which of them a run is to have.

use clap::{Args, ValueEnum};

/// A kind of fault, or all faults of a kind of process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// Workers are killed, ended and frozen.
    Workers,
    /// The same for ingresses.
    Ingresses,
    /// Redis loses all data.
    RedisForgets,
    /// Redis crashes and starts again.
    RedisCrashes,
    /// Redis answers, but has no memory for writes.
    RedisFull,
    /// Redis answers, but refuses writes because it has too few replicas.
    RedisAlone,
    /// Redis answers, but is a replica.
    RedisReadOnly,
    /// Another Redis becomes the master; open connections stay with the old one.
    RedisDemoted,
    /// Connections to Redis go silent.
    RedisStalls,
    /// PostgreSQL crashes and starts again.
    PostgresCrashes,
    /// Connections to PostgreSQL go silent.
    PostgresStalls,
    /// A session locks the table of jobs.
    PostgresLocked,
    /// The role gets short time limits for statements.
    PostgresHurries,
    /// A pooler refuses most connections.
    PostgresRefuses,
    /// An operator pauses both queues.
    Paused,
    /// The clocks of an ingress and of a worker are wrong for the whole run.
    Clocks,
}

/// The kinds of faults of a run.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Choice {
    /// Only these faults.
    #[arg(long, value_name = "FAULT", value_delimiter = ',')]
    only: Vec<Kind>,
    /// All faults but these.
    #[arg(long, value_name = "FAULT", value_delimiter = ',')]
    without: Vec<Kind>,
}

impl Choice {
    /// Whether the run is to have this kind.
    pub(crate) fn has(&self, kind: Kind) -> bool {
        (self.only.is_empty() || self.only.contains(&kind)) && !self.without.contains(&kind)
    }

    /// Those of `kinds` that the run is to have.
    pub(in crate::chaos) fn of(&self, kinds: &[Kind]) -> Vec<Kind> {
        kinds.iter().copied().filter(|kind| self.has(*kind)).collect()
    }

    /// The chosen faults, for the report; none if all are chosen.
    pub(in crate::chaos) fn told(&self) -> Option<String> {
        let names = |kinds: &[Kind]| -> String {
            let values = kinds.iter().filter_map(ValueEnum::to_possible_value);
            values.map(|value| value.get_name().to_owned()).collect::<Vec<_>>().join(", ")
        };
        let only = (!self.only.is_empty()).then(|| format!("only {}", names(&self.only)));
        let without =
            (!self.without.is_empty()).then(|| format!("without {}", names(&self.without)));
        let parts: Vec<String> = only.into_iter().chain(without).collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_leaves_out_what_it_says() {
        let kinds = [Kind::RedisFull, Kind::RedisStalls];
        assert_eq!(Choice::default().of(&kinds), kinds);
        let only = Choice { only: vec![Kind::RedisFull], without: Vec::new() };
        assert_eq!(only.of(&kinds), [Kind::RedisFull]);
        assert!(!only.has(Kind::Workers));
        assert_eq!(only.told().unwrap(), "only redis-full");
        let without = Choice { only: Vec::new(), without: vec![Kind::RedisFull] };
        assert_eq!(without.of(&kinds), [Kind::RedisStalls]);
        assert_eq!(without.told().unwrap(), "without redis-full");
        assert_eq!(Choice::default().told(), None);
    }
}
