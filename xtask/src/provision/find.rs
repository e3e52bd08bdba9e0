//! Searches for the server programs of PostgreSQL and Redis, and for
//! libfaketime.

use std::cmp::Reverse;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::version::Version;
use super::{Missing, POSTGRES_SINCE, PostgresPrograms, ProvisionError, REDIS_SINCE, RedisProgram};

/// The variable that names the folder of `postgres` and `initdb`; it has priority.
const POSTGRES_VARIABLE: &str = "REGIMEN_POSTGRES_BIN";

/// The variable that names the Redis or Valkey server program; it has priority.
const REDIS_VARIABLE: &str = "REGIMEN_REDIS_BIN";

/// The variable that names libfaketime's file; it has priority.
const FAKETIME_VARIABLE: &str = "REGIMEN_FAKETIME_LIB";

/// libfaketime's variant for programs with threads.
const FAKETIME: &str = "faketime/libfaketimeMT.so.1";

/// Distributions' library folders: on Debian it is in a subfolder named after the
/// architecture, elsewhere directly here.
const LIBRARIES: [&str; 3] = ["/usr/lib", "/usr/lib64", "/usr/local/lib"];

/// Folders whose entries with the prefix each hold one PostgreSQL in `bin`: the layouts
/// of Debian and of PostgreSQL's own RPMs.
const VERSIONED: [(&str, &str); 2] = [("/usr/lib/postgresql", ""), ("/usr", "pgsql-")];

/// Homebrew's folders: Apple silicon, Intel, Linux.
const HOMEBREW: [&str; 3] = ["/opt/homebrew", "/usr/local", "/home/linuxbrew/.linuxbrew"];

/// The places to search.
#[derive(Debug)]
pub(super) struct Machine {
    postgres: Option<PathBuf>,
    redis: Option<PathBuf>,
    faketime: Option<PathBuf>,
    libraries: Vec<PathBuf>,
    path: Vec<PathBuf>,
    versioned: Vec<(PathBuf, &'static str)>,
    homebrew: Vec<PathBuf>,
}

impl Machine {
    /// The places of this machine and environment.
    pub(super) fn this() -> Self {
        let named = |variable| std::env::var_os(variable).filter(|value| !value.is_empty());
        let path = named("PATH").unwrap_or_else(OsString::new);
        let mut path: Vec<_> = std::env::split_paths(&path).collect();
        // Debian installs servers there, and a user's PATH may lack it.
        path.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
        Self {
            postgres: named(POSTGRES_VARIABLE).map(PathBuf::from),
            redis: named(REDIS_VARIABLE).map(PathBuf::from),
            faketime: named(FAKETIME_VARIABLE).map(PathBuf::from),
            libraries: LIBRARIES.map(PathBuf::from).to_vec(),
            path,
            versioned: VERSIONED.map(|(parent, prefix)| (PathBuf::from(parent), prefix)).to_vec(),
            homebrew: HOMEBREW.map(PathBuf::from).to_vec(),
        }
    }

    /// The first PostgreSQL with a supported version.
    ///
    /// # Errors
    /// The variable that names it is wrong.
    pub(super) fn postgres(&self) -> Result<Option<PostgresPrograms>, ProvisionError> {
        if let Some(folder) = &self.postgres {
            return named(POSTGRES_VARIABLE, folder, Missing::Postgres, postgres_in(folder));
        }
        Ok(self.postgres_folders().iter().find_map(|folder| postgres_in(folder)))
    }

    /// The first Redis or Valkey with a supported version.
    ///
    /// # Errors
    /// The variable that names it is wrong.
    pub(super) fn redis(&self) -> Result<Option<RedisProgram>, ProvisionError> {
        if let Some(path) = &self.redis {
            return named(REDIS_VARIABLE, path, Missing::Redis, redis_at(path));
        }
        let brewed = self.homebrew.iter().map(|prefix| prefix.join("bin"));
        let folders: Vec<_> = self.path.iter().cloned().chain(brewed).collect();
        let programs = ["redis-server", "valkey-server"];
        let mut paths =
            programs.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
        Ok(paths.find_map(|path| redis_at(&path)))
    }

