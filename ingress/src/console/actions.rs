//! What an operator can do, one thing at a time: a page says what will happen and asks
//! for the reason, and its form does it. Both are at one address.

use askama::Template;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use regimen_common::db::console::{self, ConsoleRole};
use regimen_common::db::jobs;
use regimen_common::db::pauses::Pausable;
use serde_json::json;
use uuid::Uuid;

use super::fault::Answer;
use super::form::Form;
use super::limit::{Limit, limited};
use super::page::{Frame, html};
use super::session::{Act, Session, sign_in_link};
use super::stripe_events;
use crate::billing::stripe_id;
use crate::error::ApiError;
use crate::export;
use crate::extract::is_plain;
use crate::operators::{self, Operator};
use crate::state::AppState;

/// Generations that one action gives.
const MOST_GIVEN: i32 = 100;
const MUST_GIVE: &str = "must be a number from 1 to 100";

/// The routes; each action is counted.
pub(super) fn router(state: &AppState) -> Router<AppState> {
    limited(state, Limit::Act, Router::new().route("/console/act", get(ask).post(act)))
}

/// One action and its target.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Retry(Uuid),
    Cancel(Uuid),
    Pause(Pausable, String),
    Resume(Pausable, String),
    TestCall(&'static str, String),
    ReplayEvent(String),
    ShowPayload(String),
    Assign(String, Uuid),
    ReplayCallback(Uuid),
    ReplayMail(String),
    ShowReply(Uuid, i32),
    Revoke(Uuid),
    ResetLimits(Uuid),
    ResetMonth(Uuid),
    Give(Uuid, i32),
    Export(Uuid),
    Erase(Uuid),
    MakeLink(ConsoleRole, String),
}

/// What an action is, in words.
struct Words {
    title: String,
    text: &'static str,
    button: &'static str,
    /// Whether it costs money or cannot be undone.
    grave: bool,
}

impl Action {
    /// Reads what `?do=` names.
    fn read(form: &Form) -> Result<Self, ApiError> {
        let id = |name: &str| {
            let id = form.parse::<Uuid>(name, "must be an id")?;
            id.ok_or_else(|| ApiError::field(format!("?{name}"), "is required"))
        };
        let name = |name: &str| {
            let value = form.get(name).filter(|value| is_plain(value));
            let value = value.ok_or_else(|| ApiError::field(format!("?{name}"), "is required"));
            value.map(str::to_owned)
        };
        let pausable = || {
            let what = form.parse::<Pausable>("what", "must be queue, provider or model")?;
            let what = what.ok_or_else(|| ApiError::field("?what", "is required"))?;
            let name = name("name")?;
            Ok::<_, ApiError>(match what {
                Pausable::Queue => (what, operators::known_queue(&name)?.to_owned()),
                Pausable::Provider => (what, operators::known_provider(&name)?.to_owned()),
                Pausable::Model => (what, name),
            })
        };
        Ok(match form.get("do").unwrap_or_default() {
            "retry" => Self::Retry(id("job")?),
            "cancel" => Self::Cancel(id("job")?),
            "pause" => pausable().map(|(what, name)| Self::Pause(what, name))?,
            "resume" => pausable().map(|(what, name)| Self::Resume(what, name))?,
            "test-call" => {
                let provider = operators::known_provider(&name("provider")?)?;
                Self::TestCall(provider, name("model")?)
            }
            "replay-event" => Self::ReplayEvent(name("event")?),
            "show-payload" => Self::ShowPayload(name("event")?),
            "assign" => {
                let customer = stripe_id("?customer", form.get("customer"))?;
                Self::Assign(customer.to_owned(), id("user")?)
            }
            "replay-callback" => Self::ReplayCallback(id("job")?),
            "replay-mail" => Self::ReplayMail(name("event")?),
            "show-reply" => {
                let n = form.parse("n", "must be the number of an attempt")?;
                Self::ShowReply(id("job")?, n.unwrap_or(1))
            }
            "revoke" => Self::Revoke(id("session")?),
            "reset-limits" => Self::ResetLimits(id("user")?),
            "reset-month" => Self::ResetMonth(id("user")?),
            "give" => {
                let number = form.parse::<i32>("number", MUST_GIVE)?;
                let number = number.filter(|number| (1..=MOST_GIVEN).contains(number));
                let number = number.ok_or_else(|| ApiError::field("?number", MUST_GIVE))?;
                Self::Give(id("user")?, number)
            }
            "make-link" => {
                let role = form.parse("role", "must be admin or viewer")?;
                let role = role.ok_or_else(|| ApiError::field("?role", "is required"))?;
                Self::MakeLink(role, name("as")?)
            }
            "export" => Self::Export(id("user")?),
            "erase" => Self::Erase(id("user")?),
            _ => return Err(ApiError::NotFound("there is no such action".to_owned())),
        })
    }

