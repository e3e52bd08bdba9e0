//! Flame graphs of a running process: where its threads spend their time.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode, header};
use pprof::ProfilerGuardBuilder;
use tokio::sync::Semaphore;

/// Samples per second; not a multiple of usual timer frequencies.
const FREQUENCY: i32 = 99;
/// The default duration of a profile.
const DEFAULT_SECONDS: u64 = 10;
/// The longest duration; proxies would cut off longer requests.
const MOST_SECONDS: u64 = 60;

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// An invalid number of seconds.
    #[error("seconds is {0:?}; must be a whole number between 1 and {MOST_SECONDS}")]
    Seconds(String),
    /// Another profile is being taken.
    #[error("a profile is being taken already; ask again when it is done")]
    Busy,
    /// No thread was busy.
    #[error("no thread was busy while the profile was taken; ask again while the process works")]
    Idle,
    /// The profiler failed.
    #[error("the profiler failed: {0}; ask again")]
    Profiler(#[from] pprof::Error),
    /// Its task failed.
    #[error("the profile could not be drawn; ask again")]
    Drawing,
}

/// Takes profiles, one at a time. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Profiler(Arc<Semaphore>);

impl Default for Profiler {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }
}

impl Profiler {
    /// Answers a request with this query, such as `seconds=10`.
    pub async fn answer(&self, query: Option<&str>) -> Response<Vec<u8>> {
        let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let seconds = pairs.filter(|(name, _)| name == "seconds").map(|(_, value)| value).last();
        let (status, kind, body) = match self.flame_graph(seconds.as_deref()).await {
            Ok(svg) => (StatusCode::OK, "image/svg+xml", svg),
            Err(error) => {
                let status = match error {
                    ProfileError::Seconds(_) => StatusCode::BAD_REQUEST,
                    ProfileError::Busy => StatusCode::CONFLICT,
                    ProfileError::Idle => StatusCode::SERVICE_UNAVAILABLE,
                    ProfileError::Profiler(_) | ProfileError::Drawing => {
                        StatusCode::INTERNAL_SERVER_ERROR
                    }
                };
                (status, "text/plain; charset=utf-8", format!("{error}\n").into_bytes())
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        response
    }

    /// Profiles the process for the requested seconds; returns an SVG.
    ///
    /// # Errors
    /// See [`ProfileError`].
    async fn flame_graph(&self, seconds: Option<&str>) -> Result<Vec<u8>, ProfileError> {
        let seconds = match seconds {
            None => DEFAULT_SECONDS,
            Some(text) => text
                .parse()
                .ok()
                .filter(|seconds| (1..=MOST_SECONDS).contains(seconds))
                .ok_or_else(|| ProfileError::Seconds(text.chars().take(20).collect()))?,
        };
        let _turn = self.0.try_acquire().map_err(|_| ProfileError::Busy)?;
        let watch = ProfilerGuardBuilder::default()
            .frequency(FREQUENCY)
            // Unwinding out of these can deadlock.
            .blocklist(&["libc", "libgcc", "pthread", "vdso"])
            .build()?;
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let draw = tokio::task::spawn_blocking(move || {
            let mut svg = Vec::new();
            watch.report().build()?.flamegraph(&mut svg)?;
            if svg.is_empty() { Err(ProfileError::Idle) } else { Ok(svg) }
        });
        draw.await.unwrap_or(Err(ProfileError::Drawing))
    }
}
