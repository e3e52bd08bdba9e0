//! How quickly one ingress acknowledges Stripe's deliveries, at a steady rate
//! and in a burst, and how soon one worker has applied them.
//!
//! There are five events per customer, from the creation of a subscription to a
//! renewal, signed as Stripe signs them. What was stored and applied is read
//! from Postgres afterwards, with its timestamps.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::spread::Spread;
use super::volley::Volley;
use super::{BenchError, FOLDER};
use crate::clock;
use crate::psql::Psql;
use crate::secrets::Secrets;
use crate::session::Session;
use crate::stack::{Providers, StackPlan};
use crate::state::Lock;
use crate::token::hmac_sha256;

/// The events of one customer.
const EACH: u32 = 5;
/// The paid period, seconds.
const MONTH: u64 = 30 * 86_400;

/// The parts, in the order they are sent; the first is a warm-up.
const PARTS: [&str; 3] = [WARM_UP, STEADY, "burst"];
const WARM_UP: &str = "warm-up";
const STEADY: &str = "steady";

/// The settings of the measurement.
#[derive(clap::Args)]
pub(crate) struct Webhooks {
    /// How many events in each of the two parts.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    events: u32,
    /// Events per second at the steady rate.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// The number of connections.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    connections: u16,
}

impl Webhooks {
    /// Measures and prints.
    ///
    /// # Errors
    /// See [`BenchError`].
    pub(super) fn run(&self, session: &Session) -> Result<(), BenchError> {
        let folder = session.workspace.place(FOLDER);
        let _lock = Lock::take(&folder)?;
        let secrets = Secrets::of(&folder)?;
        let (servers, binaries) = super::prepare(session, &folder, &secrets)?;
        let programs = &servers.programs.postgres.folder;
        let truth = Truth(Psql::new(programs, servers.postgres.port, &secrets.passwords.postgres));
        let stack = plan(&folder, &binaries, &secrets).start(session, servers)?;
        let url = stack.ingress_url()?;
        for part in PARTS {
            let events = if part == WARM_UP { self.events / 10 } else { self.events };
            let rate = (part == STEADY).then_some(self.rate);
            truth.add_users(part, events / EACH + 1)?;
            session.say(format_args!("{part}: {events} events"));
            let volley = Volley {
                url: &url,
                path: "/api/stripe/webhook",
                connections: usize::from(self.connections),
                gap: rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate),
                count: events,
                request: &|number| delivery(&secrets.stripe_webhook, part, number),
            };
            let flown = volley.fly()?;
            let applied = truth.when_applied(session, part, events)?;
            if part != WARM_UP {
                let what = match rate {
                    Some(rate) => format!("steady, {rate}/s; acknowledged after being due"),
                    None => "burst, all due at once; acknowledged after being sent".to_owned(),
                };
                let times = if rate.is_some() { flown.since_due } else { flown.since_sent };
                let _ = writeln!(
                    std::io::stdout(),
                    "{what}, ms: {}\n  {} connections; {events} acknowledged within {:.1} s, {:.0}/s\n  {applied}",
                    Spread::of(times),
                    self.connections,
                    flown.seconds,
                    f64::from(events) / flown.seconds,
                );
            }
        }
        Ok(())
    }
}

fn plan<'a>(folder: &'a Path, binaries: &'a Path, secrets: &'a Secrets) -> StackPlan<'a> {
    StackPlan {
        folder,
        binaries,
        secrets,
        workers: 1,
        providers: Providers::Simulator,
        ingress_settings: &[],
        worker_settings: &[],
    }
}

/// The headers and the body of delivery `number`.
fn delivery(secret: &str, part: &str, number: u32) -> (String, String) {
    let body = event(part, number).to_string();
    let now = clock::seconds_since_1970();
    let mac = hmac_sha256(secret.as_bytes(), format!("{now}.{body}").as_bytes());
    let signature: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    (format!("stripe-signature: t={now},v1={signature}\r\n"), body)
}

