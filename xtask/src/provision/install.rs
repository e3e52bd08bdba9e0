//! Installs what is missing: with apt-get as root or through sudo, or with
//! Homebrew. If neither works, tells how to install it by hand.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::find::Machine;
use super::version::package_major;
use super::{Missing, POSTGRES_SINCE, ProvisionError, REDIS_SINCE};
use crate::session::Session;
use regimen_devtools::process::{Output, Process, ProcessError};

/// How to install what is missing by hand.
pub(super) const BY_HAND: &str = "\
It can be installed automatically only with apt-get (as root, or with a sudo that asks for no \
password) or Homebrew. Otherwise run the line for your system, then this command again:
  Debian, Ubuntu   sudo apt-get install postgresql redis-server libfaketime
  Fedora           sudo dnf install postgresql-server valkey libfaketime
  Arch             sudo pacman -S postgresql valkey libfaketime
  Alpine           sudo apk add postgresql redis libfaketime
  macOS            brew install postgresql@17 redis
Already there, in an unusual place? Set REGIMEN_POSTGRES_BIN to the folder of `postgres` and \
`initdb`, REGIMEN_REDIS_BIN to the path of `redis-server`, and REGIMEN_FAKETIME_LIB to that of \
`libfaketimeMT.so.1`. The tests also start a pgbouncer, whose package has that name \
everywhere; `alerts` needs alertmanager or prometheus-alertmanager on the PATH.";

/// What to do when a program is in an unusual place.
pub(super) const ELSEWHERE: &str = "\
set REGIMEN_POSTGRES_BIN to the folder of `postgres` and `initdb`, REGIMEN_REDIS_BIN to the path \
of `redis-server`, or REGIMEN_FAKETIME_LIB to that of `libfaketimeMT.so.1`";

const NEWER_POSTGRES: &str = "\
Newer ones come from the PostgreSQL project: https://www.postgresql.org/download/linux/";

const NEWER_REDIS: &str = "\
Newer ones come from the Redis project: https://redis.io/docs/latest/operate/oss_and_stack/install/";

const FAKETIME_ITSELF: &str = "\
It comes from https://github.com/wolfcw/libfaketime; `--without clocks` leaves out what needs it.";

const ALERTMANAGER: &str = "It comes from https://prometheus.io/download/#alertmanager";

const CHROMIUM: &str = "Any Chromium or Chrome on the PATH will do.";

const PGBOUNCER: &str = "It comes from https://www.pgbouncer.org/install.html";

/// Debian's invoke-rc.d calls it before a package starts a service; exit code 101 forbids
/// that.
const POLICY: &str = "/usr/sbin/policy-rc.d";

/// Where an existing policy is kept in the meantime.
const POLICY_ASIDE: &str = "/usr/sbin/policy-rc.d.before-regimen";

/// Installs what is missing and leaves none of its services running.
///
/// # Errors
/// See [`ProvisionError`].
pub(super) fn install(
    session: &Session,
    machine: &Machine,
    missing: &[Missing],
) -> Result<(), ProvisionError> {
    if let Some(apt) = Apt::of(session, machine) {
        return apt.install(missing);
    }
    let Some(brew) = machine.program("brew") else {
        return Err(ProvisionError::NoInstaller { missing: missing.to_vec() });
    };
    let formulae = missing.iter().map(|missing| match missing {
        Missing::Postgres => "postgresql@17",
        Missing::Redis => "redis",
        Missing::Faketime => "libfaketime",
        Missing::Pgbouncer => "pgbouncer",
        Missing::Alertmanager => "alertmanager",
        Missing::Chromium => "chromium",
    });
    let mut command = Command::new(brew);
    command.arg("install").args(formulae).env("HOMEBREW_NO_AUTO_UPDATE", "1");
    session.say("installing with Homebrew (its own output follows)");
    Process::run(session, "brew install", command, Output::Ours).map_err(failed(missing))
}

/// apt-get with the permission to install.
struct Apt<'a> {
    session: &'a Session,
    program: PathBuf,
    sudo: Option<PathBuf>,
    log: PathBuf,
}

/// A Debian package and its version.
struct Package {
    name: &'static str,
    service: Option<&'static str>,
}

impl<'a> Apt<'a> {
    fn of(session: &'a Session, machine: &Machine) -> Option<Self> {
        let program = machine.program("apt-get")?;
        let sudo = if rustix::process::geteuid().is_root() {
            None
        } else {
            Some(machine.program("sudo").filter(|sudo| asks_no_password(sudo))?)
        };
        let log = session.workspace.place("install.log");
        Some(Self { session, program, sudo, log })
    }

    fn install(&self, missing: &[Missing]) -> Result<(), ProvisionError> {
        let log = self.session.workspace.show(&self.log);
        self.session.say(format_args!("updating the package lists (log: {log})"));
        if let Err(error) = self.run("apt-get update", self.apt_get(&["update"])) {
            // One unreachable source does not invalidate the lists of the others.
            self.session.say(format_args!("{error}\n  going on with the lists at hand"));
        }
        let packages: Vec<_> =
            missing.iter().map(|missing| package_for(*missing)).collect::<Result<_, _>>()?;
        let names: Vec<_> = packages.iter().map(|package| package.name).collect();
        self.session.say(format_args!("installing {} (log: {log})", names.join(" and ")));
        let quiet = Quiet::begin(self)?;
        let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
        arguments.extend(&names);
        let installed = self.run("apt-get install", self.apt_get(&arguments));
        quiet.end()?;
        installed.map_err(failed(missing))?;
        self.keep_from_starting_at_boot(&packages)
    }