    /// The library that sets the clock of a process.
    ///
    /// # Errors
    /// The variable that names it is wrong.
    pub(super) fn faketime(&self) -> Result<Option<PathBuf>, ProvisionError> {
        let file = |path: PathBuf| path.is_file().then_some(path);
        if let Some(path) = &self.faketime {
            return named(FAKETIME_VARIABLE, path, Missing::Faketime, file(path.clone()));
        }
        let below = self.libraries.iter().flat_map(|folder| {
            let kinds = newest_first(folder, std::env::consts::ARCH, "");
            kinds.into_iter().chain([folder.clone()])
        });
        Ok(below.map(|folder| folder.join(FAKETIME)).find_map(file))
    }

    /// pgbouncer, which tests put in front of PostgreSQL.
    pub(super) fn pgbouncer(&self) -> Option<PathBuf> {
        let brewed = self.homebrew.iter().map(|prefix| prefix.join("bin/pgbouncer"));
        self.program("pgbouncer").or_else(|| brewed.into_iter().find(|path| path.is_file()))
    }

    /// The program `name` on the PATH.
    pub(super) fn program(&self, name: &str) -> Option<PathBuf> {
        self.path.iter().map(|folder| folder.join(name)).find(|path| path.is_file())
    }

    fn postgres_folders(&self) -> Vec<PathBuf> {
        let mut folders = self.path.clone();
        folders.extend(self.program("pg_config").and_then(|pg_config| {
            answer(&pg_config, "--bindir").map(|folder| PathBuf::from(folder.trim()))
        }));
        for (parent, prefix) in &self.versioned {
            folders.extend(newest_first(parent, prefix, "bin"));
        }
        for prefix in &self.homebrew {
            folders.extend(newest_first(&prefix.join("opt"), "postgresql", "bin"));
        }
        folders
    }
}

/// What the variable names must exist: silently using another one would mislead.
fn named<T>(
    variable: &'static str,
    value: &Path,
    wanted: Missing,
    found: Option<T>,
) -> Result<Option<T>, ProvisionError> {
    if found.is_some() {
        return Ok(found);
    }
    let problem = format!("there is no {wanted} there");
    Err(ProvisionError::Override { variable, value: value.to_owned(), problem })
}

/// The subfolder `inside` of every entry of `parent` with the prefix, newest first.
fn newest_first(parent: &Path, prefix: &str, inside: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect();
    let number = |name: &String| -> u32 {
        let digits: String = name.chars().filter(char::is_ascii_digit).collect();
        digits.parse().unwrap_or(0)
    };
    names.sort_by_key(|name| Reverse(number(name)));
    names.into_iter().map(|name| parent.join(name).join(inside)).collect()
}

fn postgres_in(folder: &Path) -> Option<PostgresPrograms> {
    // A PATH may contain only links to the programs; the other programs are beside the
    // link's target.
    let program = folder.join("postgres").canonicalize().ok()?;
    let folder = program.parent()?.to_owned();
    if !folder.join("initdb").is_file() {
        return None;
    }
    let version = Version::of_postgres(&answer(&program, "--version")?)?;
    let major = version.major();
    (major >= POSTGRES_SINCE).then_some(PostgresPrograms { folder, major, version })
}

fn redis_at(path: &Path) -> Option<RedisProgram> {
    let version = Version::of_redis(&answer(path, "--version")?)?;
    (version.major() >= REDIS_SINCE).then(|| RedisProgram { path: path.to_owned(), version })
}

fn answer(program: &Path, argument: &str) -> Option<String> {
    if !program.is_file() {
        return None;
    }
    let output = Command::new(program).arg(argument).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that has only what a test puts below `root`.
    fn machine(root: &Path) -> Machine {
        Machine {
            postgres: None,
            redis: None,
            faketime: None,
            libraries: vec![root.join("lib")],
            path: vec![root.join("path")],
            versioned: vec![(root.join("versioned"), "")],
            homebrew: vec![root.join("brew")],
        }
    }

    /// A program that prints `text` whatever it is asked. Another process writes
    /// it: what this one has open for writing, a program that a test beside us
    /// starts may inherit, and while it does the file cannot be run.
    fn program(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let script = format!("#!/bin/sh\necho '{text}'\n");
        let write = r#"printf %s "$1" > "$2" && chmod 755 "$2""#;
        let written = Command::new("sh").args(["-c", write, "sh", &script]).arg(path).status();
        assert!(written.unwrap().success());
    }

    fn postgres(folder: &Path, version: &str) {
        program(&folder.join("postgres"), &format!("postgres (PostgreSQL) {version}"));
        program(&folder.join("initdb"), "initdb");
    }

    #[test]
    fn an_empty_machine_has_neither() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(machine(dir.path()).postgres().unwrap(), None);
        assert_eq!(machine(dir.path()).redis().unwrap(), None);
    }

