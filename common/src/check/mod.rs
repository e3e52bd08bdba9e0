//! Whether a deployment would work: every setting, and what the settings lead
//! to. `regimen-ingress check` and `regimen-worker check` look at all of it; a
//! start looks at the settings alone and refuses with every mistake at once.
//!
//! A [`Finding`] is one line. What only one binary knows it looks at itself and
//! adds; how long anything may take, and what it looks like, is decided here.

mod database;
mod documented;
mod http;
mod names;
mod redis;
mod stripe;
mod telemetry;

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, join_all};
use serde::Serialize;

use crate::config::{ConfigErrors, Env, Warning};
use crate::process;
use crate::start::StartError;

pub use database::{Pools, database};
pub use documented::documented;
pub use http::{Answer, Http, HttpProblem, skew};
pub use redis::redis;
pub use stripe::{StripeSettings, stripe};
pub use telemetry::{otlp, sentry};

/// How long one look may take. All are taken at once.
const LIMIT: Duration = Duration::from_secs(15);
/// Clocks that are further apart than this are worth a warning.
const SKEW: Duration = Duration::from_secs(2);

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing to do.
    Ok,
    /// It works, and not as well or as safely as it should, or not as meant.
    Warn,
    /// It does not work.
    Fail,
}

impl Level {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The setting, or what it leads to.
    pub subject: String,
    /// What was looked at and what was found.
    pub found: String,
    /// What to do, where there is anything to do.
    #[serde(rename = "do", skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    /// All is well.
    pub fn ok(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self { level: Level::Ok, subject: subject.into(), found: found.into(), advice: None }
    }

    /// Worth a person's time.
    pub fn warn(
        subject: impl Into<String>,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { level: Level::Warn, advice: Some(advice.into()), ..Self::ok(subject, found) }
    }

    /// It does not work.
    pub fn fail(
        subject: impl Into<String>,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { level: Level::Fail, advice: Some(advice.into()), ..Self::ok(subject, found) }
    }
}

/// All that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The worst of it.
    pub status: Level,
    /// In the order it was looked at.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Of these findings.
    pub fn new(findings: Vec<Finding>) -> Self {
        let status = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok);
        Self { status, findings }
    }

    /// For people: a line for each finding, and under it what to do.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let widths = self.findings.iter().map(|finding| finding.subject.len());
        let width = widths.max().unwrap_or_default().min(32);
        for Finding { level, subject, found, advice } in &self.findings {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{:<4}  {subject:<width$}  {found}", level.as_str());
            if let Some(advice) = advice {
                let _ = writeln!(text, "{:<4}  {:<width$}  -> {advice}", "", "");
            }
        }
        let count = |level| self.findings.iter().filter(|finding| finding.level == level).count();
        let (ok, warn, fail) = (count(Level::Ok), count(Level::Warn), count(Level::Fail));
        let _ = write!(text, "{ok} ok, {warn} to look at, {fail} failing");
        text
    }

    /// For programs.
    ///
    /// # Errors
    /// None: it is made of texts.
    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }

    /// 0, 1 or 2: fine, warnings, failures.
    pub fn exit_code(&self) -> u8 {
        match self.status {
            Level::Ok => 0,
            Level::Warn => 1,
            Level::Fail => 2,
        }
    }
}

/// What `check` takes.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Print one JSON object: status, and findings with level, subject, found, do.
    #[arg(long)]
    json: bool,
    /// Look at the settings alone; nothing is connected to.
    #[arg(long)]
    offline: bool,
}

/// One look at something outside of the process.
pub type Look<'a> = BoxFuture<'a, Vec<Finding>>;

/// Takes a look at `subject`, for no longer than is allowed.
pub fn look<'a>(
    subject: &'static str,
    look: impl Future<Output = Vec<Finding>> + Send + 'a,
) -> Look<'a> {
    async move {
        tokio::time::timeout(LIMIT, look).await.unwrap_or_else(|_| {
            let found = format!("no answer within {} s", LIMIT.as_secs());
            let advice = "look whether it hangs, or whether a firewall drops what is sent there";
            vec![Finding::fail(subject, found, advice)]
        })
    }
    .boxed()
}

/// What a binary contributes to its `check`.
pub trait Checked: Sized {
    /// Reads the settings; mistakes and warnings are recorded in `env`.
    fn take(env: &mut Env) -> Option<Self>;

