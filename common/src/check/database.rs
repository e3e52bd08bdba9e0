//! Postgres: who we are there, what stands there, and how much room there is.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use super::http::of_skew;
use super::{Finding, Level, Look, look, skew};
use crate::clock::Clock;
use crate::config::Environment;
use crate::db::app_indexes::{APP_INDEXES, IndexState};
use crate::db::{self, Client, DbError, StatementLimits, migrate};
use crate::start;

/// The hosts of Supabase's pooler.
const SUPAVISOR: &str = ".pooler.supabase.com";

/// Nothing here is worth waiting for long.
const LIMITS: StatementLimits = StatementLimits {
    usual: Duration::from_secs(5),
    longest: Duration::from_secs(5),
    lock: Duration::from_secs(1),
};

/// The tables of the app's that are ours to guard; see V2.
const APP_TABLES: [&str; 11] = [
    "profiles",
    "notifications",
    "quiz_results",
    "ai_meal_plans",
    "ai_workout_plans",
    "challenge_participants",
    "workout_logs",
    "daily_nutrition_logs",
    "daily_water_intake",
    "plans",
    "challenges",
];
/// What Supabase's session pooler allows on its smallest machine.
const SUPABASE_POOLER: usize = 15;
/// Two of each binary, as during a rolling restart.
const PROCESSES: i64 = 4;
/// A role that ends statements sooner than this ends some of ours.
const SHORTEST: i64 = 4_500;

/// The connections of one process.
#[derive(Debug, Clone, Copy)]
pub struct Pools {
    /// `DATABASE_POOL_SIZE`.
    pub size: usize,
    /// What it opens beside that pool.
    pub beside: usize,
}

/// Looks at the database.
pub fn database(url: &SecretString, environment: Environment, pools: Pools) -> Vec<Look<'_>> {
    let all = async move {
        match all(url, environment, pools).await {
            Ok(findings) => findings,
            Err(error) => vec![away(url, error)],
        }
    };
    let twice = async move { duplicates(url).await.unwrap_or_else(|error| vec![unread(&error)]) };
    vec![look("DATABASE_URL", all), look("duplicates", twice)]
}

fn away(url: &SecretString, error: DbError) -> Finding {
    let advice = match error {
        DbError::TransactionPooler => "correct the address; no process of ours starts like this",
        _ => "correct DATABASE_URL or what it leads to",
    };
    let told = start::of_database(url, error).to_string();
    let told = told.strip_prefix("DATABASE_URL: ").unwrap_or(&told).to_owned();
    Finding::fail("DATABASE_URL", told, advice)
}

/// What the other look has told about already, or something that went wrong on the way.
fn unread(error: &DbError) -> Finding {
    let advice = "see the lines above about DATABASE_URL; else check again at a quieter time";
    Finding::warn("duplicates", format!("not looked through: {error}"), advice)
}

async fn open(url: &SecretString) -> Result<Client, DbError> {
    db::pool_with(url, 1, "regimen-check", LIMITS)?.get().await
}

async fn all(
    url: &SecretString,
    environment: Environment,
    pools: Pools,
) -> Result<Vec<Finding>, DbError> {
    let client = open(url).await?;
    let mut findings = server(&client).await?;
    findings.push(tls(url, environment)?);
    let pending = migrate::pending(&client).await?;
    let migrated = pending.is_empty();
    findings.push(migrations(&pending));
    findings.extend(role(&client, migrated).await?);
    if migrated {
        findings.push(row_security(&client).await?);
    }
    findings.push(indexes(&client, migrated).await?);
    findings.push(limits(&client).await?);
    findings.push(room(&client, url, pools).await?);
    Ok(findings)
}

async fn server(client: &Client) -> Result<Vec<Finding>, DbError> {
    let (began, started) = (Clock::system().now(), Instant::now());
    let sql = "-- check_server
        select current_setting('server_version'), current_setting('server_version_num')::int,
            current_database()::text, pg_is_in_recovery(),
            current_setting('default_transaction_read_only') = 'on', clock_timestamp()";
    let row = client.query_one(sql, &[]).await?;
    let took = started.elapsed();
    let (version, number): (String, i32) = (row.get(0), row.get(1));
    let database: String = row.get(2);
    let (standby, read_only): (bool, bool) = (row.get(3), row.get(4));
    let there: DateTime<Utc> = row.get(5);
    let found =
        format!("PostgreSQL {version}, the database {database}, answered within {took:.1?}");
    let subject = "DATABASE_URL";
    let mut findings = vec![if number < 150_000 {
        Finding::fail(subject, found, "use PostgreSQL 15 or newer")
    } else if standby {
        let found = format!("{found}; it is a standby, which takes no writes");
        Finding::fail(subject, found, "name the primary")
    } else if read_only {
        let found = format!("{found}; its transactions are read-only by default");
        Finding::fail(
            subject,
            found,
            "alter role … reset default_transaction_read_only, or the same of the database",
        )
    } else {
        Finding::ok(subject, found)
    }];
    let apart = skew(began, took, there);
    findings.push(
        of_skew("Postgres' clock", apart)
            .unwrap_or_else(|| Finding::ok("Postgres' clock", "within 2 s of ours")),
    );
    Ok(findings)
}

