//! `/try`: the quiz as a form, and the plans as they are made. Open to everybody in
//! development or with `DEMO=on`. Each try is a new user of its own, whom only the
//! secret in the address names.

mod answers;

use askama::Template;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect};
use axum::routing::get;
use axum::{Extension, Router};
use regimen_common::db::jobs::{self, Details, ListFilter};
use regimen_common::job::{JobState, PlanKind};
use regimen_common::nutrition::Nutrition;
use serde_json::Value;
use uuid::Uuid;

use super::fault::{Answer, Fault};
use super::form::Form;
use super::limit::{self, Limit};
use super::live;
use super::page::{Frame, html};
use super::plan::{self, MealView, WorkoutView};
use crate::client_address::ClientAddress;
use crate::error::ApiError;
use crate::extract::Word;
use crate::state::AppState;
use crate::submission::{Reading, Submission, submit};
use answers::Field;

/// Users of `/try` are ids of this namespace: no other user's id can be one.
const NAMESPACE: Uuid = Uuid::from_u128(0x5b1f_9c0a_7a3e_4c55_9a0b_2f0d_7c1e_d4a6);

/// The routes; each try is counted by its address in its handler, after the answers are
/// read, so that a mistake in them uses nothing up.
pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/try", get(form_page).post(begin))
        .route("/try/{secret}", get(show))
        .route("/try/{secret}/live", get(watch))
}

/// The user of a secret.
fn user_of(secret: &str) -> Result<Uuid, Fault> {
    let is_secret = secret.len() == 32 && secret.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_secret {
        return Ok(Uuid::new_v5(&NAMESPACE, secret.as_bytes()));
    }
    Err(ApiError::NotFound("no plan has this address".to_owned()).into())
}

