//! Sends the mail of a billing notice.
//!
//! Contract: once per event. The claim is committed before the dialogue with
//! the mail server and its success after it; a crash between the two sends the
//! mail again, under the same Message-ID, because losing it would be worse.
//! Failures that may pass are tried again for about a day.

use std::time::Duration;

use regimen_common::db::DbError;
use regimen_common::db::billing::notices::{self, ClaimedMail, Sent};

use crate::env::Env;
use crate::mail::MailError;

/// How long a claim holds; longer than the longest dialogue.
pub const HOLD: Duration = Duration::from_secs(90);
const ATTEMPTS: i32 = 30;
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// Sends a claimed mail and records what came of it.
pub async fn handle(env: &Env, mail: &ClaimedMail) {
    let Some(mailer) = &env.mailer else {
        // Wanted by a process that had a mail server; this one has none.
        return;
    };
    let sent = mailer.send(mail).await;
    let label = match &sent {
        Ok(()) => "sent",
        Err(error) if wait_after(error, mail.attempts).is_some() => "retry",
        Err(_) => "failed",
    };
    metrics::counter!("regimen_mails_total", "outcome" => label).increment(1);
    if let Err(error) = record(env, mail, sent).await {
        tracing::error!(event_id = mail.event_id, %error, "could not record what became of a mail");
    }
}

async fn record(env: &Env, mail: &ClaimedMail, sent: Result<(), MailError>) -> Result<(), DbError> {
    let detail = sent.as_ref().err().map(ToString::to_string).unwrap_or_default();
    let ended = match &sent {
        Ok(()) => Sent::Delivered,
        Err(error) => match wait_after(error, mail.attempts) {
            Some(wait) => {
                tracing::warn!(event_id = mail.event_id, %error, "a mail is tried again");
                Sent::Later(wait, &detail)
            }
            None => {
                tracing::error!(event_id = mail.event_id, %error, "a mail cannot be sent");
                Sent::Failed(&detail)
            }
        },
    };
    crate::patience::until_written(&env.let_go, "mail", async || {
        let client = env.db.get().await?;
        notices::mail_ended(&client, mail, &ended).await
    })
    .await?;
    Ok(())
}

/// Doubles from ten seconds, at most an hour; `None` to give up.
fn wait_after(error: &MailError, attempts: i32) -> Option<Duration> {
    let doublings = u32::try_from(attempts.saturating_sub(1)).unwrap_or(0).min(9);
    let wait = Duration::from_secs(10 << doublings).min(LONGEST_WAIT);
    (error.may_pass() && attempts < ATTEMPTS).then_some(wait)
}
