//! `cargo xtask upgrade`: an older release is replaced by this one and this one
//! by the older, process by process and under load, on the schema of this one;
//! the checker of `cargo xtask chaos` says what was lost.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;

use crate::binaries;
use crate::chaos::{self, ChaosError, Scenario};
use crate::session::Session;
use crate::workspace::Profile;
use regimen_devtools::process::{Output, Process, ProcessError};

/// The folder of the older release under `target`: its sources and binaries.
const FOLDER: &str = "previous";

/// What `cargo xtask upgrade` takes.
#[derive(Args)]
pub(crate) struct UpgradeArgs {
    /// The older release: a commit or a tag.
    #[arg(long, value_name = "REF", default_value = "HEAD~1")]
    from: String,
    /// How long there is load.
    #[arg(long, value_name = "N", default_value_t = 2.0)]
    minutes: f64,
    /// Draws requests and stories; the same seed draws the same ones.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Take binaries compiled without optimisation.
    #[arg(long)]
    dev: bool,
    /// Take the newer binaries as they are, and the older ones of this folder.
    #[arg(long, value_name = "FOLDER", hide = true)]
    binaries: Option<PathBuf>,
}

/// Why a run came to no verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpgradeError {
    /// A release does not compile, or git knows no such commit.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The run itself.
    #[error(transparent)]
    Run(#[from] ChaosError),
}

/// Runs the command; fails when something was lost or done twice.
///
/// # Errors
/// There is no verdict.
pub(crate) fn run(session: &Session, args: &UpgradeArgs) -> Result<ExitCode, UpgradeError> {
    let profile = if args.dev { Profile::Dev } else { Profile::Release };
    let old = match &args.binaries {
        Some(folder) => folder.clone(),
        None => {
            binaries::build(session, profile)?;
            build_older(session, &args.from, profile)?
        }
    };
    let kept = chaos::play(session, Scenario::Upgrade(old), args.minutes, args.seed, profile)?;
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Compiles the older release in a working tree of its own; where its binaries are.
fn build_older(session: &Session, from: &str, profile: Profile) -> Result<PathBuf, ProcessError> {
    let folder = session.workspace.place(FOLDER);
    let (source, target) = (folder.join("source"), folder.join("target"));
    let root = session.workspace.root();
    let git = |arguments: &[&str], place: &Path| {
        let mut git = Command::new("git");
        git.current_dir(place).args(arguments);
        Process::run(session, "git", git, Output::Ours)
    };
    let commit = format!("{from}^{{commit}}");
    git(&["rev-parse", "--quiet", "--verify", &commit], root)?;
    if source.join(".git").exists() {
        // What HEAD~1 means is a matter of our tree, not of that one.
        let found = Command::new("git").current_dir(root).args(["rev-parse", &commit]).output();
        let found = found.map(|found| String::from_utf8_lossy(&found.stdout).trim().to_owned());
        git(&["checkout", "--quiet", "--detach", &found.unwrap_or(commit)], &source)?;
    } else {
        let place = source.display().to_string();
        git(&["worktree", "prune"], root)?;
        git(&["worktree", "add", "--force", "--detach", &place, &commit], root)?;
    }
    session.say(format_args!("compiling {from} (minutes at first)"));
    let mut cargo = session.workspace.cargo();
    cargo.current_dir(&source).env("CARGO_TARGET_DIR", &target);
    cargo.args(["build", "--bins", "--package", "regimen-ingress", "--package", "regimen-worker"]);
    cargo.args(profile.arguments());
    Process::run(session, "cargo build", cargo, Output::Ours)?;
    Ok(target.join(profile.folder()))
}
