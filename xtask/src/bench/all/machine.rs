//! What was measured where: the machine, the programs, the commit, the time.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use chrono::DateTime;

use crate::bench::ground::Ground;
use crate::clock;
use crate::session::Session;

/// The machine and the programs.
pub(super) fn facts(ground: &Ground<'_>) -> BTreeMap<String, String> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let postgres = ground.postgres_program("postgres");
    let facts = [
        ("processor", field("/proc/cpuinfo", "model name")),
        ("cores", Some(cores.to_string())),
        ("memory", memory()),
        ("system", said(Path::new("uname"), &["-sr"])),
        ("PostgreSQL", said(&postgres, &["--version"])),
        ("Redis", said(&ground.programs.redis.path, &["--version"]).map(|said| first(&said))),
        ("Node.js", said(Path::new("node"), &["--version"])),
        ("Python", said(Path::new("python3"), &["--version"])),
        ("Rust", said(Path::new("rustc"), &["--version"])),
    ];
    let known = facts.into_iter().filter_map(|(name, fact)| Some((name.to_owned(), fact?)));
    known.collect()
}

/// The command of this run.
pub(super) fn command() -> String {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    format!("cargo xtask {}", arguments.join(" "))
}

/// The time: date and minutes in UTC.
pub(super) fn now() -> String {
    let now = i64::try_from(clock::seconds_since_1970())
        .ok()
        .and_then(|now| DateTime::from_timestamp(now, 0));
    now.map_or_else(String::new, |now| now.format("%Y-%m-%d %H:%M UTC").to_string())
}

/// The commit of the code, and whether it was changed since.
pub(super) fn commit(session: &Session) -> String {
    let git = |arguments: &[&str]| {
        let root = session.workspace.root().display().to_string();
        said(Path::new("git"), &[&["-C", &root], arguments].concat())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    let changes = git(&["status", "--porcelain", "--untracked-files=no", "--", ":!docs"]);
    match changes {
        Some(changes) if !changes.is_empty() => format!("{commit} with changes"),
        _ => commit,
    }
}

/// The load average of the last minute.
pub(super) fn load_average() -> String {
    let loads = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    loads.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("unknown").to_owned()
}

fn memory() -> Option<String> {
    let kib: f64 =
        field("/proc/meminfo", "MemTotal")?.trim_end_matches("kB").trim().parse().ok()?;
    Some(format!("{:.0} GiB", kib / 1024.0 / 1024.0))
}

/// The first value of a field in a file of `name: value` lines.
fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(field, _)| field.trim() == name).map(|(_, value)| value.trim().to_owned())
}

/// What a program prints, if it exists and succeeds.
fn said(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then_some(said)
}

/// The first three words.
fn first(text: &str) -> String {
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
