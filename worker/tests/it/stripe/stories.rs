//! The stories of `common`'s property test once more, told to real workers:
//! several at once, on one database, asking a Stripe that answers with the
//! truth of the moment, and losing a worker now and then.
//!
//! `REGIMEN_DATABASE_STORIES` sets how many are told; `--nocapture` shows what
//! happened in them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::DateTime;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use regimen_common::billing::Mode;
use regimen_common::db::billing::claims::{self, DueEvents};
use regimen_common::db::billing::events;
use regimen_common::test_support::stripe_story::{Owner, Payment, Step, Stripe, our_prices};
use regimen_worker::jobs::stripe_event::handler;
use regimen_worker::periodic::stripe_reconcile::StripeReconciler;
use uuid::Uuid;

use super::worker::{NOW, Worker};

const DEFAULT_STORIES: usize = 60;
const WORKERS: usize = 8;
/// Told at once: few, so that workers meet over the same customer.
const TOGETHER: usize = 4;
const GRACE: i64 = 7 * 86_400;

fn step(rng: &mut StdRng) -> Step {
    let payments = [Payment::Paid, Payment::Trial, Payment::Delayed];
    let owners = [Owner::Nobody, Owner::Buyer, Owner::Buyer, Owner::Friend];
    let (payment, metadata) = (payments[rng.random_range(0..3)], owners[rng.random_range(0..4)]);
    let steps = [
        Step::Checkout { payment, metadata },
        Step::Checkout { payment, metadata },
        Step::Dashboard(metadata),
        Step::FirstPaymentArrives,
        Step::FirstPaymentExpires,
        Step::Renew,
        Step::Renew,
        Step::RenewalFails,
        Step::RenewalFails,
        Step::Recover,
        Step::Recover,
        Step::GiveUp,
        Step::Pause,
        Step::Resume,
        Step::PauseCollection("void", None),
        Step::PauseCollection("keep_as_draft", Some(100_000)),
        Step::PauseCollection("mark_uncollectible", Some(900_000)),
        Step::ResumeCollection,
        Step::ResumeCollection,
        Step::ScheduleCancel,
        Step::KeepAfterAll,
        Step::Cancel,
        Step::ChangePrice,
        Step::Refund,
        Step::Dispute,
        Step::DisputeEnds,
        Step::TrialWillEnd,
        Step::DeleteCustomer,
    ];
    steps[rng.random_range(0..steps.len())]
}

/// The customers of all stories.
type World = Arc<Mutex<Vec<Stripe>>>;

/// Takes what is due until told to stop, and sometimes dies over it: the work
/// is dropped at a random moment, and the claim runs out.
async fn work(worker: Arc<Worker>, seed: u64, stop: tokio::sync::watch::Receiver<bool>) {
    let mut rng = StdRng::seed_from_u64(seed);
    loop {
        let mut client = worker.database.client().await;
        let limit = rng.random_range(1..4);
        let due = DueEvents { limit, hold: handler::HOLD, quarantine: &[] };
        let due = claims::claim_due(&mut client, &due).await.unwrap().done;
        if due.is_empty() && *stop.borrow() {
            return;
        }
        drop(client);
        for claimed in due {
            let life = Duration::from_micros(rng.random_range(0..20_000));
            let dies = rng.random_bool(0.1);
            let handled = handler::handle(&worker.deps, &claimed);
            if !dies {
                handled.await;
            } else if tokio::time::timeout(life, handled).await.is_err() {
                let sql = "update regimen.stripe_events set run_at = now(), lost = 0 where id = $1";
                worker.database.client().await.execute(sql, &[&claimed.id]).await.unwrap();
            }
        }
        tokio::task::yield_now().await;
    }
}

/// Lets stories happen, and stores their events out of order, late, twice, and
/// many at once.
async fn tell(worker: &Worker, world: &World, rng: &mut StdRng) {
    let mut waiting = Vec::new();
    for _ in 0..12 {
        for story in 0..TOGETHER {
            let gap = if rng.random_bool(0.6) { 0 } else { rng.random_range(1..200_000) };
            let (step, which) = (step(rng), rng.random_range(0..3));
            waiting.extend(happen(worker, world, story, (gap, step, which)));
        }
        if rng.random_bool(0.4) {
            let some = rng.random_range(0..=waiting.len());
            deliver(worker, &mut waiting, some, rng).await;
        }
    }
    while !waiting.is_empty() {
        deliver(worker, &mut waiting, 30, rng).await;
    }
}

fn happen(
    worker: &Worker,
    world: &World,
    story: usize,
    (gap, step, which): (i64, Step, usize),
) -> Vec<serde_json::Value> {
    let mut world = world.lock().unwrap();
    let now = world.iter().map(|stripe| stripe.now).max().unwrap() + gap;
    for stripe in world.iter_mut() {
        stripe.now = now; // They all live in one time.
    }
    let stripe = &mut world[story];
    let before = stripe.events.len();
    stripe.step(step, which);
    let mut truth = worker.stripe.truth.lock().unwrap();
    truth.now = Some(now);
    let charge = stripe.charge();
    truth.objects.insert(format!("charges/{}", charge["id"].as_str().unwrap()), charge);
    for subscription in &stripe.subscriptions {
        let object = stripe.subscription(&subscription.id).unwrap();
        truth.objects.insert(format!("subscriptions/{}", subscription.id), object);
    }
    stripe.events[before..].to_vec()
}

