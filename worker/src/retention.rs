//! Settings of retention and erasure.

use std::time::Duration;

use regimen_common::config::Env;
use regimen_common::db::retention::Kept;

const DAY: Duration = Duration::from_secs(86_400);
/// How long stored responses are repeated.
pub const ANSWERED_AGAIN: Duration = DAY;

/// The retention periods. None: for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionConfig {
    /// `RETENTION_SECONDS`: between two runs.
    pub every: Duration,
    /// `KEEP_ANSWERS_HOURS`.
    pub answers: Option<Duration>,
    /// `KEEP_RAW_REPLIES_DAYS`.
    pub replies: Option<Duration>,
    /// `KEEP_EVENTS_DAYS`: events and attempts.
    pub events: Option<Duration>,
    /// `KEEP_JOBS_DAYS`.
    pub jobs: Option<Duration>,
    /// `KEEP_WEBHOOKS_DAYS`: Stripe's events.
    pub stripe_events: Option<Duration>,
    /// `KEEP_NOTICES_DAYS`.
    pub notices: Option<Duration>,
    /// `KEEP_AUDIT_DAYS`.
    pub audit: Option<Duration>,
    /// `ERASURE_GRACE_SECONDS`: from the deletion of an account to its erasure.
    pub erasure_grace: Duration,
}

/// The backfill searches Stripe's events of this period; an event deleted earlier would
/// be stored again.
pub const WEBHOOKS_AT_LEAST: u32 = 31;
const DAYS_AT_MOST: u32 = 36_500;
/// A deleted account must be erased within a day.
const GRACE_AT_MOST: f64 = 72_000.0;

impl RetentionConfig {
    /// Reads the settings; mistakes are recorded in `env`.
    pub fn from_env(env: &mut Env) -> Self {
        let mut days = |name, default, least| {
            let days: u32 = env.number(name, default, 0..=DAYS_AT_MOST);
            if days > 0 && days < least {
                env.error(
                    name,
                    format!("is {days}; must be at least {least} days, or 0 to keep for ever"),
                );
            }
            (days > 0).then(|| DAY * days)
        };
        let [replies, events, jobs, notices, audit] = [
            ("KEEP_RAW_REPLIES_DAYS", 7),
            ("KEEP_EVENTS_DAYS", 30),
            ("KEEP_JOBS_DAYS", 90),
            ("KEEP_NOTICES_DAYS", 90),
            ("KEEP_AUDIT_DAYS", 400),
        ]
        .map(|(name, default)| days(name, default, 1));
        let stripe_events = days("KEEP_WEBHOOKS_DAYS", 90, WEBHOOKS_AT_LEAST);
        let hours: u32 = env.number("KEEP_ANSWERS_HOURS", 24, 0..=24 * DAYS_AT_MOST);
        let answers = Duration::from_secs(3_600) * hours;
        if hours > 0 && answers < ANSWERED_AGAIN {
            env.error(
                "KEEP_ANSWERS_HOURS",
                format!("is {hours}; answers are given again for 24 hours, so keep them for 24 or more, or 0 for ever"),
            );
        }
        let grace = env.number("ERASURE_GRACE_SECONDS", 3_600.0, 0.0..=GRACE_AT_MOST);
        Self {
            every: env.seconds("RETENTION_SECONDS", 600.0),
            answers: (hours > 0).then_some(answers),
            replies,
            events,
            jobs,
            stripe_events,
            notices,
            audit,
            erasure_grace: Duration::from_secs_f64(grace),
        }
    }

    /// How long `kept` is kept.
    pub fn of(&self, kept: Kept) -> Option<Duration> {
        match kept {
            Kept::Replies => self.replies,
            Kept::Events => self.events,
            Kept::Jobs | Kept::Generations => self.jobs,
            Kept::StripeEvents => self.stripe_events,
            Kept::Notices => self.notices,
            Kept::Audit => self.audit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<const N: usize>(settings: [(&str, &str); N]) -> Result<RetentionConfig, String> {
        let mut env = Env::from_pairs(settings);
        let config = RetentionConfig::from_env(&mut env);
        env.finish(Some(config)).map_err(|errors| errors.to_string())
    }

    #[test]
    fn each_is_kept_for_its_time_and_for_ever_with_0() {
        let usual = read([]).unwrap();
        let all = |config: RetentionConfig| Kept::ALL.iter().map(move |kept| config.of(*kept));
        let days = [7, 30, 90, 90, 90, 90, 400].map(|days| Some(DAY * days));
        assert!(all(usual).eq(days) && usual.answers == Some(DAY));
        let never = read([
            ("KEEP_RAW_REPLIES_DAYS", "0"),
            ("KEEP_EVENTS_DAYS", "0"),
            ("KEEP_JOBS_DAYS", "0"),
            ("KEEP_WEBHOOKS_DAYS", "0"),
            ("KEEP_NOTICES_DAYS", "0"),
            ("KEEP_AUDIT_DAYS", "0"),
            ("KEEP_ANSWERS_HOURS", "0"),
        ])
        .unwrap();
        assert!(all(never).all(|age| age.is_none()) && never.answers.is_none());
    }

    #[test]
    fn what_contradicts_the_rest_is_refused_by_its_name() {
        for (name, value) in [
            ("KEEP_WEBHOOKS_DAYS", "30"),
            ("KEEP_ANSWERS_HOURS", "23"),
            ("ERASURE_GRACE_SECONDS", "86400"),
            ("KEEP_JOBS_DAYS", "-1"),
        ] {
            assert!(read([(name, value)]).unwrap_err().contains(name), "{name}");
        }
    }
}
