//! Queues, providers and models: how each fares, pausing and resuming them, prices and test
//! calls; and the workers.

use askama::Template;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::IntoResponse;
use axum::routing::get;
use regimen_common::db::models::{self, ConfiguredModel, ModelPrice, ProviderInUse};
use regimen_common::db::pauses::{self, Pausable, Pause};
use regimen_common::db::test_calls::{self, TestCall};
use regimen_common::db::{jobs, workers};
use regimen_common::dispatch::List;
use regimen_common::job::JobClass;

use super::fault::Answer;
use super::form::Form;
use super::live;
use super::page::{Frame, at, html, took};
use super::session::Session;
use super::workers::Workers;
use crate::error::ApiError;
use crate::state::AppState;

const PART: &str = "/console/queues";
/// Test calls of the page.
const TESTS: i64 = 10;

/// The routes; they read a few rows, and only the flood guard limits them.
pub(super) fn router() -> Router<AppState> {
    Router::new().route("/console/queues", get(page)).route("/console/queues/tests", get(watch))
}

/// Something that can be paused.
struct Switch {
    what: &'static str,
    name: String,
    /// How it fares.
    state: &'static str,
    facts: String,
    /// Who paused it, and when.
    paused: Option<String>,
    /// Its name in the query strings of actions.
    query: String,
}

impl Switch {
    fn new(
        pauses: &[Pause],
        what: Pausable,
        name: &str,
        state: &'static str,
        facts: String,
    ) -> Self {
        let pause = pauses.iter().find(|pause| pause.what == what && pause.name == name);
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("what", what.as_str()).append_pair("name", name);
        Self {
            what: what.as_str(),
            name: name.to_owned(),
            state,
            facts,
            paused: pause.map(|it| format!("since {} by {}", at(it.paused_at), it.paused_by)),
            query: query.finish(),
        }
    }
}

/// A configured model with its price.
struct PriceLine {
    provider: String,
    model: String,
    input: String,
    cached: String,
    output: String,
    source: String,
    retires: String,
    /// In the query string of its test call.
    query: String,
}

impl PriceLine {
    fn of(one: &ConfiguredModel) -> Self {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("provider", &one.provider).append_pair("model", &one.model);
        let price = |of: fn(&ModelPrice) -> f64| {
            one.price.as_ref().map_or_else(|| "–".to_owned(), |price| format!("{:.3}", of(price)))
        };
        Self {
            provider: one.provider.clone(),
            model: one.model.clone(),
            input: price(|price| price.input),
            cached: price(|price| price.cached),
            output: price(|price| price.output),
            source: one.price.as_ref().map_or_else(String::new, |price| price.source.clone()),
            retires: one.retires_on.map(|day| day.to_string()).unwrap_or_default(),
            query: query.finish(),
        }
    }
}

/// A test call and its result.
struct CallLine {
    at: String,
    by: String,
    provider: String,
    model: String,
    outcome: String,
    latency: String,
    tokens: String,
    cost: String,
    worker: String,
}

impl CallLine {
    fn of(one: TestCall) -> Self {
        let tokens = one.input_tokens.zip(one.output_tokens);
        Self {
            at: at(one.asked_at),
            by: one.asked_by,
            provider: one.provider,
            model: one.model,
            outcome: one.outcome.unwrap_or_else(|| "under way".to_owned()),
            latency: one.took_ms.map(|ms| format!("{ms} ms")).unwrap_or_default(),
            tokens: tokens
                .map(|(input, output)| format!("{input} in, {output} out"))
                .unwrap_or_default(),
            cost: one
                .cost_micros
                .map(|micros| format!("{:.6}", micros as f64 / 1e6))
                .unwrap_or_default(),
            worker: one.taken_by.unwrap_or_default(),
        }
    }
}

/// The test calls, live.
#[derive(Template)]
#[template(path = "console/tests.html")]
struct Tests {
    calls: Vec<CallLine>,
}

