//! What events do to users: plan, renewal date, customer, notices.

use std::sync::Arc;

use regimen_common::billing::Mode;
use regimen_common::db::billing::customers::{self, Assigned};
use regimen_common::db::billing::events::{self, EventState, Replayed};
use regimen_worker::periodic::stripe_reconcile::StripeReconciler;
use serde_json::json;
use uuid::Uuid;

use super::worker::{NOW, Worker, event, session, subscription};

fn plan(
    name: &str,
    renews: Option<&str>,
    customer: Option<&str>,
) -> (String, Option<String>, Option<String>) {
    (name.to_owned(), renews.map(str::to_owned), customer.map(str::to_owned))
}

#[tokio::test]
async fn a_subscription_makes_its_user_pro_and_its_end_free_again() {
    let worker = Worker::new().await;
    let user = worker.profile().await;
    let made = subscription("active", Some(user));
    worker.take(&event("evt_1", "customer.subscription.created", NOW, &made)).await;
    assert_eq!(worker.plan(user).await, plan("pro", Some("2027-01-21"), Some("cus_1")));
    assert_eq!(worker.state("evt_1").await, ("applied", None));
    let over = subscription("canceled", Some(user));
    worker.take(&event("evt_2", "customer.subscription.deleted", NOW + 9, &over)).await;
    assert_eq!(worker.plan(user).await, plan("free", None, Some("cus_1")));
    assert!(worker.stripe.asked().is_empty(), "nothing was in doubt");
}

#[tokio::test]
async fn a_paid_checkout_makes_pro_and_learns_the_renewal_date_from_stripe() {
    let worker = Worker::new().await;
    let user = worker.profile().await;
    worker.stripe.set("subscriptions/sub_1", subscription("active", None));
    worker
        .take(&event("evt_1", "checkout.session.completed", NOW, &session("paid", Some(user))))
        .await;
    assert_eq!(worker.plan(user).await, plan("pro", Some("2027-01-21"), Some("cus_1")));
}

#[tokio::test]
async fn a_paid_checkout_makes_pro_while_stripe_cannot_be_asked() {
    for settings in
        [vec![("STRIPE_SECRET_KEY", "")], vec![("STRIPE_BASE_URL", "http://127.0.0.1:1")]]
    {
        let worker = Worker::with(&settings).await;
        let user = worker.profile().await;
        let paid = session("paid", Some(user));
        worker.take(&event("evt_1", "checkout.session.completed", NOW, &paid)).await;
        assert_eq!(worker.plan(user).await, plan("pro", None, Some("cus_1")));
        let made = subscription("active", None);
        worker.take(&event("evt_2", "customer.subscription.created", NOW, &made)).await;
        assert_eq!(worker.plan(user).await, plan("pro", Some("2027-01-21"), Some("cus_1")));
    }
}

#[tokio::test]
async fn an_unpaid_checkout_makes_pro_when_its_payment_arrives() {
    let worker = Worker::with(&[("STRIPE_SECRET_KEY", "")]).await;
    let user = worker.profile().await;
    let unpaid = session("unpaid", Some(user));
    worker.take(&event("evt_1", "checkout.session.completed", NOW, &unpaid)).await;
    assert_eq!(worker.plan(user).await, plan("free", None, Some("cus_1")));
    let paid = session("paid", Some(user));
    worker.take(&event("evt_2", "checkout.session.async_payment_succeeded", NOW + 9, &paid)).await;
    assert_eq!(worker.plan(user).await.0, "pro");
}

#[tokio::test]
async fn the_user_is_known_by_the_customer_of_the_profile() {
    let worker = Worker::new().await;
    let user = worker.profile().await;
    let sql = "update public.profiles set stripe_customer_id = 'cus_1' where id = $1";
    worker.database.client().await.execute(sql, &[&user]).await.unwrap();
    let made = subscription("trialing", None);
    worker.take(&event("evt_1", "customer.subscription.created", NOW, &made)).await;
    assert_eq!(worker.plan(user).await, plan("pro", Some("2027-01-21"), Some("cus_1")));
}

#[tokio::test]
async fn a_profile_that_names_the_customer_later_gets_what_was_bought() {
    let worker = Worker::new().await;
    let user = worker.profile().await;
    let made = subscription("active", None);
    worker.take(&event("evt_1", "customer.subscription.created", NOW, &made)).await;
    assert_eq!(worker.state("evt_1").await.0, "unresolved");
    let client = worker.database.client().await;
    let sql = "update public.profiles set stripe_customer_id = 'cus_1' where id = $1";
    client.execute(sql, &[&user]).await.unwrap();
    events::replay(&client, "evt_1", Mode::Test).await.unwrap();
    assert_eq!(worker.drain().await, 1);
    assert_eq!(worker.plan(user).await, plan("pro", Some("2027-01-21"), Some("cus_1")));
    assert_eq!(worker.state("evt_1").await, ("applied", None));
}

