//! What `up` and `down` promise: plans on stdout, a stack that can be used, a
//! clean end however it comes.

use std::process::Command;

use super::support::{Stack, run, runs, start_until, stderr, stdout, wait_until_gone};

#[test]
fn a_detached_stack_shows_plans_serves_and_ends_with_down() {
    let stack = Stack::new();
    let up = run(stack.xtask("up", &["--no-build", "--detach", "--workers", "2"]));
    assert!(up.status.success(), "{}", stderr(&up));
    let shown = stdout(&up);
    for wanted in ["MEAL PLAN ", "WORKOUT PLAN ", "Breakfast: ", "Monday", "/docs", "curl "] {
        assert!(shown.contains(wanted), "no {wanted:?} in:\n{shown}");
    }
    let pids = stack.pids();
    assert_eq!(pids.len(), 6, "two workers and one of everything else");
    assert!(pids.iter().all(|pid| runs(*pid)), "everything is left running");
    let env = stack.env().unwrap();
    for name in ["DATABASE_URL", "REDIS_URL", "JWT_SECRET", "STRIPE_WEBHOOK_SECRET"] {
        assert!(!env[name].is_empty(), "{name}");
    }

    let second = run(stack.xtask("up", &["--no-build", "--once"]));
    assert!(!second.status.success());
    assert!(stderr(&second).contains("running already"), "{}", stderr(&second));
    assert_eq!(stack.pids(), pids, "the second one changed nothing");

    let down = run(stack.xtask("down", &[]));
    assert!(down.status.success(), "{}", stderr(&down));
    wait_until_gone(&pids);
    assert_eq!(stack.env(), None);
}

#[test]
fn a_stack_ends_with_ctrl_c_and_keeps_its_data_for_the_next() {
    let stack = Stack::new();
    let mut up = start_until(stack.xtask("up", &["--no-build"]), "everything is up");
    let pids = stack.pids();
    signal(up.id(), "INT");
    assert!(up.wait().unwrap().success());
    assert_eq!(pids.iter().find(|pid| runs(**pid)), None, "all had ended before it did");
    assert_eq!(stack.env(), None);

    let again = run(stack.xtask("up", &["--no-build", "--once"]));
    assert!(again.status.success(), "{}", stderr(&again));
    assert!(!stderr(&again).contains("creating the PostgreSQL data"), "{}", stderr(&again));
}

#[test]
fn a_stack_whose_owner_is_killed_leaves_nothing_and_starts_again() {
    let stack = Stack::new();
    let mut up = start_until(stack.xtask("up", &["--no-build"]), "everything is up");
    let pids = stack.pids();
    signal(up.id(), "KILL");
    up.wait().unwrap();
    wait_until_gone(&pids);
    let again = run(stack.xtask("up", &["--no-build", "--once"]));
    assert!(again.status.success(), "{}", stderr(&again));
}

#[test]
fn a_failed_start_says_why_and_leaves_nothing() {
    let stack = Stack::new();
    let mut up = stack.xtask("up", &["--no-build", "--once"]);
    // A setting that the worker refuses.
    up.env("WORKER_SLOTS", "none");
    let up = run(up);
    assert!(!up.status.success());
    let said = stderr(&up);
    assert!(said.contains("error: worker-1 ended") && said.contains("WORKER_SLOTS"), "{said}");
    assert_eq!(stack.env(), None);
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap();
    assert!(sent.success());
}
