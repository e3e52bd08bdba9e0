//! `docs/performance.md` and its charts, made of the results alone.

use std::fmt::Write as _;

use super::chart::{self, Bar};
use super::goals::{GOALS, is_judged, spread};
use super::number::number;
use super::peers::BARE;
use super::scenes::{
    ACCEPT, ACCEPTED, APPLIED_P50, APPLIED_P99, DONE, DRAINED, FINISH, FINISH_SLOW,
    HEARTBEATS_FAILED, HELD, HISTORY, IDLE, IN_FLIGHT, KIB_EACH, LOST, PEAK, PICKUP, POLL, READY,
    REDIS, START, STEADY_P50, STEADY_P99, STREAMS, WEBHOOKS,
};
use crate::bench::BenchError;
use crate::bench::accept::OURS;
use crate::bench::history::{MEASURED, WITH};
use crate::bench::results::{Results, Scene, Series, median};
use crate::bench::subject::{CPU, LOAD, P50, P99, PER_SECOND};
use crate::session::Session;

const PAGE: &str = "docs/performance.md";
const PICTURES: &str = "docs/pictures";
/// From so many cores on the load generator, one thread, limits what it measures.
const BUSY: f64 = 0.7;
/// The longest line of a paragraph.
const LINE: usize = 90;

const INTRODUCTION: &str = "Written by `cargo xtask bench`. It measures everything below on one \
     machine: PostgreSQL, Redis, the simulated provider, the load generator and the measured \
     service share its cores. The subjects of a table take turns within each round; the figures \
     are medians of the rounds, with the range of the first column and of those that a goal reads \
     in brackets. Ratios are taken within each round. A goal is reached if each round reaches it. \
     Absolute figures move with the machine, ratios of one table hold better. Every accepted job is durable (fsync \
     and synchronous_commit on) for all subjects. The peers are in \
     [load-tests/peers](../load-tests/peers); each server and each worker is one process. Processor time is that of each process for one \
     answer, row or job; the load generator's share of a core stands behind it.";

/// A section of the page: a scene, its words, the figures of its table.
struct Section {
    scene: &'static str,
    title: &'static str,
    words: &'static str,
    columns: &'static [&'static str],
    /// The subject that the others are compared with by their first figure.
    of: Option<&'static str>,
    /// The chart of the first figure: name of the file, title, subjects left out.
    chart: Option<(&'static str, &'static str, &'static [&'static str])>,
}