async fn deliver(
    worker: &Worker,
    waiting: &mut Vec<serde_json::Value>,
    count: usize,
    rng: &mut StdRng,
) {
    let mut together = Vec::new();
    for _ in 0..count.min(waiting.len()) {
        let at = rng.random_range(0..waiting.len());
        let again = rng.random_bool(0.2);
        together.push(if again { waiting[at].clone() } else { waiting.swap_remove(at) });
        if waiting.is_empty() {
            break;
        }
    }
    futures_util::future::join_all(together.iter().map(|event| worker.store(event))).await;
    for event in together.iter().filter(|_| rng.random_bool(0.1)) {
        let client = worker.database.client().await;
        events::replay(&client, event["id"].as_str().unwrap(), Mode::Test).await.unwrap();
    }
}

fn due(stripe: &Stripe, user: Uuid, now: i64) -> (String, Option<String>) {
    let paid = stripe.subscriptions.iter().filter(|subscription| {
        stripe.owner(subscription) == Some(user)
            && !stripe.deleted
            && subscription.counts(now)
            && match subscription.status {
                "active" | "trialing" => true,
                "past_due" => now < subscription.fell_due_at.unwrap() + GRACE,
                _ => false,
            }
    });
    let last = paid.map(|subscription| subscription.period_end).max();
    let date = |end| DateTime::from_timestamp(end, 0).unwrap().date_naive().to_string();
    let plan = if last.is_some() { "pro" } else { "free" };
    (plan.to_owned(), last.map(date))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_story_ends_as_stripe_says() {
    let count = std::env::var("REGIMEN_DATABASE_STORIES").ok();
    let count = count.map_or(DEFAULT_STORIES, |count| count.parse().unwrap());
    let seed: u64 = rand::make_rng::<StdRng>().random();
    let prices: Vec<_> = our_prices().map(|price| format!("{price}={price}")).collect();
    let worker = Arc::new(Worker::with(&[("STRIPE_PRICES", &prices.join(","))]).await);
    let mut happened = BTreeMap::<&'static str, u64>::new();
    let chapters = count.div_ceil(TOGETHER);
    for chapter in 0..chapters {
        let told = tell_chapter(&worker, chapter, seed.wrapping_add(chapter as u64)).await;
        for (what, times) in told.iter().flat_map(|stripe| &stripe.happened) {
            *happened.entry(what).or_default() += times;
        }
    }
    let stories = chapters * TOGETHER;
    println!("{stories} stories, through Postgres, {WORKERS} workers at once:");
    for (what, times) in &happened {
        println!("{times:>9} × {what}");
    }
    let client = worker.database.client().await;
    let sql = "select count(*), sum(attempts) from regimen.stripe_events";
    let row = client.query_one(sql, &[]).await.unwrap();
    let (events, claims): (i64, Option<i64>) = (row.get(0), row.get(1));
    println!("{events:>9} events, claimed {} times", claims.unwrap_or_default());
}

/// A few stories at once, from beginning to end.
async fn tell_chapter(worker: &Arc<Worker>, chapter: usize, seed: u64) -> Vec<Stripe> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut stories = Vec::new();
    for story in 0..TOGETHER {
        let (buyer, friend) = (worker.profile().await, worker.profile().await);
        stories.push(Stripe::new(&format!("c{chapter}s{story}"), NOW, buyer, friend));
    }
    let world: World = Arc::new(Mutex::new(stories));
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let workers: Vec<_> = (0..WORKERS)
        .map(|n| tokio::spawn(work(Arc::clone(worker), seed ^ n as u64, stopped.clone())))
        .collect();
    tell(worker, &world, &mut rng).await;
    stop.send(true).unwrap();
    for worker in workers {
        worker.await.unwrap();
    }
    settle_what_waits(worker).await;

    let world = world.lock().unwrap().clone();
    let now = world[0].now;
    worker.deps.clock.set(DateTime::from_timestamp(now, 0).unwrap());
    refresh_all(worker, &world).await;
    for stripe in &world {
        for user in [stripe.buyer, stripe.friend] {
            let (plan, renews, _) = worker.plan(user).await;
            assert_eq!((plan, renews), due(stripe, user, now), "seed {seed}: {stripe:#?}");
        }
    }
    world
}

/// Retries that were put off, and claims that ran out.
async fn settle_what_waits(worker: &Worker) {
    let sql = "update regimen.stripe_events set run_at = now() where state = 'received'";
    loop {
        worker.database.client().await.batch_execute(sql).await.unwrap();
        if worker.drain().await == 0 {
            return;
        }
    }
}

/// Time has passed since the last event: profiles follow as of now.
async fn refresh_all(worker: &Worker, world: &[Stripe]) {
    StripeReconciler::new(Arc::clone(&worker.deps)).look().await;
    let policy = &worker.deps.config.stripe.policy;
    for user in world.iter().flat_map(|stripe| [stripe.buyer, stripe.friend]) {
        let mut client = worker.database.client().await;
        let tx = client.transaction();
        let now = worker.deps.clock.now();
        regimen_common::db::billing::profiles::refresh(&tx, user, false, policy, now)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
}
