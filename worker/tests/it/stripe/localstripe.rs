//! From a subscription at a Stripe that was not written here to the user's
//! plan: localstripe signs and delivers its webhooks to the real ingress, and
//! the real worker asks it back. No stand-in of ours is between.
//!
//! Its objects are those of API version 2017-08-15: the end of the period is
//! on the subscription and not on its items, items have a plan and no price.
//! Our reader takes both places (`common::billing::object`). It sends no
//! events when a subscription is updated, paused or refunded, and knows
//! neither checkout nor portal sessions, disputes nor `delivery_success`.

use regimen_common::test_support::{Language, Scripted};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::fleet::{Fleet, Ingress};

pub(super) const KEY: &str = "sk_test_localstripe";
pub(super) const SECRET: &str = "whsec_localstripe";

/// A client of localstripe.
pub(super) struct LocalStripe {
    _server: Scripted,
    pub(super) url: String,
    http: reqwest::Client,
}

impl LocalStripe {
    pub(super) async fn start(python: &Language) -> Self {
        let server = Scripted::start(python, "local_stripe.py", &[]).await;
        let url = format!("http://127.0.0.1:{}", server.port);
        regimen_common::process::install_crypto();
        let http = reqwest::Client::builder().build().unwrap();
        Self { _server: server, url, http }
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let post = self.http.post(format!("{}{path}", self.url)).bearer_auth(KEY).json(&body);
        let answer = post.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// What it shows.
    pub(super) async fn get(&self, path: &str) -> Value {
        let get = self.http.get(format!("{}{path}", self.url)).bearer_auth(KEY);
        let answer = get.send().await.unwrap();
        let (status, body) = (answer.status(), answer.json::<Value>().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {body}");
        body
    }

    async fn delete(&self, path: &str) {
        let delete = self.http.delete(format!("{}{path}", self.url)).bearer_auth(KEY);
        let status = delete.send().await.unwrap().status();
        assert!(status.is_success(), "{path}: {status}");
    }

    /// Has its events told to `ingress`, and a plan to sell.
    pub(super) async fn open_shop(&self, ingress: &Ingress) {
        let url = format!("{}/api/stripe/webhook", ingress.binary.address("INGRESS_URL"));
        self.post("/_config/webhooks/regimen", json!({"url": url, "secret": SECRET})).await;
        let product =
            self.post("/v1/products", json!({"name": "Regimen Pro", "type": "service"})).await;
        let plan = json!({"id": "pro-monthly", "product": product["id"], "currency": "eur",
            "amount": 999, "interval": "month"});
        self.post("/v1/plans", plan).await;
    }

    /// Sells the plan to a new customer; returns customer and subscription.
    pub(super) async fn sell(&self, user: Uuid, card: &str) -> (String, Value) {
        let id = |object: &Value| object["id"].as_str().unwrap().to_owned();
        let customer = id(&self.post("/v1/customers", json!({"email": "ana@example.test"})).await);
        let card = json!({"type": "card",
            "card": {"number": card, "exp_month": "12", "exp_year": "2034", "cvc": "123"}});
        let method = id(&self.post("/v1/payment_methods", card).await);
        self.post(&format!("/v1/payment_methods/{method}/attach"), json!({"customer": customer}))
            .await;
        let settings = json!({"invoice_settings": {"default_payment_method": method}});
        self.post(&format!("/v1/customers/{customer}"), settings).await;
        let sold = json!({"customer": customer, "items": [{"plan": "pro-monthly"}],
            "metadata": {"user_id": user}});
        (customer, self.post("/v1/subscriptions", sold).await)
    }
}

#[tokio::test]
async fn a_subscription_makes_pro_and_its_cancellation_free_again() {
    let Some(python) = Language::python("stripe") else { return };
    let stripe = LocalStripe::start(&python).await;
    let fleet = Fleet::new(&[
        ("STRIPE_WEBHOOK_SECRET", SECRET),
        ("STRIPE_SECRET_KEY", KEY),
        ("STRIPE_BASE_URL", stripe.url.as_str()),
        // Only what is delivered counts here.
        ("BACKFILL_HOURS", "0"),
    ])
    .await;
    let (ingress, _worker) = (fleet.ingress().await, fleet.worker().await);
    stripe.open_shop(&ingress).await;
    let (user, other) = (fleet.profile().await, fleet.profile().await);
    assert_eq!(fleet.plan_of(user).await, "free");

    let (customer, sold) = stripe.sell(user, "4242424242424242").await;
    let has = |plan: &str, renewal: &str| {
        format!(
            "select count(*) from public.profiles where id = '{user}' and plan_id = '{plan}'
             and stripe_customer_id = '{customer}' and plan_renewal_date is {renewal}"
        )
    };
    fleet.until_count(&has("pro", "not null"), 1).await;
    let ends = sold["current_period_end"].as_i64().unwrap();
    let renews = format!(
        "select count(*) from public.profiles where id = '{user}'
         and plan_renewal_date = (to_timestamp({ends}) at time zone 'UTC')::date"
    );
    assert_eq!(fleet.count(&renews).await, 1, "the end of the paid period, from the old place");

    let id = sold["id"].as_str().unwrap();
    stripe.delete(&format!("/v1/subscriptions/{id}")).await;
    fleet.until_count(&has("free", "null"), 1).await;

    // A card that is declined gives nothing.
    let (_, sold) = stripe.sell(other, "4000000000000341").await;
    let heard = format!(
        "select count(*) from regimen.stripe_events where state = 'applied'
         and object_id = '{}' and type = 'customer.subscription.created'",
        sold["id"].as_str().unwrap()
    );
    fleet.until_count(&heard, 1).await;
    assert_eq!(sold["status"], "incomplete", "{sold}");
    assert_eq!(fleet.plan_of(other).await, "free");

    let strange = "select count(*) from regimen.stripe_events
                   where state in ('dead', 'mismatched') or source <> 'webhook'";
    assert_eq!(fleet.count(strange).await, 0);
}
