//! The command line.

use std::net::AddrParseError;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use clap::Parser;

use crate::{Control, Settings, Simulator, StartError};

/// Stand-in for the AI providers. See load-tests/simulator/README.md.
#[derive(Debug, Clone, Parser)]
#[command(name = "regimen-simulator", version, about)]
pub struct Options {
    /// Where to listen [LISTEN_ADDR, default 127.0.0.1:0]
    #[arg(long)]
    listen: Option<String>,
    /// File to write SIMULATOR_URL=… and SIMULATOR_UNTRUSTED_URL=… to once it serves [ADDRESS_FILE]
    #[arg(long)]
    address_file: Option<PathBuf>,
    /// JSON file with the first settings, as for POST /control
    #[arg(long)]
    control: Option<PathBuf>,
    /// How many of the newest calls keep their bodies
    #[arg(long, default_value_t = Settings::default().keep_calls)]
    keep_calls: usize,
}

/// Why the program failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The address cannot be parsed.
    #[error("the listen address {0:?} does not read ({1}); give one like 127.0.0.1:4010")]
    Address(String, AddrParseError),
    /// The settings file cannot be read.
    #[error("cannot read {0}: {1}")]
    Read(PathBuf, io::Error),
    /// The settings file is invalid.
    #[error("{0} does not read: {1}")]
    Parse(PathBuf, serde_json::Error),
    /// The address file cannot be written.
    #[error("cannot write {0}: {1}")]
    Write(PathBuf, io::Error),
    /// It did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The signal handlers cannot be installed.
    #[error("cannot listen to signals: {0}")]
    Signals(io::Error),
}

impl Options {
    /// The settings; the environment is used for options not given.
    ///
    /// # Errors
    /// The address or the settings file is invalid.
    pub fn settings(&self) -> Result<Settings, RunError> {
        let mut settings = Settings { keep_calls: self.keep_calls, ..Settings::default() };
        let given = self.listen.clone().or_else(|| env::var("LISTEN_ADDR").ok());
        if let Some(text) = given.filter(|text| !text.trim().is_empty()) {
            settings.listen =
                text.trim().parse().map_err(|error| RunError::Address(text, error))?;
        }
        if let Some(path) = &self.control {
            settings.control = read_control(path)?;
        }
        Ok(settings)
    }

    /// Writes the simulator's URLs to the address file, if there is one.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn announce(&self, simulator: &Simulator) -> Result<(), RunError> {
        let path =
            self.address_file.clone().or_else(|| env::var_os("ADDRESS_FILE").map(PathBuf::from));
        let Some(path) = path else { return Ok(()) };
        // Renamed into place, so that readers see the complete file.
        let draft = path.with_extension("tmp");
        let (url, untrusted) = (simulator.url(), simulator.untrusted_url());
        let text = format!("SIMULATOR_URL={url}\nSIMULATOR_UNTRUSTED_URL={untrusted}\n");
        fs::write(&draft, text)
            .and_then(|()| fs::rename(&draft, &path))
            .map_err(|error| RunError::Write(path, error))
    }
}

fn read_control(path: &Path) -> Result<Control, RunError> {
    let text = fs::read(path).map_err(|error| RunError::Read(path.to_owned(), error))?;
    serde_json::from_slice(&text).map_err(|error| RunError::Parse(path.to_owned(), error))
}
