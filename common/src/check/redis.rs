//! Redis: whether it takes our writes, and whether it keeps them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::DateTime;
use redis::cmd;
use secrecy::{ExposeSecret, SecretString};

use super::database::is_near;
use super::http::of_skew;
use super::{Finding, Look, look, skew};
use crate::clock::Clock;
use crate::config::Environment;
use crate::redis::{Redis, RedisError};

/// How often it is asked for its latency.
const PINGS: u32 = 5;
/// Every request waits for it.
const SLOW: Duration = Duration::from_millis(20);
/// How long the written key stays, milliseconds.
const KEPT: u64 = 1_000;

/// Looks at Redis.
pub fn redis<'a>(url: &'a SecretString, prefix: &'a str, environment: Environment) -> Look<'a> {
    look("REDIS_URL", async move {
        let redis = match Redis::new(url, prefix) {
            Ok(redis) => redis,
            Err(error) => return vec![away(&error)],
        };
        let mut findings = vec![tls(url.expose_secret(), environment)];
        match all(&redis).await {
            Ok(more) => findings.extend(more),
            Err(error) => findings.push(away(&error)),
        }
        findings
    })
}

fn away(error: &RedisError) -> Finding {
    let trouble = error.trouble();
    let advice = "until it is mended the ingress limits by itself and workers look into Postgres";
    Finding::fail("REDIS_URL", trouble.as_str(), advice)
}

fn tls(url: &str, environment: Environment) -> Finding {
    let subject = "Redis TLS";
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    let encrypted = scheme.starts_with("rediss");
    if encrypted && url.ends_with("#insecure") {
        let found = "encrypted, with anybody: #insecure leaves certificates unread";
        return Finding::warn(subject, found, "remove #insecure from REDIS_URL");
    }
    if encrypted {
        return Finding::ok(subject, "encrypted; certificate and host name are verified");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let hosts = authority.rsplit('@').next().unwrap_or_default();
    let mut hosts = hosts.split(',').map(|host| match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    });
    if environment == Environment::Development {
        Finding::ok(subject, "in the clear; fine for development")
    } else if hosts.all(is_near) {
        Finding::ok(subject, "in the clear, to an address of this machine or network")
    } else {
        let found = "in the clear, to another network: its password can be read on the way";
        Finding::warn(subject, found, "write rediss in the place of redis")
    }
}

async fn all(redis: &Redis) -> Result<Vec<Finding>, RedisError> {
    // Most of a first answer is making the connection.
    redis.query::<String>(&cmd("PING")).await?;
    let mut fastest = Duration::MAX;
    for _ in 0..PINGS {
        let started = Instant::now();
        redis.query::<String>(&cmd("PING")).await?;
        fastest = fastest.min(started.elapsed());
    }
    let mut write = cmd("SET");
    write.arg(redis.key("check")).arg(1).arg("PX").arg(KEPT);
    redis.query::<()>(&write).await?;
    let mut findings = Vec::new();
    let found = format!("takes writes; the fastest of {PINGS} answers took {fastest:.1?}");
    findings.push(if fastest < SLOW {
        Finding::ok("REDIS_URL", found)
    } else {
        Finding::warn("REDIS_URL", found, "bring it closer: every request waits for it")
    });
    findings.extend(clock(redis).await?);
    let info: Result<String, _> = redis.query(&cmd("INFO")).await;
    match info {
        Ok(info) => findings.extend(judge(&fields(&info))),
        // A cluster answers for each node, and an access list may forbid it.
        Err(_) => findings.push(Finding::ok(
            "Redis server",
            "its INFO cannot be read as a single server's; look at each node's version, maxmemory \
             policy and persistence yourself",
        )),
    }
    Ok(findings)
}

async fn clock(redis: &Redis) -> Result<Option<Finding>, RedisError> {
    let (began, started) = (Clock::system().now(), Instant::now());
    let time: Result<(i64, u32), _> = redis.query(&cmd("TIME")).await;
    // An access list may forbid it, and nothing of ours needs it.
    let Ok((seconds, micros)) = time else { return Ok(None) };
    let there = DateTime::from_timestamp(seconds, micros.saturating_mul(1_000));
    let apart = there.map(|there| skew(began, started.elapsed(), there)).unwrap_or_default();
    let subject = "Redis' clock";
    Ok(Some(of_skew(subject, apart).unwrap_or_else(|| Finding::ok(subject, "within 2 s of ours"))))
}

