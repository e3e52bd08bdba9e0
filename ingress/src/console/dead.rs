//! Everything that was given up, of all kinds on one page.

use askama::Template;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::IntoResponse;
use axum::routing::get;
use regimen_common::db::dead::{self, DeadKind, DeadLetter};
use uuid::Uuid;

use super::fault::Answer;
use super::form::Form;
use super::page::{Frame, at, html, short};
use super::session::Session;
use crate::state::AppState;

const PART: &str = "/console/dead";
/// Letters of each kind.
const LIMIT: i64 = 50;

/// The route; it reads some rows along an index, and only the flood guard limits it.
pub(super) fn router() -> Router<AppState> {
    Router::new().route("/console/dead", get(page))
}

struct Letter {
    kind: &'static str,
    id: String,
    at: String,
    user: Option<Uuid>,
    /// The reason; what providers and receivers wrote is for admins.
    why: String,
    /// What tries it again.
    again: Option<String>,
}

impl Letter {
    fn of(letter: &DeadLetter, is_admin: bool) -> Self {
        let id: String = url::form_urlencoded::byte_serialize(letter.id.as_bytes()).collect();
        let again = match letter.kind.parse::<DeadKind>() {
            Ok(DeadKind::Job) => Some(format!("do=retry&job={id}")),
            Ok(DeadKind::Callback) => Some(format!("do=replay-callback&job={id}")),
            Ok(DeadKind::StripeEvent) => Some(format!("do=replay-event&event={id}")),
            Ok(DeadKind::Mail) => Some(format!("do=replay-mail&event={id}")),
            Err(_) => None,
        };
        let code = letter.why.split(':').next().unwrap_or_default();
        Self {
            kind: letter.kind,
            id: letter.id.clone(),
            at: at(letter.at),
            user: letter.user_id,
            why: short(if is_admin { &letter.why } else { code }, 200),
            again: again.filter(|_| is_admin),
        }
    }
}

#[derive(Template)]
#[template(path = "console/dead.html")]
struct DeadPage {
    frame: Frame,
    kinds: Vec<(&'static str, bool)>,
    letters: Vec<Letter>,
    limit: i64,
}

async fn page(
    State(state): State<AppState>,
    session: Session,
    RawQuery(query): RawQuery,
) -> Answer {
    let form = Form::read(query.unwrap_or_default().as_bytes());
    let only: Option<DeadKind> =
        form.parse("kind", "must be job, callback, stripe_event or mail")?;
    let kinds = only.map_or_else(|| DeadKind::ALL.to_vec(), |kind| vec![kind]);
    let client = state.db.get().await?;
    let letters = dead::letters(&client, &kinds, LIMIT).await?;
    let page = DeadPage {
        frame: Frame::within(PART, "Dead letters", &session).after(form.get("done")),
        kinds: DeadKind::ALL.iter().map(|kind| (kind.as_str(), only == Some(*kind))).collect(),
        letters: letters.iter().map(|one| Letter::of(one, session.is_admin())).collect(),
        limit: LIMIT,
    };
    Ok(html(page.render()?).into_response())
}
