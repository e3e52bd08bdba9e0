//! The operators' actions on subscriptions: what is sent, what is answered,
//! what is recorded, and the numbers of revenue.

use axum::http::StatusCode;
use reqwest::Method;
use serde_json::{Value, json};

use super::shop::Shop;
use super::stand_in::{Instead, error, list, object};
use crate::harness::Answer;

/// An action, its body, and the call and the fields that Stripe is sent.
type Case<'a> = (&'a str, Value, &'a str, Vec<(&'a str, &'a str)>);

async fn act(shop: &Shop, action: &str, body: Value) -> Answer {
    shop.admin(Method::POST, &format!("/api/stripe/admin/{action}"), Some(body)).await
}

/// What is recorded, oldest first: action, target, outcome.
async fn record(shop: &Shop) -> Vec<(String, String, Option<String>)> {
    let sql = "select action, target, outcome from regimen.admin_actions order by id";
    let rows = shop.ingress.database.client().await.query(sql, &[]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

#[tokio::test]
async fn each_action_sends_what_stripe_wants_and_is_recorded() {
    let shop = Shop::new().await;
    shop.stripe.set("POST /v1/subscriptions/sub_1", object("subscription"));
    shop.stripe.set("GET /v1/subscriptions/sub_1", object("subscription"));
    shop.stripe.set("POST /v1/invoices/in_1/send", object("invoice"));
    shop.stripe.set("POST /v1/refunds", object("refund"));
    let trial_end = regimen_common::clock::Clock::system().now().timestamp() + 86_400;
    let until = trial_end.to_string();
    let of = |more: Value| {
        let mut body = json!({"subscription_id": "sub_1"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    let cases: Vec<Case<'_>> = vec![
        (
            "cancel-subscription",
            of(json!({})),
            "POST /v1/subscriptions/sub_1",
            vec![("cancel_at_period_end", "true")],
        ),
        (
            "change-plan",
            of(json!({"price_id": "price_New"})),
            "POST /v1/subscriptions/sub_1",
            vec![
                ("items[0][id]", "si_Sample1"),
                ("items[0][price]", "price_New"),
                ("proration_behavior", "create_prorations"),
            ],
        ),
        (
            "apply-coupon",
            of(json!({"coupon_id": "SUMMER-26"})),
            "POST /v1/subscriptions/sub_1",
            vec![("discounts[0][coupon]", "SUMMER-26")],
        ),
        (
            "extend-trial",
            of(json!({"trial_end": trial_end})),
            "POST /v1/subscriptions/sub_1",
            vec![("proration_behavior", "none"), ("trial_end", &until)],
        ),
        ("resend-invoice", json!({"invoice_id": "in_1"}), "POST /v1/invoices/in_1/send", vec![]),
        (
            "refund",
            json!({"payment_id": "pi_1", "amount": 500, "reason": "requested_by_customer"}),
            "POST /v1/refunds",
            vec![
                ("amount", "500"),
                ("payment_intent", "pi_1"),
                ("reason", "requested_by_customer"),
            ],
        ),
        ("refund", json!({"payment_id": "ch_1"}), "POST /v1/refunds", vec![("charge", "ch_1")]),
    ];
    for (action, body, what, fields) in cases {
        let answer = act(&shop, action, body).await;
        assert_eq!(answer.status, 200, "{action} {answer:?}");
        assert_eq!(answer.body["success"], true);
        let calls = shop.stripe.calls();
        let call = calls.last().unwrap();
        assert_eq!((call.what.as_str(), call.fields()), (what, fields), "{action}");
        assert!(call.header("idempotency-key").starts_with("regimen-"));
    }
    let recorded: Vec<_> = record(&shop)
        .await
        .into_iter()
        .map(|(name, target, outcome)| format!("{name} {target} {}", outcome.unwrap_or_default()))
        .collect();
    assert_eq!(
        recorded,
        [
            "cancel_subscription sub_1 done",
            "change_plan sub_1 done",
            "apply_coupon sub_1 done",
            "extend_trial sub_1 done",
            "resend_invoice in_1 done",
            "refund pi_1 done",
            "refund ch_1 done",
        ]
    );
    assert!(shop.ingress.logs().contains("an operator acted"));
}

#[tokio::test]
async fn the_answers_have_the_old_kind_of_fields() {
    let shop = Shop::new().await;
    shop.stripe.set("POST /v1/subscriptions/sub_1SampleS1", object("subscription"));
    shop.stripe.set("POST /v1/refunds", object("refund"));
    let body = json!({"subscription_id": "sub_1SampleS1"});
    let answer = act(&shop, "cancel-subscription", body).await;
    let expected = json!({"success": true, "subscription_id": "sub_1SampleS1", "status": "active",
        "price_id": "price_SamplePro", "cancel_at_period_end": false, "cancel_at": null,
        "trial_end": null, "current_period_end": 1_800_574_790});
    assert_eq!(answer.body, expected);
    let answer = act(&shop, "refund", json!({"payment_id": "pi_1", "amount": 500})).await;
    let expected = json!({"success": true, "refund_id": "re_1Sample", "amount": 500,
        "currency": "eur", "status": "succeeded"});
    assert_eq!(answer.body, expected);
}

#[tokio::test]
async fn money_goes_back_once() {
    let shop = Shop::new().await;
    shop.stripe.set("POST /v1/refunds", object("refund"));
    let body = json!({"payment_id": "pi_1", "amount": 500});
    let first = act(&shop, "refund", body.clone()).await;
    assert_eq!(first.header("idempotency-replayed"), None);
    let again = act(&shop, "refund", body.clone()).await;
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(again.body, first.body);
    let path = "/api/stripe/admin/refund";
    let once_more = shop.admin_with(Method::POST, path, Some(body), Some("second")).await;
    assert_eq!(once_more.header("idempotency-replayed"), None);
    let part = json!({"payment_id": "pi_1", "amount": 499});
    assert_eq!(act(&shop, "refund", part).await.header("idempotency-replayed"), None);
}

#[tokio::test]
async fn a_refund_cut_short_has_a_trace_and_is_asked_for_under_the_same_key() {
    let shop = Shop::new().await;
    shop.stripe.set("POST /v1/refunds", object("refund"));
    shop.stripe.next(Instead::Hang);
    let body = json!({"payment_id": "pi_1", "amount": 500});
    tokio::select! {
        answer = act(&shop, "refund", body.clone()) => panic!("{answer:?}"),
        () = shop.stripe.called() => {}
    }
    let trace = |outcome: Option<&str>| {
        ("refund".to_owned(), "pi_1".to_owned(), outcome.map(str::to_owned))
    };
    assert_eq!(record(&shop).await, [trace(None)], "it may have taken effect");
    assert_eq!(act(&shop, "refund", body).await.status, 200);
    assert_eq!(record(&shop).await, [trace(None), trace(Some("done"))]);
    let calls = shop.stripe.calls();
    let keys: Vec<_> = calls.iter().map(|call| call.header("idempotency-key")).collect();
    assert_eq!((keys.len(), keys[0]), (2, keys[1]));
}

#[tokio::test]
async fn what_stripe_refuses_is_told_and_recorded() {
    let shop = Shop::new().await;
    let body = json!({"subscription_id": "sub_none"});
    let answer = act(&shop, "cancel-subscription", body.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.problem()), (404, "not-found"));
    let refusal = error("invalid_request_error", "charge_already_refunded", "charge");
    shop.stripe.next(Instead::Answer(StatusCode::BAD_REQUEST, refusal, None));
    let answer = act(&shop, "refund", json!({"payment_id": "ch_1"})).await;
    assert_eq!((answer.status.as_u16(), answer.problem()), (422, "stripe-rejected"));
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.contains("charge_already_refunded") && !detail.contains("leak"), "{detail}");
    let outcomes: Vec<_> = record(&shop).await.into_iter().map(|row| row.2.unwrap()).collect();
    assert_eq!(outcomes, ["missing", "refused"]);
    let mut two = object("subscription");
    let item = two["items"]["data"][0].clone();
    two["items"]["data"].as_array_mut().unwrap().push(item);
    shop.stripe.set("GET /v1/subscriptions/sub_2", two);
    let body = json!({"subscription_id": "sub_2", "price_id": "price_1"});
    assert_eq!(act(&shop, "change-plan", body).await.status, 409);
}

#[tokio::test]
async fn wrong_input_is_named_and_never_sent() {
    let shop = Shop::new().await;
    let cases = [
        ("cancel-subscription", json!({"subscription_id": "../charges"}), "/subscription_id"),
        ("cancel-subscription", json!({}), "/subscription_id"),
        ("change-plan", json!({"subscription_id": "sub_1", "price_id": "p/1"}), "/price_id"),
        ("apply-coupon", json!({"subscription_id": "sub_1", "coupon_id": "a b"}), "/coupon_id"),
        ("extend-trial", json!({"subscription_id": "sub_1", "trial_end": 7}), "/trial_end"),
        ("extend-trial", json!({"subscription_id": "sub_1", "trial_end": 9e15}), "/trial_end"),
        ("resend-invoice", json!({"invoice_id": ""}), "/invoice_id"),
        ("refund", json!({"payment_id": "sub_1"}), "/payment_id"),
        ("refund", json!({"payment_id": "pi_1", "amount": 0}), "/amount"),
        ("refund", json!({"payment_id": "pi_1", "reason": "boredom"}), "/reason"),
    ];
    for (action, body, pointer) in cases {
        let answer = act(&shop, action, body.clone()).await;
        assert_eq!(answer.pointers(), [pointer], "{action} {body}");
    }
    for query in ["status=gone", "limit=0", "limit=101", "cursor=a%20b", "email=a%00b"] {
        let path = format!("/api/stripe/admin/subscribers?{query}");
        let answer = shop.admin(Method::GET, &path, None).await;
        let name = query.split('=').next().unwrap();
        assert_eq!(answer.pointers(), [format!("?{name}")], "{query}");
    }
    assert!(shop.stripe.calls().is_empty());
    assert!(record(&shop).await.is_empty());
}

/// Ada has paid monthly for long, Bob yearly for long, Cem left a week ago,
/// Dea is on trial, Eve is past due, Fay left in her trial, and Gus left before
/// the window.
async fn subscribers(shop: &Shop) {
    let client = shop.ingress.database.client().await;
    client
        .batch_execute(
            "insert into public.profiles (id, email, plan_id)
             select ('00000000-0000-0000-0000-00000000000' || n)::uuid, name || '@example.test',
                    case when n in (1, 2, 5) then 'pro' else 'free' end
             from unnest(array['ada', 'bob', 'cem', 'dea', 'eve', 'fay', 'gus', 'han'])
                 with ordinality as u (name, n);
             insert into regimen.customers (id, user_id)
             select 'cus_' || n, ('00000000-0000-0000-0000-00000000000' || n)::uuid
             from generate_series(1, 7) n;
             insert into regimen.subscriptions (id, customer_id, user_id, status, price_id,
                 made_at, trial_end, basis, basis_at)
             select 'sub_' || n, 'cus_' || n, ('00000000-0000-0000-0000-00000000000' || n)::uuid,
                 status, price, now() - made * interval '1 day',
                 now() + trial * interval '1 day', 'event', now() - said * interval '1 day'
             from (values (1, 'active', 'price_M', 90, null, 5),
                          (2, 'active', 'price_Y', 200, -190, 5),
                          (3, 'canceled', 'price_M', 100, null, 7),
                          (4, 'trialing', 'price_M', 3, 4, 3),
                          (5, 'past_due', 'price_M', 60, null, 2),
                          (6, 'canceled', 'price_M', 35, -20, 25),
                          (7, 'canceled', 'price_M', 300, null, 40))
                 as s (n, status, price, made, trial, said)",
        )
        .await
        .unwrap();
}

fn price(id: &str, amount: i64, interval: &str) -> Value {
    let mut price = object("price");
    price["id"] = json!(id);
    price["unit_amount"] = json!(amount);
    price["recurring"]["interval"] = json!(interval);
    price
}

#[tokio::test]
async fn revenue_is_what_a_hand_works_out() {
    let shop = Shop::new().await;
    subscribers(&shop).await;
    shop.stripe.set("GET /v1/prices/price_M", price("price_M", 1_100, "month"));
    shop.stripe.set("GET /v1/prices/price_Y", price("price_Y", 9_600, "year"));
    let answer = shop.admin(Method::GET, "/api/stripe/admin/metrics", None).await;
    // Ada 1,100, Bob 9,600 ÷ 12 = 800, Eve 1,100: 3,000 from three.
    // Of Ada, Bob, Cem and Eve, who paid 30 days ago, Cem left: 1 of 4.
    // 3,000 ÷ 3 ÷ 0.25 = 4,000; three of eight users pay.
    let euro = json!({"currency": "eur", "mrr": 3_000, "arpu": 1_000.0,
        "ltv": 4_000.0, "active_subscriptions": 3});
    let expected = json!({"success": true, "currency": "eur", "mrr": 3_000,
        "arpu": 1_000.0, "ltv": 4_000.0, "churn_rate": 0.25,
        "conversion_rate": 0.375, "active_subscriptions": 3, "unpriced_subscriptions": 0,
        "trialing_subscriptions": 1, "past_due_subscriptions": 1, "paying_customers": 3,
        "total_users": 8, "window_days": 30, "currencies": [euro]});
    assert_eq!(answer.body, expected, "{answer:?}");
    assert_eq!(shop.stripe.calls().len(), 2);
    // Prices never change, so they are not asked for again.
    assert_eq!(shop.admin(Method::GET, "/api/stripe/admin/metrics", None).await.body, expected);
    assert!(shop.stripe.calls().is_empty());
}

#[tokio::test]
async fn a_price_nobody_knows_is_counted_as_such() {
    let shop = Shop::new().await;
    subscribers(&shop).await;
    shop.stripe.set("GET /v1/prices/price_M", price("price_M", 1_100, "month"));
    let answer = shop.admin(Method::GET, "/api/stripe/admin/metrics", None).await;
    assert_eq!(
        (&answer.body["mrr"], &answer.body["unpriced_subscriptions"]),
        (&json!(2_200), &json!(1))
    );
}

#[tokio::test]
async fn subscribers_are_found_by_status_price_and_address() {
    let shop = Shop::new().await;
    subscribers(&shop).await;
    let find = async |query: &str| {
        let path = format!("/api/stripe/admin/subscribers{query}");
        let answer = shop.admin(Method::GET, &path, None).await;
        assert_eq!(answer.body["success"], true, "{answer:?}");
        let found = answer.body["subscribers"].as_array().unwrap().iter();
        let ids: Vec<_> =
            found.map(|one| one["subscription_id"].as_str().unwrap().to_owned()).collect();
        (ids.join(" "), answer.body["next_cursor"].as_str().map(str::to_owned))
    };
    assert_eq!(find("?status=canceled").await.0, "sub_3 sub_6 sub_7");
    assert_eq!(find("?price_id=price_Y").await.0, "sub_2");
    assert_eq!(find("?email=EVE").await.0, "sub_5");
    assert_eq!(find("?email=%25").await.0, "", "no pattern, a beginning");
    let (first, cursor) = find("?limit=3").await;
    assert_eq!((first.as_str(), cursor.as_deref()), ("sub_1 sub_2 sub_3", Some("sub_3")));
    let (rest, cursor) = find("?limit=4&cursor=sub_3").await;
    assert_eq!((rest.as_str(), cursor), ("sub_4 sub_5 sub_6 sub_7", None));
}

#[tokio::test]
async fn a_customer_is_shown_with_what_we_know_and_what_stripe_does() {
    let shop = Shop::new().await;
    subscribers(&shop).await;
    let mut customer = object("customer");
    customer["id"] = json!("cus_1");
    shop.stripe.set("GET /v1/customers/cus_1", customer);
    shop.stripe.set("GET /v1/invoices", list("/v1/invoices", &[object("invoice")]));
    let path = "/api/stripe/admin/customer-details?customer_id=cus_1";
    let answer = shop.admin(Method::GET, path, None).await;
    assert_eq!(answer.body["customer"]["email"], "ada@example.com", "{answer:?}");
    assert!(answer.body["customer"].get("metadata").is_none());
    assert_eq!(answer.body["subscriptions"][0]["subscription_id"], "sub_1");
    assert_eq!(answer.body["invoices"][0]["id"], "in_1SampleI2");
    let path = "/api/stripe/admin/customer-details?customer_id=cus_none";
    assert_eq!(shop.admin(Method::GET, path, None).await.status, 404);
}
