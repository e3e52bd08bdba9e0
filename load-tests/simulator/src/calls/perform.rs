//! Does what was decided for a call.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use crate::control::action::{Action, CutAt, StatusError};
use crate::plan::spoil::{Spoil, spoil};
use crate::plan::words;
use crate::provider::Api;
use crate::wire::problem::Problem;
use crate::wire::usage::{Usage, cut_to, tokens};
use crate::wire::{self, Said, Stop, Streaming, faults, headers, responses};

use super::script::{self, Step};
use super::{Call, Guard, Outcome};

/// The pause before a connection is cut, so that what was sent before arrives.
const BEFORE_CUT: Duration = Duration::from_millis(20);

/// Answers a valid call as decided.
pub(super) async fn answer(call: Call, mut guard: Guard) -> Response {
    let action = Arc::clone(&call.decision.action);
    if let Some(response) = wait(&call, &action, &mut guard).await {
        return response;
    }
    match &*action {
        Action::Status(error) => {
            fail(&call, guard, &action, &faults::status(call.api.provider(), error))
        }
        Action::Overloaded => fail(&call, guard, &action, &faults::overloaded(call.api.provider())),
        Action::Failed { code } if call.api == Api::Responses => {
            failed(&call, guard, &action, code)
        }
        Action::Failed { code } => {
            fail(&call, guard, &action, &faults::server_error(call.api.provider(), code))
        }
        Action::Hang => script::never().await,
        Action::Cut { at: CutAt::Request } => {
            guard.end(outcome(&action, 0, Usage::NONE));
            call.connection.close();
            // The connection is dropped, and this call with it.
            script::never().await
        }
        Action::EmptyBody => plain(&call, &mut guard, &action, Bytes::new()),
        Action::Complain { how } => {
            guard.end(outcome(&action, 200, Usage::NONE));
            let (kind, body) = how.body();
            with_reply_headers(&call, respond(200, kind, Body::from(body)))
        }
        Action::GarbageBody => garbage(&call, &mut guard, &action),
        Action::ExactBody { status, headers, body } => {
            guard.end(outcome(&action, *status, Usage::NONE));
            let mut response = respond(*status, "application/json", Body::from(body.clone()));
            put_headers(&mut response, &headers::of_reply(call.api, &call.id));
            let own: Vec<_> = headers.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
            put_headers(&mut response, &own);
            response
        }
        Action::StreamError { .. } if call.asked.stream == Streaming::No => {
            fail(&call, guard, &action, &faults::overloaded(call.api.provider()))
        }
        _ => speak(&call, guard, &action),
    }
}

/// Lets the latency pass. Gemini callers may have asked the service to give up sooner.
async fn wait(call: &Call, action: &Action, guard: &mut Guard) -> Option<Response> {
    let streams = call.asked.stream != Streaming::No;
    // A streamed reply spreads its latency over the stream.
    let latency = if streams { Duration::ZERO } else { call.decision.latency };
    let patience = call.asked.server_timeout.map(Duration::from_secs);
    let ready = async {
        tokio::time::sleep(latency).await;
        match (action, &call.decision.rule) {
            (Action::Hold, Some(rule)) => rule.released.cancelled().await,
            (Action::Hang, _) => script::never().await,
            _ => {}
        }
    };
    let Some(patience) = patience else {
        ready.await;
        return None;
    };
    if tokio::time::timeout(patience, ready).await.is_ok() {
        return None;
    }
    let problem = faults::deadline(call.api.provider());
    guard.end(Outcome { label: "server_timeout", status: problem.status, usage: Usage::NONE });
    Some(problem_response(call.api, call.asked.stream, &problem, &call.id))
}

/// A reply of the model, whole or streamed, good or bad.
fn speak(call: &Call, mut guard: Guard, action: &Action) -> Response {
    let said = compose(call, action);
    let outcome = outcome(action, 200, said.usage);
    if call.asked.stream == Streaming::No {
        let bytes: Bytes = wire::body(call.api, &said).to_string().into();
        return match action {
            Action::HangAfterHeaders | Action::SlowDrip { .. } | Action::Cut { .. } => {
                slowly(call, guard, outcome, action, vec![bytes], "application/json")
            }
            _ => {
                guard.end(outcome);
                with_reply_headers(call, respond(200, "application/json", Body::from(bytes)))
            }
        };
    }
    let events = wire::events(call.api, call.asked.stream, &said);
    let events = match action {
        Action::StreamError { after } => {
            wire::interrupt(call.api, call.asked.stream, events, *after, &call.id)
        }
        _ => events,
    };
    let (kind, events) = match (action, call.asked.stream) {
        (_, Streaming::Array) => ("application/json", events),
        (Action::Odd { shape }, _) => shape.frame(call.api, &said, events),
        (_, Streaming::No | Streaming::Sse { .. }) => ("text/event-stream", events),
    };
    slowly(call, guard, outcome, action, events, kind)
}