const SECTIONS: [Section; 11] = [
    Section {
        scene: ACCEPT[0],
        title: "Accepting, 32 connections",
        words: "Requests for one plan with the same quiz, each committed before its answer and \
                pushed to Redis; no worker runs. Regimen checks the token, its limits and every field, and computes the \
                targets; of the peers, those with token and limiter check a token (HS256) and a \
                limit for each user in Redis. The service with background tasks makes two plans \
                for each request and calls its provider (2 s) meanwhile; its requests per second \
                count until these plans are finished. At half load, requests come at fixed times, \
                half as many as that subject answered flat out, and their times count from when \
                they were due.",
        columns: &[PER_SECOND, P50, P99, STEADY_P50, STEADY_P99],
        of: Some(OURS),
        chart: Some(("accept-32", "Accepted per second, 32 connections", &[BARE, REDIS])),
    },
    Section {
        scene: ACCEPT[1],
        title: "Accepting, 256 connections",
        words: "The same.",
        columns: &[PER_SECOND, P50, P99, STEADY_P50, STEADY_P99],
        of: Some(OURS),
        chart: Some(("accept-256", "Accepted per second, 256 connections", &[BARE])),
    },
    Section {
        scene: POLL,
        title: "Reading a job",
        words: "256 connections read 512 queued jobs in turn, of Regimen and the peers with \
                tokens each of another user. Regimen checks the token, the owner and the flood \
                guard; 304 is its answer to a job's current ETag. Equal reads of a moment share \
                one look at PostgreSQL: where all connections read one job, that is most of them.",
        columns: &[PER_SECOND, P50, P99],
        of: Some(OURS),
        chart: Some(("poll", "Reads of a job per second, 256 connections", &[])),
    },
    Section {
        scene: FINISH,
        title: "Finished jobs, provider at 0 s",
        words: "A fixed number of jobs is submitted over 32 connections while one worker with \
                1,000 slots works, so load and backlog come together; from the first submission \
                to the last saved plan. Every worker calls the same simulated provider over HTTP \
                and writes a plan of about 6 kB. Regimen also verifies the plan, stores the reply \
                and writes events; a peer writes one plan row and one final state.",
        columns: &[PER_SECOND, ACCEPTED, DRAINED],
        of: Some(OURS),
        chart: Some(("finish-0s", "Finished jobs per second, provider at 0 s", &[])),
    },
    Section {
        scene: FINISH_SLOW,
        title: "Finished jobs, provider at 2 s",
        words: "5,000 jobs, submitted in the same way, with a provider that takes two seconds: of \
                all but the last thousand, the 1,000 slots are full, and they finish at most 500 \
                per second. The figure is of the time in which the middle three fifths of the \
                jobs finished. Who has not finished all within 30 s is rated by what it had \
                finished by then; its processor time includes what it did for the rest. The \
                service with background tasks has no slots, and most of what it finishes by then \
                ends in one burst: compare how many it finished.",
        columns: &[PER_SECOND, ACCEPTED, DONE],
        of: Some(OURS),
        chart: Some(("finish-2s", "Finished jobs per second, provider at 2 s", &[])),
    },
    Section {
        scene: PICKUP,
        title: "Pickup",
        words: "From the push of a job's id to the arrival of the provider's call, on an idle \
                worker: the claim and the attempt's row are committed in between.",
        columns: &[P50, P99],
        of: None,
        chart: None,
    },
    Section {
        scene: WEBHOOKS,
        title: "Stripe's deliveries",
        words: "1,000 signed events per second over 64 connections, each stored before its answer, \
                while a worker applies them, for ten seconds or more. Times count from when each \
                delivery was due, those of applying from when it was stored; processor time is \
                that until the last one is applied.",
        columns: &[PER_SECOND, P50, P99, APPLIED_P50, APPLIED_P99],
        of: None,
        chart: None,
    },
    Section {
        scene: IN_FLIGHT,
        title: "In flight",
        words: "Ten thousand jobs in one worker: with a provider that takes two seconds, and with \
                one that answers nobody until all have been held for longer than a lease. Memory \
                is that of the worker (1 MiB is 1.05 MB), and for each job that of the most held \
                at once.",
        columns: &[HELD, PER_SECOND, IDLE, PEAK, KIB_EACH, LOST, HEARTBEATS_FAILED],
        of: None,
        chart: None,
    },
    Section {
        scene: STREAMS,
        title: "Event streams",
        words: "",
        columns: &[KIB_EACH, P50, P99],
        of: None,
        chart: None,
    },
    Section {
        scene: START,
        title: "Start and size",
        words: "From the start of the process until /readyz says that it takes work; its resident \
                memory 3 s later.",
        columns: &[READY, IDLE],
        of: None,
        chart: None,
    },
    Section {
        scene: HISTORY,
        title: "A long history",
        words: "Two stacks side by side, one of them with finished jobs of 200,000 users over 90 \
                days, as the default retention leaves them.",
        columns: &MEASURED,
        of: Some(WITH),
        chart: None,
    },
];

/// What profiles showed, and what the goals that are not reached would take; written by hand.
const PROFILES: &str = include_str!("profiles.md");

/// Writes the page and its charts.
///
/// # Errors
/// Nothing was measured, or a file cannot be written.
pub(super) fn write(session: &Session, results: &Results) -> Result<(), BenchError> {
    if results.scenes.is_empty() {
        let told = "there are no results; measure first: cargo xtask bench";
        return Err(BenchError::Measurement(told.to_owned()));
    }
    let root = session.workspace.root();
    std::fs::create_dir_all(root.join(PICTURES))?;
    for section in &SECTIONS {
        if let Some((file, svg)) = picture(results, section) {
            std::fs::write(root.join(PICTURES).join(file), svg)?;
        }
    }
    std::fs::write(root.join(PAGE), page(results))?;
    session.say(format_args!("wrote {PAGE}"));
    Ok(())
}