    /// The part of the console it belongs to.
    fn part(&self) -> &'static str {
        match self {
            Self::Retry(_) | Self::Cancel(_) | Self::ShowReply(..) => "/console/jobs",
            Self::Pause(..) | Self::Resume(..) | Self::TestCall(..) => "/console/queues",
            Self::ReplayEvent(_) | Self::ReplayCallback(_) | Self::ReplayMail(_) => "/console/dead",
            Self::ShowPayload(_) | Self::Assign(..) => "/console/money",
            Self::Revoke(_) | Self::MakeLink(..) => "/console/audit",
            Self::ResetLimits(_)
            | Self::ResetMonth(_)
            | Self::Give(..)
            | Self::Export(_)
            | Self::Erase(_) => "/console/users",
        }
    }

    /// What must be typed to confirm it, beside the reason.
    fn typed(&self) -> Option<String> {
        match self {
            Self::Erase(user) => Some(user.to_string()),
            _ => None,
        }
    }

    fn words(&self) -> Words {
        let words = |title: String, text, button, grave| Words { title, text, button, grave };
        match self {
            Self::Retry(id) => words(
                format!("Retry job {id}"),
                "A new job of the same user repeats the work. The calls to providers cost money \
                 again; the user is not charged another generation.",
                "Retry the job",
                true,
            ),
            Self::Cancel(id) => words(
                format!("Cancel job {id}"),
                "The job ends without a plan, and stays so. A running call is dropped within a \
                 second; what it cost is paid.",
                "Cancel the job",
                true,
            ),
            Self::Pause(what, name) => words(
                format!("Pause {what} {name}"),
                match what {
                    Pausable::Queue => {
                        "Jobs are accepted and wait; none of this queue is claimed until it is \
                         resumed. Running jobs continue, and jobs that wait too long expire."
                    }
                    Pausable::Provider | Pausable::Model => {
                        "It is not called until it is resumed; running calls continue. Jobs go to \
                         the next provider."
                    }
                },
                "Pause it",
                false,
            ),
            Self::Resume(what, name) => words(
                format!("Resume {what} {name}"),
                match what {
                    Pausable::Queue => "Its jobs are claimed again.",
                    Pausable::Provider => {
                        "It is called again; its cool-downs end and its breakers close. Do it once \
                         the cause is corrected."
                    }
                    Pausable::Model => "It is called again.",
                },
                "Resume it",
                false,
            ),
            Self::TestCall(provider, model) => words(
                format!("Call {model} of {provider} once"),
                "A worker asks it for one small answer, also while it is paused or fails. The call \
                 costs money, a fraction of what a plan costs.",
                "Make the call",
                true,
            ),
            Self::ReplayEvent(id) => words(
                format!("Apply Stripe event {id} again"),
                "Effects that are already applied do not happen twice.",
                "Apply it again",
                false,
            ),
            Self::ShowPayload(id) => words(
                format!("Show the payload of Stripe event {id}"),
                "Names, addresses and links in it are hidden. That you saw it, and why, is \
                 recorded.",
                "Show the payload",
                false,
            ),
            Self::Assign(customer, user) => words(
                format!("Assign customer {customer} to user {user}"),
                "Workers apply the customer's unresolved events, and the user gets the plan that \
                 its subscriptions pay for. Make sure that they are the same person.",
                "Assign the customer",
                true,
            ),
            Self::ReplayCallback(id) => words(
                format!("Send the callback of job {id} again"),
                "Its receiver gets it under the same id as before.",
                "Send it again",
                false,
            ),
            Self::ReplayMail(event) => words(
                format!("Send the mail about event {event} again"),
                "Its receiver may get it a second time, under the same Message-ID.",
                "Send it again",
                false,
            ),
            Self::ShowReply(id, n) => words(
                format!("Show the reply of attempt {n} of job {id}"),
                "The provider's raw reply is about one person's health. That you saw it, and why, \
                 is recorded.",
                "Show the reply",
                false,
            ),
            Self::Revoke(id) => words(
                format!("End session {id}"),
                "Whoever has this session is signed out with the next request.",
                "End the session",
                false,
            ),
            Self::ResetLimits(user) => words(
                format!("Reset the limits of user {user}"),
                "The limits of requests count from zero again.",
                "Reset the limits",
                false,
            ),
            Self::ResetMonth(user) => words(
                format!("Give user {user} the month's generations back"),
                "The limits of requests count from zero again, and so do the generations of this \
                 month: each one that is used costs money.",
                "Give them back",
                true,
            ),
            Self::Give(user, number) => words(
                format!("Give user {user} {number} more generations"),
                "They count beyond the plan's number, until the month (UTC) ends. Each one that \
                 is used costs money.",
                "Give them",
                true,
            ),
            Self::MakeLink(role, actor) => words(
                format!("Make a link that signs {actor} in as {role}"),
                "Whoever has the link is signed in once, within ten minutes, for 8 hours at most. \
                 It is shown once.",
                "Make the link",
                *role == ConsoleRole::Admin,
            ),
            Self::Export(user) => words(
                format!("Export what is kept about user {user}"),
                "The file holds the person's health data. That you got it, and why, is recorded.",
                "Get the file",
                false,
            ),
            Self::Erase(user) => words(
                format!("Erase user {user}"),
                "Profile, quizzes and plans are deleted at once, jobs and all that belongs to them \
                 within a day. This cannot be undone.",
                "Erase the user",
                true,
            ),
        }
    }

    /// Does it; where to go from there, or what to show.
    async fn perform(&self, state: &AppState, by: &Operator, session: &Session) -> Answer {
        let to = |path: String| Redirect::to(&path).into_response();
        Ok(match self {
            Self::Retry(id) => {
                let retry = operators::retry_job(state, by, *id).await?;
                let done = if retry.created { "retried" } else { "retried-before" };
                to(format!("/console/jobs/{}?done={done}", retry.id))
            }
            Self::Cancel(id) => {
                operators::cancel_job(state, by, *id).await?;
                to(format!("/console/jobs/{id}?done=cancelled"))
            }
            Self::Pause(what, name) => {
                operators::set_pause(state, by, *what, name, true).await?;
                to("/console/queues?done=paused".to_owned())
            }
            Self::Resume(what, name) => {
                operators::set_pause(state, by, *what, name, false).await?;
                to("/console/queues?done=resumed".to_owned())
            }
            Self::TestCall(provider, model) => {
                operators::test_call(state, by, provider, model).await?;
                to("/console/queues?done=tested".to_owned())
            }
            Self::ReplayEvent(id) => {
                operators::replay_event(state, by, id).await?;
                to("/console/dead?done=replayed".to_owned())
            }
            Self::ShowPayload(id) => stripe_events::show_payload(state, by, session, id).await?,
            Self::Assign(customer, user) => {
                operators::assign_customer(state, by, customer, *user).await?;
                to(format!("/console/users?user={user}&done=assigned"))
            }
            Self::ReplayCallback(id) => {
                operators::replay_callback(state, by, *id).await?;
                to("/console/dead?done=replayed".to_owned())
            }
            Self::ReplayMail(event) => {
                operators::replay_mail(state, by, event).await?;
                to("/console/dead?done=replayed".to_owned())
            }
            Self::ShowReply(id, n) => show_reply(state, by, session, *id, *n).await?,
            Self::Revoke(id) => {
                let mut client = state.db.get().await?;
                let tx = client.transaction();
                if !console::revoke(&tx, *id).await? {
                    let detail = format!("there is no session {id}; it may have ended");
                    return Err(ApiError::NotFound(detail).into());
                }
                by.record(&tx, "revoke_session", &id.to_string(), json!({})).await?;
                tx.commit().await?;
                to("/console/audit?done=revoked".to_owned())
            }
            Self::ResetLimits(user) => {
                operators::reset_limits(state, by, *user, false).await?;
                to(format!("/console/users?user={user}&done=reset"))
            }
            Self::ResetMonth(user) => {
                operators::reset_limits(state, by, *user, true).await?;
                to(format!("/console/users?user={user}&done=reset"))
            }
            Self::Give(user, number) => {
                operators::give_generations(state, by, *user, *number).await?;
                to(format!("/console/users?user={user}&done=given"))
            }
            Self::MakeLink(role, actor) => make_link(state, by, session, *role, actor).await?,
            Self::Export(user) => {
                let mut client = state.db.get().await?;
                let tx = client.transaction();
                by.record(&tx, "export_account", &user.to_string(), json!({})).await?;
                tx.commit().await?;
                drop(client);
                export::document(state, *user).await?
            }
            Self::Erase(user) => {
                operators::erase_account(state, by, *user).await?;
                to(format!("/console/users?user={user}&done=erased"))
            }
        })
    }
}