/// Sends `pieces` in the way `action` and the latency ask for.
fn slowly(
    call: &Call,
    guard: Guard,
    outcome: Outcome,
    action: &Action,
    pieces: Vec<Bytes>,
    kind: &'static str,
) -> Response {
    let steps = match action {
        Action::HangAfterHeaders => {
            let first = pieces.first().map(|piece| piece.slice(..piece.len().min(200)));
            first.into_iter().map(Step::Send).chain([Step::Hang]).collect()
        }
        Action::SlowDrip { bytes, every_ms } => drip(&pieces, *bytes, *every_ms),
        Action::Cut { at: CutAt::Headers } => vec![Step::Wait(BEFORE_CUT), Step::Cut],
        Action::Cut { .. } => {
            let all = pieces.concat();
            let half = Bytes::copy_from_slice(&all[..all.len() / 2]);
            vec![Step::Send(half), Step::Wait(BEFORE_CUT), Step::Cut]
        }
        _ => paced(pieces, call.decision.latency),
    };
    with_reply_headers(call, respond(200, kind, script::body(steps, guard, outcome)))
}

fn drip(pieces: &[Bytes], bytes: usize, every_ms: u64) -> Vec<Step> {
    let all = Bytes::from(pieces.concat());
    let size = bytes.max(1);
    let starts = (0..all.len()).step_by(size);
    let pause = Step::Wait(Duration::from_millis(every_ms));
    starts
        .flat_map(|start| {
            [pause.clone(), Step::Send(all.slice(start..(start + size).min(all.len())))]
        })
        .collect()
}

/// Bursts a stream is sent in, with an equal part of the latency before each.
const BURSTS: usize = 8;

fn paced(events: Vec<Bytes>, latency: Duration) -> Vec<Step> {
    if latency.is_zero() {
        return vec![Step::Send(events.concat().into())];
    }
    let size = events.len().div_ceil(BURSTS).max(1);
    let bursts = events.chunks(size);
    let pause = latency / u32::try_from(bursts.len().max(1)).unwrap_or(1);
    bursts.flat_map(|burst| [Step::Wait(pause), Step::Send(burst.concat().into())]).collect()
}

/// What the model says under `action`.
fn compose(call: &Call, action: &Action) -> Said {
    let plan = || match words::answer(&call.asked.prompt) {
        Some(answer) => answer.into(),
        None => call.state.planner.text(&call.targets, call.schema.as_ref()),
    };
    let (mut text, mut stop): (Arc<str>, Stop) = match action {
        Action::Exact { text } => (text.as_str().into(), Stop::Done),
        Action::ForbiddenFood => {
            (call.state.planner.forbidden(&call.targets, call.schema.as_ref()).into(), Stop::Done)
        }
        Action::Odd { shape } => (shape.words(&plan()).into(), Stop::Done),
        Action::Refusal => ("I can't help with this request.".into(), Stop::Refused),
        Action::Blocked => ("".into(), Stop::Filtered),
        Action::EmptyText => ("".into(), Stop::Done),
        Action::InvalidJson => {
            (format!("{{\"meals\": [oops {}", cut_to(&plan(), 10)).into(), Stop::Done)
        }
        Action::Truncated => {
            let whole = plan();
            (cut_to(&whole, tokens(&whole) / 2).into(), Stop::Length)
        }
        _ => match spoils(call, action) {
            Some(faults) => (spoil(&plan(), &faults).into(), Stop::Done),
            None => (plan(), Stop::Done),
        },
    };
    let (input, cached, cache_write) = call.state.prompts.input(call.api.provider(), &call.asked);
    let mut reasoning = call.asked.reasoning;
    // Reasoning comes first and counts against the cap.
    if let Some(cap) = call.asked.cap
        && reasoning + tokens(&text) > cap
    {
        reasoning = reasoning.min(cap);
        text = cut_to(&text, cap - reasoning).into();
        stop = Stop::Length;
    }
    let usage = Usage { input, cached, cache_write, output: tokens(&text), reasoning };
    let usage = call.decision.usage.unwrap_or(usage);
    Said {
        id: call.id.clone(),
        model: call.asked.model.clone(),
        text,
        stop,
        usage,
        show_thoughts: call.asked.show_thoughts,
    }
}