#[derive(Template)]
#[template(path = "console/try.html")]
struct TryPage {
    frame: Frame,
    groups: Vec<(&'static str, Vec<Field>)>,
    is_metric: bool,
    refused: Option<String>,
}

impl TryPage {
    fn new(form: &Form, refused: Option<&ApiError>) -> Self {
        Self {
            frame: Frame::of("Try it"),
            is_metric: form.get("units") != Some("imperial"),
            refused: refused.map(ToString::to_string),
            groups: answers::fields(form, refused),
        }
    }
}

async fn form_page() -> Answer {
    Ok(html(TryPage::new(&answers::sample(), None).render()?).into_response())
}

async fn begin(
    State(state): State<AppState>,
    client: Option<Extension<ClientAddress>>,
    form: Form,
) -> Answer {
    let secret = Uuid::new_v4().simple().to_string();
    let user_id = user_of(&secret)?;
    let address = client.map_or_else(String::new, |Extension(client)| client.group().to_string());
    limit::take(&state, Limit::Try, &address).await?;
    let submission = Submission {
        user_id,
        email: None,
        kinds: PlanKind::ALL.to_vec(),
        quiz_result_id: None,
        answers: answers::quiz(&form),
        reading: Reading::Strict,
        provider: None,
        model: None,
        callback_url: None,
        idempotency_key: None,
        form: "try",
        body: Bytes::new(),
        over_limit: None,
    };
    match submit(&state, submission, |_| Value::Null).await {
        Ok(_) => Ok(Redirect::to(&format!("/try/{secret}")).into_response()),
        Err(refusal @ ApiError::Invalid(_)) => {
            limit::give_back(&state, Limit::Try, &address).await;
            let page = TryPage::new(&form, Some(&refusal)).render()?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, html(page)).into_response())
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// One plan on its way.
struct Progress {
    name: &'static str,
    state: &'static str,
    /// What happens now, in words.
    now: String,
    /// What happened so far.
    steps: Vec<String>,
    is_bad: bool,
}

#[derive(Template)]
#[template(path = "console/try_live.html")]
struct Live {
    progress: Vec<Progress>,
    remarks: Vec<String>,
    meal: Option<MealView>,
    workout: Option<WorkoutView>,
    is_over: bool,
}

#[derive(Template)]
#[template(path = "console/try_plans.html")]
struct PlansPage {
    frame: Frame,
    secret: String,
    live: Live,
}

async fn show(State(state): State<AppState>, Word(secret): Word) -> Answer {
    let ids = jobs_of(&state, user_of(&secret)?).await?;
    let live = read(&state, &ids).await?;
    let page = PlansPage { frame: Frame::of("Your plans"), secret, live };
    Ok(html(page.render()?).into_response())
}

async fn watch(State(state): State<AppState>, Word(secret): Word) -> Answer {
    let user = user_of(&secret)?;
    let ids = jobs_of(&state, user).await?;
    let watchers = ids.iter().map(|id| state.watching.changes.job(*id)).collect();
    let source = (state.clone(), ids);
    live::stream(&state, user, live::Rhythm::Jobs(watchers), move || {
        let (state, ids) = source.clone();
        async move {
            let live = read(&state, &ids).await?;
            Ok(live::Frame { is_last: live.is_over, html: live.render()? })
        }
    })
}

async fn jobs_of(state: &AppState, user: Uuid) -> Result<Vec<Uuid>, ApiError> {
    let mut client = state.db.get().await?;
    let filter = ListFilter { limit: 2, ..ListFilter::default() };
    let mut ids: Vec<Uuid> =
        jobs::jobs_of_user(&mut client, user, &filter).await?.iter().map(|job| job.id).collect();
    if ids.is_empty() {
        return Err(ApiError::NotFound(
            "no plan has this address; it may have been kept for its time".to_owned(),
        ));
    }
    ids.sort();
    Ok(ids)
}

async fn read(state: &AppState, ids: &[Uuid]) -> Result<Live, ApiError> {
    let client = state.db.get().await?;
    let mut found = jobs::details(&client, ids).await?;
    let seen: Vec<(Uuid, i32)> = ids.iter().map(|id| (*id, 0)).collect();
    let mut histories = jobs::histories(&client, &seen).await?;
    let targets = jobs::targets(&client, ids).await?;
    drop(client);
    let line = state.watching.lines.view().await?;
    let (mut live, mut is_over) = (
        Live {
            progress: Vec::new(),
            remarks: Vec::new(),
            meal: None,
            workout: None,
            is_over: false,
        },
        true,
    );
    for id in ids {
        let Some(details) = found.remove(id) else { continue };
        let events = histories.remove(&(*id, 0)).unwrap_or_default();
        let place = line.place(&details, state.clock.now());
        let now = match (details.row.state, place) {
            (JobState::Queued, Some(place)) => plan::waiting(place.position, place.eta_seconds),
            _ => plan::stage(&details),
        };
        is_over &= details.row.state.is_terminal();
        live.progress.push(Progress {
            name: plan::name(details.row.kind),
            state: details.row.state.as_str(),
            now,
            steps: events.iter().map(plan::step).collect(),
            is_bad: details.row.state.is_terminal() && details.row.state != JobState::Succeeded,
        });
        add_remarks(&mut live.remarks, &details);
        let json: Option<Value> =
            details.plan.as_ref().and_then(|plan| serde_json::from_str(plan.get()).ok());
        let targets: Option<Nutrition> =
            targets.get(id).and_then(|found| serde_json::from_value(found.clone()).ok());
        match (details.row.kind, json) {
            (PlanKind::Meal, Some(json)) => live.meal = Some(MealView::of(&json, targets.as_ref())),
            (PlanKind::Workout, Some(json)) => live.workout = Some(WorkoutView::of(&json)),
            (_, None) => {}
        }
    }
    live.is_over = is_over;
    Ok(live)
}

/// Cautions and warnings of both jobs, each once.
fn add_remarks(remarks: &mut Vec<String>, details: &Details) {
    let lists = [&details.row.cautions, &details.row.warnings].into_iter().flatten();
    for one in lists.filter_map(Value::as_array).flatten() {
        let text = one.get("text").and_then(Value::as_str).unwrap_or_default();
        let words = one.get("words").and_then(Value::as_array).into_iter().flatten();
        let words: Vec<&str> = words.filter_map(Value::as_str).collect();
        let remark = match words.is_empty() {
            true => text.to_owned(),
            false => format!("{}: {text}", words.join(", ")),
        };
        if !remark.is_empty() && !remarks.contains(&remark) {
            remarks.push(remark);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_other_users_id_is_an_address() {
        let user = Uuid::new_v4();
        for wrong in [user.to_string(), String::new(), "x".repeat(32), "../../console".to_owned()] {
            assert!(user_of(&wrong).is_err(), "{wrong}");
        }
        let secret = user.simple().to_string();
        assert_ne!(user_of(&secret).unwrap(), user, "a secret is no user's id");
    }
}
