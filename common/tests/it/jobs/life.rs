//! The rules of a job's life hold for any sequence of changes.

use proptest::prelude::*;
use regimen_common::job::{JobEventKind, JobState, LOST_WORKERS_LIMIT};

use super::rules::{Change, ChangeRefused, Life};

/// Any change; fences are small, so that fresh, current and stale ones occur.
pub(crate) fn change() -> impl Strategy<Value = Change> {
    let fence = 1..12_i64;
    prop_oneof![
        4 => fence.clone().prop_map(|fence| Change::Claim { fence }),
        1 => fence.clone().prop_map(|fence| Change::Succeed { fence }),
        1 => fence.clone().prop_map(|fence| Change::Fail { fence }),
        2 => fence.clone().prop_map(|fence| Change::RetryLater { fence }),
        2 => fence.prop_map(|fence| Change::Drain { fence }),
        2 => Just(Change::LoseLease),
        1 => Just(Change::Cancel),
        1 => Just(Change::Expire),
    ]
}

/// The life before and after each change that applied, with its event.
fn lived(changes: &[Change]) -> Vec<(Life, Change, Life, JobEventKind)> {
    let mut life = Life::accepted();
    let mut steps = Vec::new();
    for &change in changes {
        if let Ok((next, event)) = life.after(change) {
            steps.push((life, change, next, event));
            life = next;
        }
    }
    steps
}

proptest! {
    #[test]
    fn no_change_leaves_a_terminal_state(
        changes in prop::collection::vec(change(), 1..40), after in change()
    ) {
        for (_, _, life, event) in lived(&changes) {
            prop_assert_eq!(life.state.is_terminal(), event.is_terminal());
            if life.state.is_terminal() {
                prop_assert_eq!(life.after(after), Err(ChangeRefused::Ended));
            }
        }
    }

    #[test]
    fn events_are_numbered_without_gaps_and_never_twice(
        changes in prop::collection::vec(change(), 1..40)
    ) {
        let numbers: Vec<i32> =
            lived(&changes).iter().map(|(_, _, life, _)| life.last_seq).collect();
        let expected: Vec<i32> = (2..).take(numbers.len()).collect();
        prop_assert_eq!(numbers, expected);
    }

    #[test]
    fn attempts_fences_losses_and_rounds_never_fall(
        changes in prop::collection::vec(change(), 1..40)
    ) {
        for (before, _, after, _) in lived(&changes) {
            prop_assert!(after.attempts >= before.attempts);
            prop_assert!(after.fence >= before.fence);
            prop_assert!(after.lost >= before.lost);
            prop_assert!(after.rounds >= before.rounds);
        }
    }

    #[test]
    fn only_the_latest_holder_ends_a_claim(changes in prop::collection::vec(change(), 1..40)) {
        for (before, change, _, _) in lived(&changes) {
            if let Change::Succeed { fence }
            | Change::Fail { fence }
            | Change::RetryLater { fence }
            | Change::Drain { fence } = change
            {
                prop_assert_eq!((before.state, before.fence), (JobState::Running, fence));
            }
        }
    }

    #[test]
    fn every_claim_counts_but_those_that_were_drained(
        changes in prop::collection::vec(change(), 1..40)
    ) {
        let steps = lived(&changes);
        let count = |kind| steps.iter().filter(|(_, _, _, event)| *event == kind).count();
        let Some((_, _, life, _)) = steps.last() else { return Ok(()) };
        // A drain is made good by the next claim; the last one may still wait for it.
        let made_good = count(JobEventKind::Drained) - usize::from(life.drained);
        let counted = count(JobEventKind::Claimed) - made_good;
        prop_assert_eq!(usize::try_from(life.attempts).unwrap(), counted);
    }

    #[test]
    fn a_job_that_lost_three_workers_has_failed(changes in prop::collection::vec(change(), 1..40)) {
        for (_, change, life, _) in lived(&changes) {
            prop_assert!(life.lost <= LOST_WORKERS_LIMIT);
            if change == Change::LoseLease && life.lost == LOST_WORKERS_LIMIT {
                prop_assert_eq!(life.state, JobState::Failed);
            }
        }
    }
}