/// All medians of a series in one line.
pub(super) fn brief(series: &Series) -> String {
    let figures = series.names().filter(|name| !name.starts_with(CPU) && *name != LOAD);
    let shown = figures
        .map(|name| format!("{name} {}", series.median(name).map(number).unwrap_or_default()));
    let shown: Vec<_> = shown.collect();
    let cpu = series.cpu();
    if cpu.is_empty() { shown.join(", ") } else { format!("{}; CPU: {cpu}", shown.join(", ")) }
}

fn page(results: &Results) -> String {
    let mut page = format!("# Performance\n\n{}\n", wrapped(INTRODUCTION));
    // Writing to a String cannot fail, here and below.
    for (name, fact) in &results.machine {
        let _ = writeln!(page, "- {name}: {fact}");
    }
    page.push_str(
        "\n## Goals\n\n| goal | measured | compared with | reached |\n|---|---|---|---|\n",
    );
    for goal in &GOALS {
        page.push_str(&goal.row(results));
    }
    for section in &SECTIONS {
        if let Some(scene) = results.scenes.get(section.scene) {
            page.push_str(&section.text(results, scene));
        }
    }
    page.push('\n');
    page.push_str(PROFILES);
    page
}

impl Section {
    fn text(&self, results: &Results, scene: &Scene) -> String {
        let mut text = format!("\n## {}\n\n", self.title);
        if !self.words.is_empty() {
            let _ = writeln!(text, "{}", wrapped(self.words));
        }
        if let Some((file, title, _)) = self.chart
            && picture(results, self).is_some()
        {
            let _ = writeln!(text, "![{title}](pictures/performance-{file}.svg)\n");
        }
        text.push_str(&self.table(scene));
        text.push_str(&floor_of_generator(scene));
        for note in &scene.notes {
            let _ = write!(text, "\n{}", wrapped(note));
        }
        let (at, commit) = (&scene.taken_at, &scene.commit);
        let stamp = format!("Measured {at}, commit {commit}, {}.", scene.settings);
        text + "\n" + &wrapped(&stamp)
    }

    /// Only the columns that some subject has.
    fn table(&self, scene: &Scene) -> String {
        let has = |name: &&str| scene.subjects().any(|(_, series)| series.median(name).is_some());
        let columns: Vec<&str> = self.columns.iter().copied().filter(|name| has(name)).collect();
        let first = columns.first().copied().unwrap_or_default();
        let ours = self.of.and_then(|name| scene.find(name));
        let ours = ours.filter(|series| series.median(first).is_some());
        let has_cpu = scene.subjects().any(|(_, series)| !series.cpu().is_empty());
        let mut heads = vec![String::new()];
        heads.extend(columns.iter().map(|name| (*name).to_owned()));
        heads.extend(ours.map(|_| format!("{} ÷ it", self.of.unwrap_or_default())));
        heads.extend(has_cpu.then(|| "CPU for each".to_owned()));
        let mut table = format!("| {} |\n|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
        for (name, series) in scene.subjects() {
            let mut cells = vec![name.to_owned()];
            for (place, column) in columns.iter().enumerate() {
                // How far the rounds were apart, for the figures that are compared or judged.
                let cell = if place == 0 || is_judged(self.scene, column) {
                    spread(series.rounds(column), number)
                } else {
                    series.median(column).map(number)
                };
                cells.push(cell.unwrap_or_else(|| "–".to_owned()));
            }
            if let Some(ours) = ours {
                let ratio = median(&ours.ratios(first, series, first));
                cells.push(ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}")));
            }
            if has_cpu {
                cells.push(series.cpu());
            }
            let _ = writeln!(table, "| {} |", cells.join(" | "));
        }
        table
    }
}

/// Says whose figures the load generator limits.
fn floor_of_generator(scene: &Scene) -> String {
    let limited = |series: &Series| series.median(LOAD).is_some_and(|cores| cores >= BUSY);
    let names: Vec<_> =
        scene.subjects().filter(|(_, series)| limited(series)).map(|(name, _)| name).collect();
    if names.is_empty() {
        return String::new();
    }
    let names = names.join(" and ");
    let told = format!(
        "The load generator, one thread, used {BUSY} cores or more for {names}: what these \
         answer is limited by it, so that ratios to them are too good."
    );
    format!("\n{}", wrapped(&told))
}

/// The file and the chart of a section, if it has one and was measured.
fn picture(results: &Results, section: &Section) -> Option<(String, String)> {
    let (file, title, left_out) = section.chart?;
    let scene = results.scenes.get(section.scene)?;
    let figure = section.columns.first()?;
    let shown = scene.subjects().filter(|(name, _)| !left_out.contains(name));
    let bars = shown.filter_map(|(name, series)| {
        let value = series.median(figure)?;
        let ours = name.starts_with(OURS);
        Some(Bar { name: name.to_owned(), value, shown: number(value), ours })
    });
    let bars: Vec<_> = bars.collect();
    let file = format!("performance-{file}.svg");
    (!bars.is_empty()).then(|| (file, chart::bars(title, &bars)))
}

/// The text in lines of a readable length.
fn wrapped(text: &str) -> String {
    let (mut lines, mut length) = (String::new(), 0);
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if length > 0 {
            let fits = length + 1 + width <= LINE;
            lines.push(if fits { ' ' } else { '\n' });
            length = if fits { length + 1 } else { 0 };
        }
        lines.push_str(word);
        length += width;
    }
    lines + "\n"
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::bench::all::peers::NODE;
    use crate::bench::all::scenes::PGBENCH;