fn tls(url: &SecretString, environment: Environment) -> Result<Finding, DbError> {
    let subject = "Postgres TLS";
    Ok(if db::verifies_tls(url)? {
        Finding::ok(subject, "encrypted; certificate and host name are verified")
    } else if db::hosts(url)?.iter().all(|host| is_near(host)) {
        Finding::ok(subject, "in the clear, to an address of this machine or network")
    } else if environment == Environment::Development {
        Finding::ok(subject, "in the clear; fine for development")
    } else {
        let found = "in the clear, to another network: whoever is on the way reads everything";
        Finding::warn(subject, found, "add ?sslmode=require to DATABASE_URL")
    })
}

/// Whether a host is this machine or in a network of one's own, as far as its
/// name tells.
pub(super) fn is_near(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(address)) => address.is_loopback() || address.is_private(),
        Ok(std::net::IpAddr::V6(address)) => address.is_loopback() || address.is_unique_local(),
        Err(_) => !bare.contains('.') || bare.ends_with(".internal") || bare.ends_with(".local"),
    }
}

fn migrations(pending: &[String]) -> Finding {
    let subject = "migrations";
    match pending {
        [] => Finding::ok(subject, "the schema is current"),
        missing => Finding::fail(
            subject,
            format!("{} are missing: {}", missing.len(), missing.join(", ")),
            "run `regimen-worker migrate`; with --dry-run it says what it would do",
        ),
    }
}

async fn role(client: &Client, migrated: bool) -> Result<Vec<Finding>, DbError> {
    let sql = "-- check_role
        select rolname::text, rolsuper, rolbypassrls,
            coalesce(pg_get_userbyid((select relowner from pg_class
                where oid = to_regclass('regimen.jobs'))) = current_user, true)
        from pg_roles where rolname = current_user";
    let row = client.query_one(sql, &[]).await?;
    let name: String = row.get(0);
    let (is_super, bypasses, owns): (bool, bool, bool) = (row.get(1), row.get(2), row.get(3));
    let subject = "Postgres role";
    let advice = "let a role own the tables that is neither: \
                  alter role … nosuperuser nobypassrls";
    let mut findings = vec![if is_super {
        let found = format!("{name} is a superuser: whoever has its password has the server");
        Finding::warn(subject, found, advice)
    } else if bypasses && owns {
        let found = format!("{name} owns the tables and bypasses row security everywhere else too");
        Finding::warn(subject, found, advice)
    } else {
        Finding::ok(subject, format!("{name}, no superuser"))
    }];
    if migrated {
        findings.extend(rights(client, &name).await?);
    }
    Ok(findings)
}

async fn rights(client: &Client, role: &str) -> Result<Option<Finding>, DbError> {
    let sql = "-- check_rights
        select format('%I.%I', n.nspname, c.relname),
            case when row_security_active(c.oid) then 'row security hides its rows'
                else 'it may not read and write it' end
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p')
            and (n.nspname = 'regimen' and c.relname <> 'schema_history'
                or n.nspname = 'public' and c.relname in
                    ('profiles', 'quiz_results', 'ai_meal_plans', 'ai_workout_plans'))
            and (row_security_active(c.oid)
                or not has_table_privilege(c.oid, 'select')
                or not has_table_privilege(c.oid, 'insert')
                or not has_table_privilege(c.oid, 'update'))
        order by 1";
    let rows = client.query(sql, &[]).await?;
    let all: Vec<String> = rows
        .iter()
        .map(|row| format!("{} ({})", row.get::<_, String>(0), row.get::<_, String>(1)))
        .collect();
    Ok(some(&all).map(|list| {
        Finding::fail(
            "Postgres rights",
            format!("{role} cannot work with {list}"),
            "connect as the owner of the tables, or grant it select, insert, update and bypassrls",
        )
    }))
}

