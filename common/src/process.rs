//! What the main functions share: the runtime, the crypto provider, and the
//! error report of a process that cannot start.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};

use crate::start::StartError;

/// Runs a process to its end. A failure is printed to stderr with its causes, and the
/// exit code is 1.
pub fn main(run: impl FnOnce() -> Result<ExitCode, Box<dyn Error>>) -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = error.source();
            while let Some(source) = cause {
                let source_text = source.to_string();
                if !text.contains(&source_text) {
                    text.push_str(": ");
                    text.push_str(&source_text);
                }
                cause = source.source();
            }
            // Nothing can be reported when stderr is closed too.
            let _ = writeln!(std::io::stderr(), "{text}");
            ExitCode::FAILURE
        }
    }
}

/// The multi-threaded runtime of a process.
///
/// # Errors
/// Threads could not be started.
pub fn runtime() -> Result<Runtime, StartError> {
    Builder::new_multi_thread().enable_all().build().map_err(StartError::Threads)
}

/// Makes ring the process's TLS provider. Repeating it does no harm.
pub fn install_crypto() {
    // An error means that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Prints to stdout; only commands use it, never services.
pub fn say(text: &str) {
    // The reader may close stdout.
    let _ = writeln!(std::io::stdout(), "{text}");
}
