//! The writer of `RateLimit-Policy` and `RateLimit`: for every name of a policy
//! the result is a valid structured field.

use std::num::NonZeroU32;
use std::time::Duration;

use http::HeaderValue;
use regimen_common::rate_limit::fields::{limit_field, policy_field};
use regimen_common::rate_limit::{Check, Decision, RatePolicy};

/// One policy per line: its name, and numbers made from its bytes.
pub(crate) fn run(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let policies: Vec<RatePolicy> = text.split('\n').take(8).map(policy).collect();
    let written = policy_field(&policies);
    let members = parse(&written);
    assert_eq!(members.len(), policies.len(), "{written}");
    for (member, policy) in members.iter().zip(&policies) {
        assert_eq!(member.name, printable(&policy.name), "{written}");
        let window = policy.window.as_secs() + u64::from(policy.window.subsec_nanos() > 0);
        let expected = [("q", u64::from(policy.quota.get())), ("w", window.max(1))];
        assert_eq!(member.parameters(), expected, "{written}");
    }
    let checks = policies.iter().map(check).collect();
    let decision = Decision { checks, degraded: false };
    for age in [Duration::ZERO, Duration::from_millis(1), Duration::MAX] {
        let written = limit_field(&decision, age);
        let members = parse(&written);
        assert_eq!(members.len(), policies.len(), "{written}");
        for (member, check) in members.iter().zip(&decision.checks) {
            let [("r", left), ("t", _)] = member.parameters()[..] else { panic!("{written}") };
            assert_eq!(left, u64::from(check.remaining), "{written}");
        }
    }
}

fn policy(name: &str) -> RatePolicy {
    let number = name.bytes().fold(1_u32, |sum, byte| sum.wrapping_mul(31) ^ u32::from(byte));
    RatePolicy {
        name: name.into(),
        quota: NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN),
        window: Duration::from_millis(u64::from(number) * 7),
        shadow: number % 2 == 0,
    }
}

fn check(policy: &RatePolicy) -> Check {
    Check {
        remaining: policy.quota.get() / 3,
        next_unit: policy.interval(),
        retry_after: Duration::ZERO,
        passes: true,
        policy: policy.clone(),
    }
}

/// The characters of a text that a structured-field string can contain.
fn printable(text: &str) -> String {
    text.chars().filter(|c| (' '..='~').contains(c)).collect()
}

struct Member {
    name: String,
    parameters: Vec<(String, u64)>,
}

impl Member {
    fn parameters(&self) -> Vec<(&str, u64)> {
        self.parameters.iter().map(|(key, value)| (key.as_str(), *value)).collect()
    }
}

/// Parses a list of strings with integer parameters (RFC 9651, section 4.2),
/// independently of the writer.
fn parse(field: &str) -> Vec<Member> {
    assert!(HeaderValue::from_str(field).is_ok(), "no header value: {field:?}");
    let mut rest = field.chars().peekable();
    let mut members = Vec::new();
    loop {
        assert_eq!(rest.next(), Some('"'), "{field}");
        let mut member = Member { name: String::new(), parameters: Vec::new() };
        loop {
            match rest.next() {
                Some('"') => break,
                Some('\\') => match rest.next() {
                    Some(c @ ('"' | '\\')) => member.name.push(c),
                    other => panic!("{other:?} after a backslash in {field}"),
                },
                Some(c @ ' '..='~') => member.name.push(c),
                other => panic!("{other:?} in a string of {field}"),
            }
        }
        while rest.next_if_eq(&';').is_some() {
            let mut text = String::new();
            while let Some(c) = rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '=') {
                text.push(c);
            }
            let Some((key, value)) = text.split_once('=') else { panic!("{text} in {field}") };
            let Ok(value) = value.parse() else { panic!("{value} in {field}") };
            member.parameters.push((key.to_owned(), value));
        }
        members.push(member);
        match (rest.next(), rest.next()) {
            (None, None) => return members,
            (Some(','), Some(' ')) => {}
            other => panic!("{other:?} between the members of {field}"),
        }
    }
}