async fn row_security(client: &Client) -> Result<Finding, DbError> {
    let sql = "-- check_row_security
        select format('%I.%I', n.nspname, c.relname)
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p') and not c.relrowsecurity
            and (n.nspname = 'regimen' and c.relname <> 'schema_history'
                or n.nspname = 'public' and c.relname = any($1))
        order by 1";
    let rows = client.query(sql, &[&&APP_TABLES[..]]).await?;
    let all: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let subject = "row security";
    Ok(match some(&all) {
        None => Finding::ok(subject, "on for every table of ours and of the app's that we use"),
        Some(list) => Finding::fail(
            subject,
            format!("off for {list}: any user who reaches the database reads all of it"),
            "alter table … enable row level security",
        ),
    })
}

async fn indexes(client: &Client, migrated: bool) -> Result<Finding, DbError> {
    let mut wrong = Vec::new();
    for index in &APP_INDEXES {
        match index.state(client).await? {
            IndexState::Done => {}
            IndexState::UnderWay => wrong.push(format!("{} (being built)", index.name)),
            IndexState::Invalid => wrong.push(format!("{} (left half-built)", index.name)),
            IndexState::Missing => wrong.push(index.name.to_owned()),
        }
    }
    let sql = "-- check_own_indexes
        select c.relname::text from pg_index i
        join pg_class c on c.oid = i.indexrelid
        join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'regimen' and i.indisvalid";
    let rows = client.query(sql, &[]).await?;
    let found: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    let own = migrate::own_indexes();
    if migrated {
        wrong.extend(own.difference(&found).map(|name| format!("regimen.{name}")));
    }
    let subject = "indexes";
    Ok(match some(&wrong) {
        None => Finding::ok(subject, "those that our statements want are in place"),
        Some(list) => Finding::warn(
            subject,
            format!("missing: {list}; statements that want them read whole tables"),
            "run `regimen-worker migrate`, which builds those of the app's tables and of \
             regimen.jobs that came last; another of the schema regimen stands in migrations/: \
             create it by hand",
        ),
    })
}

