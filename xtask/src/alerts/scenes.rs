//! The faults, one scene each: the fault, what goes on during it, the alerts it
//! must raise, and the repair, where possible the one that `docs/runbook.md`
//! names.

use serde_json::{Value, json};
use uuid::Uuid;

use super::AlertsError;
use super::rig::Rig;
use crate::clock;

type Act = fn(&mut Rig<'_>) -> Result<(), AlertsError>;

/// A fault and its alerts.
pub(super) struct Scene {
    /// Its name on the command line.
    pub(super) name: &'static str,
    /// The fault, in words.
    pub(super) fault: &'static str,
    /// The alerts that must fire.
    pub(super) alerts: &'static [&'static str],
    /// Those that take too long to resolve before the next scene.
    pub(super) ends_late: &'static [&'static str],
    pub(super) make: Act,
    /// Repeated until all have fired.
    pub(super) meanwhile: Act,
    pub(super) mend: Act,
}

/// Alerts that no fault from outside can raise.
pub(super) const NOT_PLAYED: [(&str, &str); 1] =
    [("HandlersPanic", "no request and no store makes a handler panic; tests build one in")];

/// All scenes, in the order they run.
pub(super) const SCENES: [Scene; 21] = [
    Scene {
        name: "well",
        fault: "none; the watchdog fires",
        alerts: &["Watchdog"],
        // It never ends.
        ends_late: &["Watchdog"],
        make: nothing,
        meanwhile: nothing,
        mend: nothing,
    },
    Scene {
        name: "provider-down",
        fault: "one provider answers 503",
        alerts: &["ProviderDown"],
        ends_late: &[],
        make: |rig| rig.providers(&json!([rule(Some("openai"), 503, "rate")])),
        meanwhile: submit,
        mend: |rig| {
            rig.calm_providers()?;
            // The first successful call closes the breaker.
            submit(rig)?;
            rig.admin("/admin/providers/openai/resume").map(drop)
        },
    },
    Scene {
        name: "providers-down",
        fault: "every provider answers 503",
        alerts: &["AllProvidersDown"],
        ends_late: &[],
        make: |rig| rig.providers(&json!([rule(None, 503, "rate")])),
        meanwhile: submit,
        mend: |rig| {
            rig.calm_providers()?;
            resume_providers(rig)
        },
    },
    Scene {
        name: "plans-fail",
        fault: "no provider answers with a plan",
        alerts: &["SloBurnsFast"],
        ends_late: &[],
        make: |rig| rig.providers(&json!([{"action": {"do": "invalid_json"}}])),
        meanwhile: submit,
        mend: |rig| rig.calm_providers(),
    },
    Scene {
        name: "budget-low",
        fault: "none; the fast burn is over and no longer hides the slow one",
        alerts: &["SloBurnsSlowly"],
        ends_late: &["SloBurnsSlowly"],
        make: nothing,
        meanwhile: nothing,
        mend: nothing,
    },
    Scene {
        name: "key-refused",
        fault: "one provider refuses the key, the next wants money",
        alerts: &["ProviderKeyRefused", "ProviderNeedsAttention"],
        ends_late: &[],
        make: |rig| {
            let rules =
                json!([rule(Some("openai"), 401, "rate"), rule(Some("anthropic"), 429, "money")]);
            rig.providers(&rules)
        },
        meanwhile: submit,
        mend: |rig| {
            rig.calm_providers()?;
            resume_providers(rig)
        },
    },
    Scene {
        name: "certificate",
        fault: "a provider presents a certificate that nobody trusts",
        alerts: &["ProviderNeedsAttention"],
        ends_late: &[],
        make: |rig| {
            let url = rig.untrusted_provider()?;
            rig.restart_workers(&[("OPENAI_BASE_URL", &url)])
        },
        meanwhile: submit,
        mend: |rig| {
            rig.restart_workers(&[])?;
            resume_providers(rig)
        },
    },
    Scene {
        name: "worker-down",
        fault: "kill -9 of one worker of two",
        alerts: &["ProcessDown"],
        ends_late: &[],
        make: |rig| rig.kill_worker(1),
        meanwhile: nothing,
        mend: |rig| rig.start_workers(&[]),
    },
    Scene {
        name: "all-down",
        fault: "kill -9 of the ingress and both workers",
        alerts: &["IngressDown", "WorkersDown"],
        ends_late: &[],
        make: |rig| rig.kill_all(),
        meanwhile: nothing,
        mend: |rig| {
            rig.start_ingress()?;
            rig.start_workers(&[])
        },
    },
    Scene {
        name: "line-full",
        fault: "providers do not answer, and submissions go on until they are refused",
        alerts: &["QueueGrowing", "JobsWaitTooLong", "SubmissionsRefused"],
        ends_late: &[],
        make: |rig| rig.providers(&json!([{"action": {"do": "hold"}}])),
        meanwhile: |rig| {
            rig.crowd(3);
            Ok(())
        },
        mend: |rig| rig.calm_providers(),
    },
    Scene {
        name: "dead-letter",
        fault: "kill -9 of each worker that takes up a job, three times",
        alerts: &["DeadLetter"],
        ends_late: &[],
        make: |rig| {
            rig.count = 0;
            rig.providers(&json!([{"action": {"do": "hold"}}]))?;
            rig.submit(&json!({"kinds": ["meal"]}));
            Ok(())
        },
        meanwhile: |rig| {
            if rig.count < LOST_WORKERS && rig.kill_holder()? {
                rig.count += 1;
            }
            Ok(())
        },
        mend: |rig| rig.calm_providers(),
    },
    Scene {
        name: "redis-away",
        fault: "Redis stands still (SIGSTOP)",
        alerts: &["RedisAway"],
        ends_late: &[],
        make: |rig| {
            rig.freeze_redis(true);
            Ok(())
        },
        meanwhile: submit,
        mend: |rig| {
            rig.freeze_redis(false);
            Ok(())
        },
    },
    Scene {
        name: "redis-full",
        fault: "Redis has no memory left (maxmemory 1)",
        alerts: &["RedisRefuses"],
        ends_late: &[],
        make: |rig| redis_memory(rig, "1"),
        meanwhile: submit,
        mend: |rig| redis_memory(rig, "0"),
    },
    Scene {
        name: "postgres-slow",
        fault: "somebody locks the table of jobs while many submit",
        alerts: &["PostgresSlow", "BacklogUnknown"],
        ends_late: &[],
        make: |rig| rig.hold(HOLDER, LOCK),
        meanwhile: |rig| {
            rig.crowd(12);
            Ok(())
        },
        mend: |rig| {
            rig.psql().run(UNLOCK)?;
            rig.holder = None;
            Ok(())
        },
    },
    Scene {
        name: "budget",
        fault: "workers may spend three cents more today",
        alerts: &["BudgetNearlyReached", "BudgetReached"],
        ends_late: &[],
        make: |rig| {
            let day = clock::day(i64::try_from(clock::seconds_since_1970()).unwrap_or_default());
            let spent = rig.admin_get(&format!("/admin/spend?from={day}&to={day}"))?;
            let limit = spent["total_usd"].as_f64().unwrap_or_default() + 0.03;
            rig.restart_workers(&[("BUDGET_DAILY_USD", &format!("{limit:.4}"))])
        },
        meanwhile: submit,
        mend: |rig| rig.restart_workers(&[]),
    },
    Scene {
        name: "old-settings",
        fault: "workers with a model that retires in ten days and without prices",
        alerts: &["ModelRetiring", "StripePricesUnset"],
        ends_late: &[],
        make: |rig| {
            let in_ten_days = clock::seconds_since_1970() + 10 * 86_400;
            let day = clock::day(i64::try_from(in_ten_days).unwrap_or_default());
            let catalogue = rig.catalogue("gpt-6-luna", &day)?;
            rig.restart_workers(&[("MODEL_CATALOGUE", &catalogue), ("STRIPE_PRICES", "")])
        },
        meanwhile: |rig| rig.deliver(&event("product.created", &json!({"id": "prod_1"})), true),
        mend: |rig| rig.restart_workers(&[]),
    },
    Scene {
        name: "signatures",
        fault: "deliveries with a wrong signature",
        alerts: &["StripeSignaturesRefused"],
        ends_late: &[],
        make: nothing,
        meanwhile: |rig| {
            for _ in 0..3 {
                rig.deliver(&event("product.created", &json!({"id": "prod_1"})), false)?;
            }
            Ok(())
        },
        mend: nothing,
    },
    Scene {
        name: "stripe-events",
        fault: "a trigger refuses one customer's event; another event names nobody we know",
        alerts: &["StripeEventsDead", "StripeEventsUnclear", "StripeNeedsAttention"],
        ends_late: &[],
        make: |rig| {
            rig.psql().run(REFUSE_CUSTOMER)?;
            let user = Uuid::from_u128(2);
            rig.psql().run(&profile(user))?;
            rig.deliver(&event(CREATED, &subscription("refused", Some(user))), true)?;
            rig.deliver(&event(CREATED, &subscription("unknown", None)), true)
        },
        meanwhile: nothing,
        mend: |rig| {
            rig.psql().run(TAKE_CUSTOMER)?;
            rig.operate(&["events", "replay", "--all-dead"])?;
            // Stripe sends an event with the metadata that an operator has added.
            let user = Uuid::from_u128(3);
            rig.psql().run(&profile(user))?;
            rig.deliver(&event(UPDATED, &subscription("unknown", Some(user))), true)
        },
    },
    Scene {
        name: "paused",
        fault: "queues are paused and stay so; a trigger refuses that a job expires",
        alerts: &["StillPaused", "StripeEventsLate", "JobOverdue", "RowsSetAside"],
        ends_late: &[],
        make: |rig| {
            for class in ["free", "stripe"] {
                rig.admin(&format!("/admin/queues/{class}/pause"))?;
            }
            rig.deliver(&event("product.created", &json!({"id": "prod_1"})), true)?;
            rig.submit(&json!({"kinds": ["meal"]}));
            rig.psql().run(REFUSE_EXPIRY)?;
            rig.psql().run(MAKE_OVERDUE)?;
            Ok(())
        },
        meanwhile: nothing,
        mend: |rig| {
            rig.psql().run(ALLOW_EXPIRY)?;
            for class in ["free", "stripe"] {
                rig.admin(&format!("/admin/queues/{class}/resume"))?;
            }
            Ok(())
        },
    },
    Scene {
        name: "retention",
        fault: "for two days a trigger has refused that the retention run begins",
        alerts: &["RetentionLate"],
        ends_late: &[],
        make: |rig| {
            rig.psql().run(TWO_DAYS)?;
            rig.psql().run(REFUSE_RETENTION)?;
            Ok(())
        },
        meanwhile: nothing,
        mend: |rig| {
            rig.psql().run(ALLOW_RETENTION)?;
            Ok(())
        },
    },
    Scene {
        name: "outsiders",
        fault: "Stripe's API does not answer for three days; nobody takes a callback",
        alerts: &["StripeEventsNotFetched", "CallbacksGivenUp"],
        ends_late: &[],
        make: |rig| {
            rig.stripe_answers(false);
            rig.psql().run(THREE_DAYS)?;
            // Port 1 of this machine, where nothing listens.
            rig.submit(&json!({"kinds": ["meal"], "callback_url": "http://127.0.0.1:1/plan"}));
            Ok(())
        },
        meanwhile: nothing,
        mend: |rig| {
            rig.stripe_answers(true);
            rig.operate(&["backfill"])
        },
    },
];

