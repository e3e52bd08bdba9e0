//! A user's limits: shown as they count now, and reset.

use std::error::Error;
use std::num::NonZeroU32;
use std::time::Duration;

use regimen_common::db::generations;
use regimen_common::rate_limit::{RateLimiter, RatePolicy};
use regimen_common::redis::{forget_users, keys_of_users};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Office;
use super::table::table;

/// What can be done with a user's limits.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Show what is left of a user's limits.
    Show {
        /// The user.
        #[arg(value_name = "USER")]
        user: Uuid,
    },
    /// Let a user begin anew: the rate limits, and with --month the plan's generations.
    Reset {
        /// The user.
        #[arg(value_name = "USER")]
        user: Uuid,
        /// Also give back the generations of this month.
        #[arg(long)]
        month: bool,
    },
}

/// Redis may take so long.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(office: &Office, command: &Command) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Show { user } => show(office, *user).await,
        Command::Reset { user, month } => reset(office, *user, *month).await,
    }
}

/// The limits of which something is used: their keys say which they are.
async fn rates(office: &Office, user: Uuid) -> Result<Vec<RatePolicy>, Box<dyn Error>> {
    let keys = keys_of_users(&office.redis, &[user]).await?;
    let start = office.redis.key("rate:");
    let mut policies = Vec::new();
    for key in &keys {
        let Some(name) = key.strip_prefix(&start) else { continue };
        let mut parts = name.split(':');
        if let (Some(name), Some(Ok(quota)), Some(Ok(window))) = (
            parts.next(),
            parts.next().map(str::parse::<NonZeroU32>),
            parts.next().map(str::parse::<u64>),
        ) {
            let window = Duration::from_secs(window);
            policies.push(RatePolicy { name: name.into(), quota, window, shadow: false });
        }
    }
    Ok(policies)
}

async fn show(office: &Office, user: Uuid) -> Result<(), Box<dyn Error>> {
    let policies = rates(office, user).await?;
    let limiter = RateLimiter::new(office.redis.clone(), PATIENCE);
    let decision = limiter.look(&user.to_string(), &policies).await;
    let client = office.db.get().await?;
    let month = generations::month(&client, user).await?;
    let cost = generations::month_cost(&client, user).await? as f64 / 1e6;
    let rates: Vec<Value> = decision
        .checks
        .iter()
        .map(|check| {
            json!({ "policy": &*check.policy.name, "quota": check.policy.quota,
                "window_seconds": check.policy.window.as_secs(), "remaining": check.remaining,
                "next_in_seconds": check.next_unit.as_secs() })
        })
        .collect();
    let value = json!({
        "user_id": user, "rates": rates,
        "generations": { "allowed": month.allowed, "used": month.used, "left": month.left(),
            "resets_at": month.ends_at },
        "month_usd": cost,
    });
    office.answer(&value, || {
        let rows: Vec<_> = decision
            .checks
            .iter()
            .map(|check| {
                [
                    check.policy.name.to_string(),
                    format!("{}/{}s", check.policy.quota, check.policy.window.as_secs()),
                    check.remaining.to_string(),
                    format!("{} s", check.next_unit.as_secs()),
                ]
            })
            .collect();
        let rates = match rows.is_empty() {
            true => "nothing of the rate limits is used\n".to_owned(),
            false => table(["LIMIT", "RATE", "LEFT", "NEXT"], &rows),
        };
        format!(
            "{rates}generations of this month: {} of {} used; calls cost {cost:.4} USD",
            month.used, month.allowed
        )
    });
    Ok(())
}

async fn reset(office: &Office, user: Uuid, month: bool) -> Result<(), Box<dyn Error>> {
    let mut client = office.db.get().await?;
    let tx = client.transaction();
    let given_back = match month {
        true => generations::give_back_month(&tx, user).await?,
        false => 0,
    };
    let detail = json!({ "generations": given_back });
    office.record(&tx, "reset_limits", &user.to_string(), detail).await?;
    // Within the transaction: when Redis is away nothing is recorded as done.
    let keys = forget_users(&office.redis, &[user]).await?;
    tx.commit().await?;
    let value = json!({ "user_id": user, "keys": keys, "generations": given_back });
    office.answer(&value, || {
        format!("{keys} counts are forgotten and {given_back} generations given back")
    });
    Ok(())
}
