//! Claims Stripe events and mails: ids popped from Redis, or directly from
//! Postgres while Redis is away.

use std::sync::Arc;

use regimen_common::db::billing::claims::{self, ClaimedEvent, DueEvents};
use regimen_common::db::billing::notices::{self, ClaimedMail, DueMails};
use regimen_common::db::{DbError, limits};
use regimen_common::dispatch::{List, Taken, Weights};

use super::handler;
use crate::deps::Deps;
use crate::jobs::mail;
use crate::runner::consumer;
use crate::runner::quarantine::Quarantine;
use crate::runner::redis_source::RedisSource;
use crate::runner::traced::{About, Described};

/// Events before mails: paid plans take precedence.
const WEIGHTS: Weights = Weights { first: 4, second: 1 };

/// A claimed event, or a mail about one.
#[derive(Debug)]
pub enum EventJob {
    /// To be applied.
    Event(ClaimedEvent),
    /// To be sent.
    Mail(ClaimedMail),
}

impl Described for EventJob {
    fn about(&self) -> About<'_> {
        let (id, kind, attempts, trace) = match self {
            Self::Event(event) => {
                (&event.id, "stripe_event", event.attempts, event.trace_context.as_deref())
            }
            Self::Mail(mail) => (&mail.event_id, "mail", mail.attempts, None),
        };
        let facts = vec![
            ("event_id", id.clone()),
            ("kind", kind.to_owned()),
            ("attempt", attempts.to_string()),
        ];
        About { id: id.clone(), user: None, trace, context: "job", facts }
    }
}

impl consumer::Job<Deps> for EventJob {
    async fn run(&self, deps: &Arc<Deps>) {
        match self {
            Self::Event(claimed) => handler::handle(deps, claimed).await,
            Self::Mail(mail) => mail::handle(deps, mail).await,
        }
    }

    async fn panicked(&self, deps: &Arc<Deps>) {
        match self {
            Self::Event(claimed) => handler::panicked(deps, claimed).await,
            Self::Mail(mail) => mail::panicked(deps, mail).await,
        }
    }
}

/// Claims events and mails.
#[derive(Debug)]
pub struct Events {
    deps: Arc<Deps>,
    source: RedisSource,
    /// Events and mails that cannot be claimed because of their rows.
    events_quarantine: Quarantine<String>,
    mails_quarantine: Quarantine<String>,
}

impl consumer::Source<Deps> for Events {
    type Job = EventJob;

    async fn claim(&mut self, free: usize) -> Result<Vec<EventJob>, DbError> {
        let Some(taken) = self.source.next(free).await else {
            let claimed = self.claim_some(None, free).await?;
            if claimed.is_empty() {
                self.source.pause().await;
            }
            return Ok(claimed);
        };
        if taken.is_empty() {
            return Ok(Vec::new());
        }
        let ids = self.ids(&taken);
        let claimed = self.claim_some(Some(&ids), free).await;
        if claimed.is_err() {
            self.source.put_back(&taken).await;
        }
        claimed
    }
}

impl Events {
    /// A source for this process.
    pub fn new(deps: &Arc<Deps>) -> Self {
        Self {
            source: deps.redis_source((List::Stripe, List::Notify), WEIGHTS),
            deps: Arc::clone(deps),
            events_quarantine: Quarantine::new("claim_events"),
            mails_quarantine: Quarantine::new("claim_mails"),
        }
    }

    /// An id does not say its list; an event and its mail have the same id. A mail is
    /// claimed only when its event is no longer waiting.
    async fn claim_some(
        &mut self,
        ids: Option<&[String]>,
        free: usize,
    ) -> Result<Vec<EventJob>, DbError> {
        let mut client = self.deps.db.within(limits::CLAIM).get().await?;
        let limit = i64::try_from(free).unwrap_or(i64::MAX);
        let quarantine = self.events_quarantine.rows();
        let due = DueEvents { limit, hold: handler::HOLD, quarantine: &quarantine };
        let events = match ids {
            Some(ids) => claims::claim_each(&mut client, ids, handler::HOLD).await?,
            None => claims::claim_due(&mut client, &due).await?,
        };
        let (events, failed) = self.events_quarantine.take(events, String::clone);
        let left = limit - i64::try_from(events.len()).unwrap_or(limit);
        let mut work: Vec<EventJob> = events.into_iter().map(EventJob::Event).collect();
        if failed.is_none() && left > 0 && self.deps.mailer.is_some() {
            let quarantine = self.mails_quarantine.rows();
            let due = DueMails { limit: left, hold: mail::HOLD, quarantine: &quarantine };
            match notices::claim_mails(&mut client, ids, &due).await {
                Ok(mails) => {
                    let (mails, _) = self.mails_quarantine.take(mails, String::clone);
                    work.extend(mails.into_iter().map(EventJob::Mail));
                }
                // Jobs that are claimed already are handled anyway.
                Err(error) => tracing::warn!(%error, "could not claim mails; trying again"),
            }
        }
        match failed {
            Some(error) if work.is_empty() => Err(error),
            _ => Ok(work),
        }
    }

    /// The popped ids, without those that are set aside.
    fn ids(&self, taken: &Taken) -> Vec<String> {
        let ids = taken.iter().map(|(_, message)| message.id.clone());
        ids.filter(|id| !self.events_quarantine.holds(id) && !self.mails_quarantine.holds(id))
            .collect()
    }
}
