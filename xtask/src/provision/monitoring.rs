//! Prometheus, and the tools that check its and Alertmanager's files: those on
//! the PATH, or those of Debian's packages, unpacked below `target`. They need
//! only the C library, so that nothing is installed and root is not needed.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::find::Machine;
use crate::session::Session;
use regimen_devtools::Interrupted;
use regimen_devtools::process::{Output, Process, ProcessError};

/// Debian's packages.
const PACKAGES: [&str; 2] = ["prometheus", "prometheus-alertmanager"];

/// Their programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MonitoringPrograms {
    pub(crate) prometheus: PathBuf,
    pub(crate) promtool: PathBuf,
    pub(crate) amtool: PathBuf,
}

/// Why they are missing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MonitoringError {
    /// This machine cannot unpack Debian's packages.
    #[error(
        "this machine lacks Prometheus; put prometheus, promtool and amtool on the PATH (only where \
         there is apt-get are they fetched automatically)"
    )]
    NoPackages,
    /// The packages cannot be fetched or unpacked.
    #[error(
        "cannot fetch Debian's packages of Prometheus and Alertmanager: {0}\nPut prometheus, \
         promtool and amtool on the PATH, or mend what is said above."
    )]
    Fetch(#[source] ProcessError),
    /// Their folder cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    Folder {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The packages lack an expected file.
    #[error("the packages in {} do not bring the programs expected", .0.display())]
    Incomplete(PathBuf),
    /// The program was interrupted.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl MonitoringError {
    /// Whether they are unavailable here; other errors do not justify a skip.
    pub(crate) fn is_lack(&self) -> bool {
        matches!(self, Self::NoPackages | Self::Fetch(_))
    }
}

/// Finds them, or downloads the packages once.
///
/// # Errors
/// See [`MonitoringError`].
pub(crate) fn monitoring(session: &Session) -> Result<MonitoringPrograms, MonitoringError> {
    let machine = Machine::this();
    if let Some(programs) = find(|name| machine.program(name)) {
        return Ok(programs);
    }
    let folder = session.workspace.place("tools").join("monitoring");
    let failed = |source| MonitoringError::Folder { path: folder.clone(), source };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    // Of two runs at once, the second waits for the download of the first.
    let lock = File::create(folder.join("lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    let unpacked = |name: &str| {
        let path = folder.join("root/usr/bin").join(name);
        path.is_file().then_some(path)
    };
    if let Some(programs) = find(unpacked) {
        return Ok(programs);
    }
    if machine.program("apt-get").is_none() || machine.program("dpkg-deb").is_none() {
        return Err(MonitoringError::NoPackages);
    }
    session.say("fetching Prometheus and Alertmanager (once)");
    fetch(session, &folder)?;
    find(unpacked).ok_or(MonitoringError::Incomplete(folder))
}

fn find(program: impl Fn(&str) -> Option<PathBuf>) -> Option<MonitoringPrograms> {
    Some(MonitoringPrograms {
        prometheus: program("prometheus")?,
        promtool: program("promtool")?,
        amtool: program("amtool")?,
    })
}

/// Uses package lists of its own, because the system's may be missing or old, and only
/// root could update them.
fn fetch(session: &Session, folder: &Path) -> Result<(), MonitoringError> {
    let failed = |source| MonitoringError::Folder { path: folder.to_owned(), source };
    let (lists, cache) = (folder.join("apt/lists"), folder.join("apt/cache"));
    let (packages, root) = (folder.join("packages"), folder.join("root"));
    for part in [lists.join("partial"), cache.join("archives/partial"), packages.clone()] {
        std::fs::create_dir_all(part).map_err(failed)?;
    }
    let log = folder.join("fetch.log");
    let run = |name: &str, command: Command| {
        Process::run(session, name, command, Output::Log(&log)).map_err(|error| match error {
            ProcessError::Interrupted(interrupted) => interrupted.into(),
            error => MonitoringError::Fetch(error),
        })
    };
    let apt_get = |arguments: &[&str]| {
        let mut apt_get = Command::new("apt-get");
        apt_get.current_dir(&packages);
        for (setting, path) in [("Dir::State::Lists", &lists), ("Dir::Cache", &cache)] {
            apt_get.arg("--option").arg(format!("{setting}={}", path.display()));
        }
        // As root, apt-get would switch to an account that cannot write here.
        apt_get.args(["--option", "APT::Sandbox::User=root"]).args(arguments);
        apt_get
    };
    run("apt-get update", apt_get(&["update"]))?;
    run("apt-get download", apt_get(&[&["download"], &PACKAGES[..]].concat()))?;
    for entry in std::fs::read_dir(&packages).map_err(failed)? {
        let package = entry.map_err(failed)?.path();
        let mut unpack = Command::new("dpkg-deb");
        unpack.arg("--extract").arg(&package).arg(&root);
        run("dpkg-deb --extract", unpack)?;
    }
    // The unpacked files suffice from now on.
    for part in [folder.join("apt"), packages] {
        std::fs::remove_dir_all(part).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_may_be_missing() {
        let of = |names: &'static [&'static str]| {
            find(move |name| names.contains(&name).then(|| PathBuf::from(name)))
        };
        assert!(of(&["prometheus", "promtool", "amtool"]).is_some());
        assert_eq!(of(&["prometheus", "promtool"]), None);
    }
}
