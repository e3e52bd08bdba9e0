//! Reads from Stripe: subscriptions whose state is uncertain, the customer of a
//! charge, undelivered events.
//!
//! Requests are built by async-stripe's types. Replies are parsed by our own
//! lenient types, because the library's refuse a whole object because of one
//! unexpected field, and what is read here decides what users have paid for.

mod config;

use std::time::Duration;

use rand::rngs::StdRng;
use regimen_common::billing::object::{Subscription, customer_of_charge};
use regimen_common::billing::verdict::{Answer, Question};
use regimen_common::billing::{StripeAccess, is_stripe_id};
use regimen_common::clock::Clock;
use regimen_common::stripe::{Reply, StripeClient, StripeError};
use serde_json::Value;
use stripe_billing::subscription::RetrieveSubscription;
use stripe_client_core::{RequestBuilder, StripeMethod, StripeRequest};
use stripe_core::charge::RetrieveCharge;

pub use config::StripeConfig;

/// The time limit of one call.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Reads from Stripe. Cheap to clone.
#[derive(Debug, Clone)]
pub struct StripeReader {
    client: StripeClient,
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
    pub fn new(access: StripeAccess, clock: Clock, rng: StdRng) -> Result<Self, reqwest::Error> {
        Ok(Self { client: StripeClient::new(access, TIMEOUT, rng)?, clock })
    }

    /// Whether there is a key.
    pub fn is_configured(&self) -> bool {
        self.client.is_configured()
    }

    /// Stripe's answer to a question, without retries, because callers try again later.
    /// That Stripe does not know the object is an answer, too.
    ///
    /// # Errors
    /// Stripe did not answer, or refused the request.
    pub async fn answer(&self, question: &Question) -> Result<Answer, StripeError> {
        let (Question::Subscription(id) | Question::Charge(id)) = question;
        // Ids come from outside and become part of the path.
        if !is_stripe_id(id) {
            return Ok(Answer::Missing);
        }
        let request = match question {
            Question::Subscription(id) => RetrieveSubscription::new(id.as_str()).build(),
            Question::Charge(id) => RetrieveCharge::new(id.as_str()).build(),
        };
        let reply = match self.client.read_once::<Value>(&request).await {
            Ok(reply) => reply,
            Err(StripeError::Missing(_)) => return Ok(Answer::Missing),
            Err(error) => return Err(error),
        };
        Ok(match question {
            Question::Subscription(_) => {
                let subscription = Subscription::from_value(&reply.value);
                Answer::Subscription(Box::new(subscription), self.made_at(&reply))
            }
            Question::Charge(_) => Answer::Customer(customer_of_charge(&reply.value)),
        })
    }

    /// A page of events made since `since` (Unix seconds), newest first, after the event
    /// `after`. `undelivered`: only those that no endpoint accepted.
    ///
    /// # Errors
    /// Stripe did not answer, or refused the request.
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
        self.page("/events", &query, after).await
    }

    /// A page of the list at `path` (without the version), newest first, after the
    /// object `after`.
    ///
    /// # Errors
    /// Stripe did not answer, or refused the request.
    pub async fn page(
        &self,
        path: &str,
        query: &[(&str, &str)],
        after: Option<&str>,
    ) -> Result<Page, StripeError> {
        let mut all = vec![("limit", "100")];
        all.extend(query);
        all.extend(after.map(|after| ("starting_after", after)));
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish();
        let mut request = RequestBuilder::new(StripeMethod::Get, path);
        request.query = Some(query);
        let mut reply = self.client.read_reply::<Value>(&request).await?;
        let has_more = reply.value.get("has_more").and_then(Value::as_bool).unwrap_or(false);
        let made_at = self.made_at(&reply);
        match reply.value.get_mut("data").map(Value::take) {
            Some(Value::Array(data)) => Ok(Page { data, has_more, made_at }),
            _ => Err(StripeError::Unreadable),
        }
    }

    /// The reply's `Date`, else our own time.
    fn made_at<T>(&self, reply: &Reply<T>) -> i64 {
        reply.made_at.unwrap_or_else(|| self.clock.now()).timestamp()
    }
}
