//! Stripe events, callbacks and mails, once more.

use std::error::Error;

use regimen_common::db::billing::events::Replayed;
use regimen_common::db::dead::{self, DeadKind};
use serde_json::json;
use uuid::Uuid;

use super::Office;
use super::jobs::{Outcome, told};

/// What can be done with Stripe's events.
#[derive(Debug, clap::Subcommand)]
pub(super) enum EventsCommand {
    /// Have events applied again. What was done before is not done twice.
    #[command(group(clap::ArgGroup::new("which").required(true).args(["ids", "all_dead"])))]
    Replay {
        /// Ids of stored events, such as evt_1Qx….
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        /// Every event that was given up, up to 1,000 at a time.
        #[arg(long)]
        all_dead: bool,
    },
}

/// What can be done with callbacks.
#[derive(Debug, clap::Subcommand)]
pub(super) enum CallbacksCommand {
    /// Have callbacks sent again, under the same id of the message.
    #[command(group(clap::ArgGroup::new("which").required(true).args(["jobs", "all_dead"])))]
    Replay {
        /// The jobs they are about.
        #[arg(value_name = "JOB")]
        jobs: Vec<Uuid>,
        /// Every callback that was given up, up to 1,000 at a time.
        #[arg(long)]
        all_dead: bool,
    },
}

/// What can be done with mails about payments.
#[derive(Debug, clap::Subcommand)]
pub(super) enum MailsCommand {
    /// Have mails that were given up sent again.
    #[command(group(clap::ArgGroup::new("which").required(true).args(["events", "all_dead"])))]
    Replay {
        /// The Stripe events they are about, such as evt_1Qx….
        #[arg(value_name = "EVENT")]
        events: Vec<String>,
        /// Every mail that was given up, up to 1,000 at a time.
        #[arg(long)]
        all_dead: bool,
    },
}

const AT_ONCE: i64 = 1_000;

pub(super) async fn events(office: &Office, command: &EventsCommand) -> Result<(), Box<dyn Error>> {
    let EventsCommand::Replay { ids, all_dead } = command;
    let mut client = office.db.get().await?;
    let mut ids = ids.clone();
    if *all_dead {
        let letters = dead::letters(&client, &[DeadKind::StripeEvent], AT_ONCE).await?;
        let dead = letters.into_iter().filter(|letter| letter.why.starts_with("dead"));
        ids = dead.map(|letter| letter.id).collect();
    }
    let mut outcomes = Vec::with_capacity(ids.len());
    for id in &ids {
        let outcome = match office.operator.replay(&mut client, id, office.mode).await? {
            Replayed::Again(was) => Outcome::done(id, format!("was {was} and is applied again")),
            Replayed::Held => {
                Outcome::refused(id, "is being applied by a worker at this moment".to_owned())
            }
            Replayed::NotOurs => Outcome::refused(
                id,
                "is of the other mode (STRIPE_LIVEMODE) or another account, and never applied here"
                    .to_owned(),
            ),
            Replayed::Missing => Outcome::refused(
                id,
                "is not stored here; `regimen-worker backfill` fetches what Stripe has".to_owned(),
            ),
        };
        outcomes.push(outcome);
    }
    told(office, &outcomes)
}

pub(super) async fn callbacks(
    office: &Office,
    command: &CallbacksCommand,
) -> Result<(), Box<dyn Error>> {
    let CallbacksCommand::Replay { jobs, all_dead } = command;
    let mut client = office.db.get().await?;
    let jobs = match all_dead {
        true => dead::dead_callbacks(&client, AT_ONCE).await?,
        false => jobs.clone(),
    };
    let mut outcomes = Vec::with_capacity(jobs.len());
    for job in jobs {
        let tx = client.transaction();
        if dead::replay_callback(&tx, job).await? {
            office.record(&tx, "replay_callback", &job.to_string(), json!({})).await?;
            tx.commit().await?;
            outcomes.push(Outcome::done(job, "is told again".to_owned()));
        } else {
            let why = "owes no callback, or one that waits to be sent anyway";
            outcomes.push(Outcome::refused(job, why.to_owned()));
        }
    }
    told(office, &outcomes)
}

pub(super) async fn mails(office: &Office, command: &MailsCommand) -> Result<(), Box<dyn Error>> {
    let MailsCommand::Replay { events, all_dead } = command;
    let mut client = office.db.get().await?;
    let mut events = events.clone();
    if *all_dead {
        let letters = dead::letters(&client, &[DeadKind::Mail], AT_ONCE).await?;
        events = letters.into_iter().map(|letter| letter.id).collect();
    }
    let mut outcomes = Vec::with_capacity(events.len());
    for event in &events {
        let tx = client.transaction();
        if dead::replay_mail(&tx, event).await? {
            office.record(&tx, "replay_mail", event, json!({})).await?;
            tx.commit().await?;
            outcomes.push(Outcome::done(event, "is sent again".to_owned()));
        } else {
            let why = "has no mail that was given up; `regimen-worker admin dead` shows those";
            outcomes.push(Outcome::refused(event, why.to_owned()));
        }
    }
    told(office, &outcomes)
}
