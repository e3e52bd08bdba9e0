//! The workers as two pages list them.

use askama::Template;
use regimen_common::db::workers::Worker;

use super::page::at;

/// One worker.
struct Line {
    id: String,
    state: &'static str,
    version: String,
    place: String,
    held: String,
    running: i64,
    since: String,
    seen: String,
}

/// The list as a part of a page.
#[derive(Template)]
#[template(path = "console/workers.html")]
pub(super) struct Workers {
    lines: Vec<Line>,
}

impl Workers {
    pub(super) fn of(workers: &[Worker]) -> Self {
        let line = |worker: &Worker| Line {
            id: worker.worker_id.clone(),
            state: worker.state(),
            version: worker.version.clone(),
            place: format!("{}:{}", worker.host, worker.pid),
            held: format!("{} of {}", worker.held, worker.slots),
            running: worker.running,
            since: at(worker.started_at),
            seen: format!("{} s ago", worker.silent.as_secs()),
        };
        Self { lines: workers.iter().map(line).collect() }
    }
}
