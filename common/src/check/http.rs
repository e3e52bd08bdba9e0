//! A question over HTTP, and what can be said of any answer.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::header::DATE;
use reqwest::{Client, RequestBuilder, redirect};
use serde_json::Value;

use super::{Finding, SKEW};
use crate::causes::causes;
use crate::clock::Clock;
use crate::roots::public_roots;

const CONNECT: Duration = Duration::from_secs(4);
const TOTAL: Duration = Duration::from_secs(8);
/// Lists of models and prices are far smaller.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

/// Asks over HTTP. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Http(Client);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body, where it is JSON.
    pub json: Value,
    /// How long it took.
    pub took: Duration,
    /// How far our clock is from the sender's, where they tell.
    pub skew: Option<TimeDelta>,
}

/// Why nothing came back. Says nothing of the address, which may hold a secret.
#[derive(Debug, thiserror::Error)]
pub enum HttpProblem {
    /// No connection, no answer in time, or a broken one.
    #[error("{}", causes(.0))]
    Away(reqwest::Error),
    /// More than anybody should send.
    #[error("the answer is larger than {MAX_ANSWER} bytes")]
    TooLarge,
}

impl From<reqwest::Error> for HttpProblem {
    fn from(error: reqwest::Error) -> Self {
        Self::Away(error.without_url())
    }
}

impl Http {
    /// A client that waits a few seconds at most and follows nobody elsewhere.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn new() -> Result<Self, HttpProblem> {
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(TOTAL)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("regimen/", env!("CARGO_PKG_VERSION")))
            .tls_certs_merge(public_roots())
            .build()?;
        Ok(Self(client))
    }

    /// What requests are made with.
    pub fn client(&self) -> &Client {
        &self.0
    }

    /// Sends `request` once.
    ///
    /// # Errors
    /// Nothing came back.
    pub async fn ask(&self, request: RequestBuilder) -> Result<Answer, HttpProblem> {
        let (began, started) = (Clock::system().now(), Instant::now());
        let mut response = request.send().await?;
        let took = started.elapsed();
        let status = response.status().as_u16();
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        let skew = date.map(|date| skew(began, took, date.to_utc()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER {
                return Err(HttpProblem::TooLarge);
            }
        }
        let json = serde_json::from_slice(&body).unwrap_or_default();
        Ok(Answer { status, json, took, skew })
    }
}

/// How far our clock is ahead of one that showed `there` between `began` and
/// `took` later. A time in whole seconds may be up to a second older.
pub fn skew(began: DateTime<Utc>, took: Duration, there: DateTime<Utc>) -> TimeDelta {
    let took = TimeDelta::from_std(took).unwrap_or_default();
    let (earliest, latest) = (began - TimeDelta::seconds(1), began + took);
    if there < earliest {
        earliest - there
    } else if there > latest {
        latest - there
    } else {
        TimeDelta::zero()
    }
}

/// A warning where the clocks are too far apart.
pub(super) fn of_skew(subject: &str, skew: TimeDelta) -> Option<Finding> {
    let apart = skew.abs().to_std().unwrap_or_default();
    (apart > SKEW).then(|| {
        let side = if skew > TimeDelta::zero() { "ahead of" } else { "behind" };
        let found = format!("our clock is {:.1} s {side} its clock", apart.as_secs_f64());
        Finding::warn(subject, found, "have both machines set their clocks by NTP (chrony)")
    })
}

impl Answer {
    /// A warning where its sender's clock is too far from ours.
    pub fn skew(&self, subject: &str) -> Option<Finding> {
        of_skew(subject, self.skew?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_way_cannot_explain_counts_as_skew() {
        let began = DateTime::from_timestamp(1_800_000_000, 500_000_000).unwrap();
        let at = |millis: i64| began + TimeDelta::milliseconds(millis);
        let skew = |millis| skew(began, Duration::from_millis(200), at(millis)).num_milliseconds();
        assert_eq!([skew(0), skew(200), skew(-900)], [0, 0, 0]);
        assert_eq!([skew(5_200), skew(-6_000)], [-5_000, 5_000]);
        let found = |millis: i64| {
            let found = of_skew("Stripe", TimeDelta::milliseconds(millis));
            found.map(|finding| finding.found)
        };
        assert_eq!(found(1_900), None);
        assert!(found(5_000).unwrap().contains("5.0 s ahead of"));
        assert!(found(-5_000).unwrap().contains("5.0 s behind"));
    }
}
