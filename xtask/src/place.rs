//! Where a suite or a load test runs: its folder, and the stack it can start
//! there.

use std::path::{Path, PathBuf};

use crate::key_values::FileError;
use crate::provision::Programs;
use crate::secrets::Secrets;
use crate::servers::{Servers, ServersError};
use crate::session::Session;
use crate::stack::{Providers, Stack, StackError, StackPlan};
use crate::workspace::Profile;

/// The folder and the programs of one run's stack.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The session of the run.
    pub(crate) session: &'a Session,
    /// PostgreSQL and Redis.
    pub(crate) programs: &'a Programs,
    /// Its folder.
    pub(crate) folder: &'a Path,
    /// The profile of the binaries.
    pub(crate) profile: Profile,
}

/// Why the stack did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    /// Its secrets cannot be read or written.
    #[error(transparent)]
    Secrets(#[from] FileError),
    /// PostgreSQL or Redis does not start.
    #[error(transparent)]
    Servers(#[from] ServersError),
    /// A process of ours does not start.
    #[error(transparent)]
    Stack(#[from] StackError),
}

impl Place<'_> {
    /// Starts a stack of the compiled binaries, with its own servers and data and with
    /// the simulator as the provider.
    ///
    /// # Errors
    /// A part of it does not start.
    pub(crate) fn stack(
        &self,
        ingress_settings: &[(&str, &str)],
        worker_settings: &[(&str, &str)],
    ) -> Result<(Stack, Secrets), PlaceError> {
        let secrets = Secrets::of(self.folder)?;
        let (programs, passwords) = (self.programs.clone(), secrets.passwords.clone());
        let servers = Servers::start(self.session, programs, self.folder, passwords)?;
        let plan = StackPlan {
            folder: self.folder,
            binaries: &self.session.workspace.binaries(self.profile),
            secrets: &secrets,
            workers: 1,
            providers: Providers::Simulator,
            ingress_settings,
            worker_settings,
        };
        let stack = plan.start(self.session, servers)?;
        Ok((stack, secrets))
    }

    /// The path of a file of the repository.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.session.workspace.root().join(path)
    }
}
