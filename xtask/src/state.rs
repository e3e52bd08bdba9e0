//! What a development stack leaves on the disk for other commands: the lock
//! that keeps it single, and the file `env` with its addresses and process ids.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::key_values::{self, FileError};
use regimen_devtools::signal::{self, Ending};

/// The folder of the stack of `up` under `target`.
pub(crate) const DEV_FOLDER: &str = "dev";

/// A process of the stack in `env`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Role {
    /// Its name in messages.
    pub(crate) name: &'static str,
    /// The variable with its process ids, comma-separated.
    variable: &'static str,
    /// Part of its command line, because another process may have its id by now.
    program: &'static str,
    /// How to end it.
    pub(crate) ending: Ending,
}

/// All of them.
pub(crate) const ROLES: [Role; 5] = [
    Role {
        name: "the ingress",
        variable: "INGRESS_PID",
        program: "regimen-ingress",
        ending: Ending::Terminate,
    },
    Role {
        name: "a worker",
        variable: "WORKER_PIDS",
        program: "regimen-worker",
        ending: Ending::Terminate,
    },
    Role {
        name: "the simulator",
        variable: "SIMULATOR_PID",
        program: "regimen-simulator",
        ending: Ending::Terminate,
    },
    Role { name: "Redis", variable: "REDIS_PID", program: "-server", ending: Ending::Terminate },
    Role {
        name: "PostgreSQL",
        variable: "POSTGRES_PID",
        program: "postgres",
        ending: Ending::Interrupt,
    },
];

/// A running process of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its role.
    pub(crate) role: Role,
    /// Its process id.
    pub(crate) pid: u32,
}

/// Why the lock cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// Another `up` runs in the foreground.
    #[error(
        "a stack is running already (process {0}); end it with Ctrl-C there, or with `cargo xtask down`"
    )]
    Running(u32),
    /// A stack was left running.
    #[error("a stack is running already, left by `--detach`; end it with `cargo xtask down`")]
    Detached,
    /// The lock file cannot be read or written.
    #[error("cannot lock {}: {source}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file `env` cannot be read or written.
    #[error(transparent)]
    Env(#[from] FileError),
}

/// Held while a stack runs in the foreground. Released when the process ends, however it
/// ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock; fails if `folder` has another stack.
    ///
    /// # Errors
    /// See [`LockError`].
    pub(crate) fn take(folder: &Path) -> Result<Self, LockError> {
        let path = folder.join("lock");
        let failed = |source| LockError::File { path: path.clone(), source };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut options = File::options();
        let mut file = options
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LockError::Running(holder(&mut file))),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        if !members(folder)?.is_empty() {
            return Err(LockError::Detached);
        }
        let pid = std::process::id().to_string();
        file.set_len(0).and_then(|()| file.rewind()).map_err(failed)?;
        file.write_all(pid.as_bytes()).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// The process that holds the lock of `folder`, if any does.
pub(crate) fn lock_holder(folder: &Path) -> Option<u32> {
    let mut file = File::open(folder.join("lock")).ok()?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Some(holder(&mut file)),
        _ => None,
    }
}

/// The file with the addresses and process ids of the stack of `folder`.
pub(crate) fn env_file(folder: &Path) -> PathBuf {
    folder.join("env")
}

/// The running processes of the stack of `folder`.
///
/// # Errors
/// The file exists but cannot be read.
pub(crate) fn members(folder: &Path) -> Result<Vec<Member>, FileError> {
    let env = key_values::read(&env_file(folder))?.unwrap_or_default();
    Ok(ROLES.iter().flat_map(|role| role.running(&env)).collect())
}

impl Role {
    /// Whether the others use it, so that it must end after them.
    pub(crate) fn is_server(self) -> bool {
        matches!(self.variable, "REDIS_PID" | "POSTGRES_PID")
    }

    fn running(self, env: &BTreeMap<String, String>) -> Vec<Member> {
        let ids = env.get(self.variable).map(String::as_str).unwrap_or_default();
        let ids = ids.split(',').filter_map(|id| id.parse().ok());
        ids.map(|pid| Member { role: self, pid }).filter(Member::is_running).collect()
    }
}

impl Member {
    /// Whether it still runs, as the same program.
    pub(crate) fn is_running(&self) -> bool {
        signal::is_running(self.pid)
            && signal::command_line(self.pid).is_some_and(|line| line.contains(self.role.program))
    }
}

fn holder(file: &mut File) -> u32 {
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    text.trim().parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    use super::*;

    #[test]
    fn a_folder_has_one_stack_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::take(dir.path()).unwrap();
        assert_eq!(lock_holder(dir.path()), Some(std::process::id()));
        let refused = Lock::take(dir.path()).unwrap_err();
        assert!(matches!(refused, LockError::Running(pid) if pid == std::process::id()));
        drop(lock);
        assert_eq!(lock_holder(dir.path()), None);
        Lock::take(dir.path()).unwrap();
    }

    /// A process that others take for a worker, and that ends with this one.
    fn supposed_worker() -> Child {
        let mut command = Command::new("sh");
        command.arg0("regimen-worker").args(["-c", "echo started; read never"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // Its command line is complete only once it runs.
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "started\n");
        child
    }

    #[test]
    fn a_process_that_only_has_the_id_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let mut worker = supposed_worker();
        let id = worker.id().to_string();
        let lines = [("INGRESS_PID", id.as_str()), ("WORKER_PIDS", id.as_str())];
        key_values::write(&env_file(dir.path()), lines).unwrap();
        let found = members(dir.path()).unwrap();
        assert_eq!(found, [Member { role: ROLES[1], pid: worker.id() }]);
        assert!(matches!(Lock::take(dir.path()), Err(LockError::Detached)));
        worker.kill().unwrap();
        worker.wait().unwrap();
        assert_eq!(members(dir.path()).unwrap(), []);
    }
}