/// After this many lost workers a job fails.
const LOST_WORKERS: u32 = 3;

const CREATED: &str = "customer.subscription.created";
const UPDATED: &str = "customer.subscription.updated";

/// The name of the session that holds the lock.
const HOLDER: &str = "alerts lock";

const LOCK: &str = "begin; lock table regimen.jobs in access exclusive mode; select pg_sleep(600)";

const UNLOCK: &str =
    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'alerts lock'";

const REFUSE_CUSTOMER: &str = "
    create or replace function public.alerts_refuse() returns trigger language plpgsql
    as $$ begin raise exception 'refused by a trigger of the app'; end $$;
    create trigger alerts_refuse before insert or update on regimen.customers
        for each row when (new.id = 'cus_refused') execute function public.alerts_refuse()";

const TAKE_CUSTOMER: &str = "drop trigger alerts_refuse on regimen.customers";

const REFUSE_EXPIRY: &str = "
    create or replace function public.alerts_refuse() returns trigger language plpgsql
    as $$ begin raise exception 'refused by a trigger of the app'; end $$;
    create trigger alerts_refuse before update on regimen.jobs
        for each row when (new.state = 'expired') execute function public.alerts_refuse()";

const ALLOW_EXPIRY: &str = "drop trigger alerts_refuse on regimen.jobs";