/// Of two users of one customer one has left.
#[tokio::test]
async fn who_has_no_profile_keeps_no_news_from_another_user_of_the_customer() {
    let worker = Worker::new().await;
    let (user, gone) = (worker.profile().await, Uuid::now_v7());
    let mut gift = subscription("active", Some(gone));
    gift["id"] = json!("sub_2");
    worker.take(&event("evt_1", "customer.subscription.created", NOW, &gift)).await;
    assert_eq!(worker.state("evt_1").await.0, "unresolved");
    let own = subscription("active", Some(user));
    worker.take(&event("evt_2", "customer.subscription.created", NOW, &own)).await;
    assert_eq!(worker.state("evt_2").await, ("applied", None));
    worker.stripe.set("subscriptions/sub_1", subscription("past_due", Some(user)));
    let invoice = json!({"id": "in_1", "object": "invoice", "customer": "cus_1", "amount_due": 999,
        "currency": "eur", "parent": {"type": "subscription_details",
            "subscription_details": {"subscription": "sub_1", "metadata": {"user_id": user}}}});
    worker.take(&event("evt_3", "invoice.payment_failed", NOW + 9, &invoice)).await;
    assert_eq!(worker.state("evt_3").await, ("applied", None));
    assert_eq!(worker.notifications(user).await.len(), 1);
}

#[tokio::test]
async fn a_checkout_without_a_user_is_kept_and_comes_home_later() {
    let worker = Worker::with(&[("STRIPE_SECRET_KEY", "")]).await;
    let user = worker.profile().await;
    worker.take(&event("evt_1", "checkout.session.completed", NOW, &session("paid", None))).await;
    let unresolved = ("unresolved", Some("unknown_user".to_owned()));
    assert_eq!(worker.state("evt_1").await, unresolved);
    let customer = json!({"id": "cus_1", "object": "customer", "metadata": {"user_id": user}});
    worker.take(&event("evt_2", "customer.updated", NOW + 9, &customer)).await;
    assert_eq!(worker.plan(user).await, plan("pro", None, Some("cus_1")));
    assert_eq!(worker.state("evt_1").await, ("applied", None));
}

#[tokio::test]
async fn a_customer_that_an_operator_assigns_brings_its_events_home() {
    let worker = Worker::with(&[("STRIPE_SECRET_KEY", "")]).await;
    let (user, other) = (worker.profile().await, worker.profile().await);
    worker.take(&event("evt_1", "checkout.session.completed", NOW, &session("paid", None))).await;
    assert_eq!(worker.state("evt_1").await.0, "unresolved");
    let assign = async |user: Uuid| {
        let mut client = worker.database.client().await;
        let tx = client.transaction();
        let assigned = customers::assign(&tx, "cus_1", user, NOW, Mode::Test).await.unwrap();
        tx.commit().await.unwrap();
        assigned
    };
    assert_eq!(assign(user).await, Assigned::Done { again: 1 });
    worker.drain().await;
    assert_eq!(worker.plan(user).await, plan("pro", None, Some("cus_1")));
    assert_eq!(worker.state("evt_1").await, ("applied", None));
    assert_eq!(assign(other).await, Assigned::Of(user), "nobody's customer is taken away");
    // Nothing is unresolved: the newest event is applied again, and changes nothing.
    assert_eq!(assign(user).await, Assigned::Done { again: 1 });
    worker.drain().await;
    assert_eq!(worker.plan(user).await, plan("pro", None, Some("cus_1")));
    assert_eq!(worker.plan(other).await.0, "free");
}

#[tokio::test]
async fn a_payment_that_came_before_the_profile_waits_for_it() {
    let worker = Worker::new().await;
    let user = Uuid::new_v4();
    let made = subscription("active", Some(user));
    worker.take(&event("evt_1", "customer.subscription.created", NOW, &made)).await;
    assert_eq!(worker.state("evt_1").await, ("unresolved", Some("no_profile".to_owned())));
    worker.add_profile(user).await;
    let sql = "update regimen.stripe_events set run_at = now()";
    worker.database.client().await.batch_execute(sql).await.unwrap();
    StripeReconciler::new(Arc::clone(&worker.deps)).look().await;
    worker.drain().await;
    assert_eq!(worker.plan(user).await.0, "pro");
    assert_eq!(worker.state("evt_1").await, ("applied", None));
}

#[tokio::test]
async fn a_deleted_customer_loses_everything() {
    let worker = Worker::new().await;
    let user = worker.profile().await;
    let made = subscription("active", Some(user));
    worker.take(&event("evt_1", "customer.subscription.created", NOW, &made)).await;
    let customer = json!({"id": "cus_1", "object": "customer", "deleted": true});
    worker.take(&event("evt_2", "customer.deleted", NOW + 1, &customer)).await;
    assert_eq!(worker.plan(user).await, plan("free", None, None));
}

