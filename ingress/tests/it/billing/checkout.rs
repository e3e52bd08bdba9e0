//! Buying and managing one's own subscription.

use serde_json::json;
use uuid::Uuid;

use super::shop::{KEY, Shop};
use super::stand_in::object;
use crate::harness::Send;

const CHECKOUT: &str = "/v1/billing/checkout";
const PORTAL: &str = "/v1/billing/portal";

#[tokio::test]
async fn a_checkout_names_its_user_everywhere() {
    let shop = Shop::new().await;
    let user = Uuid::new_v4();
    let body = json!({"plan": "yearly", "success_url":
        "https://app.example.test/ok?s={CHECKOUT_SESSION_ID}"});
    let answer = shop.ingress.post(CHECKOUT, user, &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body, json!({"url": object("checkout_session")["url"]}));
    let calls = shop.stripe.calls();
    let [call] = calls.as_slice() else { panic!("{calls:?}") };
    assert_eq!(call.what, "POST /v1/checkout/sessions");
    let id = user.to_string();
    let mut expected = vec![
        ("cancel_url", "https://app.example.test/"),
        ("client_reference_id", id.as_str()),
        ("customer_email", "ada@example.com"),
        ("line_items[0][price]", "price_Yearly"),
        ("line_items[0][quantity]", "1"),
        ("metadata[user_id]", &id),
        ("mode", "subscription"),
        ("subscription_data[metadata][user_id]", &id),
        ("success_url", "https://app.example.test/ok?s={CHECKOUT_SESSION_ID}"),
    ];
    expected.sort_unstable();
    assert_eq!(call.fields(), expected);
    assert_eq!(call.header("stripe-version"), "2026-10-28.endive");
    assert_eq!(call.header("content-type"), "application/x-www-form-urlencoded");
    assert_eq!(call.header("authorization"), format!("Bearer {KEY}"));
    assert!(call.header("idempotency-key").starts_with("regimen-"));
    // The event that follows finds a profile.
    assert_eq!(shop.ingress.count("select count(*) from profiles where id = $1", user).await, 1);
}

#[tokio::test]
async fn the_old_route_answers_in_the_old_words() {
    let shop = Shop::new().await;
    let user = shop.user().await;
    let path = "/api/stripe/create-checkout-session";
    let body = json!({"user_id": user, "success_url": "https://app.example.test/ok",
        "cancel_url": "https://app.example.test/no"});
    let answer = shop.ingress.post(path, user, &body).await;
    assert_eq!(answer.body, json!({"session_url": object("checkout_session")["url"]}));
    let calls = shop.stripe.calls();
    assert!(calls[0].fields().contains(&("line_items[0][price]", "price_Monthly")), "{calls:?}");
    let other = json!({"user_id": Uuid::new_v4()});
    let answer = shop.ingress.post(path, user, &other).await;
    assert_eq!((answer.status.as_u16(), shop.stripe.calls().len()), (403, 0));
}

#[tokio::test]
async fn a_customer_is_used_again_and_a_subscriber_buys_nothing_twice() {
    let shop = Shop::new().await;
    let user = shop.user().await;
    shop.link("cus_Own", user).await;
    assert_eq!(shop.ingress.post(CHECKOUT, user, &json!({})).await.status, 200);
    let calls = shop.stripe.calls();
    let fields = calls[0].fields();
    assert!(fields.contains(&("customer", "cus_Own")), "{fields:?}");
    assert!(!fields.iter().any(|(name, _)| *name == "customer_email"), "{fields:?}");
    let sql =
        "insert into regimen.subscriptions (id, customer_id, user_id, status, basis, basis_at)
               values ('sub_1', 'cus_Own', $1, 'active', 'event', now())";
    shop.sql(sql, user).await;
    let answer = shop.ingress.post(CHECKOUT, user, &json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.problem()), (409, "conflict"));
    assert!(shop.stripe.calls().is_empty());
    let answer = shop.ingress.post(PORTAL, user, &json!({})).await;
    assert_eq!(answer.body, json!({"url": object("portal_session")["url"]}));
    let calls = shop.stripe.calls();
    let expected = [("customer", "cus_Own"), ("return_url", "https://app.example.test/")];
    assert_eq!(calls[0].fields(), expected);
}

#[tokio::test]
async fn who_never_bought_has_nothing_to_manage() {
    let shop = Shop::new().await;
    let answer = shop.ingress.post(PORTAL, Uuid::new_v4(), &json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.problem()), (409, "conflict"));
    assert!(shop.stripe.calls().is_empty());
}

