//! What AI calls cost and what Stripe brings: spending by day, provider, model and user,
//! cost per plan, what waits for a budget, revenue over time, and Stripe's events.

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::IntoResponse;
use axum::routing::get;
use chrono::{NaiveDate, NaiveTime, TimeDelta};
use regimen_common::billing::currency;
use regimen_common::billing::metrics::Metrics;
use regimen_common::db::billing::events::{
    self, EventFilter, EventState, FoundEvents, Summary, UnresolvedCustomer,
};
use regimen_common::db::billing::payers;
use regimen_common::db::billing::revenue::{self, RevenueDay};
use regimen_common::db::spend::{self, Grouping, Sum, Waiting};
use regimen_common::db::stats::DaySpend;

use super::chart::{Chart, Series};
use super::fault::Answer;
use super::form::Form;
use super::page::{Frame, at, encoded, html, usd};
use super::session::Session;
use crate::error::ApiError;
use crate::extract::is_plain;
use crate::state::AppState;

const PART: &str = "/console/money";
const DAYS: i64 = 30;
/// Sums and events of a page.
const LISTED: i64 = 50;
/// Days of the charts of revenue.
const REVENUE_DAYS: i64 = 90;

/// The route; it reads rows of minutes and pages along an index, and only the flood guard
/// limits it. Sums by model or user read the day's calls, a search 10,000 events at most.
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
    /// As part of an address.
    encoded: String,
    type_name: String,
    state: &'static str,
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
    /// Shares of subscriptions and users, and revenue.
    revenue: [Chart; 2],
    states: Vec<(&'static str, bool)>,
    /// Name, label and value.
    fields: [(&'static str, &'static str, String); 3],
    events: Vec<Event>,
    next: Option<String>,
    /// Where the search stopped before the page was full.
    stopped: bool,
    /// Customer, as part of an address, number of events, since when.
    unresolved: Vec<(String, String, i64, String)>,
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
    let filter = filter(&form)?;
    let mut client = state.db.get().await?;
    let first = today - TimeDelta::days(DAYS - 1);
    let days = state.half_days.spend_days(&client, first, state.clock.now()).await?;
    let grouping = match by {
        "user" => Grouping { user: true, ..Grouping::default() },
        _ => Grouping { provider: true, model: true, ..Grouping::default() },
    };
    let start = day.and_time(NaiveTime::MIN).and_utc();
    let sums = spend::sums(&client, start, start + TimeDelta::days(1), grouping, LISTED).await?;
    let FoundEvents { events: mut found, stopped_at } = match form.get("event") {
        Some(id) => {
            let found = events::find(&client, id).await?;
            FoundEvents { events: found.into_iter().collect(), stopped_at: None }
        }
        None => events::search(&client, &filter).await?,
    };
    let unresolved = events::unresolved_customers(&mut client, LISTED).await?;
    let waiting = spend::waiting(&client).await?;
    let revenue_days = revenue::days(&client, today - TimeDelta::days(REVENUE_DAYS - 1)).await?;
    let standing = payers::standing(&client, state.clock.now() - TimeDelta::days(DAYS)).await?;
    let metrics = Metrics::of(&payers::revenue(&client).await?, &standing);
    drop(client);
    let is_full = i64::try_from(found.len()).is_ok_and(|count| count > LISTED);
    found.truncate(usize::try_from(LISTED).unwrap_or_default());
    let stopped = stopped_at.is_some();
    let last = found.last().filter(|_| is_full).map(|event| event.id.clone()).or(stopped_at);
    let text = |name: &str| form.get(name).unwrap_or_default().to_owned();
    let budget = state.config.console.daily_budget_usd;
    let query = form.query_without(&["after", "done"]);
    let page = MoneyPage {
        frame: Frame::within(PART, "Money", &session).after(form.get("done")),
        facts: facts(&days, &metrics, standing.paying_users, budget, waiting),
        chart: chart(&days, today),
        day,
        by,
        lines: sums.iter().map(line).collect(),
        revenue: revenue_charts(&revenue_days, today),
        states: EventState::ALL
            .iter()
            .map(|one| (one.as_str(), Some(*one) == filter.state))
            .collect(),
        fields: [
            ("event", "Event", text("event")),
            ("type", "Type, or its beginning", text("type")),
            ("customer", "Customer", text("customer")),
        ],
        events: found.iter().map(|event| of(event, session.is_admin())).collect(),
        next: last
            .map(|last| format!("{PART}?{query}&after={}", encoded(&last)).replace("?&", "?")),
        stopped,
        unresolved: unresolved
            .into_iter()
            .map(|UnresolvedCustomer { customer, events, since }| {
                let encoded = encoded(&customer);
                (customer, encoded, events, at(since))
            })
            .collect(),
    };
    Ok(html(page.render()?).into_response())
}

