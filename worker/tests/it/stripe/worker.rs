//! A worker's insides with a test's own stores, driven by hand.

use std::sync::Arc;

use chrono::DateTime;
use regimen_common::billing::event::Event;
use regimen_common::clock::Clock;
use regimen_common::config::Env;
use regimen_common::db::billing::claims;
use regimen_common::db::billing::events::{self, NewEvent, Source, Summary};
use regimen_common::shutdown::Shutdown;
use regimen_common::test_support::{TestDatabase, TestRedis};
use regimen_worker::config::WorkerConfig;
use regimen_worker::deps::Deps;
use regimen_worker::jobs::stripe_event::handler;
use serde_json::{Value, json};
use uuid::Uuid;

use super::stripe_api::StripeApi;

/// When the tests take place: 2026-11-23.
pub(crate) const NOW: i64 = 1_795_392_000;

/// A worker, its stores, and the Stripe it asks.
pub(crate) struct Worker {
    pub(crate) deps: Arc<Deps>,
    pub(crate) database: TestDatabase,
    pub(crate) stripe: StripeApi,
    _redis: TestRedis,
}

impl Worker {
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A worker with further settings.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        regimen_common::process::install_crypto();
        let (database, redis) = (TestDatabase::new().await, TestRedis::new());
        let stripe = StripeApi::start().await;
        let basics = [
            ("ENVIRONMENT", "development"),
            ("DATABASE_URL", database.url()),
            ("REDIS_URL", redis.url()),
            ("REDIS_PREFIX", redis.prefix()),
            ("STRIPE_SECRET_KEY", StripeApi::KEY),
            ("STRIPE_BASE_URL", stripe.url.as_str()),
            ("PAST_DUE_GRACE_DAYS", "7"),
        ];
        let unset = |(name, _): &&(&str, &str)| !settings.iter().any(|(set, _)| set == name);
        let pairs = basics.iter().filter(unset).chain(settings).copied();
        let config = WorkerConfig::read(Env::from_pairs(pairs)).unwrap();
        let mut deps = Deps::new(config, Shutdown::default()).unwrap();
        let clock = Clock::fixed(DateTime::from_timestamp(NOW, 0).unwrap());
        Arc::get_mut(&mut deps).unwrap().clock = clock;
        stripe.truth.lock().unwrap().now = Some(NOW);
        Self { deps, database, stripe, _redis: redis }
    }

    /// Stores an event as the webhook does.
    pub(crate) async fn store(&self, event: &Value) {
        let payload = event.to_string();
        let event = Event::from_value(event.clone()).unwrap();
        let new = NewEvent {
            event: &event,
            payload: &payload,
            source: Source::Webhook,
            mismatch: None,
            trace_context: None,
        };
        events::store(&self.database.client().await, &new).await.unwrap();
    }

    /// Handles everything that is due, and says how many that were.
    pub(crate) async fn drain(&self) -> usize {
        let mut handled = 0;
        loop {
            let mut client = self.database.client().await;
            let due = claims::DueEvents { limit: 10, hold: handler::HOLD, quarantine: &[] };
            let due = claims::claim_due(&mut client, &due).await.unwrap().done;
            drop(client);
            if due.is_empty() {
                return handled;
            }
            for claimed in due {
                handler::handle(&self.deps, &claimed).await;
                handled += 1;
            }
        }
    }

    /// Stores an event and handles what is due.
    pub(crate) async fn take(&self, event: &Value) {
        self.store(event).await;
        self.drain().await;
    }

    pub(crate) async fn event(&self, id: &str) -> Summary {
        events::find(&self.database.client().await, id).await.unwrap().unwrap()
    }

    /// The state of an event and the reason for it.
    pub(crate) async fn state(&self, id: &str) -> (&'static str, Option<String>) {
        let event = self.event(id).await;
        (event.state.as_str(), event.error.0)
    }

    pub(crate) async fn profile(&self) -> Uuid {
        let user = Uuid::new_v4();
        self.add_profile(user).await;
        user
    }

    pub(crate) async fn add_profile(&self, user: Uuid) {
        let sql = "insert into public.profiles (id, email, full_name)
                   values ($1, 'ana@example.test', 'Ana')";
        self.database.client().await.execute(sql, &[&user]).await.unwrap();
    }

    /// A user's plan, renewal date and customer, as the app reads them.
    pub(crate) async fn plan(&self, user: Uuid) -> (String, Option<String>, Option<String>) {
        let sql = "select plan_id, plan_renewal_date::text, stripe_customer_id
                   from public.profiles where id = $1";
        let row = self.database.client().await.query_one(sql, &[&user]).await.unwrap();
        (row.get(0), row.get(1), row.get(2))
    }

    /// The messages shown to a user in the app, with their types.
    pub(crate) async fn notifications(&self, user: Uuid) -> Vec<(String, String)> {
        let sql = "select type, message from public.notifications where recipient_id = $1";
        let rows = self.database.client().await.query(sql, &[&user]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    }
}

/// An event as Stripe sends it.
pub(crate) fn event(id: &str, kind: &str, created: i64, object: &Value) -> Value {
    json!({"id": id, "object": "event", "api_version": "2026-10-28.endive", "created": created,
        "livemode": false, "pending_webhooks": 1, "request": {"id": null, "idempotency_key": null},
        "type": kind, "data": {"object": object}})
}

/// A subscription as Stripe sends it.
pub(crate) fn subscription(status: &str, user: Option<Uuid>) -> Value {
    json!({"id": "sub_1", "object": "subscription", "customer": "cus_1", "customer_account": null,
        "status": status, "collection_method": "charge_automatically", "currency": "eur",
        "created": NOW, "livemode": false, "cancel_at_period_end": false, "cancel_at": null,
        "canceled_at": null, "ended_at": null, "trial_end": null,
        "items": {"object": "list", "has_more": false, "data": [{"id": "si_1",
            "object": "subscription_item", "current_period_start": NOW,
            "current_period_end": 1_800_574_790_i64, "quantity": 1,
            "price": {"id": "price_pro", "object": "price", "product": "prod_pro"}}]},
        "latest_invoice": "in_1", "metadata": user.map(|user| json!({"user_id": user}))
            .unwrap_or(json!({}))})
}

/// A checkout session as Stripe sends it when it is over.
pub(crate) fn session(payment_status: &str, user: Option<Uuid>) -> Value {
    json!({"id": "cs_test_1", "object": "checkout.session", "mode": "subscription",
        "status": "complete", "payment_status": payment_status, "client_reference_id": user,
        "customer": "cus_1", "customer_account": null, "subscription": "sub_1", "invoice": "in_1",
        "metadata": {}, "amount_total": 999, "currency": "eur"})
}
