//! A model call from its arrival to its last byte: validate, count, decide,
//! answer.

mod guard;
pub(crate) mod ledger;
mod perform;
mod script;
pub(crate) mod tally;

use std::sync::Arc;

use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

use crate::chance::hash;
use crate::clock::epoch_micros;
use crate::connection::Connection;
use crate::control::book::{Decision, Sought};
use crate::plan::targets::{self, Found, Targets};
use crate::provider::Api;
use crate::state::State;
use crate::wire::problem::Problem;
use crate::wire::usage::Usage;
use crate::wire::{self, Asked, GeminiPath, Incoming, Streaming};

use self::guard::Guard;
use self::ledger::{Arrival, Rejection};
use self::tally::Outcome;

/// A request to one of the model routes.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) api: Api,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) path: Option<GeminiPath>,
    pub(crate) connection: Connection,
}

/// A valid call and everything needed to answer it.
#[derive(Debug)]
struct Call {
    state: Arc<State>,
    api: Api,
    asked: Asked,
    /// The schema of the structured output.
    schema: Option<Value>,
    targets: Targets,
    decision: Decision,
    id: String,
    connection: Connection,
}

/// Answers a model call.
pub(crate) async fn serve(state: Arc<State>, request: Request) -> Response {
    match register(&state, request) {
        Ok((call, guard)) => perform::answer(call, guard).await,
        Err(response) => *response,
    }
}

/// Validates and counts a request and decides on its answer; refuses an invalid one.
fn register(state: &Arc<State>, request: Request) -> Result<(Call, Guard), Box<Response>> {
    let at = epoch_micros();
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let mut body = wire::normalise(request.api, body);
    let checked = wire::check(&Incoming {
        api: request.api,
        headers: &request.headers,
        body: &body,
        models: &state.models,
        path: request.path.as_ref(),
    });
    let provider = request.api.provider();
    let in_path = request.path.as_ref().map(|path| path.model.as_str());
    let model = in_path.or(body["model"].as_str()).unwrap_or_default().to_owned();
    let targets = checked.as_ref().map(|asked| read_targets(state, asked)).unwrap_or_default();
    let seed: Option<Arc<str>> = targets.seed.as_deref().map(Arc::from);

    // Held until the call is in the ledger, so that no marker is added in between.
    let book = state.book();
    let found = book.markers.scan(&request.body);
    let markers = found.iter().filter_map(|number| book.markers.name(*number)).cloned();
    let (number, ordinal) = state.ledger.arrive(Arrival {
        provider,
        model: model.clone(),
        seed: seed.clone(),
        markers: markers.collect(),
        body: request.body.clone(),
        at,
    });
    let mut guard = Guard::new(Arc::clone(state), number);
    let id = format!("{:016x}{number:08x}", hash((number, &seed)));
    let asked = match checked {
        Ok(asked) => asked,
        Err(problem) => return Err(Box::new(refuse(state, &request, &problem, &id, &mut guard))),
    };
    let sought = Sought { provider, model: &model, seed: seed.as_deref(), ordinal };
    let decision = book.decide(sought, &found);
    let schema = asked.schema_at.and_then(|at| body.pointer_mut(at)).map(Value::take);
    let Request { api, connection, .. } = request;
    let state = Arc::clone(state);
    let call = Call { state, api, asked, schema, targets, decision, id, connection };
    Ok((call, guard))
}

/// The prompt's targets; missing or unreadable ones are recorded for `/control/stats`.
fn read_targets(state: &State, asked: &Asked) -> Targets {
    match targets::find(&asked.prompt) {
        Found::Targets(targets) => *targets,
        Found::Nothing => {
            state.ledger.no_targets(None);
            Targets::default()
        }
        Found::Unreadable(reason) => {
            state.ledger.no_targets(Some(reason));
            Targets::default()
        }
    }
}

fn refuse(
    state: &State,
    request: &Request,
    problem: &Problem,
    id: &str,
    guard: &mut Guard,
) -> Response {
    let (provider, status) = (request.api.provider(), problem.status);
    tracing::debug!(
        provider = provider.as_str(),
        status,
        message = &*problem.message,
        "request refused"
    );
    state.ledger.reject(Rejection { provider, status, message: problem.message.to_string() });
    guard.end(Outcome { label: "rejected", status, usage: Usage::NONE });
    let array = request.path.as_ref().is_some_and(GeminiPath::is_array);
    let stream = if array { Streaming::Array } else { Streaming::No };
    perform::problem_response(request.api, stream, problem, id)
}
