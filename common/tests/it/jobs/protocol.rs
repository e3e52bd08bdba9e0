//! The protocol of claim, lease, fence, reply and end as a model, checked exhaustively: two
//! workers, two jobs, and a crash, a stall and a lost message at any point; and any two of
//! these with a job that is cancelled, overdue, failed or tried again, or in finer steps.
//!
//! Each action is one commit in Postgres or one step of a process. A claim that its worker
//! does not wait for, because it gave it up, stalled or died, may be committed later.
//! [`Guard`] names what the statements check; with one of them taken out, the checker must
//! find what goes wrong.
//!
//! Not in the model, because no property depends on it: what a worker learns from its
//! heartbeat (it saves work that the fences would refuse), and that a release waits for a
//! reply that is being stored (it saves a call after a fault). A takeover checks the fence
//! as well, which the lease of the present holder makes unnecessary.

mod model;

use stateright::{Checker, HasDiscoveries, Model};

use model::{Guard, Protocol, Scope};

const EVERY_FAULT: Scope = Scope { crashes: 1, stalls: 1, losses: 1, turns: 0, fine: false };
const TURNS: [Scope; 3] = [
    Scope { crashes: 0, turns: 1, ..EVERY_FAULT },
    Scope { stalls: 0, turns: 1, ..EVERY_FAULT },
    Scope { losses: 0, turns: 1, ..EVERY_FAULT },
];
const FINE: [Scope; 3] = [
    Scope { crashes: 0, fine: true, ..EVERY_FAULT },
    Scope { stalls: 0, fine: true, ..EVERY_FAULT },
    Scope { losses: 0, fine: true, ..EVERY_FAULT },
];

/// The properties that do not hold, and how many states were seen.
fn holes(scope: Scope, without: Option<Guard>) -> (Vec<&'static str>, usize) {
    let checked = Protocol { scope, without }
        .checker()
        .threads(2)
        .finish_when(if without.is_some() { HasDiscoveries::Any } else { HasDiscoveries::All })
        .spawn_bfs()
        .join();
    let mut holes: Vec<_> = checked.discoveries().into_keys().collect();
    holes.sort_unstable();
    (holes, checked.unique_state_count())
}

fn no_hole(scope: Scope) {
    let (holes, states) = holes(scope, None);
    assert_eq!(holes, [""; 0], "{scope:?}");
    assert!(states > 10_000, "{scope:?}: {states}");
}

#[test]
fn the_protocol_holds_whatever_fails_when() {
    no_hole(EVERY_FAULT);
}

#[test]
fn it_holds_when_jobs_are_cancelled_overdue_failed_or_tried_again() {
    TURNS.into_iter().for_each(no_hole);
}

#[test]
fn it_holds_when_answers_and_takeovers_take_their_time() {
    FINE.into_iter().for_each(no_hole);
}

#[test]
fn each_guard_is_needed() {
    let ended = "what has ended or is another's stays";
    let ([turns, ..], [fine, ..]) = (TURNS, FINE);
    for (guard, scope, expected) in [
        (Guard::StateAtClaim, EVERY_FAULT, ended),
        (Guard::NewFence, EVERY_FAULT, "a claim has one holder"),
        (Guard::LeaseAtClaim, EVERY_FAULT, "only faults are held against a job"),
        (Guard::FenceAtStart, EVERY_FAULT, "only its holder calls for a job"),
        (Guard::FenceAtEnd, EVERY_FAULT, ended),
        (Guard::StateAtEnd, EVERY_FAULT, ended),
        (Guard::FenceAtRelease, EVERY_FAULT, ended),
        (Guard::LeaseAtTakeover, EVERY_FAULT, "a valid lease keeps its claims"),
        (Guard::LeaseAtTakeover, fine, "a valid lease keeps its claims"),
        (Guard::Takeover, EVERY_FAULT, "every job ends"),
        (Guard::Strays, EVERY_FAULT, "every job ends"),
        (Guard::Patience, fine, "only faults are held against a job"),
        (Guard::Poison, EVERY_FAULT, "a job takes three workers at most"),
        (Guard::Redispatch, EVERY_FAULT, "every job ends"),
        (Guard::StoredReply, EVERY_FAULT, "no stored reply is paid for again"),
        (Guard::StateAtCancel, turns, ended),
        (Guard::StateAtExpiry, turns, ended),
    ] {
        let (holes, states) = holes(scope, Some(guard));
        println!("{guard:?}: {holes:?} after {states} states");
        assert!(holes.contains(&expected), "{guard:?}: {holes:?}");
    }
}