    fn results() -> Results {
        let mut scene = Scene { taken_at: "now".to_owned(), ..Scene::default() };
        for value in [90.0, 100.0, 4_000.0] {
            scene.of(OURS).add([(PER_SECOND.to_owned(), value * 4.0)].into());
            scene.of(NODE).add([(PER_SECOND.to_owned(), value)].into());
        }
        scene.of(PGBENCH).add([(PER_SECOND.to_owned(), 12_345.6)].into());
        scene.of(OURS).add([(STEADY_P99.to_owned(), 12.0)].into());
        scene.notes.push("A note.".to_owned());
        let scenes = BTreeMap::from([(ACCEPT[0].to_owned(), scene)]);
        Results { scenes, ..Results::default() }
    }

    #[test]
    fn goals_compare_the_rounds_of_one_run() {
        let page = page(&results());
        let row = |what: &str| page.lines().find(|line| line.contains(what)).unwrap().to_owned();
        let row_32 = row("32 connections, beside fastify + BullMQ:");
        assert!(row_32.contains("| 400: 4.00 × | fastify + BullMQ (100) | yes |"), "{row_32}");
        assert!(row("half load, 32 connections").contains("| 12.0 ms |  | no |"));
        assert!(row("Pickup on an idle worker, p50").contains("| not measured |  | – |"));
        let missing = row("256 connections, beside fastify + BullMQ:");
        assert!(missing.contains("| not measured | not measured | – |"), "{missing}");
    }

    #[test]
    fn a_table_has_ranges_and_ratios_and_no_empty_columns() {
        let results = results();
        let table = SECTIONS[0].table(&results.scenes[ACCEPT[0]]);
        let expected = "|  | per second | p99 ms at half load | Regimen ÷ it |\n|---|---|---|---|\n\
            | Regimen | 400 (360–16,000) | 12.0 | 1.00 |\n\
            | fastify + BullMQ | 100 (90.0–4,000) | – | 4.00 |\n\
            | pgbench, one row a transaction | 12,346 | – | 0.03 |\n";
        assert_eq!(table, expected);
    }

    #[test]
    fn charts_show_what_was_measured() {
        let (file, svg) = picture(&results(), &SECTIONS[0]).unwrap();
        assert_eq!(file, "performance-accept-32.svg");
        assert!(svg.contains(">400<") && svg.contains(">12,346<"), "{svg}");
        assert_eq!(picture(&results(), &SECTIONS[1]), None);
        assert!(page(&results()).contains("](pictures/performance-accept-32.svg)"));
        assert!(!page(&results()).contains("performance-accept-256"));
    }

    #[test]
    fn paragraphs_are_wrapped_between_words() {
        let text = "word ".repeat(40);
        let lines: Vec<_> = wrapped(&text).lines().map(str::to_owned).collect();
        assert_eq!(lines.join(" "), text.trim());
        assert!(lines.iter().all(|line| line.len() <= LINE), "{lines:?}");
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn every_goal_reads_a_section() {
        let known: BTreeSet<_> = SECTIONS.iter().map(|section| section.scene).collect();
        for goal in &GOALS {
            assert!(known.contains(goal.ours.scene), "{}", goal.what);
        }
    }
}
