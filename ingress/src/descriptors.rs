//! File descriptors: every open connection takes one, and without free ones
//! neither Postgres nor Redis can be reached.
//!
//! Systems start processes with a low soft limit (often 1,024) that a process
//! may raise to the hard limit. When that is still too low, fewer connections
//! are accepted than configured, so that idle clients cannot use up the
//! descriptors that the ingress itself needs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Reserved for everything except clients: the pool's connections beside these, Redis,
/// listening sockets, files.
const RESERVE: u64 = 64;

/// How many of the `wanted` connections may be open at once, beside `others` that are
/// always open. Raises the soft limit first.
pub fn room_for(wanted: usize, others: usize) -> usize {
    let available = raise();
    let room = room(wanted, others, available);
    if room < wanted {
        tracing::warn!(
            wanted,
            room,
            "this process may open too few files for MAX_CONNECTIONS; raise its limit (ulimit -Hn)"
        );
    }
    room
}

/// The soft limit, after an attempt to raise it to the hard one.
fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => limit.maximum,
        // macOS refuses values above an undocumented bound.
        Err(_) => limit.current,
    }
}

fn room(wanted: usize, others: usize, available: Option<u64>) -> usize {
    let Some(available) = available else { return wanted };
    let free = available.saturating_sub(RESERVE).saturating_sub(others as u64);
    usize::try_from(free).unwrap_or(usize::MAX).clamp(1, wanted.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_room_for_the_rest() {
        assert_eq!(room(20_000, 16, None), 20_000);
        assert_eq!(room(20_000, 16, Some(1_048_576)), 20_000);
        assert_eq!(room(20_000, 16, Some(1_024)), 944);
        assert_eq!(room(20_000, 500, Some(256)), 1, "somebody is always served");
    }
}
