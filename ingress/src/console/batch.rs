//! One action for many jobs: those selected, or all that match a filter. A page names
//! their number first, and exactly those are then acted on.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::post;
use regimen_common::db::jobs::Listed;
use regimen_common::job::JobState;
use uuid::Uuid;

use super::fault::Answer;
use super::form::Form;
use super::jobs::{filter, matching};
use super::limit::{Limit, limited};
use super::page::{Frame, html};
use super::session::{Act, Sent, Session};
use crate::error::ApiError;
use crate::operators::{self, Operator};
use crate::state::AppState;

const PART: &str = "/console/jobs";
/// The most jobs of one action.
const MOST: usize = 1_000;
/// Refusals that a page lists.
const LISTED: usize = 50;

/// The routes; each is counted.
pub(super) fn router(state: &AppState) -> Router<AppState> {
    let routes = Router::new()
        .route("/console/jobs/batch", post(ask))
        .route("/console/jobs/batch/act", post(act));
    limited(state, Limit::Act, routes)
}

/// What is done with many jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Retry,
    Cancel,
}

impl Deed {
    fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Cancel => "cancel",
        }
    }

    /// The states of jobs with which it can be done.
    fn states(self) -> [JobState; 2] {
        match self {
            Self::Retry => [JobState::Failed, JobState::Expired],
            Self::Cancel => [JobState::Queued, JobState::Running],
        }
    }

    /// What a button asks for: the deed, and whether for all that match.
    fn read(button: &str) -> Result<(Self, bool), ApiError> {
        Ok(match button {
            "retry" => (Self::Retry, false),
            "cancel" => (Self::Cancel, false),
            "retry-all" => (Self::Retry, true),
            "cancel-all" => (Self::Cancel, true),
            _ => return Err(ApiError::field("/do", "must be retry or cancel")),
        })
    }
}

#[derive(Template)]
#[template(path = "console/batch.html")]
struct BatchPage {
    frame: Frame,
    deed: Deed,
    count: usize,
    /// There may be more than are acted on at once.
    more: bool,
    ids: String,
}

async fn ask(State(state): State<AppState>, Sent { session, form }: Sent) -> Answer {
    session.require_admin()?;
    let (deed, all) = Deed::read(form.get("do").unwrap_or_default())?;
    let (ids, more) = if all {
        all_that_match(&state, deed, form.get("filter").unwrap_or_default()).await?
    } else {
        (ids(form.all("id"))?, false)
    };
    let frame = Frame::within(PART, format!("{} {} jobs", deed.as_str(), ids.len()), &session);
    let count = ids.len();
    let ids: Vec<String> = ids.iter().map(|id| id.simple().to_string()).collect();
    let page = BatchPage { frame, deed, count, more, ids: ids.join(",") };
    Ok(html(page.render()?).into_response())
}

fn ids<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<Uuid>, ApiError> {
    let mut ids = Vec::new();
    for text in texts {
        ids.push(text.parse().map_err(|_| ApiError::field("/id", "must be the id of a job"))?);
    }
    if ids.len() > MOST {
        return Err(ApiError::field("/id", format!("at most {MOST} jobs at a time")));
    }
    Ok(ids)
}

async fn all_that_match(
    state: &AppState,
    deed: Deed,
    query: &str,
) -> Result<(Vec<Uuid>, bool), ApiError> {
    let given = filter(&Form::read(query.as_bytes()), 0)?;
    let (mut found, mut more) = (Vec::new(), false);
    for wanted in deed.states() {
        if given.state.is_none_or(|state| state == wanted) {
            let filter = regimen_common::db::jobs::OperatorFilter {
                state: Some(wanted),
                before: None,
                ..given.clone()
            };
            let (jobs, cut) = matching(state, filter, MOST).await?;
            more |= cut;
            found.extend(jobs.iter().filter(|job| job.retried_as.is_none()).map(id_of));
        }
    }
    more |= found.len() > MOST;
    found.truncate(MOST);
    Ok((found, more))
}

fn id_of(job: &Listed) -> Uuid {
    job.row.id
}

#[derive(Template)]
#[template(path = "console/batch_done.html")]
struct DonePage {
    frame: Frame,
    deed: Deed,
    done: usize,
    refused: Vec<String>,
    refused_count: usize,
}

async fn act(State(state): State<AppState>, Act { session, form, operator }: Act) -> Answer {
    let (deed, _) = Deed::read(form.get("do").unwrap_or_default())?;
    let ids = ids(form.get("ids").unwrap_or_default().split(',').filter(|id| !id.is_empty()))?;
    // A task of its own: its statements have more time than one request, and it goes on
    // when the page is closed.
    let all = tokio::spawn(perform(state, operator, deed, ids));
    let (done, refused) = all.await.map_err(ApiError::internal)?;
    Ok(html(done_page(&session, deed, done, refused).render()?).into_response())
}

fn done_page(session: &Session, deed: Deed, done: usize, refused: Vec<String>) -> DonePage {
    let refused_count = refused.len();
    let refused = refused.into_iter().take(LISTED).collect();
    let frame = Frame::within(PART, format!("{} jobs", deed.as_str()), session);
    DonePage { frame, deed, done, refused, refused_count }
}

async fn perform(
    state: AppState,
    by: Operator,
    deed: Deed,
    ids: Vec<Uuid>,
) -> (usize, Vec<String>) {
    let (mut done, mut refused) = (0, Vec::new());
    for id in ids {
        let outcome = match deed {
            Deed::Retry => operators::retry_job(&state, &by, id).await.map(|retry| retry.created),
            Deed::Cancel => operators::cancel_job(&state, &by, id).await,
        };
        match outcome {
            Ok(true) => done += 1,
            Ok(false) => refused.push(format!("job {id}: it was done before")),
            Err(error) => refused.push(error.to_string()),
        }
    }
    (done, refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_jobs_than_the_most_are_taken() {
        let id = Uuid::from_u128(7).simple().to_string();
        assert_eq!(ids([id.as_str()].into_iter()).unwrap(), [Uuid::from_u128(7)]);
        assert!(ids(std::iter::repeat_n(id.as_str(), MOST + 1)).is_err());
        assert!(ids(["'; drop table"].into_iter()).is_err());
        assert!(Deed::read("erase").is_err());
    }
}
