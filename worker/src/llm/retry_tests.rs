//! Tests the retry table row by row.

use proptest::prelude::*;

use super::*;
use crate::llm::TokenUsage;
use crate::llm::error::{ErrorReply, Phase};

fn reply(status: u16, wait: Option<u64>, should_retry: Option<bool>) -> ErrorReply {
    ErrorReply {
        status,
        code: String::new(),
        message: String::new(),
        request_id: None,
        wait: wait.map(Duration::from_secs),
        should_retry,
        ..ErrorReply::default()
    }
}

fn standing() -> Standing {
    Standing {
        calls: 1,
        repeated: false,
        raised: false,
        can_raise: true,
        refused: false,
        confirmed: false,
        left: Duration::from_secs(45),
    }
}

fn next(error: &ProviderError, at: Standing) -> Next {
    decide(error, at, &FallbackPolicy::default(), 0.5)
}

fn usage() -> TokenUsage {
    TokenUsage::default()
}

/// One error of every kind.
fn all() -> Vec<ProviderError> {
    let plain = || reply(500, None, None);
    vec![
        ProviderError::Connect { detail: String::new() },
        ProviderError::Certificate { detail: String::new() },
        ProviderError::Timeout { phase: Phase::Stall, after: Duration::ZERO },
        ProviderError::Cut { detail: String::new() },
        ProviderError::TooLarge { limit: 1 },
        ProviderError::Empty { finish: String::new(), usage: usage() },
        ProviderError::Unavailable(plain()),
        ProviderError::RateLimited(plain()),
        ProviderError::QuotaSpent(plain()),
        ProviderError::OutOfMoney(plain()),
        ProviderError::Unauthorized(plain()),
        ProviderError::ModelNotFound(plain()),
        ProviderError::BadRequest(plain()),
        ProviderError::Truncated { usage: usage() },
        ProviderError::Refused { reason: String::new(), usage: usage() },
        ProviderError::Invalid { detail: String::new(), usage: usage() },
    ]
}

#[test]
fn what_may_pass_is_tried_again_after_a_backoff_until_the_attempts_are_used() {
    for class in ["connect", "timeout", "cut", "empty", "unavailable", "rate_limited"] {
        let error = all().into_iter().find(|error| error.class() == class).unwrap();
        assert_eq!(next(&error, standing()), Next::Again(Duration::from_secs(1)), "{class}");
        let second = Standing { calls: 2, ..standing() };
        assert_eq!(next(&error, second), Next::Again(Duration::from_secs(2)), "{class}");
        let third = Standing { calls: 3, ..standing() };
        assert_eq!(next(&error, third), Next::FallOver, "{class}");
    }
}

#[test]
fn what_waiting_cannot_mend_falls_over_at_once() {
    for class in [
        "certificate",
        "too_large",
        "quota_spent",
        "out_of_money",
        "unauthorized",
        "model_not_found",
    ] {
        let error = all().into_iter().find(|error| error.class() == class).unwrap();
        assert_eq!(next(&error, standing()), Next::FallOver, "{class}");
    }
}

#[test]
fn a_hint_is_obeyed_exactly_when_it_fits_and_else_the_next_provider_is_asked() {
    let limited = |wait| ProviderError::RateLimited(reply(429, Some(wait), None));
    assert_eq!(next(&limited(20), standing()), Next::Again(Duration::from_secs(20)));
    assert_eq!(next(&limited(40), standing()), Next::Again(Duration::from_secs(40)));
    assert_eq!(next(&limited(41), standing()), Next::FallOver);
    let down = ProviderError::Unavailable(reply(503, Some(7), None));
    assert_eq!(next(&down, standing()), Next::Again(Duration::from_secs(7)));
}

