//! How quickly one ingress acknowledges Stripe's deliveries, at a steady rate
//! and in a burst, and how soon one worker has applied them.
//!
//! There are five events per customer, from the creation of a subscription to a
//! renewal, signed as Stripe signs them. What was stored and applied is read
//! from Postgres afterwards, with its timestamps.

use std::fmt;
use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::BenchError;
use super::accept;
use super::cpu::Used;
use super::ground::{Build, Ground, Wanted};
use super::load::{Load, Outcome, Pace, Request};
use crate::clock;
use crate::psql::Psql;
use crate::session::Session;
use crate::stack::Stack;
use crate::token::hmac_sha256;

/// The events of one customer.
const EACH: u32 = 5;
/// The paid period, seconds.
const MONTH: u64 = 30 * 86_400;

/// How long the last event may take to be applied.
const APPLIED_WITHIN: Duration = Duration::from_secs(180);
/// How often PostgreSQL looks whether it is, seconds.
const LOOK: f64 = 0.05;

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
        let ground = Ground::take(session, Build::RELEASE)?;
        let sender = Sender::start(&ground, usize::from(self.connections))?;
        sender.deliver(self.events / 10, None)?;
        for rate in [Some(self.rate), None] {
            let found = sender.deliver(self.events, rate)?;
            let outcome = &found.outcome;
            let (what, times) = match rate {
                Some(rate) => {
                    (format!("steady, {rate}/s; acknowledged after being due"), &outcome.since_due)
                }
                None => (
                    "burst, all due at once; acknowledged after being sent".to_owned(),
                    &outcome.times,
                ),
            };
            let _ = writeln!(
                std::io::stdout(),
                "{what}, ms: {times}\n  {} connections; {} acknowledged within {:.1} s, {:.0}/s\n  {}",
                self.connections,
                outcome.answers,
                outcome.seconds,
                outcome.per_second,
                found.applied,
            );
        }
        Ok(())
    }
}

/// Sends Stripe's events to the ingress of a stack with one worker.
pub(super) struct Sender<'a> {
    session: &'a Session,
    secret: &'a str,
    stack: Stack,
    truth: Truth,
    connections: usize,
    /// The number of the next delivery; the first two digits of its users' ids.
    part: std::cell::Cell<u32>,
}

/// What became of a delivery.
pub(super) struct Delivered {
    /// The answers to the requests.
    pub(super) outcome: Outcome,
    /// What our processes used for the requests and for applying the events.
    pub(super) used: Used,
    /// From the first request until all were applied, seconds.
    pub(super) seconds: f64,
    /// What Postgres says of the events.
    pub(super) applied: Applied,
}

/// When the events were applied, as their rows say.
pub(super) struct Applied {
    events: u32,
    /// From the first stored event to the last applied one, seconds.
    within: f64,
    /// From an event's storing to its applying, the median and the 99th percentile, ms.
    pub(super) each: [f64; 2],
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, within, each: [p50, p99] } = self;
        write!(
            f,
            "{events} stored and applied; all applied {within:.1} s after the first was stored; \
             each after p50 {p50:.0} ms, p99 {p99:.0} ms"
        )
    }
}

impl<'a> Sender<'a> {
    /// Starts the stack.
    ///
    /// # Errors
    /// A part of it does not start.
    pub(super) fn start(ground: &'a Ground<'_>, connections: usize) -> Result<Self, BenchError> {
        let stack = ground.stack(Wanted { workers: 1, ..Wanted::default() })?;
        let (truth, secret) = (Truth(stack.psql()), &ground.secrets.stripe_webhook);
        let part = std::cell::Cell::new(0);
        Ok(Self { session: ground.session, secret, stack, truth, connections, part })
    }

