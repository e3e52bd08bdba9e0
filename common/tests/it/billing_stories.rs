//! Whatever happens to a customer, and however the events of it arrive, the
//! users end with what Stripe's own final state gives them.
//!
//! Several workers take part: between a worker's question to Stripe, the
//! answer, and its use, other workers settle other events. `REGIMEN_STORIES`
//! sets how many stories are told; `--nocapture` shows what happened in them.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use chrono::DateTime;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use regimen_common::billing::apply::apply;
use regimen_common::billing::entitlement::{Entitlement, EntitlementPolicy};
use regimen_common::billing::event::Event;
use regimen_common::billing::object::Subscription;
use regimen_common::billing::record::Record;
use regimen_common::billing::state::CustomerState;
use regimen_common::billing::verdict::{Answer, Answers, Question, Verdict};
use regimen_common::test_support::stripe_story::{Owner, Payment, Step, Stripe, our_prices};
use uuid::Uuid;

const START: i64 = 1_795_000_000;
const GRACE: i64 = 7 * 86_400;
const DEFAULT_STORIES: u32 = 20_000;

/// Seconds that pass, a step, and which subscription it happens to.
type Story = Vec<(i64, Step, usize)>;

fn owner() -> impl Strategy<Value = Owner> {
    prop_oneof![1 => Just(Owner::Nobody), 3 => Just(Owner::Buyer), 1 => Just(Owner::Friend)]
}

fn step() -> impl Strategy<Value = Step> {
    let payment = prop_oneof![Just(Payment::Paid), Just(Payment::Trial), Just(Payment::Delayed)];
    let behavior = proptest::sample::select(&["void", "keep_as_draft", "mark_uncollectible"][..]);
    let until = prop_oneof![Just(None), (1_i64..900_000).prop_map(Some)];
    let pause = (behavior, until).prop_map(|(what, until)| Step::PauseCollection(what, until));
    prop_oneof![
        4 => (payment, owner()).prop_map(|(payment, metadata)| Step::Checkout { payment, metadata }),
        1 => owner().prop_map(Step::Dashboard),
        2 => Just(Step::FirstPaymentArrives),
        2 => Just(Step::FirstPaymentExpires),
        3 => Just(Step::Renew),
        4 => Just(Step::RenewalFails),
        3 => Just(Step::Recover),
        3 => Just(Step::GiveUp),
        2 => Just(Step::Pause),
        5 => Just(Step::Resume),
        3 => pause,
        3 => Just(Step::ResumeCollection),
        2 => Just(Step::ScheduleCancel),
        1 => Just(Step::KeepAfterAll),
        1 => Just(Step::Cancel),
        2 => Just(Step::ChangePrice),
        1 => Just(Step::Refund),
        2 => Just(Step::Dispute),
        4 => Just(Step::DisputeEnds),
        2 => Just(Step::TrialWillEnd),
        1 => Just(Step::DeleteCustomer),
    ]
}

fn story() -> impl Strategy<Value = Story> {
    // Mostly the same second, or seconds apart: where order is hard to tell.
    let gap = prop_oneof![5 => Just(0_i64), 3 => 1_i64..4, 2 => 4_i64..20, 1 => 3600_i64..900_000];
    proptest::collection::vec((gap, step(), 0_usize..3), 1..14)
}

/// One delivery on its way through a worker.
struct Delivery {
    event: usize,
    stage: Stage,
    answers: Answers,
}

enum Stage {
    Fresh,
    Asking { revision: u64, questions: Vec<Question>, needed: bool },
    Answered { revision: u64 },
}

struct Simulation {
    stripe: Stripe,
    rng: StdRng,
    state: CustomerState,
    revision: u64,
    waiting: Vec<usize>,
    under_way: Vec<Delivery>,
    /// How the events arrived, by name, and how often.
    arrived: BTreeMap<&'static str, u64>,
}

