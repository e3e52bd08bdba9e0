//! Python and Node for tests against independent software: official client
//! libraries, a mail server, a stand-in for Stripe.
//!
//! The pinned packages of `load-tests/<suite>` are installed once, in the
//! suite's own environment under `target/languages`. When that is impossible, a
//! test is skipped with a message; in CI it fails.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The variable that names the Python to use.
const PYTHON: &str = "REGIMEN_PYTHON";
/// The packages need it.
const OLDEST_PYTHON: (u32, u32) = (3, 10);
const OLDEST_NODE: u32 = 18;

/// A language with the packages of one suite.
#[derive(Debug)]
pub struct Language {
    program: PathBuf,
    scripts: PathBuf,
    packages: Option<PathBuf>,
}

impl Language {
    /// Python with the packages of `load-tests/<suite>/requirements.txt`;
    /// `None` when the test has to be skipped.
    pub fn python(suite: &str) -> Option<Self> {
        let scripts = scripts(suite);
        let venv = environment("python", suite, &scripts.join("requirements.txt"), |venv| {
            let python = std::env::var_os(PYTHON).unwrap_or_else(|| "python3".into());
            let version = "import sys; print(*sys.version_info[:2])";
            let found = run(Command::new(&python).args(["-c", version]))?;
            let mut parts = found.split_whitespace().map_while(|part| part.parse::<u32>().ok());
            if parts.next().zip(parts.next()).is_none_or(|found| found < OLDEST_PYTHON) {
                let (major, minor) = OLDEST_PYTHON;
                return Err(format!("Python is older than {major}.{minor}: {found}"));
            }
            run(Command::new(&python).args(["-m", "venv"]).arg(venv))?;
            run(Command::new(venv.join("bin/python"))
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
                .arg(scripts.join("requirements.txt")))
        })?;
        Some(Self { program: venv.join("bin/python"), scripts, packages: None })
    }

    /// Node with the packages of `load-tests/<suite>/package.json`; `None`
    /// when the test has to be skipped.
    pub fn node(suite: &str) -> Option<Self> {
        let scripts = scripts(suite);
        let pins = scripts.join("package.json");
        let folder = environment("node", suite, &pins, |folder| {
            let found = run(Command::new("node").arg("--version"))?;
            let major = found.trim_start_matches('v').split('.').next().unwrap_or_default();
            if major.parse::<u32>().is_ok_and(|major| major < OLDEST_NODE) {
                return Err(format!("Node is older than {OLDEST_NODE}: {found}"));
            }
            std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
            std::fs::copy(&pins, folder.join("package.json")).map_err(|error| error.to_string())?;
            run(Command::new("npm").current_dir(folder).args([
                "install",
                "--silent",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--no-package-lock",
            ]))
        })?;
        Some(Self { program: "node".into(), scripts, packages: Some(folder.join("node_modules")) })
    }

    /// The call of one of the suite's scripts.
    pub fn script(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(self.scripts.join(name));
        // All servers are on this machine.
        command.env("NO_PROXY", "127.0.0.1,localhost").env("no_proxy", "127.0.0.1,localhost");
        if let Some(packages) = &self.packages {
            command.env("NODE_PATH", packages);
        }
        command
    }
}

fn scripts(suite: &str) -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).join("load-tests").join(suite)
}

/// The folder of the environment, made by `make` unless it exists for the same pins. Test
/// processes make it one after another.
fn environment(
    language: &str,
    suite: &str,
    pins: &Path,
    make: impl FnOnce(&Path) -> Result<String, String>,
) -> Option<PathBuf> {
    let folder = target().join("languages").join(format!("{suite}-{language}"));
    let made = prepare(&folder, pins, make);
    made.map_err(|why| skip(&format!("{language} with {}", pins.display()), &why)).ok()?;
    Some(folder)
}

fn prepare(
    folder: &Path,
    pins: &Path,
    make: impl FnOnce(&Path) -> Result<String, String>,
) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    std::fs::create_dir_all(folder.parent().unwrap_or(folder)).map_err(text)?;
    let turn = File::create(folder.with_extension("lock")).map_err(text)?;
    turn.lock().map_err(text)?;
    let wanted = std::fs::read(pins).map_err(text)?;
    // Written last: an environment without it is incomplete.
    let mark = folder.join("made-from");
    if std::fs::read(&mark).is_ok_and(|made| made == wanted) {
        return Ok(());
    }
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(text)?;
    }
    make(folder)?;
    std::fs::write(&mark, wanted).map_err(text)
}

/// Runs it to its end; returns its output, or why it failed.
fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{name} cannot be run: {error}"))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    Err(format!("{name} ended with {}: {}", done.status, said.trim()))
}

/// Reports a skipped test, bypassing cargo's capture of test output.
fn skip(what: &str, why: &str) {
    let in_ci = std::env::var_os("CI").is_some_and(|ci| ci == OsStr::new("true"));
    assert!(!in_ci, "CI must run every suite, but this machine lacks {what}: {why}");
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // Without a terminal nobody reads it.
    let _ = writeln!(std::io::stderr(), "\nSKIPPED {test}: no {what}: {why}\n");
}

/// Tests are in `target/<profile>/deps`.
fn target() -> PathBuf {
    let test = std::env::current_exe().expect("the path of the running test");
    test.ancestors().nth(3).expect("the target folder of the running test").to_owned()
}