/// On some databases users can write `profiles.stripe_customer_id`.
#[tokio::test]
async fn a_customer_that_only_the_profile_names_must_be_proven() {
    let shop = Shop::new().await;
    let user = shop.user().await;
    shop.sql("update profiles set stripe_customer_id = 'cus_Own' where id = $1", user).await;
    // Stripe knows cus_Own under the address of the caller's token.
    assert_eq!(shop.ingress.post(PORTAL, user, &json!({})).await.status, 200);
    let calls = shop.stripe.calls();
    let whats: Vec<_> = calls.iter().map(|call| call.what.as_str()).collect();
    assert_eq!(whats, ["GET /v1/customers/cus_Own", "POST /v1/billing_portal/sessions"]);
    let mut theirs = object("customer");
    theirs["email"] = json!("victim@example.com");
    shop.stripe.set("GET /v1/customers/cus_Own", theirs.clone());
    assert_eq!(shop.ingress.post(PORTAL, user, &json!({})).await.status, 409);
    let path = "/api/stripe/invoices?customer_id=cus_Own";
    assert_eq!(shop.ingress.get(path, user).await.status, 404);
    theirs["metadata"] = json!({"user_id": user});
    shop.stripe.set("GET /v1/customers/cus_Own", theirs);
    assert_eq!(shop.ingress.get(path, user).await.status, 200);
    // Known to be somebody else's: not even asked.
    shop.stripe.calls();
    shop.link("cus_Own", Uuid::new_v4()).await;
    assert_eq!(shop.ingress.get(path, user).await.status, 404);
    assert_eq!(shop.ingress.post(PORTAL, user, &json!({})).await.status, 409);
    assert!(shop.stripe.calls().is_empty());
}

#[tokio::test]
async fn people_come_back_to_the_app_and_nowhere_else() {
    let shop = Shop::new().await;
    let user = shop.user().await;
    shop.link("cus_Own", user).await;
    for elsewhere in [
        "https://app.example.test.evil.com/",
        "https://app.example.test@evil.com/",
        "https://user@app.example.test/",
        "//evil.com",
        "//app.example.test",
        "https:\\\\evil.com",
        "https://evil.com\\@app.example.test/",
        "https://app.example.test:8443/",
        "http://app.example.test/",
        "javascript:alert(1)",
        "https://аpp.example.test/",
        "https://app.example.test。evil.com/",
        "",
    ] {
        for field in ["success_url", "cancel_url"] {
            let answer = shop.ingress.post(CHECKOUT, user, &json!({field: elsewhere})).await;
            assert_eq!(answer.pointers(), [format!("/{field}")], "{elsewhere}");
        }
        let answer = shop.ingress.post(PORTAL, user, &json!({"return_url": elsewhere})).await;
        assert_eq!(answer.pointers(), ["/return_url"], "{elsewhere}");
    }
    assert!(shop.stripe.calls().is_empty());
    let answer = shop.ingress.post(CHECKOUT, user, &json!({"plan": "free lunch"})).await;
    assert_eq!(answer.pointers(), ["/plan"]);
}

#[tokio::test]
async fn invoices_are_their_owners() {
    let shop = Shop::new().await;
    let (user, other) = (shop.user().await, shop.user().await);
    shop.link("cus_Own", user).await;
    let answer = shop.ingress.get("/api/stripe/invoices?customer_id=cus_Own", user).await;
    let expected = json!({"success": true, "invoices": [{"id": "in_1SampleI2", "amount_due": 999,
        "amount_paid": 999, "created": 1_797_982_800, "currency": "eur",
        "hosted_invoice_url": "https://invoice.stripe.test/i/in_1SampleI2",
        "invoice_pdf": "https://pay.stripe.test/invoice/in_1SampleI2/pdf", "status": "paid",
        "period_start": 1_795_390_790, "period_end": 1_797_982_790}]});
    assert_eq!(answer.body, expected);
    assert_eq!(shop.stripe.calls()[0].query, "customer=cus_Own&limit=100");
    let answer = shop.ingress.get("/api/stripe/invoices?customer_id=cus_Own", other).await;
    assert_eq!(answer.status, 404);
    for bad in ["", "?customer_id=", "?customer_id=..%2Fcharges", "?customer_id=cus%00"] {
        let answer = shop.ingress.get(&format!("/api/stripe/invoices{bad}"), user).await;
        assert_eq!(answer.pointers(), ["?customer_id"], "{bad}");
    }
    assert!(shop.stripe.calls().is_empty());
    let anonymous = shop.ingress.anonymous(reqwest::Method::GET, "/api/stripe/invoices");
    assert_eq!(anonymous.answer().await.status, 401);
}

#[tokio::test]
async fn without_settings_nothing_is_sold_and_the_answer_says_why() {
    let nothing = [("STRIPE_PRICES", ""), ("STRIPE_SECRET_KEY", "")];
    let shop = Shop::with(&nothing).await;
    let user = shop.user().await;
    let answer = shop.ingress.post(CHECKOUT, user, &json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.problem()), (500, "not-configured"));
    assert!(answer.body["detail"].as_str().unwrap().contains("STRIPE_PRICES"));
    shop.link("cus_Own", user).await;
    let answer = shop.ingress.post(PORTAL, user, &json!({})).await;
    assert_eq!((answer.status.as_u16(), answer.problem()), (500, "not-configured"));
    assert!(answer.body["detail"].as_str().unwrap().contains("STRIPE_SECRET_KEY"));
}
