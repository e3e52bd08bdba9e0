//! The paths of the workspace, its binaries and the commands' own files.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The build profile of the binaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Compiles quickly.
    Dev,
    /// Runs quickly.
    Release,
    /// As the images have it; compiles slowly.
    Dist,
}

impl Profile {
    /// cargo's arguments for it.
    pub(crate) fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Dev => &[],
            Self::Release => &["--release"],
            Self::Dist => &["--profile", "dist"],
        }
    }

    /// The name of its folder under `target`.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
            Self::Dist => "dist",
        }
    }
}

/// The paths of the workspace.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    root: PathBuf,
    profiles: PathBuf,
}

impl Workspace {
    /// The workspace this program was built from; `program` is the program's path.
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

    /// The folder of a profile's binaries, beside that of this program.
    pub(crate) fn binaries(&self, profile: Profile) -> PathBuf {
        self.profiles.join(profile.folder())
    }

    /// The path of one of our folders under `target`.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.root.join("target").join(name)
    }

    /// A path for messages: relative to the workspace if it is inside.
    pub(crate) fn show<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }

    /// The cargo that runs this program, in the workspace's root.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root);
        // `cargo run` describes this package in the environment; build scripts that watch
        // those variables would run again needlessly.
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
