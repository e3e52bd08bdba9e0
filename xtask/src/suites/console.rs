//! Tests the console, `/try` and the API's page in a real Chromium against the running
//! stack, and keeps pictures of them in `target/pictures`.

use std::path::PathBuf;

use uuid::Uuid;

use super::SuiteError;
use crate::clock;
use crate::node;
use crate::place::Place;
use crate::provision;
use crate::token::Claims;
use regimen_devtools::process::{Output, Process};

/// The folder of the tests.
const FOLDER: &str = "ingress/tests/browser";
const TOKEN_LIFE: u64 = 3600;
/// Jobs to list: one in ten failed, the others have a plan.
const JOBS: &str = "
    insert into regimen.jobs (id, user_id, generation_id, kind, class, input, state, run_at,
        created_at, first_claimed_at, finished_at, expires_at, updated_at, error_code, provider, model)
    select ('018f0000-' || lpad(to_hex(n / 4096), 4, '0') || '-7' || lpad(to_hex(n % 4096), 3, '0')
            || '-8000-000000000000')::uuid,
        gen_random_uuid(), gen_random_uuid(), case n % 2 when 0 then 'meal' else 'workout' end, 'free',
        '{}', case n % 10 when 0 then 'failed' else 'succeeded' end, t, t, t + interval '1 s',
        t + interval '20 s', t, t, case n % 10 when 0 then 'providers_exhausted' end, 'openai', 'gpt-6-luna'
    from generate_series(1, 10000) n, lateral (select now() - n * interval '2 minutes' as t) at;";
/// A user to find, an event of a customer that is nobody's, and revenue to draw.
const MONEY: &str = r#"
    insert into public.profiles (id, email) values (gen_random_uuid(), 'browser@example.test');
    insert into regimen.stripe_events (id, type, made_at, livemode, customer_id, payload, source, state,
        error_code, settled_at, run_at)
    values ('evt_browser', 'invoice.paid', now(), false, 'cus_browser',
        '{"id": "evt_browser", "object": "event", "type": "invoice.paid", "created": 1795392000,
          "livemode": false, "data": {"object": {"id": "in_1", "object": "invoice", "amount_paid": 4711,
          "customer": "cus_browser", "customer_email": "browser@example.test"}}}',
        'webhook', 'unresolved', 'unknown_user', now(), now() + interval '1 hour');
    insert into regimen.revenue_days (day, mrr, churn, conversion)
    select current_date - n, jsonb_build_object('eur', 250000 - n * 1500, 'usd', 90000 - n * 700),
        0.04 + n % 7 * 0.002, 0.11 - n * 0.0005
    from generate_series(1, 60) n"#;

/// Runs it.
///
/// # Errors
/// It found a problem, or could not run.
pub(super) fn run(place: &Place<'_>) -> Result<(), SuiteError> {
    let folder = place.file(FOLDER);
    node::install(place.session, &folder)?;
    let chromium = provision::chromium(place.session)?;
    let (stack, secrets) = place.stack(&[("MONTHLY_QUOTA", "off")], &[])?;
    stack.psql().run(JOBS)?;
    stack.psql().run(MONEY)?;
    let binaries = place.session.workspace.binaries(place.profile);
    let links = ["admin", "viewer", "admin"].map(|role| stack.console_link(&binaries, role));
    let links = links.into_iter().collect::<Result<Vec<_>, _>>()?;
    let issued_at = clock::seconds_since_1970();
    let user = Claims { user: Uuid::new_v4(), role: None, issued_at, life: TOKEN_LIFE };
    let pictures: PathBuf = place.session.workspace.place("pictures");
    let mut command = node::npm(&folder);
    command
        .args(["test", "--silent"])
        .env("REGIMEN_URL", stack.ingress_url()?)
        .env("REGIMEN_LINKS", links.join(","))
        .env("REGIMEN_TOKEN", user.sign(&secrets.jwt))
        .env("SIMULATOR_URL", stack.simulator_url()?)
        .env("CHROMIUM", chromium)
        .env("PICTURES", pictures)
        // All servers are on this machine.
        .env("NO_PROXY", "127.0.0.1,localhost")
        .env("no_proxy", "127.0.0.1,localhost");
    Process::run(place.session, "console", command, Output::Ours)?;
    Ok(())
}
