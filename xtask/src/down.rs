//! `cargo xtask down`: ends a stack that was left running, or one that another
//! terminal runs in the foreground.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crate::key_values::{self, FileError};
use crate::session::Session;
use crate::state::{Member, env_file, lock_holder, members};
use regimen_devtools::{Interrupted, signal};

/// How long a process may take to end after the signal, before it is killed.
const GRACE: Duration = Duration::from_secs(15);

/// Why the stack could not be ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DownError {
    /// The file that describes the stack cannot be read or removed.
    #[error(transparent)]
    Env(#[from] FileError),
    /// The program was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// Ends the stack of `folder`; if there is none, that is no error.
///
/// # Errors
/// See [`DownError`].
pub(crate) fn run(session: &Session, folder: &Path) -> Result<ExitCode, DownError> {
    if let Some(holder) = lock_holder(folder) {
        session.say(format_args!("asking process {holder}, which has the stack, to end it"));
        signal::terminate(holder);
        while lock_holder(folder).is_some() {
            session.pause()?;
        }
        session.say("everything has ended");
        return Ok(ExitCode::SUCCESS);
    }
    let members = members(folder)?;
    if members.is_empty() {
        session.say("nothing is running");
    } else {
        // The processes that use the servers end first, at the same time.
        let (users, servers): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|member| !member.role.is_server());
        end(session, &users)?;
        end(session, &servers)?;
        session.say("everything has ended");
    }
    key_values::remove(&env_file(folder))?;
    Ok(ExitCode::SUCCESS)
}

fn end(session: &Session, members: &[Member]) -> Result<(), Interrupted> {
    for member in members {
        session.say(format_args!("ending {} ({})", member.role.name, member.pid));
        member.role.ending.ask(member.pid);
    }
    let deadline = Instant::now() + GRACE;
    while Instant::now() < deadline && members.iter().any(Member::is_running) {
        session.pause()?;
    }
    for member in members.iter().filter(|member| member.is_running()) {
        session.say(format_args!("killing {} ({})", member.role.name, member.pid));
        signal::kill(member.pid);
    }
    Ok(())
}