#[derive(Template)]
#[template(path = "console/act.html")]
struct AskPage {
    frame: Frame,
    words: Words,
    query: String,
    typed: Option<String>,
}

async fn ask(session: Session, RawQuery(query): RawQuery) -> Answer {
    session.require_admin()?;
    let form = Form::read(query.unwrap_or_default().as_bytes());
    let action = Action::read(&form)?;
    let words = action.words();
    let frame = Frame::within(action.part(), words.title.clone(), &session);
    Ok(html(
        AskPage { frame, words, query: form.query_without(&[]), typed: action.typed() }.render()?,
    )
    .into_response())
}

async fn act(
    State(state): State<AppState>,
    RawQuery(query): RawQuery,
    Act { session, form, operator }: Act,
) -> Answer {
    let action = Action::read(&Form::read(query.unwrap_or_default().as_bytes()))?;
    if action.typed().is_some_and(|typed| form.get("typed") != Some(&typed)) {
        let must = "must be the user's id, typed to confirm that this cannot be undone";
        return Err(ApiError::field("/typed", must).into());
    }
    action.perform(&state, &operator, &session).await
}

#[derive(Template)]
#[template(path = "console/reply.html")]
struct ReplyPage {
    frame: Frame,
    job: Uuid,
    n: i32,
    provider: String,
    model: String,
    text: String,
}

