//! What every page shares: its frame, and how times, money and texts are written.

use axum::response::Html;
use chrono::{DateTime, TimeDelta, Utc};

use super::assets::{Paths, paths};
use super::session::Session;

/// The frame of a page.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// Its title.
    pub(super) title: String,
    /// The path of the part of the console that it belongs to.
    pub(super) part: &'static str,
    /// Who is signed in.
    pub(super) session: Option<Session>,
    /// What was just done.
    pub(super) notice: Option<&'static str>,
    /// Its files.
    pub(super) files: Paths,
}

/// The parts of the console: path and name.
pub(super) const PARTS: [(&str, &str); 8] = [
    ("/console", "Overview"),
    ("/console/jobs", "Jobs"),
    ("/console/users", "Users"),
    ("/console/money", "Money"),
    ("/console/queues", "Queues and providers"),
    ("/console/dead", "Dead letters"),
    ("/console/audit", "Audit"),
    ("/console/settings", "Settings"),
];

impl Frame {
    /// Of a page for anybody.
    pub(super) fn of(title: &str) -> Self {
        Self { title: title.to_owned(), part: "", session: None, notice: None, files: paths() }
    }

    /// Of a page of a part of the console.
    pub(super) fn within(part: &'static str, title: impl Into<String>, session: &Session) -> Self {
        Self { title: title.into(), part, session: Some(session.clone()), ..Self::of("") }
    }

    /// With the notice of an action that was carried out, as `?done=` names it.
    pub(super) fn after(self, done: Option<&str>) -> Self {
        Self { notice: done.and_then(notice), ..self }
    }

    /// The parts of the console.
    pub(super) fn parts(&self) -> &'static [(&'static str, &'static str)] {
        &PARTS
    }

    /// The release.
    pub(super) fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// The chosen theme.
    pub(super) fn theme(&self) -> Option<&'static str> {
        self.session.as_ref().and_then(|session| session.theme)
    }

    /// Whether the operator may act, and see health data.
    pub(super) fn is_admin(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_admin)
    }

    /// The token of this page's forms.
    pub(super) fn token(&self) -> &str {
        self.session.as_ref().map_or("", |session| &session.token)
    }
}

/// Fixed texts: a link cannot make a page say anything else.
fn notice(done: &str) -> Option<&'static str> {
    Some(match done {
        "retried" => "The job is retried; this is the new one.",
        "retried-before" => "The job was retried before; this is the job that retries it.",
        "cancelled" => "The job is cancelled.",
        "paused" => "Paused. Every worker follows within about a second.",
        "resumed" => "Resumed. Every worker follows within about a second.",
        "tested" => "A worker makes the call within seconds; its result appears below.",
        "replayed" => "It is tried again; a worker takes it up within seconds.",
        "revoked" => "The session has ended.",
        "reset" => "The limits count from zero again.",
        "given" => "The generations are given; they count until the month ends.",
        "assigned" => "The customer is this user's; workers apply its events within seconds.",
        "erased" => "The account is deleted; workers erase what is left within a day.",
        _ => return None,
    })
}

/// A page.
pub(super) fn html(page: String) -> Html<String> {
    Html(page)
}

/// A time, to the second.
pub(super) fn at(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// Millionths of a US dollar.
pub(super) fn usd(micros: i64) -> String {
    format!("{:.4}", micros as f64 / 1e6)
}

/// A duration in its largest unit or two.
pub(super) fn took(time: TimeDelta) -> String {
    let millis = time.num_milliseconds().max(0);
    let seconds = millis / 1_000;
    match seconds {
        0..10 => format!("{}.{} s", seconds, millis % 1_000 / 100),
        10..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min {} s", seconds / 60, seconds % 60),
        7_200..172_800 => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A text as a part of an address.
pub(super) fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The beginning of a text.
pub(super) fn short(text: &str, most: usize) -> String {
    let mut short: String = text.chars().take(most).collect();
    if text.chars().count() > most {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_in_their_units() {
        for (millis, text) in [
            (-5, "0.0 s"),
            (1_340, "1.3 s"),
            (59_000, "59 s"),
            (125_000, "2 min 5 s"),
            (7_260_000, "2 h 1 min"),
            (180_000_000, "2 d 2 h"),
        ] {
            assert_eq!(took(TimeDelta::milliseconds(millis)), text);
        }
        assert_eq!(short("ännchen", 3), "änn…");
    }
}
