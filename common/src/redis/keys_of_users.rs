//! Finds and deletes the keys that contain a user's id: counters of rate limits
//! and of a month's spending. They expire by themselves; for an erased user, or
//! one that an operator resets, they are deleted at once.
//!
//! There is no list of these keys, so that requests need not maintain one. The
//! scan over all keys runs in short steps that do not block the server.

use std::sync::LazyLock;

use redis::{Script, cmd};
use uuid::Uuid;

use super::{Redis, RedisError};

static FIND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("keys_of_users.lua")));

/// Keys that the server examines per step.
const STEP: usize = 1_000;

/// The full names of the keys of `users`.
///
/// # Errors
/// Redis is away.
pub async fn keys_of_users(redis: &Redis, users: &[Uuid]) -> Result<Vec<String>, RedisError> {
    let mut found = Vec::new();
    if users.is_empty() {
        return Ok(found);
    }
    let pattern = format!("{}*", literal(&redis.key("")));
    let mut cursor = "0".to_owned();
    loop {
        let mut step = FIND.prepare_invoke();
        step.key(redis.key("walk")).arg(&cursor).arg(&pattern).arg(STEP);
        for user in users {
            step.arg(user.to_string());
        }
        let mut answer: Vec<String> = redis.invoke(&step).await?;
        if answer.is_empty() {
            return Ok(found);
        }
        cursor = answer.remove(0);
        found.extend(answer);
        if cursor == "0" {
            // A scan may return a key twice.
            found.sort();
            found.dedup();
            return Ok(found);
        }
    }
}

/// Deletes the keys of `users`; returns their number.
///
/// # Errors
/// Redis is away.
pub async fn forget_users(redis: &Redis, users: &[Uuid]) -> Result<usize, RedisError> {
    let keys = keys_of_users(redis, users).await?;
    for some in keys.chunks(STEP) {
        let _: i64 = redis.query(cmd("UNLINK").arg(some)).await?;
    }
    Ok(keys.len())
}

/// `text` as a pattern that matches only itself.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '^' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::TestRedis;
    use secrecy::SecretString;

    #[tokio::test]
    async fn the_keys_of_some_users_are_found_among_many_and_removed() {
        let test = TestRedis::new();
        let prefix = format!("{}[a*]", test.prefix());
        let redis = Redis::new(&SecretString::from(test.url()), &prefix).unwrap();
        let [ana, ben, eva] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
        let set = async |name: String| {
            let mut set = cmd("SET");
            let _: () =
                redis.query(set.arg(redis.key(&name)).arg(1).arg("EX").arg(60)).await.unwrap();
        };
        for n in 0..2_500 {
            set(format!("filler:{n}")).await;
        }
        for user in [ana, ben, eva] {
            set(format!("rate:daily:60:86400:{user}")).await;
            set(format!("budget:user:{user}:2026-11")).await;
        }
        let of = async |users: &[Uuid]| keys_of_users(&redis, users).await.unwrap();
        assert_eq!(of(&[]).await, Vec::<String>::new());
        assert_eq!(of(&[ana, ben]).await.len(), 4);
        assert!(of(&[ana]).await.iter().all(|key| key.contains(&ana.to_string())));
        assert_eq!(forget_users(&redis, &[ana, ben]).await.unwrap(), 4);
        assert_eq!((of(&[ana, ben]).await.len(), of(&[eva]).await.len()), (0, 2));
        let mut fillers = cmd("EXISTS");
        fillers.arg(redis.key("filler:0")).arg(redis.key("filler:2499"));
        assert_eq!(redis.query::<i64>(&fillers).await.unwrap(), 2);
    }
}
