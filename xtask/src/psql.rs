//! Reads a PostgreSQL database through psql, which every installation of the
//! server includes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

/// Why a query failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PsqlError {
    /// The client cannot be run.
    #[error("cannot run {}: {source}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The query failed.
    #[error("a query failed: {0}")]
    Query(String),
    /// A column has an unexpected format.
    #[error("column {column} of a row does not read: {row:?}")]
    Column {
        /// Its number, from 0.
        column: usize,
        /// The row.
        row: String,
    },
}

/// One database.
#[derive(Debug, Clone)]
pub(crate) struct Psql {
    program: PathBuf,
    port: String,
    password: String,
    database: String,
}

/// A row as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row(Vec<String>);

impl Psql {
    /// The superuser's connection to a private server; `folder` has the programs.
    pub(crate) fn new(folder: &Path, port: u16, password: &str) -> Self {
        Self {
            program: folder.join("psql"),
            port: port.to_string(),
            password: password.to_owned(),
            database: "postgres".to_owned(),
        }
    }

    /// Another database of the same server.
    pub(crate) fn database(&self, name: &str) -> Self {
        Self { database: name.to_owned(), ..self.clone() }
    }

    /// The rows of a query. No column may hold a tab, a line break or a backslash.
    ///
    /// # Errors
    /// See [`PsqlError`].
    pub(crate) fn rows(&self, sql: &str) -> Result<Vec<Row>, PsqlError> {
        let text = self.run(&format!("copy ({sql}) to stdout"))?;
        Ok(text.lines().map(|line| Row(line.split('\t').map(str::to_owned).collect())).collect())
    }

    /// Runs statements; returns their output.
    ///
    /// # Errors
    /// See [`PsqlError`].
    pub(crate) fn run(&self, sql: &str) -> Result<String, PsqlError> {
        self.output(self.command("psql", sql))
    }

    /// Runs a file, which may use psql's own commands; returns its output.
    ///
    /// # Errors
    /// See [`PsqlError`].
    pub(crate) fn run_file(&self, path: &Path) -> Result<String, PsqlError> {
        let mut psql = self.session("psql");
        psql.arg("-f").arg(path);
        self.output(psql)
    }

    fn output(&self, mut psql: Command) -> Result<String, PsqlError> {
        let failed = |source| PsqlError::Run { program: self.program.clone(), source };
        let output = psql.output().map_err(failed)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(PsqlError::Query(said));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The psql command that runs statements in a session called `name`.
    pub(crate) fn command(&self, name: &str, sql: &str) -> Command {
        let mut psql = self.session(name);
        psql.args(["-c", sql]);
        psql
    }

    fn session(&self, name: &str) -> Command {
        let mut psql = Command::new(&self.program);
        psql.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"]);
        psql.args(["-p", &self.port, "-d", &self.database]);
        // In the environment, because every user of the machine can read arguments.
        psql.env("PGPASSWORD", &self.password).env("PGCONNECT_TIMEOUT", "5");
        // The limits that a run sets for the role must not apply here.
        psql.env("PGOPTIONS", "-c statement_timeout=0 -c lock_timeout=0");
        psql.env("PGAPPNAME", name);
        psql
    }
}

impl Row {
    /// A column that is not null.
    ///
    /// # Errors
    /// It is null, or cannot be parsed.
    pub(crate) fn get<T: FromStr>(&self, column: usize) -> Result<T, PsqlError> {
        self.maybe(column)?.ok_or_else(|| self.unreadable(column))
    }

    /// A column that may be null.
    ///
    /// # Errors
    /// It cannot be parsed.
    pub(crate) fn maybe<T: FromStr>(&self, column: usize) -> Result<Option<T>, PsqlError> {
        match self.0.get(column).map(String::as_str) {
            None => Err(self.unreadable(column)),
            Some("\\N") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| self.unreadable(column)),
        }
    }

    fn unreadable(&self, column: usize) -> PsqlError {
        PsqlError::Column { column, row: self.0.join("\t") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_read_as_what_they_are() {
        let row = Row(vec!["7".to_owned(), "\\N".to_owned(), "x".to_owned()]);
        assert_eq!(row.get::<i64>(0).unwrap(), 7);
        assert_eq!(row.maybe::<i64>(1).unwrap(), None);
        assert!(row.get::<i64>(1).is_err() && row.get::<i64>(2).is_err());
        assert!(row.maybe::<i64>(3).is_err());
    }
}