#[derive(Template)]
#[template(path = "console/made_link.html")]
struct MadeLinkPage {
    frame: Frame,
    actor: String,
    role: ConsoleRole,
    path: String,
}

/// A link for another operator, in the same transaction as its record.
async fn make_link(
    state: &AppState,
    by: &Operator,
    session: &Session,
    role: ConsoleRole,
    actor: &str,
) -> Answer<Response> {
    let mut client = state.db.get().await?;
    let tx = client.transaction();
    let actor = format!("link:{actor}");
    let link = sign_in_link(&tx, &actor, role).await?;
    by.record(&tx, "make_console_link", &actor, json!({ "role": role.as_str() })).await?;
    tx.commit().await?;
    let frame = Frame::within("/console/audit", "A link to sign in", session);
    let page = MadeLinkPage { frame, actor, role, path: link.path };
    Ok((StatusCode::OK, html(page.render()?)).into_response())
}

/// The raw reply; that somebody looked is recorded first.
async fn show_reply(
    state: &AppState,
    by: &Operator,
    session: &Session,
    job: Uuid,
    n: i32,
) -> Answer<Response> {
    let mut client = state.db.get().await?;
    let tx = client.transaction();
    let found = jobs::raw_reply(&tx, job, n).await?;
    let reply = found.as_ref().and_then(|found| found.text.clone()).ok_or_else(|| {
        ApiError::NotFound(
            "this attempt has no reply: it did not arrive, or its retention period is over"
                .to_owned(),
        )
    })?;
    by.record(&tx, "show_reply", &job.to_string(), json!({ "n": n })).await?;
    tx.commit().await?;
    let (provider, model) = found.map(|found| (found.provider, found.model)).unwrap_or_default();
    let frame = Frame::within("/console/jobs", format!("Reply {n} of job {job}"), session);
    let page = ReplyPage { frame, job, n, provider, model, text: reply };
    Ok((StatusCode::OK, html(page.render()?)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_actions_on_known_things_are_read() {
        let read = |query: &str| Action::read(&Form::read(query.as_bytes()));
        let id = Uuid::from_u128(7);
        assert_eq!(read(&format!("do=retry&job={id}")).unwrap(), Action::Retry(id));
        let pause = read("do=pause&what=provider&name=openai").unwrap();
        assert_eq!(pause, Action::Pause(Pausable::Provider, "openai".to_owned()));
        for wrong in [
            "",
            "do=erase-all",
            "do=retry",
            "do=retry&job=x",
            "do=pause&what=provider&name=evil",
            "do=pause&what=queue&name=callbacks",
            "do=pause&what=planet&name=mars",
            "do=replay-event&event=evt_%00",
            "do=give&user=00000000-0000-0000-0000-000000000007",
            "do=give&user=00000000-0000-0000-0000-000000000007&number=0",
            "do=give&user=00000000-0000-0000-0000-000000000007&number=101",
            "do=give&user=00000000-0000-0000-0000-000000000007&number=-1",
            "do=make-link&role=owner&as=ana",
            "do=make-link&role=viewer",
            "do=test-call&provider=openai",
            "do=test-call&provider=evil&model=x",
            "do=assign&customer=cus_1",
            "do=assign&customer=cus/../1&user=00000000-0000-0000-0000-000000000007",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
