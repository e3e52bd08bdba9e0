//! What operators do, through the real ingress, at a Stripe that was not
//! written here. What localstripe lacks is tested as well: operators are told,
//! and nothing has changed. The table is in `load-tests/stripe/README.md`.
//!
//! localstripe does not look at idempotency keys. That money goes back once is
//! therefore tested at the stand-in only.

use regimen_common::clock::Clock;
use regimen_common::test_support::{Binary, Language};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::localstripe::{KEY, LocalStripe, SECRET};
use crate::fleet::{Fleet, Ingress};

/// An operator, and a user who has bought the plan at localstripe.
struct Office {
    stripe: LocalStripe,
    fleet: Fleet,
    ingress: Ingress,
    _worker: Binary,
    user: Uuid,
    customer: String,
    subscription: String,
}

impl Office {
    async fn open(python: &Language) -> Self {
        let stripe = LocalStripe::start(python).await;
        let fleet = Fleet::new(&[
            ("STRIPE_WEBHOOK_SECRET", SECRET),
            ("STRIPE_SECRET_KEY", KEY),
            ("STRIPE_BASE_URL", stripe.url.as_str()),
            ("STRIPE_PRICES", "monthly=price_Monthly"),
            // What localstripe sells, a plan as prices were called before.
            ("STRIPE_OLD_PRICES", "pro-monthly"),
            ("ALLOWED_ORIGINS", "https://app.example.test"),
            ("BACKFILL_HOURS", "0"),
        ])
        .await;
        let (ingress, worker) = (fleet.ingress().await, fleet.worker().await);
        stripe.open_shop(&ingress).await;
        let user = fleet.profile().await;
        let (customer, sold) = stripe.sell(user, "4242424242424242").await;
        let pro =
            format!("select count(*) from public.profiles where id = '{user}' and plan_id = 'pro'");
        fleet.until_count(&pro, 1).await;
        let subscription = sold["id"].as_str().unwrap().to_owned();
        Self { stripe, fleet, ingress, _worker: worker, user, customer, subscription }
    }

