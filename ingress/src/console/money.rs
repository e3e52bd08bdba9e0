//! What AI calls cost and what Stripe brings: spending by day, provider, model and user,
//! cost per plan, subscriptions, and Stripe's events with replay.

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::IntoResponse;
use axum::routing::get;
use chrono::{NaiveDate, NaiveTime, TimeDelta};
use regimen_common::billing::metrics::Metrics;
use regimen_common::db::billing::events::{self, EventState, Summary};
use regimen_common::db::billing::payers;
use regimen_common::db::spend::{self, Grouping, Sum};
use regimen_common::db::stats::{self, DaySpend};

use super::chart::{Chart, Series};
use super::fault::Answer;
use super::form::Form;
use super::page::{Frame, at, html, usd};
use super::session::Session;
use crate::error::ApiError;
use crate::extract::is_plain;
use crate::state::AppState;

const PART: &str = "/console/money";
const DAYS: i64 = 30;
/// Sums and events of a page.
const LISTED: i64 = 50;

/// The route; it reads rows of minutes and pages along an index, and only the flood guard
/// limits it. Sums by model or user read the day's calls.
pub(super) fn router() -> Router<AppState> {
    Router::new().route("/console/money", get(page))
}

/// A sum of a day's calls.
struct Line {
    what: String,
    calls: i64,
    tokens: i64,
    cost: String,
}

struct Event {
    id: String,
    type_name: String,
    customer: String,
    reason: String,
    at: String,
    again: String,
}

