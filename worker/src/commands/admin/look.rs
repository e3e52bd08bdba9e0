//! Looks that change nothing: workers, dead letters, spend, the record of actions.

use std::error::Error;

use chrono::{NaiveDate, NaiveTime, TimeDelta};
use regimen_common::db::admin_actions::{self, Filter, Found};
use regimen_common::db::dead::{self, DeadKind};
use regimen_common::db::spend::{self, Grouping};
use regimen_common::db::workers;
use serde_json::{Value, json};

use super::Office;
use super::table::{or_dash, short, table, time};

pub(super) async fn workers(office: &Office) -> Result<(), Box<dyn Error>> {
    let all = workers::all(&office.db.get().await?).await?;
    let value: Vec<Value> = all
        .iter()
        .map(|worker| {
            json!({
                "worker_id": worker.worker_id, "state": worker.state(), "version": worker.version,
                "host": worker.host, "pid": worker.pid, "slots": worker.slots,
                "held": worker.held, "running": worker.running, "draining": worker.draining,
                "started_at": worker.started_at, "seen_at": worker.seen_at,
            })
        })
        .collect();
    office.answer(&json!({ "workers": value }), || {
        if all.is_empty() {
            return "no worker has been seen within the last hour".to_owned();
        }
        let rows: Vec<_> = all
            .iter()
            .map(|worker| {
                [
                    worker.worker_id.clone(),
                    worker.state().to_owned(),
                    worker.version.clone(),
                    format!("{}:{}", worker.host, worker.pid),
                    format!("{}/{}", worker.held, worker.slots),
                    worker.running.to_string(),
                    time(worker.started_at),
                    format!("{} s ago", worker.silent.as_secs()),
                ]
            })
            .collect();
        let heads = ["WORKER", "STATE", "VERSION", "HOST", "HELD", "RUNNING", "SINCE", "SEEN"];
        table(heads, &rows)
    });
    Ok(())
}

/// What `regimen-worker admin dead` takes.
#[derive(Debug, clap::Args)]
pub(super) struct DeadArgs {
    /// Only of this kind: job, callback, stripe_event or mail.
    #[arg(long)]
    kind: Option<DeadKind>,
    /// At most so many of each kind.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: u16,
}

pub(super) async fn dead(office: &Office, args: &DeadArgs) -> Result<(), Box<dyn Error>> {
    let kinds = args.kind.map_or_else(|| DeadKind::ALL.to_vec(), |kind| vec![kind]);
    let client = office.db.get().await?;
    let letters = dead::letters(&client, &kinds, i64::from(args.limit)).await?;
    office.answer(&json!({ "dead": letters }), || {
        if letters.is_empty() {
            return "nothing was given up".to_owned();
        }
        let rows: Vec<_> = letters
            .iter()
            .map(|letter| {
                [
                    letter.kind.to_owned(),
                    letter.id.clone(),
                    time(letter.at),
                    or_dash(letter.user_id),
                    short(&letter.why),
                ]
            })
            .collect();
        let mut text = table(["KIND", "ID", "AT", "USER", "WHY"], &rows);
        text.push_str(
            "again, once the cause is mended: admin jobs retry, admin callbacks replay, admin \
             events replay, admin mails replay",
        );
        text
    });
    Ok(())
}

/// What `regimen-worker admin spend` takes.
#[derive(Debug, clap::Args)]
pub(super) struct SpendArgs {
    /// The first day, in UTC (2026-11-28); 29 days before the last unless given.
    #[arg(long, value_name = "DAY")]
    from: Option<NaiveDate>,
    /// The last day, in UTC; today unless given.
    #[arg(long, value_name = "DAY")]
    to: Option<NaiveDate>,
    /// What the sums are told apart by: day, provider, model, user, comma-separated.
    #[arg(long, value_name = "NAMES", default_value = "day,provider,model")]
    by: Grouping,
    /// At most so many sums.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
}

pub(super) async fn spend(office: &Office, args: &SpendArgs) -> Result<(), Box<dyn Error>> {
    let to = args.to.unwrap_or_else(|| office.clock.now().date_naive());
    let from = args.from.unwrap_or_else(|| to - TimeDelta::days(29));
    let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    let (start, end) = (midnight(from), midnight(to) + TimeDelta::days(1));
    let client = office.db.get().await?;
    let sums = spend::sums(&client, start, end, args.by, i64::from(args.limit)).await?;
    let total = spend::sums(&client, start, end, Grouping::default(), 1).await?;
    let total = dollars(total.first().map_or(0, |sum| sum.cost_micros));
    let value: Vec<Value> = sums
        .iter()
        .map(|sum| {
            json!({
                "day": sum.day, "provider": sum.provider, "model": sum.model,
                "user_id": sum.user, "calls": sum.calls, "input_tokens": sum.input_tokens,
                "cached_tokens": sum.cached_tokens, "output_tokens": sum.output_tokens,
                "cost_usd": dollars(sum.cost_micros),
            })
        })
        .collect();
    let value = json!({ "from": from, "to": to, "total_usd": total, "sums": value });
    office.answer(&value, || {
        let rows: Vec<_> = sums
            .iter()
            .map(|sum| {
                [
                    or_dash(sum.day),
                    or_dash(sum.provider.as_deref()),
                    or_dash(sum.model.as_deref()),
                    or_dash(sum.user),
                    sum.calls.to_string(),
                    format!("{:.4}", dollars(sum.cost_micros)),
                ]
            })
            .collect();
        let text = table(["DAY", "PROVIDER", "MODEL", "USER", "CALLS", "USD"], &rows);
        format!("{text}{total:.4} USD from {from} to {to}")
    });
    Ok(())
}

fn dollars(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// What `regimen-worker admin audit` takes.
#[derive(Debug, clap::Args)]
pub(super) struct AuditArgs {
    /// Only what they did: cli:NAME, a user's id, or service.
    #[arg(long)]
    by: Option<String>,
    /// Only this: retry_job, pause, erase_account …
    #[arg(long)]
    action: Option<String>,
    /// Only what was done to this: the id of a job, user, event …
    #[arg(long)]
    target: Option<String>,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    limit: u16,
}

pub(super) async fn audit(office: &Office, args: &AuditArgs) -> Result<(), Box<dyn Error>> {
    let mut filter = Filter {
        actor: args.by.clone(),
        name: args.action.clone(),
        target: args.target.clone(),
        before: None,
        limit: i64::from(args.limit),
    };
    let client = office.db.get().await?;
    let mut rows = Vec::new();
    loop {
        let Found { actions, stopped_at } = admin_actions::list(&client, &filter).await?;
        filter.limit -= i64::try_from(actions.len()).unwrap_or(i64::MAX);
        rows.extend(actions);
        match stopped_at {
            Some(place) if filter.limit > 0 => filter.before = Some(place),
            _ => break,
        }
    }
    let value: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!({ "id": row.id, "at": row.at, "actor": row.actor, "action": row.name,
                "target": row.target, "detail": row.detail, "outcome": row.outcome })
        })
        .collect();
    office.answer(&json!({ "actions": value }), || {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                [
                    time(row.at),
                    row.actor.clone(),
                    row.name.clone(),
                    row.target.clone(),
                    or_dash(row.outcome.as_deref()),
                    short(row.detail["reason"].as_str().unwrap_or("-")),
                ]
            })
            .collect();
        table(["AT", "WHO", "WHAT", "TO", "OUTCOME", "WHY"], &rows)
    });
    Ok(())
}
