//! Where the workspace, its binaries and the commands' own files are.

use std::path::{Path, PathBuf};
use std::process::Command;

/// How the binaries are compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to compile.
    Dev,
    /// Quick to run.
    Release,
}

/// The paths everything else is found from.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    root: PathBuf,
    profiles: PathBuf,
}

impl Workspace {
    /// The workspace this program was built from; `program` is its path, as
    /// cargo made it.
    pub(crate) fn of(program: &Path) -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().unwrap_or(manifest).to_owned();
        let profiles = program.parent().and_then(Path::parent).unwrap_or(&root).to_owned();
        Self { root, profiles }
    }

    /// The folder with the workspace's Cargo.toml.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo puts the binaries of a profile: beside those of this program's own.
    pub(crate) fn binaries(&self, profile: Profile) -> PathBuf {
        self.profiles.join(match profile {
            Profile::Dev => "debug",
            Profile::Release => "release",
        })
    }

    /// A folder of ours under `target`.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.root.join("target").join(name)
    }

    /// A path as people read it: relative to the workspace where it lies inside.
    pub(crate) fn show<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }

    /// Cargo, the one that runs this program, in the workspace's root.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root);
        // `cargo run` describes this package in the environment; build scripts
        // that watch those variables would be run again for nothing.
        for (name, _) in std::env::vars_os() {
            let about_us = name.to_str().is_some_and(|name| {
                name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
            });
            if about_us {
                cargo.env_remove(name);
            }
        }
        cargo
    }
}
