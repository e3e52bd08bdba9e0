//! An ingress, a stand-in for Stripe, and users.

use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

use super::stand_in::{StripeStandIn, list, object};
use crate::harness::{Answer, Ingress, Send};

pub(super) const KEY: &str = "rk_test_never_to_be_shown";

pub(super) struct Shop {
    pub(super) ingress: Ingress,
    pub(super) stripe: StripeStandIn,
}

impl Shop {
    pub(super) async fn new() -> Self {
        Self::with(&[]).await
    }

    pub(super) async fn with(settings: &[(&str, &str)]) -> Self {
        let stripe = StripeStandIn::start().await;
        let own = [
            ("STRIPE_SECRET_KEY", KEY),
            ("STRIPE_BASE_URL", stripe.url.as_str()),
            ("STRIPE_PRICES", "monthly=price_Monthly,yearly=price_Yearly"),
            ("ALLOWED_ORIGINS", "https://app.example.test"),
        ];
        let all: Vec<_> = own.into_iter().chain(settings.iter().copied()).collect();
        let ingress = Ingress::start(&all).await;
        stripe.set("POST /v1/checkout/sessions", object("checkout_session"));
        stripe.set("POST /v1/billing_portal/sessions", object("portal_session"));
        stripe.set("GET /v1/invoices", list("/v1/invoices", &[object("invoice")]));
        stripe.set("GET /v1/customers/cus_Own", object("customer"));
        Self { ingress, stripe }
    }

    /// A user with a profile.
    pub(super) async fn user(&self) -> Uuid {
        let user = Uuid::new_v4();
        let sql = "insert into public.profiles (id, email) values ($1, 'ada@example.com')";
        self.ingress.database.client().await.execute(sql, &[&user]).await.unwrap();
        user
    }

    /// Runs `sql` about `user`.
    pub(super) async fn sql(&self, sql: &str, user: Uuid) {
        self.ingress.database.client().await.execute(sql, &[&user]).await.unwrap();
    }

    /// Links a customer to `user`, as a checkout does.
    pub(super) async fn link(&self, customer: &str, user: Uuid) {
        let sql = format!(
            "insert into regimen.customers (id, linked_user, link_source, linked_at, user_id)
             values ('{customer}', $1, 'checkout', now(), $1)"
        );
        self.sql(&sql, user).await;
    }

    pub(super) async fn admin(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.admin_with(method, path, body, None).await
    }

    pub(super) async fn admin_with(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
        key: Option<&str>,
    ) -> Answer {
        let mut request = self.ingress.as_admin(method, path);
        if let Some(body) = body {
            request = request.json(&body);
        }
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        request.answer().await
    }
}