/// The filter of a query string; without one the events that are dead.
///
/// # Errors
/// 422 that names the field.
fn filter(form: &Form) -> Result<EventFilter, ApiError> {
    let word = |name: &str, must: &str| match form.get(name) {
        Some(word) if !is_plain(word) => Err(ApiError::field(format!("?{name}"), must)),
        word => Ok(word.map(str::to_owned)),
    };
    // A form sends every field: an empty state is any, no state at all the page's own.
    let is_bare = ["state", "type", "customer"].iter().all(|name| form.get(name).is_none());
    let state = form.parse("state", "must be the state of an event")?;
    word("event", "must be the id of an event")?;
    Ok(EventFilter {
        state: state.or((is_bare && form.get("any").is_none()).then_some(EventState::Dead)),
        type_name: word("type", "must be the beginning of a type: invoice.")?,
        customer: word("customer", "must be the id of a customer")?,
        after: word("after", "must be the id of an event")?,
        limit: LISTED + 1,
    })
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
    let encoded = encoded(&event.id);
    Event {
        id: event.id.clone(),
        again: if is_admin { format!("do=replay-event&event={encoded}") } else { String::new() },
        encoded,
        type_name: event.type_name.clone(),
        state: event.state.as_str(),
        customer: event.customer.clone().unwrap_or_default(),
        reason: reason.join(": "),
        at: at(event.received_at),
    }
}

fn facts(
    days: &[DaySpend],
    metrics: &Metrics,
    paying: i64,
    budget: Option<f64>,
    waiting: Waiting,
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
        (
            "Wait for a budget",
            waiting.since.map_or_else(
                || "no job".to_owned(),
                |since| format!("{} jobs, the oldest accepted at {}", waiting.jobs, at(since)),
            ),
        ),
        ("Paying users", paying.to_string()),
        ("Churn, 30 days", share(metrics.churn_rate)),
        ("Conversion", share(metrics.conversion_rate)),
    ];
    for one in &metrics.currencies {
        let digits = currency::decimals(&one.currency) as usize;
        let mrr = format!(
            "{:.digits$} {} of {} subscriptions",
            currency::units(one.mrr as f64, &one.currency),
            one.currency,
            one.subscriptions
        );
        facts.push(("Monthly recurring revenue", mrr));
    }
    if metrics.unpriced > 0 {
        let text =
            "{} subscriptions, counted once GET /api/stripe/admin/metrics has read the price";
        facts.push(("Without a known price", text.replace("{}", &metrics.unpriced.to_string())));
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

/// Revenue in its three largest currencies, and shares in percent, of each day that was
/// counted.
fn revenue_charts(days: &[RevenueDay], today: NaiveDate) -> [Chart; 2] {
    let first = today - TimeDelta::days(REVENUE_DAYS - 1);
    let dates: Vec<NaiveDate> =
        (0..REVENUE_DAYS).map(|place| first + TimeDelta::days(place)).collect();
    let labels: Vec<String> = dates.iter().map(|day| day.format("%m-%d").to_string()).collect();
    let by_day: BTreeMap<NaiveDate, &RevenueDay> = days.iter().map(|one| (one.day, one)).collect();
    let values = |of: &dyn Fn(&RevenueDay) -> Option<f64>| {
        dates.iter().map(|day| by_day.get(day).and_then(|one| of(one))).collect()
    };
    let mut currencies: BTreeMap<&str, i64> = BTreeMap::new();
    for (currency, mrr) in days.iter().flat_map(|one| &one.mrr) {
        let most = currencies.entry(currency).or_default();
        *most = (*most).max(*mrr);
    }
    let mut currencies: Vec<_> = currencies.into_iter().collect();
    currencies.sort_by_key(|(_, most)| std::cmp::Reverse(*most));
    let mrr = currencies.into_iter().zip(["a", "b", "c"]).map(|((code, _), class)| Series {
        name: code.to_owned(),
        class,
        values: values(&|one| one.mrr.get(code).map(|mrr| currency::units(*mrr as f64, code))),
    });
    let shares = vec![
        Series {
            name: "churn".to_owned(),
            class: "c",
            values: values(&|one| one.churn.map(|share| share * 100.0)),
        },
        Series {
            name: "conversion".to_owned(),
            class: "b",
            values: values(&|one| one.conversion.map(|share| share * 100.0)),
        },
    ];
    [
        Chart::new("mrr", "Monthly recurring revenue".to_owned(), &labels, mrr.collect()),
        Chart::new(
            "shares",
            "Churn in 30 days and conversion, percent".to_owned(),
            &labels,
            shares,
        ),
    ]
}