    #[test]
    fn the_path_comes_first_and_links_on_it_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap().join("elsewhere");
        postgres(&real, "15.4");
        postgres(&dir.path().join("versioned/17/bin"), "17.1");
        std::fs::create_dir(dir.path().join("path")).unwrap();
        std::os::unix::fs::symlink(real.join("postgres"), dir.path().join("path/postgres"))
            .unwrap();
        assert_eq!(machine(dir.path()).postgres().unwrap().unwrap().folder, real);
    }

    #[test]
    fn what_is_too_old_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        postgres(&dir.path().join("path"), "14.9");
        postgres(&dir.path().join("versioned/9.6/bin"), "9.6.24");
        postgres(&dir.path().join("brew/opt/postgresql@16/bin"), "16.2");
        assert_eq!(machine(dir.path()).postgres().unwrap().unwrap().major, 16);
        program(&dir.path().join("path/redis-server"), "Redis server v=6.0.16 sha=0");
        assert_eq!(machine(dir.path()).redis().unwrap(), None);
        let valkey = dir.path().join("brew/bin/valkey-server");
        program(&valkey, "Valkey server v=8.0.1 sha=0");
        assert_eq!(machine(dir.path()).redis().unwrap().unwrap().path, valkey);
    }

    #[test]
    fn of_several_the_newest_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["16", "9", "18", "15"] {
            postgres(&dir.path().join("versioned").join(version).join("bin"), version);
        }
        assert_eq!(machine(dir.path()).postgres().unwrap().unwrap().major, 18);
    }

    #[test]
    fn the_library_lies_below_a_folder_of_the_machines_kind_or_not() {
        let dir = tempfile::tempdir().unwrap();
        let machine = machine(dir.path());
        assert_eq!(machine.faketime().unwrap(), None);
        let kind = format!("lib/{}-linux-gnu/{FAKETIME}", std::env::consts::ARCH);
        for place in [format!("lib/{FAKETIME}"), kind] {
            let path = dir.path().join(place);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            assert_eq!(machine.faketime().unwrap(), Some(path));
        }
        let wrong = dir.path().join("nowhere");
        let error = Machine { faketime: Some(wrong), ..machine }.faketime().unwrap_err();
        assert!(error.to_string().ends_with("there is no libfaketime there"), "{error}");
    }

    #[test]
    fn a_variable_that_names_nothing_is_an_error_that_says_so() {
        let dir = tempfile::tempdir().unwrap();
        postgres(&dir.path().join("path"), "15.4");
        let wrong = dir.path().join("nowhere");
        let machine = Machine { postgres: Some(wrong), ..machine(dir.path()) };
        let error = machine.postgres().unwrap_err().to_string();
        assert!(error.starts_with("REGIMEN_POSTGRES_BIN is "), "{error}");
        assert!(error.ends_with("there is no PostgreSQL 15 or newer there"), "{error}");
    }
}