async fn limits(client: &Client) -> Result<Finding, DbError> {
    // What a session begins with, whatever ours has set since.
    let sql = "-- check_limits
        select name::text, reset_val::bigint from pg_settings
        where name in ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')
        order by name";
    let rows = client.query(sql, &[]).await?;
    let all: Vec<(String, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    let shown: Vec<String> = all
        .iter()
        .map(|(name, limit)| match limit {
            0 => format!("{name} none"),
            limit => format!("{name} {limit} ms"),
        })
        .collect();
    let shown = shown.join(", ");
    let short = all
        .iter()
        .find(|(name, limit)| name == "statement_timeout" && *limit > 0 && *limit < SHORTEST);
    let subject = "Postgres limits";
    Ok(match short {
        None => Finding::ok(subject, format!("of the role: {shown}; our sessions set their own")),
        Some(_) => Finding::warn(
            subject,
            format!("of the role: {shown}; some statements of ours may take up to {SHORTEST} ms"),
            "alter role … reset statement_timeout",
        ),
    })
}

async fn room(client: &Client, url: &SecretString, pools: Pools) -> Result<Finding, DbError> {
    let sql = "-- check_room
        select current_setting('max_connections')::bigint
                - current_setting('superuser_reserved_connections')::bigint
                - coalesce(nullif(current_setting('reserved_connections', true), ''), '0')::bigint,
            (select count(*) from pg_stat_activity
                where datid is not null and application_name not like 'regimen-%'),
            (select rolconnlimit::bigint from pg_roles where rolname = current_user),
            (select datconnlimit::bigint from pg_database where datname = current_database())";
    let row = client.query_one(sql, &[]).await?;
    let (server, others): (i64, i64) = (row.get(0), row.get(1));
    let (of_role, of_database): (i64, i64) = (row.get(2), row.get(3));
    let own = [of_role, of_database].into_iter().filter(|limit| *limit >= 0).min();
    let room = (server - others).min(own.unwrap_or(i64::MAX)).max(0);
    let each = pools.size + pools.beside;
    let each_number = i64::try_from(each).unwrap_or(i64::MAX).max(1);
    let processes = room / each_number;
    let found = format!(
        "room for {room} of ours, {processes} processes of {each} (DATABASE_POOL_SIZE={} and {} \
         beside it)",
        pools.size, pools.beside
    );
    let subject = "Postgres connections";
    let advice = "lower DATABASE_POOL_SIZE, or raise max_connections or the limit of the role; two \
                  of each binary are there during a rolling restart";
    if db::hosts(url).is_ok_and(|hosts| hosts.iter().any(|host| host.ends_with(SUPAVISOR)))
        && each > SUPABASE_POOLER
    {
        let found = format!(
            "{each} for this process; the project's session pooler has {SUPABASE_POOLER} unless \
             its pool size was raised"
        );
        return Ok(Finding::warn(
            subject,
            found,
            "lower DATABASE_POOL_SIZE or raise the pool size",
        ));
    }
    Ok(match processes {
        0 => Finding::fail(subject, found, advice),
        few if few < PROCESSES => Finding::warn(subject, found, advice),
        _ => Finding::ok(subject, found),
    })
}

/// Rows that a constraint on them would meet, and that we have to guess about.
async fn duplicates(url: &SecretString) -> Result<Vec<Finding>, DbError> {
    const LOOKS: [(&str, &str, &str); 3] = [
        (
            "public.ai_meal_plans",
            "-- check_active_meal_plans
             select count(*) from (select user_id from public.ai_meal_plans where is_active
                 group by user_id having count(*) > 1 limit 1000) twice",
            "users have two active meal plans; the app may show either",
        ),
        (
            "public.ai_workout_plans",
            "-- check_active_workout_plans
             select count(*) from (select user_id from public.ai_workout_plans where is_active
                 group by user_id having count(*) > 1 limit 1000) twice",
            "users have two active workout plans; the app may show either",
        ),
        (
            "public.profiles",
            "-- check_shared_customers
             select count(*) from (select stripe_customer_id from public.profiles
                 where stripe_customer_id is not null
                 group by stripe_customer_id having count(*) > 1 limit 1000) twice",
            "customers of Stripe stand on two profiles; whose payment it is cannot be told",
        ),
    ];
    let client = open(url).await?;
    let mut findings = Vec::new();
    for (table, sql, meaning) in LOOKS {
        let there = "-- check_table\nselect to_regclass($1) is not null";
        if !client.query_one(there, &[&table]).await?.get::<_, bool>(0) {
            continue;
        }
        let count: i64 = client.query_one(sql, &[]).await?.get(0);
        if count > 0 {
            let at_least = if count == 1_000 { "at least " } else { "" };
            findings.push(Finding::warn(
                "duplicates",
                format!("{at_least}{count} {meaning}"),
                format!("put the rows of {table} right, then keep them so with a unique index"),
            ));
        }
    }
    if findings.iter().all(|finding| finding.level == Level::Ok) {
        let found = "no user has two active plans, no two profiles share a customer of Stripe";
        findings.push(Finding::ok("duplicates", found));
    }
    Ok(findings)
}

/// A list for people, where there is anything in it.
fn some(all: &[String]) -> Option<String> {
    const MOST: usize = 8;
    let shown = all.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    match all.len() {
        0 => None,
        count if count > MOST => Some(format!("{shown} and {} more", count - MOST)),
        _ => Some(shown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_near_is_told_by_its_name() {
        for near in ["localhost", "db", "127.0.0.1", "10.0.0.7", "[::1]", "db.railway.internal"] {
            assert!(is_near(near), "{near}");
        }
        for far in ["db.example.test", "203.0.113.9", "aws-0.pooler.supabase.com", "[2001:db8::1]"]
        {
            assert!(!is_near(far), "{far}");
        }
    }

    #[test]
    fn only_encrypted_or_near_is_fine_in_production() {
        let level =
            |url: &str, environment| tls(&SecretString::from(url), environment).unwrap().level;
        let far = "postgres://u:p@db.example.test/app";
        assert_eq!(level(far, Environment::Production), Level::Warn);
        assert_eq!(level(far, Environment::Development), Level::Ok);
        let verified = "postgres://u:p@db.example.test/app?sslmode=require";
        assert_eq!(level(verified, Environment::Production), Level::Ok);
        assert_eq!(level("postgres://u@localhost/app", Environment::Production), Level::Ok);
    }

    #[test]
    fn long_lists_are_cut() {
        let all: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        assert_eq!(some(&all[..2]).as_deref(), Some("0, 1"));
        assert!(some(&all).unwrap().ends_with("7 and 2 more"));
        assert_eq!(some(&[]), None);
    }
}