fn fields(info: &str) -> HashMap<&str, &str> {
    info.lines().filter_map(|line| line.trim().split_once(':')).collect()
}

/// What the server says of itself.
fn judge(info: &HashMap<&str, &str>) -> Vec<Finding> {
    let field = |name: &str| info.get(name).copied().unwrap_or_default();
    let number = |name: &str| field(name).parse::<u64>().unwrap_or_default();
    let mut findings = Vec::new();
    let version = field("redis_version");
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    let found = format!("version {version}");
    findings.push(if major.is_some_and(|major| major >= 7) {
        Finding::ok("Redis version", found)
    } else {
        Finding::fail("Redis version", found, "use Redis 7 or newer, or Valkey")
    });
    findings.push(match field("role") {
        "slave" => {
            let advice = "name the primary, or its sentinels: redis-sentinel://…/service";
            Finding::fail("Redis role", "a replica, which takes no writes", advice)
        }
        _ => Finding::ok("Redis role", "the primary"),
    });
    let (most, used, policy) =
        (number("maxmemory"), number("used_memory"), field("maxmemory_policy"));
    let megabytes = |bytes: u64| bytes / (1024 * 1024);
    let found = match most {
        0 => format!("no maxmemory, {} MB in use, policy {policy}", megabytes(used)),
        most => format!("{} of {} MB in use, policy {policy}", megabytes(used), megabytes(most)),
    };
    findings.push(if policy != "noeviction" {
        let advice = "set maxmemory-policy noeviction: what is evicted are jobs' turns and limits";
        Finding::warn("Redis memory", found, advice)
    } else if most > 0 && used > most / 10 * 8 {
        Finding::warn("Redis memory", found, "raise maxmemory: full, it refuses writes")
    } else {
        Finding::ok("Redis memory", found)
    });
    findings.push(if field("aof_enabled") == "1" {
        Finding::ok("Redis persistence", "appendonly yes")
    } else {
        let found = "appendonly no: a restart forgets limits, cool-downs and the lists of jobs, \
                     which are rebuilt";
        Finding::warn("Redis persistence", found, "set appendonly yes")
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    const SOUND: &str = "# Server\r\nredis_version:7.4.1\r\nrole:master\r\nmaxmemory:104857600\r\n\
        used_memory:1048576\r\nmaxmemory_policy:noeviction\r\naof_enabled:1\r\n";

    fn worst(info: &str) -> Vec<(String, Level)> {
        let findings = judge(&fields(info)).into_iter();
        let bad = findings.filter(|finding| finding.level > Level::Ok);
        bad.map(|finding| (finding.subject, finding.level)).collect()
    }

    #[test]
    fn each_thing_that_is_wrong_with_a_server_has_its_line() {
        assert_eq!(worst(SOUND), []);
        for (right, wrong, subject, level) in [
            ("version:7.4.1", "version:6.2.0", "Redis version", Level::Fail),
            ("version:7.4.1", "version:", "Redis version", Level::Fail),
            ("role:master", "role:slave", "Redis role", Level::Fail),
            ("noeviction", "allkeys-lru", "Redis memory", Level::Warn),
            ("used_memory:1048576", "used_memory:99857600", "Redis memory", Level::Warn),
            ("aof_enabled:1", "aof_enabled:0", "Redis persistence", Level::Warn),
        ] {
            let info = SOUND.replace(right, wrong);
            assert_eq!(worst(&info), [(subject.to_owned(), level)], "{wrong}");
        }
    }

    #[test]
    fn only_encrypted_or_near_is_fine_in_production() {
        let level = |url: &str| tls(url, Environment::Production).level;
        for fine in [
            "redis://localhost:6379",
            "redis://:pw@10.0.0.1:6379/0",
            "rediss://:pw@cache.example.test:6380",
            "redis-cluster://me:p%40w@a:1,b:2",
        ] {
            assert_eq!(level(fine), Level::Ok, "{fine}");
        }
        for open in [
            "redis://:pw@cache.example.test:6379",
            "redis-sentinel://a:1,b.example.test:2/main",
            "rediss://:pw@cache.example.test:6380/#insecure",
        ] {
            assert_eq!(level(open), Level::Warn, "{open}");
        }
    }
}