#[test]
fn the_providers_word_counts_above_the_status_but_not_above_money() {
    let unavailable = ProviderError::Unavailable(reply(503, None, Some(false)));
    assert_eq!(next(&unavailable, standing()), Next::FallOver);
    let rejected = ProviderError::BadRequest(reply(400, None, Some(true)));
    assert_eq!(next(&rejected, standing()), Next::Again(Duration::from_secs(1)));
    let edge = ProviderError::Unauthorized(reply(403, None, Some(true)));
    assert_eq!(rule(&edge).health, Health::Failing(1));
    let broke = ProviderError::OutOfMoney(reply(429, Some(1), Some(true)));
    assert_eq!(next(&broke, standing()), Next::FallOver);
    assert_eq!(rule(&broke).health, Health::Broke);
}

#[test]
fn a_truncated_reply_raises_the_cap_once_and_is_never_blindly_repeated() {
    let error = ProviderError::Truncated { usage: usage() };
    assert_eq!(next(&error, standing()), Next::Raise);
    assert_eq!(next(&error, Standing { raised: true, ..standing() }), Next::FallOver);
    assert_eq!(next(&error, Standing { can_raise: false, ..standing() }), Next::FallOver);
}

#[test]
fn an_invalid_reply_is_repeated_once() {
    let error = ProviderError::Invalid { detail: String::new(), usage: usage() };
    assert_eq!(next(&error, standing()), Next::Again(Duration::ZERO));
    assert_eq!(next(&error, Standing { repeated: true, ..standing() }), Next::FallOver);
}

#[test]
fn a_refusal_or_rejection_needs_a_second_provider_to_end_the_job() {
    let refused = ProviderError::Refused { reason: String::new(), usage: usage() };
    let rejected = ProviderError::BadRequest(reply(400, None, None));
    let confirmed = Standing { confirmed: true, ..standing() };
    assert_eq!(next(&refused, standing()), Next::FallOver);
    assert_eq!(next(&rejected, standing()), Next::FallOver);
    assert_eq!(next(&refused, confirmed), Next::End(Settled::Refused));
    assert_eq!(next(&rejected, confirmed), Next::End(Settled::BadRequest));
}

#[test]
fn what_is_refused_is_left_out_before_anybody_else_is_asked() {
    let rejected = ProviderError::BadRequest(reply(400, None, None));
    let refused = Standing { refused: true, confirmed: true, calls: 3, ..standing() };
    assert_eq!(next(&rejected, refused), Next::Amend);
    let late = Standing { left: Duration::ZERO, ..refused };
    assert_eq!(next(&rejected, late), Next::End(Settled::BadRequest));
}

#[test]
fn certificates_money_keys_models_and_our_own_mistakes_raise_an_alert() {
    let alerting: Vec<_> =
        all().iter().filter(|error| rule(error).alert).map(ProviderError::class).collect();
    assert_eq!(
        alerting,
        [
            "certificate",
            "quota_spent",
            "out_of_money",
            "unauthorized",
            "model_not_found",
            "bad_request"
        ]
    );
}

proptest! {
    #[test]
    fn no_wait_leaves_the_slice_or_the_attempts(
        index in 0..16_usize, calls in 1..6_u32, left in 0..100_u64, jitter in 0.0..1.0_f64,
        wait in proptest::option::of(0..200_u64),
    ) {
        let mut error = all().remove(index);
        if let ProviderError::Unavailable(inner) | ProviderError::RateLimited(inner) = &mut error {
            inner.wait = wait.map(Duration::from_secs);
        }
        let at = Standing { calls, left: Duration::from_secs(left), ..standing() };
        let policy = FallbackPolicy::default();
        match decide(&error, at, &policy, jitter) {
            Next::Again(wait) => {
                prop_assert!(calls < policy.attempts);
                prop_assert!(wait + policy.floor <= at.left);
                if let Some(hint) = hint(&error) {
                    prop_assert_eq!(wait, hint);
                }
            }
            Next::Raise => prop_assert!(calls < policy.attempts && policy.floor <= at.left),
            Next::Amend => prop_assert!(false, "nothing was refused"),
            Next::FallOver | Next::End(_) => {}
        }
        prop_assert!(wait_after(calls, &policy, jitter) <= policy.backoff_cap);
    }
}
