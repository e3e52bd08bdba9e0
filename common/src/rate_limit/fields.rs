//! `RateLimit-Policy` and `RateLimit`, as
//! draft-ietf-httpapi-ratelimit-headers-11 defines them: lists of
//! structured-field strings with parameters (RFC 9651).

use std::fmt::Write;
use std::time::Duration;

use super::policy::{Check, Decision, RatePolicy};

/// `RateLimit-Policy`: the quotas, the same on every response.
pub fn policy_field<'a>(policies: impl IntoIterator<Item = &'a RatePolicy>) -> String {
    list(policies.into_iter().map(|policy| {
        let window = whole_seconds(policy.window).max(1);
        format!("{};q={};w={window}", string(&policy.name), policy.quota)
    }))
}

/// `RateLimit`: what is left, and the seconds after which more will be. `age` is the time
/// since the decision.
pub fn limit_field(decision: &Decision, age: Duration) -> String {
    list(decision.checks.iter().map(|Check { policy, remaining, next_unit, .. }| {
        let seconds = whole_seconds(next_unit.saturating_sub(age));
        format!("{};r={remaining};t={seconds}", string(&policy.name))
    }))
}

/// Seconds rounded up, so that clients do not return too early.
pub fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

fn list(members: impl Iterator<Item = String>) -> String {
    members.collect::<Vec<_>>().join(", ")
}

/// A structured-field string (RFC 9651, 4.1.6). Characters that it cannot hold are left
/// out.
fn string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars().filter(|c| (' '..='~').contains(c)) {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        // Writing to a String cannot fail.
        let _ = quoted.write_char(c);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn policy(name: &str) -> RatePolicy {
        let (quota, window) = (NonZeroU32::new(5).unwrap(), Duration::from_secs(3600));
        RatePolicy { name: name.into(), quota, window, shadow: false }
    }

    #[test]
    fn fields_read_as_the_draft_has_them() {
        let policies = [policy("generate-plans"), policy("day")];
        assert_eq!(policy_field(&policies), r#""generate-plans";q=5;w=3600, "day";q=5;w=3600"#);
        let check = Check {
            policy: policy("generate-plans"),
            passes: true,
            remaining: 4,
            next_unit: Duration::from_millis(719_001),
            retry_after: Duration::ZERO,
        };
        let decision = Decision { checks: vec![check], degraded: false };
        assert_eq!(limit_field(&decision, Duration::ZERO), r#""generate-plans";r=4;t=720"#);
        let later = limit_field(&decision, Duration::from_secs(9_999));
        assert_eq!(later, r#""generate-plans";r=4;t=0"#);
    }

    #[test]
    fn a_name_cannot_break_out_of_its_quotes() {
        assert_eq!(
            policy_field(&[policy("a\";q=9,\"b\\\r\nx: y")]),
            r#""a\";q=9,\"b\\x: y";q=5;w=3600"#
        );
    }
}
