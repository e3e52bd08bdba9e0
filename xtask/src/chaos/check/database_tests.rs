//! Tests of the checker on a real database with the real schema: what it reads,
//! and that it finds manual changes.

use std::path::Path;

use uuid::Uuid;

use super::{Facts, Records, check};
use crate::chaos::clients::Note;
use crate::psql::Psql;

const JOB: Uuid = Uuid::from_u128(1);
const USER: Uuid = Uuid::from_u128(2);
const KEY: Uuid = Uuid::from_u128(4);

/// A job that was accepted, claimed and saved, and a Stripe event.
const STORY: &str = "
    insert into public.profiles (id, email, plan_id, plan_renewal_date)
    values ('00000000-0000-0000-0000-000000000002', 'a@example.test', 'pro', '2027-01-21');
    insert into public.ai_meal_plans (id, user_id, plan_data, is_active)
    values ('00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-000000000002', '{}', true);
    insert into regimen.jobs (id, user_id, generation_id, kind, class, state, input, fence, run_at,
        created_at, expires_at, updated_at, finished_at, last_seq, plan_id)
    values ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002',
        gen_random_uuid(), 'meal', 'free', 'succeeded', '{}', 1, now(), now(), now(), now(), now(),
        3, '00000000-0000-0000-0000-000000000003');
    insert into regimen.job_events (job_id, seq, at, kind, data)
    select '00000000-0000-0000-0000-000000000001', seq, to_timestamp(100 + seq), kind, data
    from (values (1, 'accepted', '{}'::jsonb), (2, 'claimed', '{\"worker\": \"w1\"}'),
        (3, 'saved', '{}')) as event (seq, kind, data);
    insert into regimen.job_attempts (id, job_id, user_id, fence, n, provider, model,
        prompt_version, started_at, finished_at, raw_reply, outcome)
    values (gen_random_uuid(), '00000000-0000-0000-0000-000000000001',
        '00000000-0000-0000-0000-000000000002', 1, 1, 'openai', 'm', '1', to_timestamp(102),
        to_timestamp(102.5), e'a\\tb\\n\\\\', 'ok');
    insert into regimen.idempotency_keys (user_id, key, body_hash, status, response, created_at,
        expires_at)
    values ('00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-000000000004', '', 202,
        '{\"jobs\": [{\"id\": \"00000000-0000-0000-0000-000000000001\"}]}', now(), now());
    insert into regimen.stripe_events (id, type, payload, source, state, settled_at)
    values ('evt_1', 'invoice.payment_failed', '{}', 'webhook', 'applied', now());
    insert into regimen.billing_notices (event_id, kind, user_id, mail_state)
    values ('evt_1', 'payment_failed', '00000000-0000-0000-0000-000000000002', 'off');
    insert into public.notifications (recipient_id, entity_id, entity_type)
    values ('00000000-0000-0000-0000-000000000002', gen_random_uuid(), 'billing')";

/// A database for one test on the test server. Dropping the value drops it.
struct Database {
    admin: Psql,
    name: String,
    psql: Psql,
}

impl Database {
    fn new() -> Self {
        let given = |name: &str| std::env::var(name).expect("`cargo xtask test` provides it");
        let url = given("REGIMEN_TEST_DATABASE_URL");
        let (login, place) = url.rsplit_once('@').unwrap();
        let password = login.rsplit_once(':').unwrap().1;
        let port = place.split(['/', ':']).nth(1).unwrap().parse().unwrap();
        let folder = given("REGIMEN_TEST_POSTGRES_BIN");
        let admin = Psql::new(Path::new(&folder), port, password);
        let name = format!("chaos_{}", Uuid::new_v4().simple());
        admin.run(&format!("create database {name}")).unwrap();
        let psql = admin.database(&name);
        let database = Self { admin, name, psql };
        database.migrate();
        database.psql.run(STORY).unwrap();
        database
    }

    /// Applies the migrations in the order of their numbers.
    fn migrate(&self) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
        let mut files: Vec<(u32, String)> = std::fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| {
                let path = entry.unwrap().path();
                let number = path.file_name()?.to_str()?.strip_prefix('V')?.split("__").next()?;
                Some((number.parse().ok()?, std::fs::read_to_string(&path).unwrap()))
            })
            .collect();
        files.sort();
        files.iter().for_each(|(_, sql)| drop(self.psql.run(sql).unwrap()));
    }

    /// The promises that a manual change breaks.
    fn broken_by(&self, sql: &str) -> Vec<&'static str> {
        self.psql.run(sql).unwrap();
        let records = Records {
            notes: vec![
                Note::Accepted { user: USER, key: KEY, jobs: vec![JOB], replayed: false },
                Note::Ended { job: JOB, state: "succeeded".to_owned() },
            ],
            sent: [("evt_1".to_owned(), super::Sent { told: true })].into(),
            due: [(USER, super::Due { plan: "pro", renews: Some("2027-01-21".to_owned()) })].into(),
            ..Records::default()
        };
        let lines = check(&Facts::read(&self.psql).unwrap(), &records);
        lines.iter().filter(|line| !line.kept).map(|line| line.what).collect()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _ = self.admin.run(&format!("drop database {}", self.name));
    }
}

#[test]
fn what_was_changed_by_hand_is_seen() {
    let database = Database::new();
    assert!(database.broken_by("select 1").is_empty(), "as it should be");
    let second = "insert into public.ai_meal_plans (user_id, plan_data, is_active)
        select user_id, plan_data, false from public.ai_meal_plans";
    assert_eq!(database.broken_by(second), ["plans done twice"]);
    let undo = "delete from public.ai_meal_plans where not is_active";
    assert!(database.broken_by(undo).is_empty());
    let free = "update public.profiles set plan_id = 'free'";
    assert_eq!(database.broken_by(free), ["users whose plan is not what Stripe says"]);
    let gap = "update public.profiles set plan_id = 'pro';
        delete from regimen.job_events where seq = 2";
    assert_eq!(database.broken_by(gap), ["jobs whose events have gaps"]);
    let gone = "delete from regimen.jobs";
    assert_eq!(
        database.broken_by(gone),
        ["jobs lost", "plans done twice", "ended jobs that changed"]
    );
}
