//! The flood guard: a rate limit per client address for all requests.
//!
//! It runs in process, so it costs microseconds and works while Redis is away.
//! Its memory is bounded: idle addresses are removed on a timer, and beyond
//! [`MAX_ADDRESSES`] new addresses share a fixed number of buckets.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;

use axum::http::HeaderMap;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota};
use regimen_common::config::{Env, Environment};

use crate::client_address::{AddressGroup, ClientAddress};
use crate::error::{ApiError, QuotaExceeded};

/// Addresses with a bucket of their own, about 100 bytes each.
const MAX_ADDRESSES: usize = 100_000;
/// Buckets that all further addresses share.
const SHARED_BUCKETS: u64 = 4_096;

/// The limits per address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FloodConfig {
    /// Sustained requests per second; 0 disables the guard.
    pub per_second: u32,
    /// The burst.
    pub burst: u32,
}

impl FloodConfig {
    /// Disabled by default in development, because load tests use one address.
    pub(super) fn from_env(env: &mut Env, environment: Environment) -> Self {
        let per_second = match environment {
            Environment::Development => 0,
            Environment::Staging | Environment::Production => 100,
        };
        Self {
            per_second: env.number("FLOOD_PER_SECOND", per_second, 0..=1_000_000),
            burst: env.number("FLOOD_BURST", 400, 1..=1_000_000),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Bucket {
    Own(AddressGroup),
    Shared(u64),
}

/// Counts requests by address.
pub struct FloodGuard {
    limiter: DefaultKeyedRateLimiter<Bucket>,
    clock: DefaultClock,
    /// Seeded per process, so that clients cannot choose another client's shared bucket.
    hasher: RandomState,
    max_addresses: usize,
}

impl FloodGuard {
    /// A guard with the given limits, or none when it is disabled.
    pub fn new(config: &FloodConfig) -> Option<Self> {
        Self::with_capacity(config, MAX_ADDRESSES)
    }

    fn with_capacity(config: &FloodConfig, max_addresses: usize) -> Option<Self> {
        let per_second = NonZeroU32::new(config.per_second)?;
        let burst = NonZeroU32::new(config.burst)?;
        Some(Self {
            limiter: DefaultKeyedRateLimiter::keyed(
                Quota::per_second(per_second).allow_burst(burst),
            ),
            clock: DefaultClock::default(),
            hasher: RandomState::new(),
            max_addresses,
        })
    }

    /// Counts one request.
    ///
    /// # Errors
    /// 429 with the time after which the address may retry.
    pub fn check(&self, client: ClientAddress) -> Result<(), ApiError> {
        let Err(not_until) = self.limiter.check_key(&self.bucket(client.group())) else {
            return Ok(());
        };
        metrics::counter!("regimen_flood_refused_total").increment(1);
        Err(ApiError::QuotaExceeded(Box::new(QuotaExceeded {
            detail: "too many requests from your address; slow down".to_owned(),
            retry_after: not_until.wait_time_from(self.clock.now()),
            policies: vec!["address".to_owned()],
            headers: HeaderMap::new(),
        })))
    }

    /// Removes addresses that are back at full quota.
    pub fn sweep(&self) {
        self.limiter.retain_recent();
        self.limiter.shrink_to_fit();
        metrics::gauge!("regimen_flood_addresses").set(count(self.limiter.len()));
    }

    fn bucket(&self, group: AddressGroup) -> Bucket {
        if self.limiter.len() < self.max_addresses {
            Bucket::Own(group)
        } else {
            Bucket::Shared(self.hasher.hash_one(group) % SHARED_BUCKETS)
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of at most some hundred thousand")]
fn count(number: usize) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use super::*;

    fn guard(max_addresses: usize) -> FloodGuard {
        let config = FloodConfig { per_second: 1, burst: 3 };
        FloodGuard::with_capacity(&config, max_addresses).unwrap()
    }

    fn v4(number: u32) -> ClientAddress {
        ClientAddress(IpAddr::V4(Ipv4Addr::from_bits(number)))
    }

    #[test]
    fn one_address_cannot_use_up_anothers_share() {
        let guard = guard(10);
        assert!((0..3).all(|_| guard.check(v4(1)).is_ok()));
        let Err(ApiError::QuotaExceeded(exceeded)) = guard.check(v4(1)) else {
            panic!("the burst is used up");
        };
        assert!(exceeded.retry_after <= Duration::from_secs(1));
        assert!(guard.check(v4(2)).is_ok());
    }

    #[test]
    fn a_whole_ipv6_network_is_one_sender() {
        let guard = guard(10);
        let v6 = |host: u128| {
            ClientAddress(IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | host)))
        };
        assert!((0..3).all(|host| guard.check(v6(host)).is_ok()));
        assert!(guard.check(v6(99)).is_err());
        assert!(guard.check(v6(1 << 64)).is_ok(), "the next /64 is somebody else");
    }

    #[test]
    fn memory_is_bounded_however_many_addresses_come() {
        let guard = guard(1_000);
        for number in 0..50_000 {
            let _ = guard.check(v4(number));
        }
        let bound = 1_000 + usize::try_from(SHARED_BUCKETS).unwrap();
        assert!(guard.limiter.len() <= bound, "{}", guard.limiter.len());
    }

    #[test]
    fn zero_switches_it_off() {
        assert!(FloodGuard::new(&FloodConfig { per_second: 0, burst: 1 }).is_none());
    }
}
