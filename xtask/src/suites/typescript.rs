//! Tests the TypeScript client against the running ingress: its types match
//! `openapi.json`, it compiles, and its own tests pass, including broken streams.

use uuid::Uuid;

use super::SuiteError;
use crate::clock;
use crate::node;
use crate::place::Place;
use crate::token::Claims;
use regimen_devtools::process::{Output, Process};

/// The folder of the client.
const FOLDER: &str = "clients/typescript";
/// One user per test.
const USERS: u128 = 20;
const TOKEN_LIFE: u64 = 3600;

/// Runs it.
///
/// # Errors
/// It found a problem, or could not run.
pub(super) fn run(place: &Place<'_>) -> Result<(), SuiteError> {
    let folder = place.file(FOLDER);
    node::install(place.session, &folder)?;
    let (stack, secrets) = place.stack(&[], &[])?;
    let token = |user: u128| {
        let user = Uuid::from_u128(0x6f1c_2a34_0000_4000_8000_0000_7e57_0000 + user);
        let issued_at = clock::seconds_since_1970();
        Claims { user, role: None, issued_at, life: TOKEN_LIFE }.sign(&secrets.jwt)
    };
    let tokens: Vec<_> = (0..USERS).map(token).collect();
    let mut command = node::npm(&folder);
    command
        .args(["test", "--silent"])
        .env("REGIMEN_URL", stack.ingress_url()?)
        .env("REGIMEN_TOKENS", tokens.join(","))
        .env("REGIMEN_QUIZ", place.file("common/tests/fixtures/sample_quiz.json"))
        // All servers are on this machine.
        .env("NO_PROXY", "127.0.0.1,localhost")
        .env("no_proxy", "127.0.0.1,localhost");
    Process::run(place.session, "typescript", command, Output::Ours)?;
    Ok(())
}
