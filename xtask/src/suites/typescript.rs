//! Tests the TypeScript client against the running ingress: its types match
//! `openapi.json`, it compiles, and its own tests pass, including broken streams.

use std::io;
use std::path::Path;
use std::process::Command;

use uuid::Uuid;

use super::SuiteError;
use crate::clock;
use crate::place::Place;
use crate::python::Unavailable;
use crate::token::Claims;
use regimen_devtools::process::{Output, Process};

/// The folder of the client.
const FOLDER: &str = "clients/typescript";
const OLDEST_NODE: u32 = 20;
/// One user per test.
const USERS: u128 = 20;
const TOKEN_LIFE: u64 = 3600;

/// Runs it.
///
/// # Errors
/// It found a problem, or could not run.
pub(super) fn run(place: &Place<'_>) -> Result<(), SuiteError> {
    let folder = place.file(FOLDER);
    install(place, &folder)?;
    let (stack, secrets) = place.stack(&[], &[])?;
    let token = |user: u128| {
        let user = Uuid::from_u128(0x6f1c_2a34_0000_4000_8000_0000_7e57_0000 + user);
        let issued_at = clock::seconds_since_1970();
        Claims { user, role: None, issued_at, life: TOKEN_LIFE }.sign(&secrets.jwt)
    };
    let tokens: Vec<_> = (0..USERS).map(token).collect();
    let mut command = npm(&folder);
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

fn npm(folder: &Path) -> Command {
    let mut command = Command::new("npm");
    command.current_dir(folder);
    command
}

/// Installs the pinned packages, unless they are installed.
fn install(place: &Place<'_>, folder: &Path) -> Result<(), SuiteError> {
    let lacks = |what: String| {
        let remedy = format!("install Node.js {OLDEST_NODE} or newer with npm");
        SuiteError::Lacks(Unavailable { what, remedy })
    };
    let version = Command::new("node").arg("--version").output();
    let version = version.map_err(|error: io::Error| lacks(format!("node ({error})")))?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    let major = version.trim_start_matches('v').split('.').next().unwrap_or_default();
    if !major.parse::<u32>().is_ok_and(|major| major >= OLDEST_NODE) {
        return Err(lacks(format!("node {OLDEST_NODE} (it has {version})")));
    }
    if Command::new("npm").arg("--version").output().is_err() {
        return Err(lacks("npm".to_owned()));
    }
    let wanted = std::fs::read(folder.join("package-lock.json"));
    let mark = folder.join("node_modules/.installed-from");
    if wanted.as_ref().ok().is_some_and(|wanted| std::fs::read(&mark).is_ok_and(|at| at == *wanted))
    {
        return Ok(());
    }
    place.session.say("installing the packages of the TypeScript client");
    let mut command = npm(folder);
    command.args(["ci", "--ignore-scripts", "--silent", "--no-audit", "--no-fund"]);
    Process::run(place.session, "npm", command, Output::Ours)?;
    let file = |source| SuiteError::Folder { path: mark.clone(), source };
    std::fs::write(&mark, wanted.map_err(file)?).map_err(file)
}