    /// What one of our routes answers.
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        self.ask_as(self.user, method, path, body).await
    }

    /// What it answers in the name of another user.
    async fn ask_as(
        &self,
        user: Uuid,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        let mut request = self.ingress.door().request(method, user, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn act(&self, action: &str, body: Value) -> (StatusCode, Value) {
        self.ask(Method::POST, &format!("/api/stripe/admin/{action}"), Some(body)).await
    }

    /// What a route answers that does what it is asked.
    async fn done(&self, action: &str, body: Value) -> Value {
        let (status, answer) = self.act(action, body).await;
        assert_eq!((status, &answer["success"]), (StatusCode::OK, &json!(true)), "{answer}");
        answer
    }

    async fn shown(&self, path: &str) -> Value {
        let (status, answer) = self.ask(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    /// The subscription, as localstripe shows it.
    async fn at_stripe(&self) -> Value {
        self.stripe.get(&format!("/v1/subscriptions/{}", self.subscription)).await
    }

    /// The customer's only charge, as localstripe shows it.
    async fn charge(&self) -> Value {
        let charges = self.stripe.get(&format!("/v1/charges?customer={}", self.customer)).await;
        assert_eq!(charges["data"].as_array().unwrap().len(), 1, "{charges}");
        charges["data"][0].clone()
    }

    /// What operators did and what came of it, oldest first.
    async fn record(&self) -> Vec<String> {
        let page = self.shown("/admin/actions").await;
        let word = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let rows = page["actions"].as_array().unwrap().iter().rev();
        rows.map(|row| {
            assert_eq!(row["actor"], "service", "{row}");
            format!("{} {} {}", word(row, "action"), word(row, "target"), word(row, "outcome"))
        })
        .collect()
    }
}

#[tokio::test]
async fn what_operators_do_is_seen_at_localstripe() {
    let Some(python) = Language::python("stripe") else { return };
    let office = Office::open(&python).await;
    let Office { customer, subscription, user, .. } = &office;
    assert_eq!(office.at_stripe().await["cancel_at_period_end"], false);
    let changed = office.done("cancel-subscription", json!({"subscription_id": subscription}));
    let changed = changed.await;
    let there = office.at_stripe().await;
    assert_eq!(there["cancel_at_period_end"], true, "{there}");
    assert_eq!(changed["cancel_at_period_end"], true);
    assert_eq!(changed["current_period_end"], there["current_period_end"]);

    let charge = office.charge().await;
    assert_eq!((&charge["amount"], &charge["amount_refunded"]), (&json!(999), &json!(0)));
    let (id, intent) = (&charge["id"], &charge["payment_intent"]);
    let part = office.done("refund", json!({"payment_id": id, "amount": 300})).await;
    assert_eq!((&part["amount"], &part["status"]), (&json!(300), &json!("succeeded")));
    let charge = office.charge().await;
    assert_eq!((&charge["amount_refunded"], &charge["refunded"]), (&json!(300), &json!(false)));
    let rest = office.done("refund", json!({"payment_id": intent, "amount": 699})).await;
    let charge = office.charge().await;
    assert_eq!((&charge["amount_refunded"], &charge["refunded"]), (&json!(999), &json!(true)));
    let refunds = office.stripe.get(&format!("/v1/refunds?payment_intent={}", text(intent))).await;
    let mut there: Vec<_> = refunds["data"].as_array().unwrap().iter().map(|r| &r["id"]).collect();
    let mut told = vec![&part["refund_id"], &rest["refund_id"]];
    there.sort_by_key(|id| id.to_string());
    told.sort_by_key(|id| id.to_string());
    assert_eq!(there, told);

    let details = format!("/api/stripe/admin/customer-details?customer_id={customer}");
    let details = office.shown(&details).await;
    let invoices = office.stripe.get(&format!("/v1/invoices?customer={customer}")).await;
    let invoice = &invoices["data"][0];
    assert_eq!(details["customer"]["email"], "ana@example.test", "{details}");
    assert_eq!(details["subscriptions"][0]["subscription_id"], json!(subscription));
    for name in ["id", "status", "amount_paid", "currency", "period_end"] {
        assert_eq!(details["invoices"][0][name], invoice[name], "{name} of {details}");
    }
    let own = office.shown(&format!("/api/stripe/invoices?customer_id={customer}")).await;
    assert_eq!(own["invoices"], details["invoices"], "the list that users see");

    let subscribers = office.shown("/api/stripe/admin/subscribers?status=active").await;
    let one = &subscribers["subscribers"][0];
    assert_eq!(one["subscription_id"], json!(subscription), "{subscribers}");
    assert_eq!((&one["user_id"], &one["price_id"]), (&json!(user), &json!("pro-monthly")));
    // localstripe has plans in place of prices, so nobody knows what is paid, and
    // only subscriptions that bring something known are active here.
    let metrics = office.shown("/api/stripe/admin/metrics").await;
    for (name, value) in [
        ("active_subscriptions", 0),
        ("paying_customers", 1),
        ("unpriced_subscriptions", 1),
        ("mrr", 0),
    ] {
        assert_eq!(metrics[name], value, "{name} of {metrics}");
    }

    let expected = [
        format!("cancel_subscription {subscription} done"),
        format!("refund {} done", text(id)),
        format!("refund {} done", text(intent)),
    ];
    assert_eq!(office.record().await, expected);
}

#[tokio::test]
async fn what_localstripe_lacks_is_told_and_changes_nothing() {
    let Some(python) = Language::python("stripe") else { return };
    let office = Office::open(&python).await;
    let (before, charge) = (office.at_stripe().await, office.charge().await);
    let invoice = before["latest_invoice"].as_str().unwrap();
    let of =
        |name: &str, value: Value| json!({"subscription_id": office.subscription, name: value});
    let trial_end = Clock::system().now().timestamp() + 86_400;
    let cases = [
        // It answers 500 to `proration_behavior` and `discounts` …
        ("change-plan", of("price_id", json!("pro-monthly")), 503, "stripe-unavailable"),
        ("extend-trial", of("trial_end", json!(trial_end)), 503, "stripe-unavailable"),
        ("apply-coupon", of("coupon_id", json!("SUMMER-26")), 503, "stripe-unavailable"),
        // … has no such path …
        ("resend-invoice", json!({"invoice_id": invoice}), 404, "not-found"),
        // … and refuses a reason.
        (
            "refund",
            json!({"payment_id": charge["id"], "reason": "requested_by_customer"}),
            422,
            "stripe-rejected",
        ),
    ];
    for (action, body, status, code) in cases {
        let (answered, answer) = office.act(action, body).await;
        assert_eq!(
            (answered.as_u16(), &answer["code"]),
            (status, &json!(code)),
            "{action} {answer}"
        );
    }
    assert_eq!((office.at_stripe().await, office.charge().await), (before.clone(), charge.clone()));
    let subscription = &office.subscription;
    let expected = [
        format!("change_plan {subscription} busy"),
        format!("extend_trial {subscription} busy"),
        format!("apply_coupon {subscription} busy"),
        format!("resend_invoice {invoice} missing"),
        format!("refund {} refused", text(&charge["id"])),
    ];
    assert_eq!(office.record().await, expected);

    // Who has a subscription can buy none.
    let buyer = office.fleet.profile().await;
    for (user, session) in [(buyer, "checkout"), (office.user, "portal")] {
        let path = format!("/v1/billing/{session}");
        let body = Some(json!({}));
        let (status, answer) = office.ask_as(user, Method::POST, &path, body).await;
        assert_eq!((status.as_u16(), &answer["code"]), (502, &json!("stripe-refused")), "{answer}");
    }
    // It cannot tell what it failed to deliver.
    let (code, said) = office.fleet.command(&["backfill"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("400"), "{said}");
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