    /// What the settings, each right by itself, come to.
    fn judge(&self) -> Vec<Finding>;

    /// Looks at what the settings lead to.
    fn looks(&self) -> Vec<Look<'_>>;
}

/// Reads the settings for a start.
///
/// # Errors
/// Every mistake, by variable name.
pub fn settings<C: Checked>(mut env: Env) -> Result<(C, Warnings), ConfigErrors> {
    let config = C::take(&mut env);
    names::look(&mut env);
    let warnings = Warnings(env.take_warnings());
    Ok((env.finish(config)?, warnings))
}

/// What a start found that does not keep it from starting.
#[derive(Debug)]
pub struct Warnings(Vec<Warning>);

impl Warnings {
    /// Says it in the log.
    pub fn log(&self) {
        for Warning { name, found, advice } in &self.0 {
            tracing::warn!("{name}: {found}; {advice}");
        }
    }
}

/// Runs `check` and prints what it found.
///
/// # Errors
/// The system gives no threads.
pub fn run<C: Checked>(args: &CheckArgs, env: Env) -> Result<ExitCode, StartError> {
    let (config, mut findings) = offline::<C>(env);
    let sound = findings.iter().all(|finding| finding.level < Level::Fail);
    match config {
        Some(config) if sound && !args.offline => {
            let online = process::runtime()?.block_on(join_all(config.looks()));
            findings.extend(online.into_iter().flatten());
        }
        _ if args.offline => {}
        _ => findings.push(Finding::warn(
            "stores and services",
            "not looked at, since settings are wrong",
            "correct the settings and check again",
        )),
    }
    let report = Report::new(findings);
    match report.json() {
        Ok(json) if args.json => process::say(&json),
        _ => process::say(&report.text()),
    }
    Ok(ExitCode::from(report.exit_code()))
}

/// What can be said without connecting to anything.
fn offline<C: Checked>(mut env: Env) -> (Option<C>, Vec<Finding>) {
    let config = C::take(&mut env);
    names::look(&mut env);
    let mut findings = vec![names::given(&env)];
    let warnings = env.take_warnings().into_iter();
    findings
        .extend(warnings.map(|Warning { name, found, advice }| Finding::warn(name, found, advice)));
    if let Some(config) = &config {
        findings.extend(config.judge());
    }
    let config = match env.finish(config) {
        Ok(config) => Some(config),
        Err(ConfigErrors(errors)) => {
            let advice = "correct it; the process does not start like this";
            let errors = errors.into_iter();
            findings.extend(errors.map(|error| Finding::fail(error.name, error.problem, advice)));
            None
        }
    };
    (config, findings)
}

/// What `check --offline` finds, for tests.
#[cfg(feature = "test-support")]
pub fn offline_findings<C: Checked>(env: Env) -> Vec<Finding> {
    offline::<C>(env).1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report::new(vec![
            Finding::ok("Postgres", "PostgreSQL 17"),
            Finding::warn("OPENAI_APIKEY", "is read by nobody", "write OPENAI_API_KEY"),
        ])
    }

    #[test]
    fn a_report_reads_as_lines_and_as_json() {
        let text = report().text();
        let expected = "ok    Postgres       PostgreSQL 17\n\
                        warn  OPENAI_APIKEY  is read by nobody\n\
                        \x20                    -> write OPENAI_API_KEY\n\
                        1 ok, 1 to look at, 0 failing";
        assert_eq!(text, expected);
        let json: serde_json::Value = serde_json::from_str(&report().json().unwrap()).unwrap();
        assert_eq!(json["status"], "warn");
        assert_eq!(json["findings"][1]["do"], "write OPENAI_API_KEY");
        assert_eq!(json["findings"][0]["level"], "ok");
    }

    #[test]
    fn the_exit_code_is_that_of_the_worst() {
        assert_eq!(Report::new(Vec::new()).exit_code(), 0);
        assert_eq!(report().exit_code(), 1);
        let mut findings = report().findings;
        findings.push(Finding::fail("Redis", "away", "start it"));
        assert_eq!(Report::new(findings).exit_code(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_does_not_answer_fails_by_its_name() {
        let found = look("Postgres", std::future::pending()).await;
        assert_eq!((found[0].level, found[0].subject.as_str()), (Level::Fail, "Postgres"));
        assert!(found[0].found.contains("within 15 s"));
    }
}