/// Each of these has to happen in enough stories, or they prove little.
const MUST_HAPPEN: [&str; 29] = [
    "resubscribed",
    "checkout, paid",
    "checkout, trial",
    "checkout, paid later",
    "made without a checkout",
    "first payment arrived",
    "first payment never arrived",
    "renewed",
    "payment failed",
    "payment recovered",
    "given up as unpaid",
    "paused",
    "resumed",
    "collection paused",
    "collection resumed",
    "cancellation scheduled",
    "cancellation withdrawn",
    "cancelled",
    "price changed",
    "refunded",
    "disputed",
    "dispute decided",
    "trial about to end",
    "customer deleted",
    "event arrived again",
    "event arrived before an earlier one",
    "event of the same second as the one before",
    "event taken up while another was under way",
    "answer overtaken by another worker",
];

impl Simulation {
    fn tell(story: &Story, seed: u64) -> Self {
        let (buyer, friend) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut simulation = Self {
            stripe: Stripe::new("t", START, buyer, friend),
            rng: StdRng::seed_from_u64(seed),
            state: CustomerState::default(),
            revision: 0,
            waiting: Vec::new(),
            under_way: Vec::new(),
            arrived: BTreeMap::new(),
        };
        for &(gap, step, which) in story {
            simulation.stripe.now += gap;
            let before = simulation.stripe.events.len();
            simulation.stripe.step(step, which);
            simulation.waiting.extend(before..simulation.stripe.events.len());
            simulation.count_ties(before);
            for _ in 0..simulation.rng.random_range(0..4) {
                simulation.work();
            }
        }
        while !(simulation.waiting.is_empty() && simulation.under_way.is_empty()) {
            simulation.work();
        }
        simulation
    }

    fn count(&mut self, what: &'static str) {
        *self.arrived.entry(what).or_default() += 1;
    }

    /// Counts the events from number `from` on that share their second with the one before.
    fn count_ties(&mut self, from: usize) {
        let made_at = |at: usize| self.stripe.events[at]["created"].as_i64();
        let after = from.max(1)..self.stripe.events.len();
        for _ in 0..after.filter(|&at| made_at(at) == made_at(at - 1)).count() {
            self.count("event of the same second as the one before");
        }
    }

    /// One step of one of three workers.
    fn work(&mut self) {
        let idle = self.under_way.len() < 3;
        if idle && !self.waiting.is_empty() && self.rng.random_bool(0.5) {
            let at = self.rng.random_range(0..self.waiting.len());
            // One in five deliveries comes again.
            let again = self.rng.random_bool(0.2);
            let event = if again { self.waiting[at] } else { self.waiting.swap_remove(at) };
            self.count("event delivered");
            if again {
                self.count("event arrived again");
            }
            if self.waiting.iter().any(|&other| other < event) {
                self.count("event arrived before an earlier one");
            }
            if !self.under_way.is_empty() {
                self.count("event taken up while another was under way");
            }
            let answers = Answers::new();
            self.under_way.push(Delivery { event, stage: Stage::Fresh, answers });
        }
        if !self.under_way.is_empty() {
            let at = self.rng.random_range(0..self.under_way.len());
            let delivery = self.under_way.swap_remove(at);
            let unfinished = self.advance(delivery);
            self.under_way.extend(unfinished);
        }
    }

    fn advance(&mut self, mut delivery: Delivery) -> Option<Delivery> {
        match delivery.stage {
            Stage::Fresh => self.settle(delivery),
            Stage::Asking { needed: true, .. } if self.rng.random_bool(0.1) => {
                delivery.stage = Stage::Fresh; // Stripe is away; the event is tried again.
                Some(delivery)
            }
            Stage::Asking { revision, ref questions, needed } => {
                for question in questions {
                    let answer = self.answer(question, needed);
                    delivery.answers.insert(question.clone(), answer);
                }
                delivery.stage = Stage::Answered { revision };
                Some(delivery)
            }
            Stage::Answered { revision } if revision == self.revision => self.settle(delivery),
            Stage::Answered { .. } => {
                self.count("answer overtaken by another worker");
                delivery.answers.clear(); // Overtaken: the answers may be old by now.
                delivery.stage = Stage::Fresh;
                Some(delivery)
            }
        }
    }

