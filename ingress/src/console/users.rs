//! One user, found by id or e-mail address: plan and why, limits left, costs,
//! subscriptions, Stripe's events, notices, jobs.

use askama::Template;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use chrono::DateTime;
use regimen_common::account::PlanTier;
use regimen_common::billing::record::Record;
use regimen_common::db::billing::events::{self, Summary};
use regimen_common::db::billing::notices::{self, Told};
use regimen_common::db::billing::{customers, payers};
use regimen_common::db::jobs::{self, ListFilter};
use regimen_common::db::{accounts, generations};
use uuid::Uuid;

use super::fault::Answer;
use super::form::Form;
use super::limit::{Limit, limited};
use super::page::{Frame, at, encoded, html, short, usd};
use super::session::{Sent, Session};
use crate::error::ApiError;
use crate::state::AppState;

const PART: &str = "/console/users";
const LISTED: i64 = 20;

/// An address is searched from so many characters on.
const LEAST_CHARS: usize = 3;
const MOST_CHARS: usize = 254;

/// The routes. Searches by address are counted as actions; the page of a user reads the
/// rows of one user, and only the flood guard limits it.
pub(super) fn router(state: &AppState) -> Router<AppState> {
    limited(state, Limit::Act, Router::new().route("/console/users/search", post(search)))
        .route("/console/users", get(page))
}

/// A subscription.
struct Subscription {
    id: String,
    customer: String,
    status: &'static str,
    price: String,
    ends: String,
}

impl Subscription {
    fn of(record: &Record) -> Self {
        let time = |seconds: Option<i64>| {
            seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0)).map(at)
        };
        Self {
            id: record.id.clone(),
            customer: record.customer.clone(),
            status: record.status.as_str(),
            price: record.price.clone().unwrap_or_default(),
            ends: time(record.period_end).unwrap_or_default(),
        }
    }
}

/// Something the user was told about a payment, and its mail.
struct Notice {
    kind: String,
    made: String,
    mail: String,
    event: String,
    /// Why the mail failed, for admins.
    error: String,
}

impl Notice {
    fn of(told: Told, is_admin: bool) -> Self {
        let mail = match (told.sent_at, told.next_at) {
            (Some(sent), _) => format!("sent at {}", at(sent)),
            (None, Some(next)) => {
                format!("waiting, {} tries, next at {}", told.attempts, at(next))
            }
            (None, None) => told.mail_state,
        };
        Self {
            kind: told.kind,
            made: at(told.created_at),
            mail,
            event: told.event_id,
            error: told.error.filter(|_| is_admin).map_or_else(String::new, |it| short(&it, 200)),
        }
    }
}

/// A user found by address: id, address, plan, since when.
type FoundLine = (Uuid, String, String, String);

