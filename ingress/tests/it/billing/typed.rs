//! The stand-in's objects are whole: async-stripe's typed client, which refuses
//! an object over one missing field, reads all of them.

use axum::body::Bytes;
use serde_json::Value;
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
