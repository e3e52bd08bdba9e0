//! The account that PostgreSQL runs as. PostgreSQL refuses to run as root, so
//! root uses another account and a folder that this account can reach.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An account of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its login name.
    pub name: String,
    uid: u32,
    gid: u32,
}

/// Why PostgreSQL cannot get an account or a folder.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// This program runs as root, and neither of the usable accounts exists.
    #[error(
        "PostgreSQL does not run as root, and this machine has neither the user `postgres` nor \
         `nobody` to run it as: create one (`useradd --system postgres`) or run as another user"
    )]
    NoAccount,
    /// A folder could not be created, or its owner could not be changed.
    #[error("cannot prepare the folder {}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The folder under the temporary directory belongs to another user.
    #[error("{} belongs to another user; remove it or set TMPDIR to a folder of your own", .0.display())]
    Foreign(PathBuf),
}

impl Account {
    /// The account for PostgreSQL; none unless this program runs as root.
    ///
    /// # Errors
    /// This program runs as root, and there is no suitable account.
    pub fn for_postgres() -> Result<Option<Self>, AccountError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let found = ["postgres", "nobody"].into_iter().find_map(Self::named);
        found.map(Some).ok_or(AccountError::NoAccount)
    }

    /// The account of this name, unless it is root or unknown.
    pub fn named(name: &str) -> Option<Self> {
        let uid = id("-u", name)?;
        // Root under another name is no help.
        (uid != 0).then_some(Self { name: name.to_owned(), uid, gid: id("-g", name)? })
    }

    /// Makes `command` run as this account, with its group only.
    pub fn run(&self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Creates `folder`, accessible to this account only.
    ///
    /// # Errors
    /// It cannot be created, or its owner cannot be changed.
    pub fn own(&self, folder: &Path) -> Result<(), AccountError> {
        private_folder(folder)?;
        self.take(folder)
    }

    /// Makes this account the owner of `path`.
    ///
    /// # Errors
    /// The system refuses.
    pub fn take(&self, path: &Path) -> Result<(), AccountError> {
        chown(path, Some(self.uid), Some(self.gid))
            .map_err(|source| AccountError::Folder { path: path.to_owned(), source })
    }

    /// Whether this account can access `folder`, which exists.
    pub fn reaches(&self, folder: &Path) -> bool {
        let mut probe = Command::new("/bin/sh");
        // Runs in /, because the present directory may be inaccessible to the account.
        probe.args(["-c", "cd -- \"$1\"", "probe"]).arg(folder).current_dir("/");
        self.run(&mut probe);
        probe.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    }
}

/// The folder for PostgreSQL's files: `wanted`, or, if `account` cannot access it (a
/// workspace below /root), one under the temporary directory that is the same for the
/// same `wanted`.
///
/// # Errors
/// Neither can be created, or the second belongs to another user.
pub fn reachable_folder(wanted: &Path, account: Option<&Account>) -> Result<PathBuf, AccountError> {
    let Some(account) = account else {
        private_folder(wanted)?;
        return Ok(wanted.to_owned());
    };
    account.own(wanted)?;
    if account.reaches(wanted) {
        return Ok(wanted.to_owned());
    }
    let elsewhere = stand_in(wanted);
    if let Ok(found) = std::fs::symlink_metadata(&elsewhere)
        && !(found.is_dir() && found.uid() == account.uid)
    {
        return Err(AccountError::Foreign(elsewhere));
    }
    account.own(&elsewhere)?;
    Ok(elsewhere)
}

/// The folder used instead of a `wanted` that PostgreSQL cannot access: under the
/// temporary directory, a different one for every `wanted`.
pub fn stand_in(wanted: &Path) -> PathBuf {
    let path = wanted.as_os_str().as_encoded_bytes();
    let name = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_URL, path).simple();
    std::env::temp_dir().join(format!("regimen-{name}"))
}

/// Creates `folder`, accessible to its owner only.
fn private_folder(folder: &Path) -> Result<(), AccountError> {
    let failed = |source| AccountError::Folder { path: folder.to_owned(), source };
    std::fs::create_dir_all(folder).map_err(failed)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).map_err(failed)
}

fn id(option: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([option, name]).output().ok()?;
    if !output.status.success() {
        return None;
    }
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_another_account_the_wanted_folder_is_used_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let wanted = dir.path().join("a/b");
        assert_eq!(reachable_folder(&wanted, None).unwrap(), wanted);
        assert_eq!(std::fs::metadata(&wanted).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_stand_in_is_the_same_for_the_same_folder_only() {
        let one = stand_in(Path::new("/root/one/target/dev"));
        assert_eq!(one, stand_in(Path::new("/root/one/target/dev")));
        assert_ne!(one, stand_in(Path::new("/root/two/target/dev")));
    }

    #[test]
    fn root_lends_an_account_that_cannot_see_behind_closed_doors() {
        let Some(account) = Account::for_postgres().unwrap() else {
            // Not root: nobody to lend.
            assert!(!rustix::process::geteuid().is_root());
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let closed = dir.path().join("closed/inside");
        std::fs::create_dir_all(&closed).unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!account.reaches(&closed));
        let elsewhere = reachable_folder(&closed, Some(&account)).unwrap();
        assert_ne!(elsewhere, closed);
        assert!(account.reaches(&elsewhere));
        std::fs::remove_dir(elsewhere).unwrap();
    }
}