impl Tests {
    async fn read(state: &AppState) -> Result<Self, ApiError> {
        let calls = test_calls::recent(&state.db.get().await?, TESTS).await?;
        Ok(Self { calls: calls.into_iter().map(CallLine::of).collect() })
    }
}

/// A model that is retired or retires soon.
struct Retirement {
    provider: String,
    model: String,
    day: String,
    is_over: bool,
    successor: String,
}

#[derive(Template)]
#[template(path = "console/queues.html")]
struct QueuesPage {
    frame: Frame,
    /// Title and switches.
    groups: Vec<(&'static str, Vec<Switch>)>,
    prices: Vec<PriceLine>,
    tests: Tests,
    workers: Workers,
    retirements: Vec<Retirement>,
}

async fn watch(State(state): State<AppState>, session: Session) -> Answer {
    let source = state.clone();
    live::stream(&state, session.id, live::Rhythm::Clock, move || {
        let state = source.clone();
        async move { Ok(live::Frame { html: Tests::read(&state).await?.render()?, is_last: false }) }
    })
}

async fn page(
    State(state): State<AppState>,
    session: Session,
    RawQuery(query): RawQuery,
) -> Answer {
    let form = Form::read(query.unwrap_or_default().as_bytes());
    let mut client = state.db.get().await?;
    let pauses = pauses::all(&client).await?;
    let health = jobs::queue_health(&mut client).await?;
    let queues = List::PAUSABLE.into_iter().map(|list| {
        let class = list.as_str().parse::<JobClass>().ok();
        let class = class.and_then(|class| health.classes.get(&class));
        let facts = class.map_or_else(String::new, |class| {
            let oldest = chrono::TimeDelta::from_std(class.oldest).unwrap_or_default();
            format!("{} waiting, the oldest for {}", class.waiting, took(oldest))
        });
        Switch::new(&pauses, Pausable::Queue, list.as_str(), "open", facts)
    });
    let queues = queues.collect();
    let in_use = models::in_use(&client).await?;
    let used = models::providers(&client).await?;
    let providers = used.iter().map(|one| {
        let ProviderInUse { workers, open, cooling, .. } = one;
        let facts = format!(
            "breaker open in {open} of {workers} workers, cool-down in {cooling} of {workers}"
        );
        Switch::new(&pauses, Pausable::Provider, &one.provider, one.state(), facts)
    });
    let providers = providers.collect();
    let mut models: Vec<Switch> = in_use
        .iter()
        .map(|one| {
            let facts = format!("{} · {} workers", one.provider, one.workers);
            Switch::new(&pauses, Pausable::Model, &one.model, "configured", facts)
        })
        .collect();
    // A paused model may be one that no worker is configured with any more.
    for pause in pauses.iter().filter(|pause| pause.what == Pausable::Model) {
        if !models.iter().any(|model| model.name == pause.name) {
            let facts = "no worker is configured with it".to_owned();
            models.push(Switch::new(&pauses, Pausable::Model, &pause.name, "unused", facts));
        }
    }
    let retirements = models::retiring(&client).await?;
    let workers = workers::all(&client).await?;
    drop(client);
    let tests = Tests::read(&state).await?;
    let page = QueuesPage {
        frame: Frame::within(PART, "Queues and providers", &session).after(form.get("done")),
        groups: vec![("Queues", queues), ("Providers", providers), ("Models", models)],
        prices: in_use.iter().map(PriceLine::of).collect(),
        tests,
        workers: Workers::of(&workers),
        retirements: retirements
            .into_iter()
            .map(|one| Retirement {
                provider: one.provider,
                model: one.model,
                day: one.retires_on.to_string(),
                is_over: one.retired,
                successor: one.successor.unwrap_or_else(|| "none".to_owned()),
            })
            .collect(),
    };
    Ok(html(page.render()?).into_response())
}
