//! Log lines: their shape, and which of them are written.

use tracing::Level;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For a person at a terminal.
    Text,
}

impl std::str::FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "json" => Ok(Self::Json),
            "text" => Ok(Self::Text),
            _ => Err("must be json or text"),
        }
    }
}

/// What writes the lines of the targets and levels `filter` asks for.
pub(super) fn layer(format: LogFormat, filter: &str) -> Box<dyn Layer<Registry> + Send + Sync> {
    let filter = EnvFilter::new(filter)
        .and(filter_fn(|event| *event.level() <= Level::INFO || !spells_out_data(event.target())));
    match format {
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_filter(filter).boxed(),
        LogFormat::Text => fmt::layer().with_filter(filter).boxed(),
    }
}

/// Whether the crate behind `target` writes into its debug lines what passes
/// through it: the driver every parameter, and with that quizzes and e-mails.
fn spells_out_data(target: &str) -> bool {
    target == "tokio_postgres" || target.starts_with("tokio_postgres::")
}
