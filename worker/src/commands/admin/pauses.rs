//! Pausing queues, providers and models, and resuming them.

use std::error::Error;

use regimen_common::db::pauses::{self, Pausable};
use regimen_common::dispatch::List;
use regimen_common::provider::ProviderName;
use serde_json::{Value, json};

use super::table::{table, time};
use super::{Office, Partly};

/// What to pause or resume.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// queue, provider or model.
    what: Pausable,
    /// Which: pro, free or stripe; the name of a provider; the id of a model.
    name: String,
}

pub(super) async fn set(office: &Office, args: &Args, paused: bool) -> Result<(), Box<dyn Error>> {
    let Args { what, name } = args;
    let known = match what {
        Pausable::Queue => List::PAUSABLE.iter().any(|list| list.as_str() == name),
        Pausable::Provider => name.parse::<ProviderName>().is_ok(),
        Pausable::Model => !name.trim().is_empty(),
    };
    if !known {
        return Err(Partly::NothingToPause(*what, ProviderName::list()).into());
    }
    let mut client = office.db.get().await?;
    let tx = client.transaction();
    let changed = pauses::set(&tx, *what, name, paused, &office.operator.actor()).await?;
    let action = if paused { "pause" } else { "resume" };
    office.record(&tx, action, &format!("{what}:{name}"), json!({ "changed": changed })).await?;
    tx.commit().await?;
    let value =
        json!({ "what": what.as_str(), "name": name, "paused": paused, "changed": changed });
    office.answer(&value, || match (paused, changed) {
        (true, true) => {
            format!("the {what} {name} is paused; workers heed it within a second or so")
        }
        (true, false) => format!("the {what} {name} was paused before"),
        (false, true) => format!("the {what} {name} goes on"),
        (false, false) if *what == Pausable::Provider => {
            format!("{name} was not paused; its cool-downs and breakers are lifted")
        }
        (false, false) => format!("the {what} {name} was not paused"),
    });
    Ok(())
}

pub(super) async fn list(office: &Office) -> Result<(), Box<dyn Error>> {
    let all = pauses::all(&office.db.get().await?).await?;
    let value: Vec<Value> = all
        .iter()
        .map(|pause| {
            json!({ "what": pause.what.as_str(), "name": pause.name,
                "paused_by": pause.paused_by, "paused_at": pause.paused_at })
        })
        .collect();
    office.answer(&json!({ "pauses": value }), || {
        if all.is_empty() {
            return "nothing is paused".to_owned();
        }
        let rows: Vec<_> = all
            .iter()
            .map(|pause| {
                let what = pause.what.to_string();
                [what, pause.name.clone(), time(pause.paused_at), pause.paused_by.clone()]
            })
            .collect();
        table(["WHAT", "NAME", "SINCE", "BY"], &rows)
    });
    Ok(())
}