/// A user as the page shows it.
struct User {
    id: Uuid,
    facts: Vec<(&'static str, String)>,
    /// Limit, rate, what is left.
    limits: Vec<[String; 3]>,
    subscriptions: Vec<Subscription>,
    /// Each with its id as part of an address.
    events: Vec<(String, Summary)>,
    notices: Vec<Notice>,
    /// Id, kind, state, time, cost.
    jobs: Vec<(Uuid, &'static str, &'static str, String, String)>,
}

#[derive(Template)]
#[template(path = "console/users.html")]
struct UsersPage {
    frame: Frame,
    asked: String,
    /// The address that was searched, and who has it or one that begins so.
    search: Option<(String, Vec<FoundLine>)>,
    listed: i64,
    user: Option<User>,
}

async fn page(
    State(state): State<AppState>,
    session: Session,
    RawQuery(query): RawQuery,
) -> Answer {
    let form = Form::read(query.unwrap_or_default().as_bytes());
    let id: Option<Uuid> = form.parse("user", "must be the id of a user")?;
    let user = match id {
        Some(id) => Some(read(&state, &session, id).await?),
        None => None,
    };
    let page = UsersPage {
        frame: Frame::within(PART, "Users", &session).after(form.get("done")),
        asked: id.map(|id| id.to_string()).unwrap_or_default(),
        search: None,
        listed: LISTED,
        user,
    };
    Ok(html(page.render()?).into_response())
}

/// A form that is posted: addresses stand in no URL, and so in no log.
async fn search(State(state): State<AppState>, Sent { session, form }: Sent) -> Answer {
    session.require_admin()?;
    let email = form.get("email").unwrap_or_default();
    let is_fit = (LEAST_CHARS..=MOST_CHARS).contains(&email.chars().count())
        && !email.chars().any(char::is_control);
    if !is_fit {
        let must = format!("must be the first {LEAST_CHARS} to {MOST_CHARS} characters");
        return Err(ApiError::field("/email", must).into());
    }
    let client = state.db.get().await?;
    let found = accounts::users_by_email(&client, email, LISTED).await?;
    drop(client);
    let found = found.into_iter().map(|user| {
        let since = user.created_at.map(at).unwrap_or_default();
        (user.id, user.email, user.plan_id.unwrap_or_default(), since)
    });
    let page = UsersPage {
        frame: Frame::within(PART, "Users", &session),
        asked: String::new(),
        search: Some((email.to_owned(), found.collect())),
        listed: LISTED,
        user: None,
    };
    Ok(html(page.render()?).into_response())
}

async fn read(state: &AppState, session: &Session, id: Uuid) -> Result<User, ApiError> {
    let limits = &state.limits;
    let policies = limits.config.rates.all(limits.tiers.of(id).await);
    let decision = limits.limiter.look(&id.to_string(), &policies).await;
    let mut client = state.db.get().await?;
    let tier = accounts::plan_tier(&client, id).await?;
    let payer = payers::payer(&client, id, &[]).await?;
    let month = generations::month(&client, id).await?;
    let cost = generations::month_cost(&client, id).await?;
    let records = customers::records_of_user(&client, id).await?;
    let filter = ListFilter { limit: LISTED, ..ListFilter::default() };
    let jobs = jobs::jobs_of_user(&mut client, id, &filter).await?;
    let customer = payer.as_ref().and_then(|payer| payer.customer.clone());
    let events = match &customer {
        Some(customer) => events::of_customer(&client, customer, LISTED).await?,
        None => Vec::new(),
    };
    let told = notices::of_user(&client, id, LISTED).await?;
    drop(client);
    let mut facts = vec![
        (
            "Plan",
            match tier {
                Some(PlanTier::Pro) => "pro".to_owned(),
                Some(PlanTier::Free) => "free".to_owned(),
                None => {
                    "no profile: nothing was requested yet, or the account is deleted".to_owned()
                }
            },
        ),
        ("Why", why(&records)),
        (
            "Generations of this month",
            format!("{} of {} used, again from {}", month.used, month.allowed, at(month.ends_at)),
        ),
        ("Cost of this month", format!("{} USD", usd(cost))),
    ];
    if session.is_admin() {
        let email = payer.as_ref().map(|payer| payer.email.clone()).unwrap_or_default();
        facts.push(("E-mail", email));
    }
    facts.extend(customer.map(|customer| ("Customer", customer)));
    Ok(User {
        id,
        facts,
        limits: decision
            .checks
            .iter()
            .map(|check| {
                let (quota, window) = (check.policy.quota, check.policy.window.as_secs());
                let left = format!("{} left", check.remaining);
                [check.policy.name.to_string(), format!("{quota} in {window} s"), left]
            })
            .collect(),
        subscriptions: records.iter().map(Subscription::of).collect(),
        events: events.into_iter().map(|event| (encoded(&event.id), event)).collect(),
        notices: told.into_iter().map(|one| Notice::of(one, session.is_admin())).collect(),
        jobs: jobs
            .iter()
            .map(|job| {
                let (kind, state) = (job.kind.as_str(), job.state.as_str());
                (job.id, kind, state, at(job.created_at), usd(job.cost_micros))
            })
            .collect(),
    })
}

/// Which subscriptions the plan follows from.
fn why(records: &[Record]) -> String {
    let live: Vec<String> = records
        .iter()
        .filter(|record| !record.status.is_final())
        .map(|record| format!("{} is {}", record.id, record.status))
        .collect();
    if live.is_empty() { "no live subscription".to_owned() } else { short(&live.join(", "), 200) }
}