    /// Delivers that many events, at a rate per second or all at once, and waits until they
    /// are applied.
    ///
    /// # Errors
    /// One was not acknowledged, or not applied.
    pub(super) fn deliver(&self, events: u32, rate: Option<u32>) -> Result<Delivered, BenchError> {
        let part = self.part.get();
        self.part.set(part + 1);
        self.truth.add_users(part, events / EACH + 1)?;
        self.session.say(match rate {
            Some(rate) => format!("{events} events, {rate} per second"),
            None => format!("{events} events at once"),
        });
        let now = clock::seconds_since_1970();
        let requests: Vec<_> = (0..events)
            .map(|number| {
                delivery(
                    self.secret,
                    now + u64::from(number / rate.unwrap_or(u32::MAX)),
                    part,
                    number,
                )
            })
            .collect();
        let gap = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate);
        let load = Load {
            url: &self.stack.ingress_url()?,
            connections: self.connections,
            pace: Pace::Fixed { gap, count: requests.len() },
            requests: &requests,
            first: 0,
        };
        // What came before, adding the users and signing, is not the service's work.
        let processes = accept::processes(&self.stack);
        let (before, begun) = (processes.seconds(), Instant::now());
        let outcome = load.run()?;
        outcome.all(200)?;
        self.truth.wait(part)?;
        let (used, seconds) = (processes.seconds().since(&before), begun.elapsed().as_secs_f64());
        let applied = self.truth.when_applied(part, events)?;
        Ok(Delivered { outcome, used, seconds, applied })
    }
}

/// Delivery `number`, signed at `time`.
fn delivery(secret: &str, time: u64, part: u32, number: u32) -> Request {
    let body = event(part, number).to_string();
    let mac = hmac_sha256(secret.as_bytes(), format!("{time}.{body}").as_bytes());
    let signature: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    let headers = format!("stripe-signature: t={time},v1={signature}\r\n");
    Request::new("POST /api/stripe/webhook", &headers, Some(&body))
}

/// The customers alternate, so that the events of each arrive in order and seldom right
/// after each other.
fn event(part: u32, number: u32) -> Value {
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
fn user(part: u32, customer: u32) -> String {
    format!("{part:08x}-0000-4000-8000-{customer:012x}")
}

/// Postgres, read through psql.
struct Truth(Psql);

impl Truth {
    fn add_users(&self, part: u32, count: u32) -> Result<(), BenchError> {
        self.0.run(&format!(
            "insert into public.profiles (id, email)
             select id::uuid, id || '@example.test' from (
                 select '{part:08x}-0000-4000-8000-' || lpad(to_hex(n), 12, '0') as id
                 from generate_series(0, {count}) n) users"
        ))?;
        Ok(())
    }

    /// Waits until all events of a part are processed, in Postgres: starting a client again and
    /// again would disturb what is measured.
    fn wait(&self, part: u32) -> Result<(), BenchError> {
        let tries = (APPLIED_WITHIN.as_secs_f64() / LOOK) as u64;
        self.0.run(&format!(
            "do $$ begin for i in 1..{tries} loop
                 exit when not exists (select from regimen.stripe_events
                     where state = 'received' and starts_with(id, 'evt_{part}_'));
                 perform pg_sleep({LOOK});
             end loop; end $$"
        ))?;
        Ok(())
    }

    /// What the rows of a part's events say, once all are applied.
    fn when_applied(&self, part: u32, events: u32) -> Result<Applied, BenchError> {
        let of = format!("from regimen.stripe_events where starts_with(id, 'evt_{part}_')");
        let counts = self.ask(&format!(
            "select count(*) || ' stored, ' || count(*) filter (where state = 'applied')
                 || ' applied' {of}"
        ))?;
        if counts != format!("{events} stored, {events} applied") {
            let counts = format!("{events} events were acknowledged, but {counts}");
            return Err(BenchError::Measurement(counts));
        }
        let rows = self.0.rows(&format!(
            "select extract(epoch from max(settled_at) - min(received_at)),
                 1000 * percentile_cont(0.5) within group
                     (order by extract(epoch from settled_at - received_at)),
                 1000 * percentile_cont(0.99) within group
                     (order by extract(epoch from settled_at - received_at)) {of}"
        ))?;
        match rows.as_slice() {
            [row] => Ok(Applied { events, within: row.get(0)?, each: [row.get(1)?, row.get(2)?] }),
            rows => Err(BenchError::Measurement(format!("{} rows instead of one", rows.len()))),
        }
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
        let made_at = |number| event(2, number)["created"].as_u64().unwrap();
        assert!((0..4).all(|step| made_at(step) < made_at(step + 1)));
        assert_eq!(event(2, 4)["data"]["object"]["customer"], "cus_2_0");
        assert_eq!(event(2, 5)["data"]["object"]["customer"], "cus_2_1");
        assert_eq!(user(2, 26), "00000002-0000-4000-8000-00000000001a");
    }
}
