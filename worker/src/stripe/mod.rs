//! Reads from Stripe: subscriptions whose state is uncertain, the customer of a
//! charge, undelivered events.
//!
//! Plain HTTP and our own lenient types instead of the typed client: that
//! refuses a whole object because of one unexpected field, and what is read
//! here decides what people have paid for.

mod config;
mod error;

use std::time::Duration;

use chrono::DateTime;
use regimen_common::billing::object::{Subscription, customer_of_charge};
use regimen_common::billing::verdict::{Answer, Question};
use regimen_common::billing::{API_VERSION, StripeAccess};
use regimen_common::clock::Clock;
use reqwest::header::{DATE, HeaderMap};
use reqwest::{Client, StatusCode};
use secrecy::ExposeSecret;
use serde_json::Value;

pub use config::StripeConfig;
pub use error::StripeError;

const CONNECT: Duration = Duration::from_secs(3);
const TOTAL: Duration = Duration::from_secs(8);
/// Waits before a page is requested again.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// Larger replies are not read; a page of 100 events is about 1 MB.
const MAX_REPLY: usize = 16 * 1024 * 1024;

/// Reads from Stripe. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StripeReader {
    access: StripeAccess,
    client: Client,
    clock: Clock,
}

/// A page of a list.
#[derive(Debug)]
pub struct Page {
    /// Its elements.
    pub data: Vec<Value>,
    /// Whether more follow the last one.
    pub has_more: bool,
    /// The second at which it was made, by Stripe's clock.
    pub made_at: i64,
}

impl StripeReader {
    /// A reader with the given access.
    ///
    /// # Errors
    /// The HTTP client could not be set up.
    pub fn new(access: StripeAccess, clock: Clock) -> Result<Self, reqwest::Error> {
        let client = Client::builder()
            .connect_timeout(CONNECT)
            .timeout(TOTAL)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("regimen/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { access, client, clock })
    }

    /// Whether there is a key.
    pub fn is_configured(&self) -> bool {
        self.access.key.is_some()
    }

    /// Stripe's answer to a question. An object that Stripe does not know is an answer
    /// too.
    ///
    /// # Errors
    /// Stripe did not answer, or refused.
    pub async fn answer(&self, question: &Question) -> Result<Answer, StripeError> {
        let path = match question {
            Question::Subscription(id) => path("subscriptions", id),
            Question::Charge(id) => path("charges", id),
        };
        let (value, at) = match self.get(&path, &[]).await {
            Ok(reply) => reply,
            Err(StripeError::Missing) => return Ok(Answer::Missing),
            Err(error) => return Err(error),
        };
        Ok(match question {
            Question::Subscription(_) => {
                Answer::Subscription(Box::new(Subscription::from_value(&value)), at)
            }
            Question::Charge(_) => Answer::Customer(customer_of_charge(&value)),
        })
    }

    /// A page of events made since `since` (Unix seconds), newest first, after the event
    /// `after`. `undelivered`: only those that no endpoint accepted.
    ///
    /// # Errors
    /// Stripe did not answer, or refused.
    pub async fn events(
        &self,
        since: i64,
        after: Option<&str>,
        undelivered: bool,
    ) -> Result<Page, StripeError> {
        let since = since.to_string();
        let mut query = vec![("created[gte]", since.as_str())];
        if undelivered {
            query.push(("delivery_success", "false"));
        }
        self.page("/v1/events", &query, after).await
    }

    /// A page of a list, newest first, after the object `after`; retried when Stripe is
    /// briefly unavailable.
    ///
    /// # Errors
    /// Stripe did not answer, or refused.
    pub async fn page(
        &self,
        path: &str,
        query: &[(&str, &str)],
        after: Option<&str>,
    ) -> Result<Page, StripeError> {
        for pause in PAUSES {
            match self.page_once(path, query, after).await {
                Err(error @ (StripeError::Away(_) | StripeError::Busy { .. })) => {
                    tracing::warn!(%error, path, "a page of Stripe's is asked for again");
                    tokio::time::sleep(pause).await;
                }
                done => return done,
            }
        }
        self.page_once(path, query, after).await
    }

    async fn page_once(
        &self,
        path: &str,
        query: &[(&str, &str)],
        after: Option<&str>,
    ) -> Result<Page, StripeError> {
        let mut all = vec![("limit", "100")];
        all.extend(query);
        all.extend(after.map(|after| ("starting_after", after)));
        let (mut page, made_at) = self.get(path, &all).await?;
        let has_more = page.get("has_more").and_then(Value::as_bool).unwrap_or(false);
        match page.get_mut("data").map(Value::take) {
            Some(Value::Array(data)) => Ok(Page { data, has_more, made_at }),
            _ => Err(StripeError::Unreadable),
        }
    }

    /// A reply and the second at which it was made, by Stripe's clock.
    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<(Value, i64), StripeError> {
        let key = self.access.key.as_ref().ok_or(StripeError::NoKey)?;
        let mut url = self.access.url(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self
            .client
            .get(url)
            .bearer_auth(key.expose_secret())
            .header("Stripe-Version", API_VERSION);
        let mut response = request.send().await?;
        let (status, at) = (response.status(), self.made_at(response.headers()));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_REPLY {
                return Err(StripeError::Unreadable);
            }
        }
        let value: Value = serde_json::from_slice(&body).unwrap_or_default();
        match status {
            StatusCode::OK if value.is_object() => Ok((value, at)),
            StatusCode::OK => Err(StripeError::Unreadable),
            _ => Err(StripeError::of_reply(status, &value)),
        }
    }

    /// The reply's `Date`, else our own time.
    fn made_at(&self, headers: &HeaderMap) -> i64 {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        date.map_or_else(|| self.clock.now(), DateTime::from).timestamp()
    }
}

/// The path of one object. Ids are untrusted: an id with special characters becomes one
/// that does not exist instead of another path.
fn path(kind: &str, id: &str) -> String {
    let plain = id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    format!("/v1/{kind}/{}", if plain { id } else { "not-an-id" })
}
