//! The overview: what the service does now and did lately, live.

use std::collections::BTreeMap;

use askama::Template;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::IntoResponse;
use axum::routing::get;
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use regimen_common::db::billing::events::{self, EventState};
use regimen_common::db::dead::{self, DeadKind};
use regimen_common::db::jobs;
use regimen_common::db::models::{self, ProviderInUse, RetiringModel};
use regimen_common::db::stats::{self, Counts, Durations, HalfDay, Histogram, ProviderStats};
use regimen_common::db::{usage, workers};
use regimen_common::job::JobClass;

use super::chart::{Chart, Series};
use super::fault::Answer;
use super::form::Form;
use super::live;
use super::page::{Frame, html, took, usd};
use super::session::Session;
use super::workers::Workers;
use crate::error::ApiError;
use crate::state::AppState;

const PART: &str = "/console";
/// The share of jobs with a plan in time (docs/monitoring.md).
const OBJECTIVE: f64 = 0.99;
/// Dead letters of a kind that are counted.
const COUNTED: i64 = 100;

/// The routes; they read a few rows and rows of minutes, and only the flood guard limits
/// them.
pub(super) fn router() -> Router<AppState> {
    Router::new().route("/console", get(page)).route("/console/live", get(watch))
}

/// The time that a chart shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Span {
    Hour,
    Day,
    Month,
}

impl Span {
    const ALL: [Self; 3] = [Self::Hour, Self::Day, Self::Month];

    fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "24h",
            Self::Month => "30d",
        }
    }

    fn read(form: &Form) -> Self {
        let wanted = form.get("span");
        Self::ALL.into_iter().find(|span| Some(span.as_str()) == wanted).unwrap_or(Self::Hour)
    }

    /// Step, number of steps, and how a step is labelled.
    fn steps(self) -> (TimeDelta, i32, &'static str) {
        match self {
            Self::Hour => (TimeDelta::minutes(1), 60, "%H:%M"),
            Self::Day => (TimeDelta::minutes(30), 48, "%H:%M"),
            Self::Month => (stats::HALF_DAY, 60, "%m-%d %H:%M"),
        }
    }
}

/// A number with its name.
struct Card {
    name: &'static str,
    value: String,
    note: String,
    is_bad: bool,
}

/// A provider with how it fares.
struct ProviderCard {
    name: String,
    state: &'static str,
    breaker: String,
    cool_down: String,
    calls: i64,
    failed: String,
    latency: String,
    cost: String,
    /// Outcomes other than ok, the commonest first.
    errors: String,
}

#[derive(Template)]
#[template(path = "console/overview_live.html")]
struct Live {
    alerts: Vec<String>,
    cards: Vec<Card>,
    providers: Vec<ProviderCard>,
    chart: Chart,
    workers: Workers,
}

