//! Tells a caller's server that its job has ended.
//!
//! Contract: at least once, always under the same `webhook-id`. The claim is
//! committed before the request and its outcome after it; a crash between the
//! two sends it again when the claim runs out, because losing it would be
//! worse. 2xx is the end, 410 too; everything else is tried again by
//! `CALLBACK_RETRY_SECONDS` and then dead, with the reason kept in the job.
//! Redirects are failures: where they lead was not asked for.

use regimen_common::db::callbacks::{self, Owed, Sent};

use crate::callbacks::{Courier, DeliveryError};
use crate::env::Env;

/// What is kept of a callback whose workers vanished every time.
const VANISHED: &str = "the workers that sent it stopped before they could tell what came of it";
/// The status by which a receiver wants no more.
const GONE: u16 = 410;

/// Sends a claimed callback and records what came of it.
pub async fn handle(env: &Env, owed: &Owed) {
    let Some(courier) = &env.courier else { return };
    let outcome = if courier.is_exhausted(owed.attempts) {
        Outcome { sent: Sent::Dead, status: None, error: Some(VANISHED.to_owned()) }
    } else {
        Outcome::of(courier, owed, courier.deliver(owed).await)
    };
    outcome.count(owed);
    let recorded = crate::patience::until_written(&env.let_go, "callback", async || {
        let client = env.db.get().await?;
        callbacks::ended(&client, owed, &outcome.sent, outcome.status, outcome.error.as_deref())
            .await
    });
    let job_id = owed.message.data.id;
    match recorded.await {
        Ok(true) => {}
        Ok(false) => tracing::warn!(%job_id, "a callback took longer than its claim held"),
        Err(error) => {
            tracing::error!(%job_id, %error, "could not record what became of a callback");
        }
    }
}

struct Outcome {
    sent: Sent,
    status: Option<u16>,
    error: Option<String>,
}

impl Outcome {
    fn of(courier: &Courier, owed: &Owed, delivered: Result<u16, DeliveryError>) -> Self {
        let error = match delivered {
            Ok(status) => return Self { sent: Sent::Delivered, status: Some(status), error: None },
            Err(error) => error,
        };
        if let DeliveryError::NotPublic(refused) = &error {
            // For the operators alone: the owner must not learn what is inside.
            let (host, job_id) = (&owed.host, owed.message.data.id);
            tracing::warn!(%job_id, host, %refused, "a callback leads into a network; not called");
        }
        let sent = match &error {
            DeliveryError::Status(GONE) => Sent::Gone,
            DeliveryError::Refused(_) => Sent::Dead,
            DeliveryError::NotPublic(_)
            | DeliveryError::Unreachable { .. }
            | DeliveryError::TimedOut(_)
            | DeliveryError::Status(_) => {
                courier.wait_after(owed.attempts).map_or(Sent::Dead, Sent::Later)
            }
        };
        Self { sent, status: error.status(), error: Some(error.to_string()) }
    }

    fn count(&self, owed: &Owed) {
        let label = match self.sent {
            Sent::Delivered => "delivered",
            Sent::Gone => "gone",
            Sent::Later(_) => "retry",
            Sent::Dead => "dead",
        };
        metrics::counter!("regimen_callbacks_total", "outcome" => label).increment(1);
        if let (Sent::Dead, Some(error)) = (&self.sent, &self.error) {
            let (job_id, attempts) = (owed.message.data.id, owed.attempts);
            tracing::warn!(%job_id, host = owed.host, attempts, error, "a callback is given up");
        }
    }
}
