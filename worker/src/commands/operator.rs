//! Who runs a command that changes something, and why: every change is recorded
//! in `regimen.admin_actions` in the same transaction.

use regimen_common::billing::Mode;
use regimen_common::db::admin_actions;
use regimen_common::db::billing::events::{self, Replayed};
use regimen_common::db::{Client, DbError, Transaction};
use serde_json::{Value, json};

/// The options for the audit log.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Operator {
    /// Who acts, for the audit log; the user of the operating system by default.
    #[arg(long = "as", value_name = "NAME", global = true)]
    actor: Option<String>,
    /// The reason, for the audit log.
    #[arg(long, value_name = "TEXT", global = true)]
    reason: Option<String>,
}

impl Operator {
    /// The actor in records.
    pub(super) fn actor(&self) -> String {
        let name = self.actor.clone().or_else(|| whoami::username().ok());
        format!("cli:{}", name.as_deref().unwrap_or("somebody"))
    }

    /// Records an action in `tx`.
    pub(super) async fn record(
        &self,
        tx: &Transaction<'_>,
        name: &str,
        target: &str,
        detail: Value,
    ) -> Result<(), DbError> {
        let by = admin_actions::Operator { actor: self.actor(), reason: self.reason.clone() };
        by.record(tx, name, target, detail).await
    }

    /// Has a Stripe event applied again, and records it.
    pub(super) async fn replay(
        &self,
        client: &mut Client,
        id: &str,
        mode: Mode,
    ) -> Result<Replayed, DbError> {
        let tx = client.transaction();
        let replayed = events::replay(&tx, id, mode).await?;
        if let Replayed::Again(was) = replayed {
            self.record(&tx, "replay_stripe_event", id, json!({ "was": was.as_str() })).await?;
            tx.commit().await?;
        }
        Ok(replayed)
    }
}
