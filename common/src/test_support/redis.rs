//! A Redis prefix per test on the shared test server.

use uuid::Uuid;

/// A unique key prefix. Its keys are deleted when the value is dropped.
#[derive(Debug)]
pub struct TestRedis {
    url: String,
    prefix: String,
}

impl TestRedis {
    /// A new prefix on the server that `REGIMEN_TEST_REDIS_URL` names.
    #[expect(clippy::new_without_default, reason = "reads the environment and may panic")]
    pub fn new() -> Self {
        let url = super::required_variable("REGIMEN_TEST_REDIS_URL");
        Self { url, prefix: format!("test-{}", Uuid::new_v4().simple()) }
    }

    /// The server's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The value for `REDIS_PREFIX`; keys look like `{prefix}:name`.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl Drop for TestRedis {
    /// Best effort: the server may be gone, and the remaining keys expire.
    fn drop(&mut self) {
        let Ok(client) = redis::Client::open(self.url.as_str()) else { return };
        let Ok(mut connection) = client.get_connection() else { return };
        let pattern = format!("{{{}}}:*", self.prefix);
        let mut cursor = 0_u64;
        loop {
            let page: redis::RedisResult<(u64, Vec<String>)> = redis::cmd("SCAN")
                .arg(cursor)
                .arg("MATCH")
                .arg(&pattern)
                .arg("COUNT")
                .arg(1000)
                .query(&mut connection);
            let Ok((next, keys)) = page else { return };
            if !keys.is_empty() {
                let _: redis::RedisResult<()> =
                    redis::cmd("UNLINK").arg(keys).query(&mut connection);
            }
            if next == 0 {
                return;
            }
            cursor = next;
        }
    }
}
