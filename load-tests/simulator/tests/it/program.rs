//! The program itself: address file, first settings, signals, bad settings.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// A directory that goes away with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("simulator-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_regimen-simulator"));
    command.env_remove("ADDRESS_FILE").env_remove("LISTEN_ADDR").env_remove("RUST_LOG");
    command.stderr(Stdio::piped());
    command
}

/// Reads the log until the program says that it serves.
fn until_serving(child: &mut Child) {
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("serving") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended before it served");
    }
    child.stderr = Some(log.into_inner());
}

#[tokio::test]
async fn it_announces_itself_serves_and_ends_on_a_signal() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let scratch = Scratch::new("serve");
    let (address, settings) = (scratch.0.join("address"), scratch.0.join("control.json"));
    std::fs::write(&settings, r#"{"latency": {"fixed_ms": 1}, "markers": ["early"]}"#).unwrap();
    let mut command = program();
    command.env("ADDRESS_FILE", &address).env("LISTEN_ADDR", "127.0.0.1:0");
    let mut child = command.arg("--control").arg(&settings).spawn().unwrap();
    until_serving(&mut child);
    let text = std::fs::read_to_string(&address).unwrap();
    let url = text.lines().find_map(|line| line.strip_prefix("SIMULATOR_URL=")).unwrap();
    let stats = reqwest::get(format!("{url}/control/stats")).await.unwrap();
    let stats: Value = stats.json().await.unwrap();
    assert_eq!(stats["markers"]["early"]["calls"], 0);
    let killed = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn settings_that_do_not_read_end_it_with_the_reason() {
    let scratch = Scratch::new("bad");
    let settings = scratch.0.join("control.json");
    std::fs::write(&settings, r#"{"mix": {"percent": 200}}"#).unwrap();
    let ended = |command: &mut Command| {
        let mut child = command.spawn().unwrap();
        let mut log = String::new();
        child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (child.wait().unwrap().code(), log)
    };
    let (code, log) = ended(program().arg("--listen").arg("nowhere"));
    assert!(code == Some(1) && log.contains("nowhere"), "{log}");
    let (code, log) = ended(program().arg("--control").arg(&settings));
    assert!(code == Some(1) && log.contains("from 0 to 100"), "{log}");
}
