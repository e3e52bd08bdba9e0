//! Runs every sample of the API's description against the running stack. The code comes
//! from `/openapi.json`, and the stack's address is put in as the page at `/docs` does it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use super::SuiteError;
use crate::clock;
use crate::demo;
use crate::http::{Client, HttpError};
use crate::node;
use crate::place::Place;
use crate::python::{Unavailable, Venv};
use crate::token::Claims;
use regimen_devtools::process::{Output, Process};
use regimen_devtools::signal::Ending;

/// The address in the samples.
const EXAMPLE: &str = "https://api.example.com";
const CLIENT: &str = "clients/typescript";
const REQUIREMENTS: &str = "ingress/tests/samples/requirements.txt";
/// How long a sample, or a job before it, may take.
const WITHIN: Duration = Duration::from_secs(60);
const TOKEN_LIFE: u64 = 3600;

/// A call with a sample in every language.
struct Call {
    method: &'static str,
    path: &'static str,
    /// Which of the samples that its operation has in a language.
    number: usize,
    before: Before,
    /// Whether the sample did what it says.
    holds: fn(&Run<'_>) -> Result<bool, HttpError>,
}

/// The job that there is before a sample runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Accepted,
    /// A worker waits for its plan.
    Running,
    Saved,
    Failed,
}

const CALLS: [Call; 10] = [
    Call {
        method: "post",
        path: "/v1/plans",
        number: 0,
        before: Before::Nothing,
        holds: |run| {
            let jobs = run.user.get("/v1/jobs")?;
            let jobs = jobs["jobs"].as_array().map_or(&[][..], Vec::as_slice);
            Ok(jobs.len() == 2 && jobs.iter().all(|job| run.says(&job["id"])))
        },
    },
    Call {
        method: "get",
        path: "/v1/jobs/{id}",
        number: 0,
        before: Before::Accepted,
        holds: |run| Ok(run.output.contains("succeeded") && run.output.contains("meals")),
    },
    Call {
        method: "get",
        path: "/v1/jobs/{id}",
        number: 1,
        before: Before::Saved,
        holds: |run| Ok(run.output.contains("304") && run.output.contains("succeeded")),
    },
    Call {
        method: "get",
        path: "/v1/jobs/{id}/events",
        number: 0,
        before: Before::Accepted,
        holds: |run| Ok(run.output.contains("accepted") && run.output.contains("saved")),
    },
    Call {
        method: "get",
        path: "/v1/plans/{kind}/active",
        number: 0,
        before: Before::Saved,
        holds: |run| Ok(run.says(&run.user.get("/v1/plans/meal/active")?["id"])),
    },
    Call {
        method: "get",
        path: "/v1/jobs",
        number: 0,
        before: Before::Saved,
        holds: |run| Ok(run.output.contains(run.job)),
    },
    Call {
        method: "delete",
        path: "/v1/jobs/{id}",
        number: 0,
        before: Before::Running,
        holds: |run| {
            let job = run.user.get(&format!("/v1/jobs/{}", run.job))?;
            Ok(job["status"] == "cancelled" && run.output.contains("cancelled"))
        },
    },
    Call {
        method: "post",
        path: "/admin/jobs/{id}/retry",
        number: 0,
        before: Before::Failed,
        holds: |run| {
            let job = run.operator.get(&format!("/admin/jobs/{}", run.job))?;
            Ok(run.says(&job["retried_as"]))
        },
    },
    Call {
        method: "get",
        path: "/v1/usage",
        number: 0,
        before: Before::Nothing,
        holds: |run| Ok(run.says(&run.user.get("/v1/usage")?["rates"][0]["policy"])),
    },
    Call {
        method: "get",
        path: "/plan-status/{user_id}",
        number: 0,
        before: Before::Saved,
        holds: |run| Ok(run.output.contains("completed") && run.output.contains("not_started")),
    },
];

/// What a sample found and said.
struct Run<'a> {
    user: &'a Client,
    operator: &'a Client,
    job: &'a str,
    output: &'a str,
}

impl Run<'_> {
    /// Whether the output has a text that the API gave.
    fn says(&self, text: &Value) -> bool {
        text.as_str().is_some_and(|text| self.output.contains(text))
    }
}

/// The samples with curl.
///
/// # Errors
/// One fails, or curl or bash is missing.
pub(super) fn curl(place: &Place<'_>) -> Result<(), SuiteError> {
    for program in ["bash", "curl"] {
        Command::new(program).arg("--version").output().map_err(|error| {
            let remedy = format!("install {program}");
            SuiteError::Lacks(Unavailable { what: format!("{program} ({error})"), remedy })
        })?;
    }
    run(place, "curl", &|file| {
        let mut command = Command::new("bash");
        command.arg(file);
        command
    })
}

/// The samples with the TypeScript client.
///
/// # Errors
/// One fails, or Node is missing.
pub(super) fn typescript(place: &Place<'_>) -> Result<(), SuiteError> {
    let folder = place.file(CLIENT);
    node::install(place.session, &folder)?;
    run(place, "TypeScript", &|file| {
        let mut command = Command::new("node");
        command.arg(folder.join("samples/run.mjs")).arg(file);
        command
    })
}

/// The samples with httpx.
///
/// # Errors
/// One fails, or Python is missing.
pub(super) fn python(place: &Place<'_>) -> Result<(), SuiteError> {
    let venv = Venv::of(place.session, "samples", &place.file(REQUIREMENTS))?;
    run(place, "Python", &|file| {
        let mut command = venv.program("python");
        command.arg(file);
        command
    })
}

