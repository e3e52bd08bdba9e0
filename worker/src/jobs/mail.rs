//! Sends the mail of a billing notice.
//!
//! Contract: once per event. The claim is committed before the dialogue with
//! the mail server and its success after it; a crash between the two sends the
//! mail again, under the same Message-ID, because losing it would be worse.
//! Failures that may pass are tried again for about a day.

use std::time::Duration;

use regimen_common::backoff::backoff;
use regimen_common::db::DbError;
use regimen_common::db::billing::notices::{self, ClaimedMail, MailOutcome};

use crate::deps::Deps;
use crate::mail::MailError;

/// How long a claim is valid; longer than the longest SMTP dialogue.
pub const HOLD: Duration = Duration::from_secs(90);
const ATTEMPTS: i32 = 30;
const FIRST_WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// Sends a claimed mail and records the outcome.
pub async fn handle(deps: &Deps, mail: &ClaimedMail) {
    let Some(mailer) = &deps.mailer else {
        // Requested by a process that had a mail server; this one has none.
        return;
    };
    let sent = mailer.send(mail).await;
    let label = match &sent {
        Ok(()) => "sent",
        Err(error) if wait_after(error, mail.attempts).is_some() => "retry",
        Err(_) => "failed",
    };
    metrics::counter!("regimen_mails_total", "outcome" => label).increment(1);
    if let Err(error) = record(deps, mail, sent).await {
        tracing::error!(event_id = mail.event_id, %error, "could not record what became of a mail");
    }
}

/// Records that the handler panicked; the mail is retried as after a temporary failure.
pub async fn panicked(deps: &Deps, mail: &ClaimedMail) {
    let detail = "the handler panicked; the log has the details";
    let outcome = match wait(mail.attempts) {
        Some(wait) => MailOutcome::Later(wait, detail),
        None => MailOutcome::Failed(detail),
    };
    if let Err(error) = write(deps, mail, &outcome).await {
        tracing::error!(event_id = mail.event_id, %error, "could not record what became of a mail");
    }
}

async fn write(deps: &Deps, mail: &ClaimedMail, outcome: &MailOutcome<'_>) -> Result<(), DbError> {
    crate::runner::write_retry::until_written(&deps.cancellation, "mail", async || {
        let client = deps.db.get().await?;
        notices::mail_ended(&client, mail, outcome).await
    })
    .await?;
    Ok(())
}

async fn record(
    deps: &Deps,
    mail: &ClaimedMail,
    sent: Result<(), MailError>,
) -> Result<(), DbError> {
    let detail = sent.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let ended = match &sent {
        Ok(()) => MailOutcome::Delivered,
        Err(error) => match wait_after(error, mail.attempts) {
            Some(wait) => {
                let (problem, reply) = (error.class(), error.reply());
                tracing::warn!(event_id = mail.event_id, problem, reply, "a mail is tried again");
                MailOutcome::Later(wait, &detail)
            }
            None => {
                let (problem, reply) = (error.class(), error.reply());
                tracing::error!(event_id = mail.event_id, problem, reply, "a mail cannot be sent");
                MailOutcome::Failed(&detail)
            }
        },
    };
    write(deps, mail, &ended).await
}

/// `None` to give up.
fn wait_after(error: &MailError, attempts: i32) -> Option<Duration> {
    error.may_pass().then(|| wait(attempts)).flatten()
}

fn wait(attempts: i32) -> Option<Duration> {
    (attempts < ATTEMPTS).then(|| backoff(attempts.unsigned_abs(), FIRST_WAIT, LONGEST_WAIT))
}