/// The faults `action` puts into a plan.
fn spoils(call: &Call, action: &Action) -> Option<Spoil> {
    let none = Spoil::default();
    match action {
        Action::SchemaInvalid => Some(Spoil { wrong_shape: true, ..none }),
        Action::WrongTotals => Some(Spoil { wrong_totals: true, ..none }),
        Action::WrongFigures => Some(Spoil { wrong_figures: true, ..none }),
        Action::Allergen { food } => Some(Spoil { food: Some(food.clone()), ..none }),
        Action::Obey { says, food, calories } => {
            let told = || says.clone().or_else(|| told_by_marker(call));
            let words = if food.is_none() && calories.is_none() { told() } else { says.clone() };
            Some(Spoil { says: words, food: food.clone(), calories: *calories, ..none })
        }
        _ => None,
    }
}

/// What stands behind the rule's marker in the prompt, up to the end of its line.
fn told_by_marker(call: &Call) -> Option<String> {
    let marker = call.decision.rule.as_ref()?.spec.marker.as_ref()?;
    let (_, behind) = call.asked.prompt.split_once(marker.as_str())?;
    let end = behind.find(['\n', '<', '"']).unwrap_or(behind.len());
    Some(behind[..end].trim().to_owned()).filter(|words| !words.is_empty())
}

fn outcome(action: &Action, status: u16, usage: Usage) -> Outcome {
    Outcome { label: action.label(), status, usage }
}

/// An error of the provider.
fn fail(call: &Call, mut guard: Guard, action: &Action, problem: &Problem) -> Response {
    guard.end(outcome(action, problem.status, Usage::NONE));
    if let Action::Status(StatusError { body: Some(body), .. }) = action {
        let text = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        let response = respond(problem.status, "application/json", Body::from(text));
        let mut response = with_reply_headers(call, response);
        put_headers(&mut response, &problem.headers);
        return response;
    }
    problem_response(call.api, call.asked.stream, problem, &call.id)
}

fn plain(call: &Call, guard: &mut Guard, action: &Action, body: Bytes) -> Response {
    guard.end(outcome(action, 200, Usage::NONE));
    with_reply_headers(call, respond(200, "application/json", Body::from(body)))
}

fn garbage(call: &Call, guard: &mut Guard, action: &Action) -> Response {
    guard.end(outcome(action, 200, Usage::NONE));
    let page =
        "<html><head><title>Just a moment</title></head><body>Checking your browser</body></html>";
    with_reply_headers(call, respond(200, "text/html", Body::from(page)))
}

/// A Responses reply with status 200 that says it failed.
fn failed(call: &Call, mut guard: Guard, action: &Action, code: &str) -> Response {
    if call.asked.stream == Streaming::No {
        let body = responses::reply::failed(&call.id, &call.asked.model, code);
        return plain(call, &mut guard, action, body.to_string().into());
    }
    let events = responses::stream::failed(&compose(call, action), code);
    slowly(call, guard, outcome(action, 200, Usage::NONE), action, events, "text/event-stream")
}

/// An error in the provider's shape, with its headers.
pub(super) fn problem_response(
    api: Api,
    stream: Streaming,
    problem: &Problem,
    id: &str,
) -> Response {
    let body: Value = wire::problem_body(api, stream, problem, id);
    let mut response = respond(problem.status, "application/json", Body::from(body.to_string()));
    put_headers(&mut response, &headers::of_error(api, id));
    put_headers(&mut response, &problem.headers);
    response
}

fn with_reply_headers(call: &Call, mut response: Response) -> Response {
    put_headers(&mut response, &headers::of_reply(call.api, &call.id));
    response
}

fn respond(status: u16, kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// Sets `headers`; what is no header name or value is left out.
fn put_headers(response: &mut Response, headers: &[(String, String)]) {
    for (name, value) in headers {
        let name = HeaderName::try_from(name.as_str());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value.as_str())) {
            response.headers_mut().insert(name, value);
        }
    }
}
