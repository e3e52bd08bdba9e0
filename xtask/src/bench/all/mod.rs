//! `cargo xtask bench all`: every scene in one run, with the floors and the peers, and
//! the page that shows the figures.

mod chart;
mod goals;
mod machine;
mod number;
mod page;
mod peers;
mod scenes;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::bench::BenchError;
use crate::bench::ground::{Build, Ground};
use crate::bench::results::{Results, Scene};
use crate::session::Session;
use crate::workspace::Profile;
use peers::Peers;
use scenes::SCENES;

/// The raw figures, under the folder of the benchmarks.
const RESULTS: &str = "bench/results.json";

/// What `cargo xtask bench all` takes.
#[derive(Args)]
pub(crate) struct All {
    /// Only these scenes, such as `accept`; the others keep their earlier figures.
    #[arg(value_name = "SCENE")]
    scenes: Vec<String>,
    #[command(flatten)]
    settings: Settings,
}

/// How everything is measured.
#[derive(Args)]
pub(crate) struct Settings {
    /// How many rounds of each; the page shows medians.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long each subject is measured in a round.
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Also measure with this many finished jobs, such as 5000000 (many minutes).
    #[arg(long, value_name = "N")]
    history: Option<u32>,
    /// Measure nothing: write the page from the figures of the last run.
    #[arg(long)]
    render: bool,
    /// Measure an unoptimised build, to try the benchmark itself; writes no page.
    #[arg(long)]
    dev: bool,
    /// Measure the existing binaries.
    #[arg(long, hide = true)]
    no_build: bool,
}

/// What a scene needs.
struct Run<'a> {
    ground: Ground<'a>,
    peers: Peers,
    rounds: u32,
    time: Duration,
    history: Option<u32>,
}

impl Settings {
    fn in_words(&self) -> String {
        format!("{} rounds of {} s", self.rounds, self.seconds)
    }
}

impl All {
    /// All scenes.
    pub(super) fn everything(settings: Settings) -> Self {
        Self { scenes: Vec::new(), settings }
    }

    /// Whether it measures an optimised build.
    pub(super) fn is_measured(&self) -> bool {
        !self.settings.render && !self.settings.dev
    }

    /// Measures the scenes one after the other, also after one has failed, and writes the
    /// page. The exit code says whether all succeeded.
    ///
    /// # Errors
    /// There is no such scene, nothing can be started, or a file cannot be written.
    pub(super) fn run(&self, session: &Session) -> Result<ExitCode, BenchError> {
        let path = session.workspace.place(RESULTS);
        let mut results = Results::read(&path)?.unwrap_or_default();
        if self.settings.render {
            page::write(session, &results)?;
            return Ok(ExitCode::SUCCESS);
        }
        let wanted = self.wanted()?;
        let ground = Ground::take(session, self.build())?;
        let peers = Peers::install(session);
        results.machine = machine::facts(&ground);
        let settings = &self.settings;
        let run = Run {
            ground,
            peers,
            rounds: settings.rounds,
            time: Duration::from_secs(settings.seconds),
            history: settings.history,
        };
        let mut failed = Vec::new();
        for (number, scene) in wanted.iter().enumerate() {
            session.check()?;
            session.say(format_args!(
                "== scene {} of {}: {} (load average {})",
                number + 1,
                wanted.len(),
                scene.name,
                machine::load_average(),
            ));
            let load_average = machine::load_average();
            match (scene.measure)(&run) {
                Ok(measured) => {
                    for (name, mut scene) in measured {
                        self.stamp(&mut scene, &load_average, session);
                        print(session, name, &scene);
                        results.scenes.insert(name.to_owned(), scene);
                    }
                    self.keep(session, &results, &path)?;
                }
                Err(error @ BenchError::Interrupted(_)) => return Err(error),
                Err(error) => {
                    // An interrupt ends the measured processes, too.
                    session.check()?;
                    session.say(format_args!("scene {} FAILED: {error}", scene.name));
                    failed.push(scene.name);
                }
            }
        }
        drop(run);
        if failed.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        session.say(format_args!(
            "these scenes failed: {0}; run `cargo xtask bench all {0}` again",
            failed.join(" ")
        ));
        Ok(ExitCode::FAILURE)
    }

    fn wanted(&self) -> Result<Vec<&'static scenes::Entry>, BenchError> {
        if self.scenes.is_empty() {
            let is_asked = |entry: &&scenes::Entry| {
                entry.name != scenes::HISTORY || self.settings.history.is_some()
            };
            return Ok(SCENES.iter().filter(is_asked).collect());
        }
        let find = |name: &String| {
            SCENES.iter().find(|entry| entry.name == name).ok_or_else(|| {
                let known: Vec<_> = SCENES.iter().map(|entry| entry.name).collect();
                let known = known.join(", ");
                BenchError::Measurement(format!("there is no scene {name}; there are: {known}"))
            })
        };
        self.scenes.iter().map(find).collect()
    }

    fn build(&self) -> Build {
        let profile = if self.settings.dev { Profile::Dev } else { Profile::Dist };
        Build { profile, compile: !self.settings.no_build }
    }

    fn stamp(&self, scene: &mut Scene, load_average: &str, session: &Session) {
        scene.taken_at = machine::now();
        scene.commit = machine::commit(session);
        let (how, command) = (self.settings.in_words(), machine::command());
        scene.settings = format!("{how} (`{command}`), load average before: {load_average}");
        if self.settings.dev {
            scene.notes.push("An unoptimised build was measured.".to_owned());
        }
    }

    /// Kept after every scene, so that an interrupted run loses only one.
    fn keep(&self, session: &Session, results: &Results, path: &Path) -> Result<(), BenchError> {
        results.write(path)?;
        if self.settings.dev { Ok(()) } else { page::write(session, results) }
    }
}

/// Shows the medians of a scene as progress.
fn print(session: &Session, name: &str, scene: &Scene) {
    for (subject, series) in scene.subjects() {
        session.say(format_args!("{name}: {subject}: {}", page::brief(series)));
    }
    for note in &scene.notes {
        session.say(format_args!("{name}: note: {note}"));
    }
}