/// A payment of `user` failed so long ago that what was lent is over.
async fn overdue(worker: &Worker, user: Uuid, n: u32) {
    let mut sold = subscription("past_due", Some(user));
    (sold["id"], sold["customer"]) = (json!(format!("sub_{n}")), json!(format!("cus_{n}")));
    // Postgres has the real time, so this payment failed long ago for it.
    let then = 1_000_000_000;
    let mut failed = event(&format!("evt_{n}"), "customer.subscription.updated", then, &sold);
    failed["data"]["previous_attributes"] = json!({"status": "active"});
    worker.deps.clock.set(chrono::DateTime::from_timestamp(then, 0).unwrap());
    worker.take(&failed).await;
    assert_eq!(worker.plan(user).await.0, "pro");
    worker.deps.clock.set(chrono::DateTime::from_timestamp(NOW, 0).unwrap());
}

#[tokio::test]
async fn grace_ends_by_itself() {
    let worker = Worker::new().await;
    let user = worker.profile().await;
    overdue(&worker, user, 1).await;
    StripeReconciler::new(Arc::clone(&worker.deps)).look().await;
    assert_eq!(worker.plan(user).await, plan("free", None, Some("cus_1")));
}

/// One user's profile cannot be changed: the grace of the others ends all the same.
#[tokio::test]
async fn grace_ends_beside_a_user_whose_plan_cannot_change() {
    let worker = Worker::new().await;
    let mut users = [worker.profile().await, worker.profile().await, worker.profile().await];
    // In the order in which they are looked at.
    users.sort_unstable();
    for (n, user) in (1..).zip(users) {
        overdue(&worker, user, n).await;
    }
    let poison = format!(
        "create function regimen.refuse() returns trigger language plpgsql as
             $$ begin raise exception 'poison'; end $$;
         create trigger a_refuse before update on public.profiles for each row
             when (new.id = '{}') execute function regimen.refuse()",
        users[0]
    );
    worker.database.client().await.batch_execute(&poison).await.unwrap();
    let mut reconciler = StripeReconciler::new(Arc::clone(&worker.deps));
    reconciler.look().await;
    let plans = async || {
        let mut plans = Vec::new();
        for user in users {
            plans.push(worker.plan(user).await.0);
        }
        plans
    };
    assert_eq!(plans().await, ["pro", "free", "free"]);
}

#[tokio::test]
async fn users_are_told_once_however_often_an_event_is_applied() {
    let worker = Worker::new().await;
    let user = worker.profile().await;
    let invoice = json!({"id": "in_1", "object": "invoice", "customer": "cus_1", "amount_due": 999,
        "currency": "eur", "hosted_invoice_url": "https://pay.example.test/1",
        "next_payment_attempt": 1_800_574_790_i64, "parent": {"type": "subscription_details",
            "subscription_details": {"subscription": "sub_1", "metadata": {"user_id": user}}}});
    worker.stripe.set("subscriptions/sub_1", subscription("past_due", Some(user)));
    worker.stripe.set(
        "charges/ch_1",
        json!({"id": "ch_1", "object": "charge", "customer": {"id": "cus_1"}}),
    );
    let mut trial = subscription("trialing", Some(user));
    trial["trial_end"] = json!(1_800_574_790_i64);
    let dispute = json!({"id": "dp_1", "object": "dispute", "charge": "ch_1", "amount": 999, "currency": "eur"});
    for (id, kind, object) in [
        ("evt_1", "invoice.payment_failed", &invoice),
        ("evt_2", "invoice.payment_action_required", &invoice),
        ("evt_3", "customer.subscription.trial_will_end", &trial),
        ("evt_4", "charge.dispute.created", &dispute),
    ] {
        worker.take(&event(id, kind, NOW, object)).await;
        assert_eq!(worker.state(id).await.0, "applied", "{kind}");
        let client = worker.database.client().await;
        let replayed = events::replay(&client, id, Mode::Test).await.unwrap();
        assert_eq!(replayed, Replayed::Again(EventState::Applied));
        assert_eq!(worker.drain().await, 1);
    }
    let mut told = worker.notifications(user).await;
    told.sort();
    let told: Vec<_> = told.iter().map(|(kind, text)| (kind.as_str(), text.as_str())).collect();
    assert_eq!(
        told,
        [
            ("dispute_opened", "A payment of 9.99 EUR was disputed with your bank."),
            ("payment_action_required", "Your bank wants you to confirm a payment of 9.99 EUR."),
            ("payment_failed", "Your payment of 9.99 EUR failed. We try again on 21 January 2027."),
            ("trial_will_end", "Your free trial ends on 21 January 2027."),
        ]
    );
    // Without a mail server nothing waits to be mailed.
    let sql = "select count(*) from regimen.billing_notices where mail_state = 'off'";
    let client = worker.database.client().await;
    assert_eq!(client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 4);
}

#[tokio::test]
async fn unknown_types_are_kept_without_effect() {
    let worker = Worker::new().await;
    worker
        .take(&event("evt_1", "radar.early_fraud_warning.created", NOW, &json!({"id": "issfr_1"})))
        .await;
    assert_eq!(worker.state("evt_1").await, ("ignored", None));
}