const MAKE_OVERDUE: &str = "update regimen.jobs set expires_at = now() - interval '10 minutes'
    where state = 'queued' and first_claimed_at is null";

const TWO_DAYS: &str = "update regimen.retention set complete_at = now() - interval '2 days'";

const REFUSE_RETENTION: &str = "
    create or replace function public.alerts_refuse() returns trigger language plpgsql
    as $$ begin raise exception 'refused by a trigger of the app'; end $$;
    create trigger alerts_refuse before update on regimen.retention
        for each row execute function public.alerts_refuse()";

const ALLOW_RETENTION: &str = "drop trigger alerts_refuse on regimen.retention";

const THREE_DAYS: &str = "update regimen.stripe_backfill
    set complete_at = now() - interval '3 days', retry_at = null";

fn nothing(_: &mut Rig<'_>) -> Result<(), AlertsError> {
    Ok(())
}

fn submit(rig: &mut Rig<'_>) -> Result<(), AlertsError> {
    rig.submit(&json!({"kinds": ["meal"]}));
    Ok(())
}

/// Sets the memory limit of Redis; 0 is no limit.
fn redis_memory(rig: &Rig<'_>, bytes: &str) -> Result<(), AlertsError> {
    rig.redis()?.command(&["CONFIG", "SET", "maxmemory", bytes])?;
    Ok(())
}

