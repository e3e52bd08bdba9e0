//! Sends a callback to a client's server.
//!
//! Contract: at least once, always with the same `webhook-id`. The claim is
//! committed before the request and its outcome after it; after a crash between
//! the two, the callback is sent again when the claim expires. 2xx and 410 end
//! it; any other result is retried by `CALLBACK_RETRY_SECONDS` and is then
//! dead, with the reason stored in the job. Redirects are not followed and
//! count as failures.

use regimen_common::db::callbacks::{self, CallbackOutcome, ClaimedCallback};

use crate::deps::Deps;
use crate::webhook::{DeliveryError, WebhookSender};

/// The error of a callback whose workers were lost every time.
const VANISHED: &str = "the workers that sent it stopped before they could tell what came of it";
/// The status with which a receiver ends the delivery.
const GONE: u16 = 410;

/// Sends a claimed callback and records the outcome.
pub async fn handle(deps: &Deps, claimed: &ClaimedCallback) {
    let Some(sender) = &deps.webhook_sender else { return };
    let outcome = if sender.is_exhausted(claimed.attempts) {
        Outcome { sent: CallbackOutcome::Dead, status: None, error: Some(VANISHED.to_owned()) }
    } else {
        Outcome::of(sender, claimed, sender.deliver(claimed).await)
    };
    record(deps, claimed, &outcome).await;
}

/// Records that the handler panicked; the callback is retried as after a temporary
/// failure.
pub async fn panicked(deps: &Deps, claimed: &ClaimedCallback) {
    let later = deps.webhook_sender.as_ref().and_then(|sender| sender.wait_after(claimed.attempts));
    let sent = later.map_or(CallbackOutcome::Dead, CallbackOutcome::Later);
    let error = Some("the sender panicked; the log has the details".to_owned());
    record(deps, claimed, &Outcome { sent, status: None, error }).await;
}

async fn record(deps: &Deps, claimed: &ClaimedCallback, outcome: &Outcome) {
    outcome.count(claimed);
    let recorded =
        crate::runner::write_retry::until_written(&deps.cancellation, "callback", async || {
            let client = deps.db.get().await?;
            callbacks::ended(
                &client,
                claimed,
                &outcome.sent,
                outcome.status,
                outcome.error.as_deref(),
            )
            .await
        });
    let job_id = claimed.message.data.id;
    match recorded.await {
        Ok(true) => {}
        Ok(false) => tracing::warn!(%job_id, "a callback took longer than its claim held"),
        Err(error) => {
            tracing::error!(%job_id, %error, "could not record what became of a callback");
        }
    }
}

struct Outcome {
    sent: CallbackOutcome,
    status: Option<u16>,
    error: Option<String>,
}

impl Outcome {
    fn of(
        sender: &WebhookSender,
        claimed: &ClaimedCallback,
        delivered: Result<u16, DeliveryError>,
    ) -> Self {
        let error = match delivered {
            Ok(status) => {
                return Self {
                    sent: CallbackOutcome::Delivered,
                    status: Some(status),
                    error: None,
                };
            }
            Err(error) => error,
        };
        if let DeliveryError::NotPublic(refused) = &error {
            // Only for operators: the owner must not learn about internal addresses.
            let (host, job_id) = (&claimed.host, claimed.message.data.id);
            tracing::warn!(%job_id, host, %refused, "a callback leads into a network; not called");
        }
        let sent = match &error {
            DeliveryError::Status(GONE) => CallbackOutcome::Gone,
            DeliveryError::Refused(_) => CallbackOutcome::Dead,
            DeliveryError::NotPublic(_)
            | DeliveryError::Unreachable { .. }
            | DeliveryError::TimedOut(_)
            | DeliveryError::Status(_) => sender
                .wait_after(claimed.attempts)
                .map_or(CallbackOutcome::Dead, CallbackOutcome::Later),
        };
        Self { sent, status: error.status(), error: Some(error.to_string()) }
    }

    fn count(&self, claimed: &ClaimedCallback) {
        let label = match self.sent {
            CallbackOutcome::Delivered => "delivered",
            CallbackOutcome::Gone => "gone",
            CallbackOutcome::Later(_) => "retry",
            CallbackOutcome::Dead => "dead",
        };
        metrics::counter!("regimen_callbacks_total", "outcome" => label).increment(1);
        if let (CallbackOutcome::Dead, Some(error)) = (&self.sent, &self.error) {
            let (job_id, attempts) = (claimed.message.data.id, claimed.attempts);
            tracing::warn!(
                incident = "callback_dead",
                %job_id,
                host = claimed.host,
                attempts,
                error,
                "a callback is given up"
            );
        }
    }
}
