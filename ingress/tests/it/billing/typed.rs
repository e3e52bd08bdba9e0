//! The stand-in's objects are whole: async-stripe's typed client, which refuses
//! an object over one missing field, reads all of them. Of localstripe's, which
//! are of 2017, it reads customers and refunds only. Our own calls read both
//! (`regimen_ingress::stripe_api::replies`).

use axum::body::Bytes;
use regimen_common::test_support::{Language, Scripted};
use serde_json::{Value, json};
use stripe_billing::billing_portal_session::CreateBillingPortalSession;
use stripe_billing::invoice::{ListInvoice, SendInvoiceInvoice};
use stripe_billing::subscription::RetrieveSubscription;
use stripe_checkout::checkout_session::CreateCheckoutSession;
use stripe_client_core::{CustomizedStripeRequest, StripeClient, StripeClientErr};
use stripe_core::customer::RetrieveCustomer;
use stripe_core::refund::CreateRefund;

use super::stand_in::{list, object};

/// Answers every request with one object.
struct Answering(Value);

#[derive(Debug)]
struct Unreadable;

impl StripeClientErr for Unreadable {
    fn deserialize_err(_: impl std::fmt::Display) -> Self {
        Self
    }
}

impl StripeClient for Answering {
    type Err = Unreadable;

    async fn execute(&self, _: CustomizedStripeRequest) -> Result<Bytes, Unreadable> {
        Ok(Bytes::from(self.0.to_string()))
    }
}

macro_rules! reads {
    ($request:expr, $object:expr) => {
        $request.send(&Answering($object)).await.is_ok()
    };
}

#[tokio::test]
async fn the_typed_client_reads_every_object_here() {
    assert!(reads!(CreateCheckoutSession::new(), object("checkout_session")), "checkout");
    assert!(reads!(CreateBillingPortalSession::new(), object("portal_session")), "portal");
    let subscription = RetrieveSubscription::new("sub_1");
    assert!(reads!(subscription, object("subscription")), "subscription");
    assert!(reads!(SendInvoiceInvoice::new("in_1"), object("invoice")), "invoice");
    let invoices = list("/v1/invoices", &[object("invoice")]);
    assert!(reads!(ListInvoice::new(), invoices), "invoices");
    assert!(reads!(CreateRefund::new(), object("refund")), "refund");
    assert!(reads!(RetrieveCustomer::new("cus_1"), object("customer")), "customer");
    // And would notice if one were not.
    let mut torn = object("subscription");
    torn.as_object_mut().unwrap().remove("billing_mode");
    assert!(!reads!(RetrieveSubscription::new("sub_1"), torn));
}

/// localstripe's answer to a call that changes something.
async fn post(http: &reqwest::Client, url: &str, body: Value) -> Value {
    let answer = http.post(url).bearer_auth("sk_test_typed").json(&body).send().await.unwrap();
    let (status, object) = (answer.status(), answer.json::<Value>().await.unwrap());
    assert!(status.is_success(), "{url}: {status} {object}");
    object
}

#[tokio::test]
async fn the_typed_client_reads_customers_and_refunds_of_localstripe_only() {
    let Some(python) = Language::python("stripe") else { return };
    let server = Scripted::start(&python, "local_stripe.py", &[]).await;
    let url = format!("http://127.0.0.1:{}/v1", server.port);
    regimen_common::process::install_crypto();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let post = async |path: &str, body: Value| post(&http, &format!("{url}{path}"), body).await;
    let product = post("/products", json!({"name": "Pro", "type": "service"})).await;
    let plan = json!({"id": "pro", "product": product["id"], "currency": "eur", "amount": 999,
        "interval": "month"});
    post("/plans", plan).await;
    let card = json!({"type": "card", "card": {"number": "4242424242424242", "exp_month": "12",
        "exp_year": "2034", "cvc": "123"}});
    let method = post("/payment_methods", card).await["id"].as_str().unwrap().to_owned();
    let customer = post("/customers", json!({"email": "ana@example.test"})).await;
    let id = &customer["id"];
    post(&format!("/payment_methods/{method}/attach"), json!({"customer": id})).await;
    let settings = json!({"invoice_settings": {"default_payment_method": method}});
    let customer = post(&format!("/customers/{}", id.as_str().unwrap()), settings).await;
    let sold = json!({"customer": id, "items": [{"plan": "pro"}]});
    let subscription = post("/subscriptions", sold).await;
    let get = http.get(format!("{url}/invoices")).bearer_auth("sk_test_typed");
    let invoices = get.send().await.unwrap().json::<Value>().await.unwrap();
    let charge = &invoices["data"][0]["charge"]["id"];
    let refund = post("/refunds", json!({"charge": charge})).await;

    let read = [
        ("customer", reads!(RetrieveCustomer::new("cus_1"), customer)),
        ("subscription", reads!(RetrieveSubscription::new("sub_1"), subscription)),
        ("invoices", reads!(ListInvoice::new(), invoices)),
        ("refund", reads!(CreateRefund::new(), refund)),
    ];
    let readable: Vec<_> = read.iter().filter(|(_, read)| *read).map(|(name, _)| *name).collect();
    assert_eq!(readable, ["customer", "refund"], "as load-tests/stripe/README.md says");
}