/// The customers alternate, so that the events of each arrive in order and seldom right
/// after each other.
fn event(part: &str, number: u32) -> Value {
    let (customer, step) = (number / EACH, number % EACH);
    let (id, user) = (format!("{part}_{customer}"), user(part, customer));
    let made_at = clock::seconds_since_1970() / 3600 * 3600 - 3600 + u64::from(step) * 60;
    let paid_until = made_at / 86_400 * 86_400 + MONTH * if step >= 3 { 2 } else { 1 };
    let subscription = |status: &str| {
        json!({"id": format!("sub_{id}"), "object": "subscription",
            "customer": format!("cus_{id}"), "status": status, "created": made_at,
            "cancel_at_period_end": false, "cancel_at": null, "trial_end": null, "currency": "eur",
            "items": {"object": "list", "has_more": false, "data": [{"id": format!("si_{id}"),
                "object": "subscription_item", "current_period_end": paid_until, "quantity": 1,
                "price": {"id": "price_pro", "object": "price", "product": "prod_pro"}}]},
            "latest_invoice": format!("in_{id}"), "metadata": {"user_id": user}})
    };
    let invoice = || {
        json!({"id": format!("in_{id}"), "object": "invoice", "customer": format!("cus_{id}"),
            "amount_due": 999, "currency": "eur", "parent": {"type": "subscription_details",
                "subscription_details": {"subscription": format!("sub_{id}"),
                    "metadata": {"user_id": user}}},
            "lines": {"object": "list", "data": [{"period": {"end": paid_until}}]}})
    };
    let (kind, object) = match step {
        0 => ("customer.subscription.created", subscription("incomplete")),
        1 => ("customer.subscription.updated", subscription("active")),
        2 | 4 => ("invoice.paid", invoice()),
        _ => ("customer.subscription.updated", subscription("active")),
    };
    json!({"id": format!("evt_{id}_{step}"), "object": "event", "type": kind, "created": made_at,
        "api_version": "2026-10-28.endive", "livemode": false, "pending_webhooks": 1,
        "request": {"id": null, "idempotency_key": null}, "data": {"object": object}})
}

/// The user of a customer; [`Truth::add_users`] creates the same ids.
fn user(part: &str, customer: u32) -> String {
    format!("{:08x}-0000-4000-8000-{customer:012x}", number_of(part))
}

fn number_of(part: &str) -> usize {
    PARTS.iter().position(|other| *other == part).unwrap_or(PARTS.len())
}

/// Postgres, read through psql.
struct Truth(Psql);

impl Truth {
    fn add_users(&self, part: &str, count: u32) -> Result<(), BenchError> {
        let part = number_of(part);
        self.0.run(&format!(
            "insert into public.profiles (id, email)
             select id::uuid, id || '@example.test' from (
                 select '{part:08x}-0000-4000-8000-' || lpad(to_hex(n), 12, '0') as id
                 from generate_series(0, {count}) n) users"
        ))?;
        Ok(())
    }

    /// Waits until all events of a part are processed; returns what their rows say.
    fn when_applied(
        &self,
        session: &Session,
        part: &str,
        events: u32,
    ) -> Result<String, BenchError> {
        let of = format!("from regimen.stripe_events where starts_with(id, 'evt_{part}_')");
        while self.ask(&format!("select count(*) {of} and state = 'received'"))? != "0" {
            session.pause()?;
        }
        let counts = self.ask(&format!(
            "select count(*) || ' stored, ' || count(*) filter (where state = 'applied')
                 || ' applied' {of}"
        ))?;
        if counts != format!("{events} stored, {events} applied") {
            let counts = format!("{events} events were acknowledged, but {counts}");
            return Err(BenchError::Measurement(counts));
        }
        let times = self.ask(&format!(
            "select format('all applied %s s after the first was stored; each after p50 %s ms, p99 %s ms',
                 round(extract(epoch from max(settled_at) - min(received_at)), 1),
                 round(1000 * percentile_cont(0.5) within group
                     (order by extract(epoch from settled_at - received_at))),
                 round(1000 * percentile_cont(0.99) within group
                     (order by extract(epoch from settled_at - received_at)))) {of}"
        ))?;
        Ok(format!("{counts}; {times}"))
    }

    /// The single value of a query.
    fn ask(&self, sql: &str) -> Result<String, BenchError> {
        match self.0.rows(sql)?.as_slice() {
            [row] => Ok(row.get(0)?),
            rows => Err(BenchError::Measurement(format!("{} rows instead of one", rows.len()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customer_has_five_events_in_their_order() {
        let made_at = |number| event("burst", number)["created"].as_u64().unwrap();
        assert!((0..4).all(|step| made_at(step) < made_at(step + 1)));
        assert_eq!(event("burst", 4)["data"]["object"]["customer"], "cus_burst_0");
        assert_eq!(event("burst", 5)["data"]["object"]["customer"], "cus_burst_1");
        assert_eq!(user("burst", 26), "00000002-0000-4000-8000-00000000001a");
    }
}
