//! The replaced service's operator and customer calls, as the app's pages make
//! them, against a Stripe that answers in pages.

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::shop::Shop;
use super::stand_in::{Instead, error, list, object};
use crate::harness::{Answer, Send};

const CANCEL: &str = "/api/admin/stripe/cancel-subscription";

async fn post(shop: &Shop, path: &str, body: Value) -> Answer {
    shop.admin(Method::POST, path, Some(body)).await
}

async fn get(shop: &Shop, path: &str) -> Answer {
    shop.admin(Method::GET, path, None).await
}

/// A page of a list; more follow unless it is the last.
fn page(url: &str, data: &[Value], has_more: bool) -> Value {
    let mut page = list(url, data);
    page["has_more"] = json!(has_more);
    page
}

fn subscription(id: &str, status: &str) -> Value {
    let mut subscription = object("subscription");
    subscription["id"] = json!(id);
    subscription["status"] = json!(status);
    subscription["customer"] =
        json!({"id": "cus_Own", "object": "customer", "email": "ada@example.com"});
    subscription
}

fn price() -> Value {
    let mut price = object("price");
    price["id"] = json!("price_SamplePro");
    price["product"] = json!({"id": "prod_SamplePro", "object": "product", "name": "Pro"});
    price
}

/// A Stripe with two pages of subscriptions, three in all.
async fn with_subscribers() -> Shop {
    let shop = Shop::new().await;
    let invoice = object("invoice");
    shop.stripe.set_pages(
        "GET /v1/subscriptions",
        vec![
            page(
                "/v1/subscriptions",
                &[subscription("sub_1", "active"), subscription("sub_2", "trialing")],
                true,
            ),
            page("/v1/subscriptions", &[subscription("sub_3", "canceled")], false),
        ],
    );
    shop.stripe.set("GET /v1/invoices", list("/v1/invoices", &[invoice]));
    shop.stripe.set("GET /v1/prices", list("/v1/prices", &[price()]));
    shop
}

#[tokio::test]
async fn the_dashboard_counts_all_pages_and_asks_stripe_once_a_minute() {
    let shop = with_subscribers().await;
    shop.user().await;
    let first = get(&shop, "/api/admin/saas-metrics").await;
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(first.body["activeSubscribers"], 2);
    assert_eq!(first.body["totalSubscribers"], 3);
    // Two of 9.99 a month, in units and not in cents.
    assert_eq!((&first.body["mrr"], &first.body["arpu"]), (&json!(19.98), &json!(9.99)));
    assert_eq!(first.body["conversionRate"], 200.0);
    assert_eq!(first.body["currency"], "eur");
    for name in [
        "totalEarnings",
        "earningsThisMonth",
        "earningsLast30Days",
        "newSubsThisMonth",
        "churnedThisMonth",
        "subscribersByMonth",
        "recentCanceled",
        "conversionRateLast30Days",
        "churnRate",
        "ltv",
        "ltvGrowth",
    ] {
        assert!(!first.body[name].is_null(), "{name}: {first:?}");
    }
    let calls = shop.stripe.calls();
    let pages: Vec<_> = calls.iter().filter(|call| call.what == "GET /v1/subscriptions").collect();
    assert_eq!(pages.len(), 2);
    assert!(pages[0].query.contains("status=all"), "{}", pages[0].query);
    assert!(pages[1].query.contains("starting_after=sub_2"), "{}", pages[1].query);
    let again = get(&shop, "/api/admin/saas-metrics").await;
    assert_eq!(again.body, first.body);
    assert!(shop.stripe.calls().is_empty());
}

