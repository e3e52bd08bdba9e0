//! Where a suite or a load test runs: the folder of its own, and the stack of
//! its own that it can start there.

use std::path::{Path, PathBuf};

use crate::key_values::FileError;
use crate::provision::Programs;
use crate::secrets::Secrets;
use crate::servers::{Servers, ServersError};
use crate::session::Session;
use crate::stack::{Providers, Stack, StackError, StackPlan};
use crate::workspace::Profile;

/// A run, and where its stack is.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The run it belongs to.
    pub(crate) session: &'a Session,
    /// PostgreSQL and Redis.
    pub(crate) programs: &'a Programs,
    /// A folder of its own.
    pub(crate) folder: &'a Path,
    /// How the binaries were compiled.
    pub(crate) profile: Profile,
}

/// Why there is no stack.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaceError {
    /// Its secrets are out of reach.
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
    /// A stack of the binaries as they were compiled, with servers and data of
    /// its own and the simulator as provider.
    ///
    /// # Errors
    /// Something of it does not start.
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

    /// A file of the repository.
    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.session.workspace.root().join(path)
    }
}
