//! `regimen-worker backfill`: runs the daily fetch of undelivered events now;
//! with `--everything`, imports all subscriptions and customers of an account
//! through which another service has sold.

use std::error::Error;

use regimen_common::config::Env;
use regimen_common::db::billing::backfill::{Occasion, standing};
use regimen_common::stripe::StripeError;
use regimen_common::{process, start};

use crate::config::WorkerConfig;
use crate::deps::Deps;
use crate::periodic::backfill::{self, DAYS, HOLD, Outcome};
use crate::periodic::stripe_import;

/// What `regimen-worker backfill` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How many days to look back; Stripe keeps events for 30.
    #[arg(long, value_name = "N", default_value_t = DAYS, value_parser = clap::value_parser!(u16).range(1..=i64::from(DAYS)))]
    days: u16,
    /// Read all subscriptions and customers instead, once, when another service has sold
    /// through this account before. An interrupted run continues where it stopped.
    #[arg(long, conflicts_with = "days")]
    everything: bool,
}

/// Why there was no complete run.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(
        "{0} is looking for undelivered events at this moment; wait for it, or try again in {wait} seconds if it has died",
        wait = HOLD.as_secs()
    )]
    Busy(String),
    #[error(
        "another worker began to look for undelivered events and ended at this moment; run the command again"
    )]
    Overtaken,
    #[error(
        "{0} of the missing events cannot be stored, the others are; mend what the errors above name and run the command again"
    )]
    Refused(usize),
    #[error(
        "{unplaced} live subscriptions belong to nobody we know and {refused} objects cannot be \
         stored, see above; the others are taken in. Put user_id into the metadata of those \
         customers at Stripe and run the command again"
    )]
    Unplaced { unplaced: usize, refused: usize },
    #[error("broken off; the next run goes on from here")]
    ImportBrokenOff,
    #[error("broken off; what was found so far is stored, and the next run looks at everything")]
    BrokenOff,
}

/// Runs it, and prints the result.
pub(super) fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let config = WorkerConfig::read(Env::from_process())?;
    process::runtime()?.block_on(async {
        let deps = Deps::new(config, start::signals()?)?;
        deps.db.inspect().await?;
        // First, so that errors of the database are reported by name.
        let reached = deps.db.get().await;
        drop(reached.map_err(|error| start::of_database(&deps.config.database_url, error))?);
        if !deps.stripe.is_configured() {
            return Err(StripeError::NoKey.into());
        }
        if args.everything {
            return everything(&deps).await;
        }
        match backfill::once(&deps, Occasion::Asked, args.days).await? {
            Outcome::Complete(tally) => {
                let days = args.days;
                process::say(&format!(
                    "looked at {} events of the last {days} days; {} had been missing and are stored",
                    tally.looked_at, tally.recovered
                ));
                if tally.mismatched > 0 {
                    process::say(&format!(
                        "{} of them are not applied: they are of the other mode (STRIPE_LIVEMODE) or of a connected account; `regimen-worker events list --state mismatched` shows them",
                        tally.mismatched
                    ));
                }
                for (id, error) in &tally.refused {
                    process::say(&format!("{id} cannot be stored: {error}"));
                }
                match tally.refused.len() {
                    0 => Ok(()),
                    count => Err(Refusal::Refused(count).into()),
                }
            }
            Outcome::NotNow => {
                let client = deps.db.get().await?;
                let holder = standing(&client).await?.holder;
                Err(holder.map_or(Refusal::Overtaken, Refusal::Busy).into())
            }
            Outcome::BrokenOff => Err(Refusal::BrokenOff.into()),
        }
    })
}

async fn everything(deps: &Deps) -> Result<(), Box<dyn Error>> {
    let imported = match stripe_import::run(deps, &process::say).await? {
        stripe_import::Outcome::Complete(imported) => imported,
        stripe_import::Outcome::BrokenOff(_) => return Err(Refusal::ImportBrokenOff.into()),
        stripe_import::Outcome::NotNow => {
            let client = deps.db.get().await?;
            let holder = standing(&client).await?.holder;
            return Err(holder.map_or(Refusal::Overtaken, Refusal::Busy).into());
        }
    };
    let (looked_at, placed) = (imported.looked_at, imported.placed);
    process::say(&format!("read {looked_at} objects; {placed} subscriptions are of users we know"));
    for (id, customer) in &imported.unplaced {
        process::say(&format!("{id} of {customer} is of nobody we know"));
    }
    for (id, error) in &imported.refused {
        process::say(&format!("{id} cannot be stored: {error}"));
    }
    match (imported.unplaced.len(), imported.refused.len()) {
        (0, 0) => Ok(()),
        (unplaced, refused) => Err(Refusal::Unplaced { unplaced, refused }.into()),
    }
}
