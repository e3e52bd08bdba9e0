//! Queues, providers and models: how each fares, pausing and resuming them; and the
//! workers.

use askama::Template;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::IntoResponse;
use axum::routing::get;
use regimen_common::db::models;
use regimen_common::db::pauses::{self, Pausable, Pause};
use regimen_common::db::{jobs, workers};
use regimen_common::dispatch::List;
use regimen_common::job::JobClass;

use super::fault::Answer;
use super::form::Form;
use super::page::{Frame, at, html, took};
use super::session::Session;
use crate::state::AppState;

const PART: &str = "/console/queues";

/// The route; it reads a few rows, and only the flood guard limits it.
pub(super) fn router() -> Router<AppState> {
    Router::new().route("/console/queues", get(page))
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

/// One worker.
struct WorkerLine {
    id: String,
    state: &'static str,
    version: String,
    place: String,
    held: String,
    running: i64,
    since: String,
    seen: String,
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
    workers: Vec<WorkerLine>,
    retirements: Vec<Retirement>,
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
        let (state, facts) = match one.left_alone {
            true => ("failing", "no worker calls it for now, because its calls fail"),
            false => ("working", ""),
        };
        Switch::new(&pauses, Pausable::Provider, &one.provider, state, facts.to_owned())
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
    let page = QueuesPage {
        frame: Frame::within(PART, "Queues and providers", &session).after(form.get("done")),
        groups: vec![("Queues", queues), ("Providers", providers), ("Models", models)],
        workers: workers
            .iter()
            .map(|worker| WorkerLine {
                id: worker.worker_id.clone(),
                state: worker.state(),
                version: worker.version.clone(),
                place: format!("{}:{}", worker.host, worker.pid),
                held: format!("{} of {}", worker.held, worker.slots),
                running: worker.running,
                since: at(worker.started_at),
                seen: format!("{} s ago", worker.silent.as_secs()),
            })
            .collect(),
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