#[derive(Template)]
#[template(path = "console/money.html")]
struct MoneyPage {
    frame: Frame,
    facts: Vec<(&'static str, String)>,
    chart: Chart,
    day: NaiveDate,
    by: &'static str,
    lines: Vec<Line>,
    states: Vec<(&'static str, bool)>,
    events: Vec<Event>,
    next: Option<String>,
}

async fn page(
    State(state): State<AppState>,
    session: Session,
    RawQuery(query): RawQuery,
) -> Answer {
    let form = Form::read(query.unwrap_or_default().as_bytes());
    let today = state.clock.now().date_naive();
    let day = form.parse::<NaiveDate>("day", "must be a day: 2026-11-28")?.unwrap_or(today);
    let by = if form.get("by") == Some("user") { "user" } else { "model" };
    let wanted = form.parse("state", "must be the state of an event")?.unwrap_or(EventState::Dead);
    let after = form.get("after");
    if after.is_some_and(|after| !is_plain(after)) {
        return Err(ApiError::field("?after", "must be the id of an event").into());
    }
    let client = state.db.get().await?;
    let days = stats::spend_days(&client, today - TimeDelta::days(DAYS - 1)).await?;
    let grouping = match by {
        "user" => Grouping { user: true, ..Grouping::default() },
        _ => Grouping { provider: true, model: true, ..Grouping::default() },
    };
    let start = day.and_time(NaiveTime::MIN).and_utc();
    let sums = spend::sums(&client, start, start + TimeDelta::days(1), grouping, LISTED).await?;
    let mut found = events::list(&client, wanted, after, LISTED + 1).await?;
    let standing = payers::standing(&client, state.clock.now() - TimeDelta::days(DAYS)).await?;
    let metrics = Metrics::of(&payers::revenue(&client).await?, &standing);
    drop(client);
    let is_full = i64::try_from(found.len()).is_ok_and(|count| count > LISTED);
    found.truncate(usize::try_from(LISTED).unwrap_or_default());
    let last = found.last().filter(|_| is_full).map(|event| event.id.clone());
    let query = form.query_without(&["after", "done"]);
    let page = MoneyPage {
        frame: Frame::within(PART, "Money", &session).after(form.get("done")),
        facts: facts(&days, &metrics, standing.paying_users, state.config.console.daily_budget_usd),
        chart: chart(&days, today),
        day,
        by,
        lines: sums.iter().map(line).collect(),
        states: EventState::ALL.iter().map(|one| (one.as_str(), *one == wanted)).collect(),
        events: found.iter().map(|event| of(event, session.is_admin())).collect(),
        next: last.map(|last| format!("{PART}?{query}&after={last}").replace("?&", "?")),
    };
    Ok(html(page.render()?).into_response())
}

fn line(sum: &Sum) -> Line {
    let model = || {
        let (provider, model) = (sum.provider.as_deref(), sum.model.as_deref());
        format!("{} {}", provider.unwrap_or_default(), model.unwrap_or_default())
    };
    Line {
        what: sum.user.map_or_else(model, |user| user.to_string()),
        calls: sum.calls,
        tokens: sum.input_tokens.saturating_add(sum.output_tokens),
        cost: usd(sum.cost_micros),
    }
}

fn of(event: &Summary, is_admin: bool) -> Event {
    let (code, detail) = &event.error;
    let detail = detail.as_deref().filter(|_| is_admin);
    let reason: Vec<&str> = code.as_deref().into_iter().chain(detail).collect();
    let id: String = url::form_urlencoded::byte_serialize(event.id.as_bytes()).collect();
    Event {
        id: event.id.clone(),
        type_name: event.type_name.clone(),
        customer: event.customer.clone().unwrap_or_default(),
        reason: reason.join(": "),
        at: at(event.received_at),
        again: if is_admin { format!("do=replay-event&event={id}") } else { String::new() },
    }
}

fn facts(
    days: &[DaySpend],
    metrics: &Metrics,
    paying: i64,
    budget: Option<f64>,
) -> Vec<(&'static str, String)> {
    let spent: i64 = days.iter().map(|day| day.cost_micros).sum();
    let plans: BTreeMap<NaiveDate, i64> = days.iter().map(|day| (day.day, day.plans)).collect();
    let plans: i64 = plans.values().sum();
    let each = match plans {
        0 => "–".to_owned(),
        plans => format!("{:.4} USD", spent as f64 / 1e6 / plans as f64),
    };
    let share = |share: Option<f64>| {
        share.map_or("–".to_owned(), |share| format!("{:.1} %", share * 100.0))
    };
    let budget = budget.map_or_else(|| "none".to_owned(), |usd| format!("{usd:.2} USD"));
    let mut facts = vec![
        ("Spent in 30 days", format!("{} USD", usd(spent))),
        ("Plans in 30 days", plans.to_string()),
        ("Cost per plan", each),
        ("Daily budget", budget),
        ("Paying users", paying.to_string()),
        ("Churn, 30 days", share(metrics.churn_rate)),
        ("Conversion", share(metrics.conversion_rate)),
    ];
    for one in &metrics.currencies {
        let mrr = format!(
            "{:.2} {} of {} subscriptions",
            one.mrr as f64 / 100.0,
            one.currency,
            one.subscriptions
        );
        facts.push(("Monthly recurring revenue", mrr));
    }
    facts
}

/// Costs a day, a line for each of the three dearest providers.
fn chart(days: &[DaySpend], today: NaiveDate) -> Chart {
    let mut by_provider: BTreeMap<&str, BTreeMap<NaiveDate, i64>> = BTreeMap::new();
    for one in days {
        *by_provider.entry(&one.provider).or_default().entry(one.day).or_default() +=
            one.cost_micros;
    }
    let mut providers: Vec<_> = by_provider.into_iter().collect();
    providers.sort_by_key(|(_, days)| std::cmp::Reverse(days.values().sum::<i64>()));
    let first = today - TimeDelta::days(DAYS - 1);
    let dates: Vec<NaiveDate> = (0..DAYS).map(|place| first + TimeDelta::days(place)).collect();
    let labels: Vec<String> = dates.iter().map(|day| day.format("%m-%d").to_string()).collect();
    let lines = providers.into_iter().zip(["a", "b", "c"]).map(|((name, costs), class)| {
        let value = |day: &NaiveDate| costs.get(day).map(|micros| *micros as f64 / 1e6);
        Series { name: name.to_owned(), class, values: dates.iter().map(value).collect() }
    });
    Chart::new("costs", "US dollars a day, by provider".to_owned(), &labels, lines.collect())
}