#[derive(Template)]
#[template(path = "console/overview.html")]
struct OverviewPage {
    frame: Frame,
    spans: Vec<(&'static str, bool)>,
    span: &'static str,
    live: Live,
}

async fn page(
    State(state): State<AppState>,
    session: Session,
    RawQuery(query): RawQuery,
) -> Answer {
    let form = Form::read(query.unwrap_or_default().as_bytes());
    let span = Span::read(&form);
    let page = OverviewPage {
        frame: Frame::within(PART, "Overview", &session),
        spans: Span::ALL.map(|one| (one.as_str(), one == span)).to_vec(),
        span: span.as_str(),
        live: read(&state, span).await?,
    };
    Ok(html(page.render()?).into_response())
}

async fn watch(
    State(state): State<AppState>,
    session: Session,
    RawQuery(query): RawQuery,
) -> Answer {
    let span = Span::read(&Form::read(query.unwrap_or_default().as_bytes()));
    let source = state.clone();
    live::stream(&state, session.id, live::Rhythm::Clock, move || {
        let state = source.clone();
        async move {
            let html = read(&state, span).await?.render()?;
            Ok(live::Frame { html, is_last: false })
        }
    })
}

async fn read(state: &AppState, span: Span) -> Result<Live, ApiError> {
    let now = state.clock.now();
    let midnight = now.date_naive().and_time(NaiveTime::MIN).and_utc();
    let mut client = state.db.get().await?;
    let health = jobs::queue_health(&mut client).await?;
    let spent = usage::spent_micros(&mut client, None, midnight).await?;
    let (due_events, event_lag) = events::lag(&mut client).await?;
    let attention = events::attention(&mut client).await?;
    let workers = workers::all(&client).await?;
    let used = models::providers(&client).await?;
    let retiring = models::retiring(&client).await?;
    let letters = dead::letters(&client, DeadKind::ALL, COUNTED).await?;
    let hour = stats::durations(&client, now - TimeDelta::hours(1)).await?;
    let lately = stats::providers(&client, now - TimeDelta::hours(1)).await?;
    let today = stats::providers(&client, midnight.max(now - TimeDelta::hours(24))).await?;
    let month = now - stats::HALF_DAY * (Span::Month.steps().1 - 1);
    let month = state.half_days.since(&client, month, now).await?;
    let chart = chart(&client, now, span, &month).await?;
    drop(client);

    let mut alerts = Vec::new();
    let alive = workers.iter().filter(|worker| worker.state() == "working").count();
    if alive == 0 {
        alerts.push("No worker is alive, so no plan is made: start regimen-worker.".to_owned());
    }
    alerts.extend(retiring.iter().map(retirement));
    for one in &used {
        if one.paused {
            alerts.push(format!("Provider {} is paused by an operator.", one.provider));
        } else if one.left_alone {
            alerts.push(format!("Provider {} fails: no worker calls it for now.", one.provider));
        }
    }
    let mut cards = Vec::new();
    for class in JobClass::ALL {
        let class_health = health.classes.get(class).copied().unwrap_or_default();
        let oldest = TimeDelta::from_std(class_health.oldest).unwrap_or_default();
        cards.push(Card {
            name: match class {
                JobClass::Pro => "Queue of paying users",
                JobClass::Free => "Queue of free users",
            },
            value: class_health.waiting.to_string(),
            note: format!("the oldest waits for {}", took(oldest)),
            is_bad: oldest > TimeDelta::minutes(1),
        });
    }
    let running: i64 = workers.iter().map(|worker| worker.running).sum();
    let draining = workers.iter().filter(|worker| worker.state() == "draining").count();
    cards.push(Card {
        name: "Running",
        value: running.to_string(),
        note: format!("{alive} workers, {draining} draining"),
        is_bad: alive == 0,
    });
    cards.extend(duration_cards(&hour));
    cards.push(objective(&month));
    let budget = state.config.console.daily_budget_usd;
    cards.push(Card {
        name: "Spent today",
        value: format!("{} USD", usd(spent)),
        note: budget.map_or_else(|| "no daily budget".to_owned(), |usd| format!("of {usd:.2} USD")),
        is_bad: budget.is_some_and(|usd| spent as f64 / 1e6 >= usd),
    });
    let lag = TimeDelta::from_std(event_lag).unwrap_or_default();
    cards.push(Card {
        name: "Stripe webhooks",
        value: format!("{due_events} due"),
        note: format!("lag {}", took(lag)),
        is_bad: lag > TimeDelta::minutes(1),
    });
    let unresolved = attention.iter().find(|(state, _)| *state == EventState::Unresolved);
    let given_up = letters.len();
    cards.push(Card {
        name: "Dead letters",
        value: given_up.to_string(),
        note: format!(
            "{} Stripe events of nobody known",
            unresolved.map_or(0, |(_, count)| *count)
        ),
        is_bad: given_up > 0,
    });
    let providers = used.iter().map(|one| provider(one, &lately, &today)).collect();
    Ok(Live { alerts, cards, providers, chart, workers: Workers::of(&workers) })
}

fn retirement(one: &RetiringModel) -> String {
    let when = if one.retired { "retired" } else { "retires" };
    let successor = one.successor.as_deref().unwrap_or("no known model");
    let (provider, model, day) = (&one.provider, &one.model, one.retires_on);
    format!("Model {model} of {provider} {when} on {day}; its successor is {successor}.")
}

fn duration_cards(hour: &Durations) -> Vec<Card> {
    let card = |name, histogram: &Histogram| Card {
        name,
        value: quantile(histogram, 0.5),
        note: format!("median; 95 % within {}", quantile(histogram, 0.95)),
        is_bad: false,
    };
    vec![
        card("Wait, last hour", &hour.wait),
        card("Generation, last hour", &hour.generation),
        card("Acceptance to plan, last hour", &hour.whole),
    ]
}

fn quantile(histogram: &Histogram, share: f64) -> String {
    let seconds = histogram.quantile(share);
    seconds.map_or_else(|| "–".to_owned(), |seconds| format!("{seconds:.1} s"))
}

/// The objective over 30 days, and what is left of its error budget.
fn objective(month: &BTreeMap<DateTime<Utc>, HalfDay>) -> Card {
    let counted: i64 = month.values().map(|half| half.counts.counted).sum();
    let in_time: i64 = month.values().map(|half| half.counts.in_time).sum();
    let name = "Plans within 60 s, 30 days";
    if counted == 0 {
        let note = format!("objective {:.0} %", OBJECTIVE * 100.0);
        return Card { name, value: "–".to_owned(), note, is_bad: false };
    }
    let rate = in_time as f64 / counted as f64;
    let left = 1.0 - (1.0 - rate) / (1.0 - OBJECTIVE);
    let note = format!(
        "objective {:.0} %; {:.0} % of the error budget left",
        OBJECTIVE * 100.0,
        left * 100.0
    );
    Card { name, value: format!("{:.2} %", rate * 100.0), note, is_bad: left < 0.0 }
}

fn provider(
    one: &ProviderInUse,
    lately: &BTreeMap<String, ProviderStats>,
    today: &BTreeMap<String, ProviderStats>,
) -> ProviderCard {
    let none = ProviderStats::default();
    let ProviderInUse { provider: name, workers, open, cooling, .. } = one;
    let hour = lately.get(name).unwrap_or(&none);
    let ok = hour.outcomes.get("ok").copied().unwrap_or(0);
    let mut errors: Vec<_> = hour.outcomes.iter().filter(|(outcome, _)| *outcome != "ok").collect();
    errors.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let errors: Vec<String> =
        errors.into_iter().map(|(outcome, count)| format!("{outcome} {count}")).collect();
    ProviderCard {
        name: name.clone(),
        state: one.state(),
        breaker: format!("open in {open} of {workers} workers"),
        cool_down: format!("in {cooling} of {workers} workers"),
        calls: hour.calls,
        failed: match hour.calls {
            0 => "–".to_owned(),
            calls => format!("{:.1} %", (calls - ok) as f64 / calls as f64 * 100.0),
        },
        latency: format!(
            "{} median, {} for 95 %",
            quantile(&hour.latency, 0.5),
            quantile(&hour.latency, 0.95)
        ),
        cost: usd(today.get(name).map_or(0, |day| day.cost_micros)),
        errors: errors.join(", "),
    }
}

async fn chart(
    client: &regimen_common::db::Client,
    now: DateTime<Utc>,
    span: Span,
    month: &BTreeMap<DateTime<Utc>, HalfDay>,
) -> Result<Chart, ApiError> {
    let (step, number, format) = span.steps();
    // Steps begin at whole ones, so that they do not move with every look.
    let seconds = step.num_seconds();
    let last = DateTime::from_timestamp(now.timestamp() / seconds * seconds, 0).unwrap_or(now);
    let first = last - step * (number - 1);
    let found: BTreeMap<_, _> = match span {
        Span::Hour | Span::Day => stats::series(client, first, step).await?.into_iter().collect(),
        Span::Month => month.iter().map(|(at, half)| (*at, half.counts)).collect(),
    };
    let starts: Vec<DateTime<Utc>> = (0..number).map(|place| first + step * place).collect();
    let labels: Vec<String> = starts.iter().map(|at| at.format(format).to_string()).collect();
    let values = |of: fn(&Counts) -> i64| {
        starts.iter().map(|at| found.get(at).map(|counts| of(counts) as f64)).collect()
    };
    let series = vec![
        Series {
            name: "accepted".to_owned(),
            class: "a",
            values: values(|counts| counts.accepted),
        },
        Series {
            name: "finished".to_owned(),
            class: "b",
            values: values(|counts| counts.succeeded),
        },
        Series { name: "failed".to_owned(), class: "c", values: values(|counts| counts.failed) },
    ];
    let each = match span {
        Span::Hour => "minute",
        Span::Day => "half hour",
        Span::Month => "half day",
    };
    Ok(Chart::new("numbers", format!("Jobs per {each}"), &labels, series))
}