    fn apt_get(&self, arguments: &[&str]) -> Command {
        // Through `env`, because sudo drops the caller's variables.
        let mut command = self.as_root("env");
        command.arg("DEBIAN_FRONTEND=noninteractive").arg(&self.program);
        // Another apt may be running, for example on a new machine.
        command.args(["--option", "DPkg::Lock::Timeout=300"]).args(arguments);
        command
    }

    /// The packages enable their services, which would start with the next boot.
    fn keep_from_starting_at_boot(&self, packages: &[Package]) -> Result<(), ProvisionError> {
        let services: Vec<_> = packages.iter().filter_map(|package| package.service).collect();
        if services.is_empty() || !Path::new("/run/systemd/system").exists() {
            return Ok(());
        }
        let mut disable = self.as_root("systemctl");
        disable.arg("disable").args(services);
        self.run("systemctl disable", disable).map_err(ProvisionError::Services)
    }

    fn as_root(&self, program: &str) -> Command {
        match &self.sudo {
            None => Command::new(program),
            Some(sudo) => {
                let mut command = Command::new(sudo);
                command.args(["--non-interactive", program]);
                command
            }
        }
    }

    fn run(&self, name: &str, command: Command) -> Result<(), ProcessError> {
        Process::run(self.session, name, command, Output::Log(&self.log))
    }
}

/// While this value exists, packages start no services.
struct Quiet<'a> {
    apt: &'a Apt<'a>,
    over: bool,
}

impl<'a> Quiet<'a> {
    fn begin(apt: &'a Apt<'a>) -> Result<Self, ProvisionError> {
        let mut command = apt.as_root("sh");
        command.args(["-c", BEGIN_QUIET, "quiet", POLICY, POLICY_ASIDE]);
        apt.run("setting the service policy", command).map_err(ProvisionError::Services)?;
        Ok(Self { apt, over: false })
    }

    fn end(mut self) -> Result<(), ProvisionError> {
        self.over = true;
        self.undo().map_err(ProvisionError::Services)
    }

    /// Runs to its end even after Ctrl-C: a policy left behind would prevent services
    /// from ever starting on this machine.
    fn undo(&self) -> Result<(), ProcessError> {
        let mut command = self.apt.as_root("sh");
        command.args(["-c", END_QUIET, "quiet", POLICY, POLICY_ASIDE]);
        let name = "resetting the service policy".to_owned();
        match command.stdin(Stdio::null()).status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(ProcessError::Ended { name, status, tail: String::new() }),
            Err(source) => Err(ProcessError::Start { name, source }),
        }
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        if !self.over
            && let Err(error) = self.undo()
        {
            self.apt.session.say(format_args!("remove {POLICY} by hand: {error}"));
        }
    }
}

/// Installs our policy; one from an interrupted run is ours already.
const BEGIN_QUIET: &str = r#"
set -e
if [ -e "$1" ] && ! grep -q "placed by cargo xtask" "$1"; then mv "$1" "$2"; fi
printf '#!/bin/sh\n# placed by cargo xtask while it installs packages\nexit 101\n' > "$1"
chmod 755 "$1"
"#;

/// Removes our policy and restores the earlier one.
const END_QUIET: &str = r#"
set -e
rm -f "$1"
if [ -e "$2" ]; then mv "$2" "$1"; fi
"#;

/// The package for what is missing, if it is new enough.
fn package_for(missing: Missing) -> Result<Package, ProvisionError> {
    let (choices, since, how): (&[Package], _, _) = match missing {
        Missing::Postgres => (
            &[Package { name: "postgresql", service: Some("postgresql.service") }],
            POSTGRES_SINCE,
            NEWER_POSTGRES,
        ),
        Missing::Redis => (
            &[
                Package { name: "redis-server", service: Some("redis-server.service") },
                Package { name: "valkey-server", service: Some("valkey-server.service") },
            ],
            REDIS_SINCE,
            NEWER_REDIS,
        ),
        Missing::Faketime => {
            (&[Package { name: "libfaketime", service: None }], 0, FAKETIME_ITSELF)
        }
        Missing::Pgbouncer => {
            (&[Package { name: "pgbouncer", service: Some("pgbouncer.service") }], 1, PGBOUNCER)
        }
        Missing::Alertmanager => (
            &[Package {
                name: "prometheus-alertmanager",
                service: Some("prometheus-alertmanager.service"),
            }],
            0,
            ALERTMANAGER,
        ),
        Missing::Chromium => (&[Package { name: "chromium", service: None }], 0, CHROMIUM),
    };
    let mut offers = choices.iter().map(|package| (package, candidate(package.name)));
    let recent = |offer: &Option<String>| {
        offer.as_deref().and_then(package_major).is_some_and(|major| major >= since)
    };
    if let Some((package, _)) = offers.clone().find(|(_, offer)| recent(offer)) {
        return Ok(Package { name: package.name, service: package.service });
    }
    let (package, offer) =
        offers.next().map_or(("", None), |(package, offer)| (package.name, offer));
    let offered = offer.unwrap_or_else(|| "not available".to_owned());
    Err(ProvisionError::NotOffered { missing, package, offered, how })
}

/// The version that apt would install.
fn candidate(package: &str) -> Option<String> {
    let mut policy = Command::new("apt-cache");
    let output = policy.args(["policy", package]).env("LC_ALL", "C").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_owned())
}

fn asks_no_password(sudo: &Path) -> bool {
    let mut probe = Command::new(sudo);
    probe.args(["--non-interactive", "true"]).stdin(Stdio::null());
    probe.stdout(Stdio::null()).stderr(Stdio::null());
    probe.status().is_ok_and(|status| status.success())
}

fn failed(missing: &[Missing]) -> impl FnOnce(ProcessError) -> ProvisionError {
    let missing = missing.to_vec();
    |source| match source {
        ProcessError::Interrupted(interrupted) => interrupted.into(),
        source => ProvisionError::Install { missing, source },
    }
}
