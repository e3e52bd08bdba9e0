//! Parses the versions that server programs print and packages have.

use std::fmt;

/// A product and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    product: &'static str,
    text: String,
    major: u32,
}

impl Version {
    /// Parses the output of `postgres --version`: `postgres (PostgreSQL) 15.18 (Debian
    /// …)`.
    pub(super) fn of_postgres(answer: &str) -> Option<Self> {
        let text = answer.strip_prefix("postgres (PostgreSQL) ")?.split_whitespace().next()?;
        Some(Self { product: "PostgreSQL", text: text.to_owned(), major: leading_number(text)? })
    }

    /// Parses the output of `redis-server --version` or `valkey-server --version`: `Redis
    /// server v=7.0.15 sha=…`.
    pub(super) fn of_redis(answer: &str) -> Option<Self> {
        let (name, rest) = answer.split_once(" server v=")?;
        let product = ["Redis", "Valkey"].into_iter().find(|product| *product == name)?;
        let text = rest.split_whitespace().next()?;
        Some(Self { product, text: text.to_owned(), major: leading_number(text)? })
    }

    /// The major version.
    pub(super) fn major(&self) -> u32 {
        self.major
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.product, self.text)
    }
}

/// The major version of a Debian package version, `5:7.0.15-1` or `15+248`: the part
/// before the colon is the epoch.
pub(super) fn package_major(version: &str) -> Option<u32> {
    leading_number(version.split_once(':').map_or(version, |(_, upstream)| upstream))
}

fn leading_number(text: &str) -> Option<u32> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_server_programs_are_read() {
        let debian = "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        let debian = Version::of_postgres(debian).unwrap();
        assert_eq!((debian.major(), debian.to_string().as_str()), (15, "PostgreSQL 15.18"));
        assert_eq!(Version::of_postgres("postgres (PostgreSQL) 19beta2\n").unwrap().major(), 19);
        let redis = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1\n";
        let redis = Version::of_redis(redis).unwrap();
        assert_eq!((redis.major(), redis.to_string().as_str()), (7, "Redis 7.0.15"));
        let valkey = Version::of_redis("Valkey server v=8.1.1 sha=0 malloc=libc bits=64\n");
        assert_eq!(valkey.unwrap().to_string(), "Valkey 8.1.1");
    }

    #[test]
    fn other_answers_are_no_version() {
        assert_eq!(Version::of_postgres("psql (PostgreSQL) 15.18"), None);
        assert_eq!(Version::of_postgres("postgres (PostgreSQL) "), None);
        assert_eq!(Version::of_redis("redis-cli 7.0.15"), None);
        assert_eq!(Version::of_redis("Dragonfly server v=1.0"), None);
    }

    #[test]
    fn a_package_version_counts_without_its_epoch() {
        assert_eq!(package_major("5:7.0.15-1~deb12u10"), Some(7));
        assert_eq!(package_major("15+248+deb12u1"), Some(15));
        assert_eq!(package_major("(none)"), None);
    }
}