/// Runs the samples of one language.
fn run(
    place: &Place<'_>,
    language: &str,
    program: &dyn Fn(&Path) -> Command,
) -> Result<(), SuiteError> {
    let (stack, secrets) = place.stack(&[("MONTHLY_QUOTA", "off")], &[])?;
    let url = stack.ingress_url()?;
    let token = |user, role| {
        let issued_at = clock::seconds_since_1970();
        Claims { user, role, issued_at, life: TOKEN_LIFE }.sign(&secrets.jwt)
    };
    let operator_token = token(Uuid::new_v4(), Some("admin"));
    let operator = Client::new(&url, &operator_token);
    let document = operator.get("/openapi.json")?;
    let found = samples(&document, language).len();
    if found != CALLS.len() {
        let problem = format!("the description has {found} of them, not {}", CALLS.len());
        return Err(SuiteError::Sample { name: format!("samples in {language}"), problem });
    }
    let scene = Scene { place, simulator: Client::new(&stack.simulator_url()?, "") };
    for (turn, Call { method, path, number, before, holds }) in CALLS.iter().enumerate() {
        let name = format!("{language}: {} {path} ({})", method.to_uppercase(), number + 1);
        let fails = |problem: String| SuiteError::Sample { name: name.clone(), problem };
        let all = samples(&document["paths"][path][method], language);
        let source = *all.get(*number).ok_or_else(|| fails("there is none".to_owned()))?;
        let user_id = Uuid::new_v4();
        let user_token = token(user_id, None);
        let user = Client::new(&url, &user_token);
        let job = scene.prepare(&user, *before)?;

        let file = place.folder.join(format!("sample-{turn}"));
        let failed = |source| SuiteError::Folder { path: file.clone(), source };
        std::fs::write(&file, source.replace(EXAMPLE, &url)).map_err(failed)?;
        let log = file.with_extension("log");
        let mut command = program(&file);
        let is_operators = path.starts_with("/admin/");
        command
            .current_dir(place.folder)
            .env("TOKEN", if is_operators { &operator_token } else { &user_token })
            .env("JOB", &job)
            .env("USER_ID", user_id.to_string())
            // All servers are on this machine.
            .env("NO_PROXY", "127.0.0.1,localhost")
            .env("no_proxy", "127.0.0.1,localhost");
        let mut process = Process::start(&name, command, Output::Log(&log), Ending::Terminate)?;
        let give_up = Instant::now() + WITHIN;
        let status = loop {
            match process.status()? {
                Some(status) => break status,
                None if Instant::now() > give_up => {
                    return Err(fails(format!("it did not end within {} s", WITHIN.as_secs())));
                }
                None => place.session.pause()?,
            }
        };
        let output = std::fs::read_to_string(&log).map_err(failed)?;
        let run = Run { user: &user, operator: &operator, job: &job, output: &output };
        if !status.success() || !holds(&run)? {
            return Err(fails(format!("it ended with {status} and did not do it:\n{output}")));
        }
        scene.mend(*before)?;
        place.session.say(format_args!("  {name}: done"));
    }
    Ok(())
}

/// The samples in one language, of an operation or of the whole description.
fn samples<'a>(part: &'a Value, language: &str) -> Vec<&'a str> {
    match part {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match (name.as_str(), value.as_array()) {
                ("x-codeSamples", Some(all)) => all
                    .iter()
                    .filter(|sample| {
                        sample["label"].as_str().is_some_and(|label| label.starts_with(language))
                    })
                    .filter_map(|sample| sample["source"].as_str())
                    .collect(),
                _ => samples(value, language),
            })
            .collect(),
        _ => Vec::new(),
    }
}

struct Scene<'a> {
    place: &'a Place<'a>,
    simulator: Client,
}

impl Scene<'_> {
    /// Submits a job of a user and takes it as far as a sample needs it; returns its id.
    fn prepare(&self, user: &Client, before: Before) -> Result<String, SuiteError> {
        if before == Before::Nothing {
            return Ok(String::new());
        }
        if let Some((name, action)) = before.rule() {
            let rules = json!({"rules": [{"name": name, "action": {"do": action}}]});
            self.simulator.post("/control", &rules)?;
        }
        let quiz = demo::sample_quiz(self.place.session)?;
        let accepted = user.post("/v1/plans", &json!({"kinds": ["meal"], "answers": quiz}))?;
        let job = accepted["jobs"][0]["id"].as_str().unwrap_or_default().to_owned();
        let wanted = match before {
            Before::Nothing | Before::Accepted => return Ok(job),
            Before::Running => "running",
            Before::Saved => "succeeded",
            Before::Failed => "failed",
        };
        let give_up = Instant::now() + WITHIN;
        loop {
            let found = user.get(&format!("/v1/jobs/{job}"))?;
            if found["status"] == wanted {
                return Ok(job);
            }
            if Instant::now() > give_up {
                let problem = format!("the job before it did not become {wanted}: {found}");
                return Err(SuiteError::Sample { name: "a sample".to_owned(), problem });
            }
            self.place.session.pause()?;
        }
    }

    /// Ends what `prepare` did to the providers.
    fn mend(&self, before: Before) -> Result<(), SuiteError> {
        if let Some((name, _)) = before.rule() {
            self.simulator.delete(&format!("/control?rule={name}"))?;
        }
        Ok(())
    }
}

impl Before {
    /// The name of what the providers do, and their action.
    fn rule(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Running => Some(("hold", "hold")),
            Self::Failed => Some(("refuse", "refusal")),
            Self::Nothing | Self::Accepted | Self::Saved => None,
        }
    }
}