    fn settle(&mut self, mut delivery: Delivery) -> Option<Delivery> {
        let event = Event::from_value(self.stripe.events[delivery.event].clone()).unwrap();
        match apply(&self.state, &event, &delivery.answers) {
            Verdict::Settled(settlement) => {
                if settlement.confirmed || settlement.state != self.state {
                    self.revision += 1;
                }
                self.state = settlement.state;
                None
            }
            Verdict::Ask { questions, needed } => {
                delivery.stage = Stage::Asking { revision: self.revision, questions, needed };
                Some(delivery)
            }
        }
    }

    fn answer(&mut self, question: &Question, needed: bool) -> Answer {
        let id = match question {
            Question::Subscription(id) => id,
            Question::Charge(_) => return Answer::Customer(Some(self.stripe.customer.clone())),
        };
        if !needed && self.rng.random_bool(0.3) {
            return Answer::Untold;
        }
        let told = self.stripe.subscription(id).unwrap();
        // Their clock, as the reply's header gives it, may be a little off.
        let at = self.stripe.now + self.rng.random_range(-1..=1);
        Answer::Subscription(Box::new(Subscription::from_value(&told)), at)
    }

    /// What the code under test gives `user`: plan, and date of renewal.
    fn given(&self, user: Uuid, now: i64) -> (bool, Option<String>) {
        let policy = EntitlementPolicy {
            past_due_grace: Duration::from_secs(GRACE as u64),
            entitling: our_prices().collect(),
        };
        let theirs = |record: &&Record| self.state.user_of(record) == Some(user);
        let records = self.state.records.iter().filter(theirs);
        let now = DateTime::from_timestamp(now, 0).unwrap();
        let given = Entitlement::of(records, &policy, now);
        (given.pro, given.renews_on.map(|date| date.to_string()))
    }

    /// What Stripe's own final state gives them.
    fn due(&self, user: Uuid, now: i64) -> (bool, Option<String>) {
        let paid = self.stripe.subscriptions.iter().filter(|subscription| {
            self.stripe.owner(subscription) == Some(user)
                && !self.stripe.deleted
                && subscription.counts(now)
                && match subscription.status {
                    "active" | "trialing" => true,
                    "past_due" => now < subscription.fell_due_at.unwrap() + GRACE,
                    _ => false,
                }
        });
        let last = paid.map(|subscription| subscription.period_end).max();
        let date = |end| DateTime::from_timestamp(end, 0).unwrap().date_naive().to_string();
        (last.is_some(), last.map(date))
    }
}

#[test]
fn every_story_ends_as_stripe_says() {
    let stories = std::env::var("REGIMEN_STORIES").ok().map(|count| count.parse().unwrap());
    let cases = stories.unwrap_or(DEFAULT_STORIES);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let happened = Mutex::new(BTreeMap::<&'static str, u64>::new());
    let result = TestRunner::new(config).run(&(story(), any::<u64>(), 0_i64..2_000_000), |told| {
        let (story, seed, later) = told;
        let simulation = Simulation::tell(&story, seed);
        let now = simulation.stripe.now + later;
        for user in [simulation.stripe.buyer, simulation.stripe.friend] {
            prop_assert_eq!(
                simulation.given(user, now),
                simulation.due(user, now),
                "{:#?}",
                simulation.state
            );
        }
        let mut happened = happened.lock().unwrap();
        for (what, times) in simulation.stripe.happened.iter().chain(&simulation.arrived) {
            *happened.entry(what).or_default() += times;
        }
        Ok(())
    });
    result.unwrap();
    let happened = happened.into_inner().unwrap();
    println!("{cases} stories, in the rules alone:");
    for (what, times) in &happened {
        println!("{times:>9} × {what}");
    }
    for what in MUST_HAPPEN {
        let times = happened.get(what).copied().unwrap_or(0);
        // The rarest of them happen in one story of a hundred.
        assert!(times >= u64::from(cases / 200), "{what}: only {times} in {cases} stories");
    }
}