#[tokio::test]
async fn subscribers_are_all_of_them_and_filtered_as_the_app_asks() {
    let shop = with_subscribers().await;
    let all = get(&shop, "/api/admin/subscribers").await;
    assert_eq!(all.status, 200, "{all:?}");
    let rows = all.body["subscribers"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    assert_eq!(
        rows[0],
        json!({"customer_id": "cus_Own", "subscription_id": "sub_1", "email": "ada@example.com",
            "status": "active", "created": 1_795_390_790, "current_period_end": 1_800_574_790,
            "canceled_at": null, "is_active": true, "plans": [{"price_id": "price_SamplePro",
                "product_name": "Pro", "product_id": "prod_SamplePro", "nickname": null,
                "amount": 999, "currency": "eur", "interval": "month", "quantity": 1}]})
    );
    for (filter, expected) in [
        ("status=canceled", 1),
        ("status=all", 3),
        ("status=", 3),
        ("plan_id=price_SamplePro", 3),
        ("plan_id=prod_SamplePro&status=active", 1),
        ("plan_id=price_Other", 0),
        ("created_after=1795390790&created_before=1795390790", 3),
        ("created_after=1795390791", 0),
    ] {
        let found = get(&shop, &format!("/api/admin/subscribers?{filter}")).await;
        assert_eq!(found.body["subscribers"].as_array().unwrap().len(), expected, "{filter}");
    }
}

#[tokio::test]
async fn each_change_is_the_old_services_and_what_stripe_refuses_is_told_under_200() {
    let shop = Shop::new().await;
    shop.stripe.set("POST /v1/subscriptions/sub_1", object("subscription"));
    shop.stripe.set("GET /v1/subscriptions/sub_1", object("subscription"));
    shop.stripe.set("POST /v1/refunds", object("refund"));
    let trial_end = regimen_common::clock::Clock::system().now().timestamp() + 86_400;
    let until = trial_end.to_string();
    let sub = |more: Value| {
        let mut body = json!({"subscription_id": "sub_1"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body
    };
    for (path, body, field) in [
        (
            "cancel-subscription",
            sub(json!({"user_id": Uuid::new_v4()})),
            ("cancel_at_period_end", "true"),
        ),
        (
            "change-plan",
            sub(json!({"new_price_id": "price_New"})),
            ("items[0][price]", "price_New"),
        ),
        ("apply-coupon", sub(json!({"coupon_id": "SUMMER"})), ("discounts[0][coupon]", "SUMMER")),
        ("extend-trial", sub(json!({"trial_end": trial_end})), ("trial_end", until.as_str())),
        (
            "update-payment-method",
            sub(json!({"payment_method_id": "pm_2"})),
            ("default_payment_method", "pm_2"),
        ),
        ("refund", json!({"payment_intent_id": "pi_1", "amount": 500}), ("amount", "500")),
    ] {
        let answer = post(&shop, &format!("/api/admin/stripe/{path}"), body).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.body["success"]),
            (200, &json!(true)),
            "{path}: {answer:?}"
        );
        let calls = shop.stripe.calls();
        assert!(calls.last().unwrap().fields().contains(&field), "{path}");
        let object = if path == "refund" { "refund" } else { "subscription" };
        assert_eq!(answer.body[object]["object"], object, "{path}");
    }
    let refused = error("invalid_request_error", "coupon_expired", "coupon");
    shop.stripe.next(Instead::Answer(reqwest::StatusCode::BAD_REQUEST, refused, None));
    let body = sub(json!({"coupon_id": "OLD"}));
    let answer = post(&shop, "/api/admin/stripe/apply-coupon", body).await;
    assert_eq!(
        (answer.status.as_u16(), &answer.body["success"]),
        (200, &json!(false)),
        "{answer:?}"
    );
    let told = answer.body["error"].as_str().unwrap();
    assert!(told.contains("coupon_expired") && !told.contains("sk_test"), "{told}");
    let wrong = post(&shop, "/api/admin/stripe/refund", json!({"payment_intent_id": "ch_1"})).await;
    assert_eq!(wrong.pointers(), ["/payment_intent_id"]);
}

#[tokio::test]
async fn an_invoice_is_mailed_or_its_page_is_told() {
    let shop = Shop::new().await;
    let path = "/api/admin/stripe/resend-invoice";
    let mut manual = object("invoice");
    manual["id"] = json!("in_1");
    manual["collection_method"] = json!("send_invoice");
    let mut automatic = manual.clone();
    automatic["collection_method"] = json!("charge_automatically");
    shop.stripe.set("GET /v1/invoices/in_1", manual.clone());
    shop.stripe.set("POST /v1/invoices/in_1/send", manual);
    let sent = post(&shop, path, json!({"invoice_id": "in_1"})).await;
    assert_eq!(
        (&sent.body["success"], &sent.body["type"]),
        (&json!(true), &json!("manual_invoice")),
        "{sent:?}"
    );
    assert_eq!(shop.stripe.calls().last().unwrap().what, "POST /v1/invoices/in_1/send");

    shop.stripe.set("GET /v1/invoices", list("/v1/invoices", &[automatic]));
    for id in ["sub_1", "cus_Own"] {
        let shown = post(&shop, path, json!({"invoice_id": id})).await;
        assert_eq!(shown.body["type"], "auto_charge", "{shown:?}");
        assert!(shown.body["invoice_url"].is_string(), "{shown:?}");
        let calls = shop.stripe.calls();
        assert!(calls.iter().all(|call| call.what == "GET /v1/invoices"), "nothing is charged");
    }
    shop.stripe.set("GET /v1/invoices", list("/v1/invoices", &[]));
    let none = post(&shop, path, json!({"invoice_id": "cus_Own"})).await;
    assert_eq!(
        (&none.body["success"], &none.body["reason"]),
        (&json!(false), &json!("no_invoice"))
    );
    let wrong = post(&shop, path, json!({"invoice_id": "pi_1"})).await;
    assert_eq!(wrong.pointers(), ["/invoice_id"]);
}

#[tokio::test]
async fn users_see_and_end_what_is_theirs_and_nothing_else() {
    let shop = Shop::new().await;
    let (user, other) = (shop.user().await, shop.user().await);
    shop.link("cus_Own", user).await;
    let mut customer = object("customer");
    customer["subscriptions"] = list("/v1/subscriptions", &[object("subscription")]);
    shop.stripe.set("GET /v1/customers/cus_Own", customer);
    shop.stripe.set(
        "GET /v1/customers/cus_Own/payment_methods",
        list("/v1/payment_methods", &[json!({"id": "pm_1", "object": "payment_method"})]),
    );
    shop.stripe.set("GET /v1/subscriptions/sub_1", object("subscription"));
    shop.stripe.set("POST /v1/subscriptions/sub_1", object("subscription"));

    let path = "/api/admin/stripe/customer/cus_Own";
    let own = shop.ingress.get(path, user).await;
    assert_eq!(own.status, 200, "{own:?}");
    let shown = &own.body["customer"]["subscriptions"]["data"][0];
    assert_eq!(shown["current_period_end"], 1_800_574_790);
    assert!(own.body["customer"]["invoices"]["data"].is_array());
    assert_eq!(own.body["payment_methods"][0]["id"], "pm_1");
    assert_eq!(shop.ingress.get(path, other).await.status, 404);
    assert_eq!(get(&shop, path).await.status, 200);

    let body = json!({"subscription_id": "sub_1", "user_id": user});
    let ended = shop.ingress.post(CANCEL, user, &body).await;
    assert_eq!((ended.status.as_u16(), &ended.body["success"]), (200, &json!(true)), "{ended:?}");
    // Nobody ends another's, whether they say who they are or not.
    shop.stripe.calls();
    let as_them = shop.ingress.post(CANCEL, other, &body).await;
    assert_eq!(as_them.status, 403, "{as_them:?}");
    let theirs = json!({"subscription_id": "sub_1"});
    assert_eq!(shop.ingress.post(CANCEL, other, &theirs).await.status, 404);
    let card = json!({"subscription_id": "sub_1", "payment_method_id": "pm_2"});
    let path = "/api/admin/stripe/update-payment-method";
    assert_eq!(shop.ingress.post(path, other, &card).await.status, 404);
    assert!(shop.stripe.calls().iter().all(|call| call.what.starts_with("GET ")));
    for path in ["/api/admin/stripe/change-plan", "/api/admin/stripe/refund"] {
        let answer = shop.ingress.post(path, user, &json!({})).await;
        assert_eq!(answer.status, 403, "{path}");
    }
    let recorded = "select count(*) from regimen.admin_actions
                    where actor = $1::text and action = 'cancel_subscription'";
    assert_eq!(shop.ingress.count(&recorded.replace("$1::text", "$1::uuid::text"), user).await, 1);
}

#[tokio::test]
async fn the_apps_own_table_says_who_is_an_operator() {
    let shop = Shop::with(&[("ADMIN_TABLE", "public.admin_users")]).await;
    let user = shop.user().await;
    let path = "/admin/actions";
    let without = shop.ingress.get(path, user).await;
    assert_eq!(without.status, 500, "the table is missing, and nobody gets in: {without:?}");
    let client = shop.ingress.database.client().await;
    client.batch_execute("create table public.admin_users (id uuid primary key)").await.unwrap();
    assert_eq!(shop.ingress.get(path, user).await.status, 403);
    shop.sql("insert into public.admin_users values ($1)", user).await;
    let answer = shop.ingress.request(Method::GET, "/admin/actions", user).answer().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    shop.sql("delete from public.admin_users where id = $1", user).await;
    assert_eq!(shop.ingress.get("/admin/actions", user).await.status, 403);
}