fn resume_providers(rig: &mut Rig<'_>) -> Result<(), AlertsError> {
    for provider in ["openai", "anthropic", "gemini", "llama"] {
        rig.admin(&format!("/admin/providers/{provider}/resume"))?;
    }
    Ok(())
}

/// The answer of one provider, or of all.
fn rule(provider: Option<&str>, status: u16, reason: &str) -> Value {
    let mut rule = json!({"action": {"do": "status", "status": status, "reason": reason}});
    if let Some(provider) = provider {
        rule["provider"] = json!(provider);
    }
    rule
}

/// A user as the app creates them.
fn profile(user: Uuid) -> String {
    format!(
        "insert into public.profiles (id, email, full_name)
         values ('{user}', '{user}@example.test', 'Ana') on conflict do nothing"
    )
}

/// An event of the present time with an id of its own.
fn event(kind: &str, object: &Value) -> Value {
    json!({"id": format!("evt_{}", Uuid::new_v4().simple()), "object": "event", "type": kind,
        "api_version": "2026-10-28.endive", "created": clock::seconds_since_1970(),
        "livemode": false, "data": {"object": object}})
}

/// A paid subscription of a user or of nobody; the name is also its customer's.
fn subscription(name: &str, user: Option<Uuid>) -> Value {
    let now = clock::seconds_since_1970();
    json!({"id": format!("sub_{name}"), "object": "subscription", "customer": format!("cus_{name}"),
        "status": "active", "collection_method": "charge_automatically", "currency": "eur",
        "created": now, "livemode": false, "cancel_at_period_end": false,
        "items": {"object": "list", "has_more": false, "data": [{"id": "si_1",
            "object": "subscription_item", "current_period_start": now,
            "current_period_end": now + 30 * 86_400, "quantity": 1,
            "price": {"id": "price_pro", "object": "price", "product": "prod_pro"}}]},
        "metadata": user.map_or(json!({}), |user| json!({"user_id": user}))})
}
