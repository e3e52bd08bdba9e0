//! `docs/performance.md` and its charts, made of the results alone.

use std::fmt::Write as _;

use super::chart::{self, Bar};
use super::peers::{BARE, NODE, NODE_GATE, SYNCHRONOUS};
use super::scenes::{
    ACCEPT, ACCEPTED, BARE_UNCHANGED, DRAINED, FINISH, FINISH_SLOW, HEARTBEATS_FAILED, HELD,
    HELD_BACK, HISTORY, IDLE, IN_FLIGHT, KIB_EACH, LOST, PEAK, PICKUP, POLL, READY, REDIS, START,
    STEADY_P50, STEADY_P99, STREAMS, TWO_SECONDS, UNCHANGED, WEBHOOKS,
};
use crate::bench::BenchError;
use crate::bench::accept::OURS;
use crate::bench::history::{MEASURED, WITH, WITHOUT};
use crate::bench::results::{Results, Scene, Series};
use crate::bench::subject::{CPU, LOAD, P50, P99, PER_SECOND};
use crate::session::Session;

const PAGE: &str = "docs/performance.md";
const PICTURES: &str = "docs/pictures";
/// The longest line of a paragraph.
const LINE: usize = 90;

const INTRODUCTION: &str = "Written by `cargo xtask bench`. It measures everything below on one \
     machine: PostgreSQL, Redis, the simulated provider, the load generator and the measured \
     service share its cores. The subjects of a table take turns within each round; the figures \
     are medians of the rounds, with the range of the first column in brackets. Absolute figures \
     move with the machine, ratios of one table hold better. Every accepted job is durable (fsync \
     and synchronous_commit on) for all subjects. The peers are in \
     [load-tests/peers](../load-tests/peers). Processor time is that of each process for one \
     answer, row or job; the load generator's share of a core stands behind it.";

/// A figure of a subject of a scene.
#[derive(Debug, Clone, Copy)]
struct Figure {
    scene: &'static str,
    subject: &'static str,
    name: &'static str,
}

/// What is to be reached.
#[derive(Debug, Clone, Copy)]
enum Least {
    /// At least this many times another figure.
    Times(f64, Figure),
    /// Less than this.
    Below(f64, &'static str),
}

/// A goal.
#[derive(Debug, Clone, Copy)]
struct Goal {
    what: &'static str,
    ours: Figure,
    bar: Least,
}

const fn figure(scene: &'static str, subject: &'static str, name: &'static str) -> Figure {
    Figure { scene, subject, name }
}

const fn rate(scene: &'static str, subject: &'static str) -> Figure {
    figure(scene, subject, PER_SECOND)
}

const fn times(what: &'static str, ours: Figure, least: f64, than: Figure) -> Goal {
    Goal { what, ours, bar: Least::Times(least, than) }
}

const fn below(what: &'static str, ours: Figure, bar: f64, unit: &'static str) -> Goal {
    Goal { what, ours, bar: Least::Below(bar, unit) }
}

/// The processor time of the ingress and of PostgreSQL for each answer.
const INGRESS_TIME: &str = "CPU µs, ingress";
const POSTGRES_TIME: &str = "CPU µs, PostgreSQL";

const GOALS: [Goal; 29] = [
    times(
        "Accepting, 32 connections, beside fastify + BullMQ",
        rate(ACCEPT[0], OURS),
        2.0,
        rate(ACCEPT[0], NODE),
    ),
    times(
        "Accepting, 256 connections, beside fastify + BullMQ",
        rate(ACCEPT[1], OURS),
        2.0,
        rate(ACCEPT[1], NODE),
    ),
    times(
        "Accepting, 32 connections, beside the same with token and limiter",
        rate(ACCEPT[0], OURS),
        2.0,
        rate(ACCEPT[0], NODE_GATE),
    ),
    times(
        "Accepting, 256 connections, beside the same with token and limiter",
        rate(ACCEPT[1], OURS),
        2.0,
        rate(ACCEPT[1], NODE_GATE),
    ),
    times(
        "Accepting, 32 connections, beside a service in the shape of the replaced one",
        rate(ACCEPT[0], OURS),
        50.0,
        rate(ACCEPT[0], SYNCHRONOUS),
    ),
    times(
        "Accepting, 256 connections, beside a service in the shape of the replaced one",
        rate(ACCEPT[1], OURS),
        50.0,
        rate(ACCEPT[1], SYNCHRONOUS),
    ),
    below(
        "Accepting at half load, 32 connections, p99",
        figure(ACCEPT[0], OURS, STEADY_P99),
        10.0,
        "ms",
    ),
    below(
        "Accepting at half load, 256 connections, p99",
        figure(ACCEPT[1], OURS, STEADY_P99),
        10.0,
        "ms",
    ),
    below(
        "Processor time of the ingress for an accepted request, 32 connections",
        figure(ACCEPT[0], OURS, INGRESS_TIME),
        120.0,
        "µs",
    ),
    below(
        "Processor time of the ingress for an accepted request, 256 connections",
        figure(ACCEPT[1], OURS, INGRESS_TIME),
        120.0,
        "µs",
    ),
    below(
        "Processor time of PostgreSQL for an accepted request, 32 connections",
        figure(ACCEPT[0], OURS, POSTGRES_TIME),
        150.0,
        "µs",
    ),
    below(
        "Processor time of PostgreSQL for an accepted request, 256 connections",
        figure(ACCEPT[1], OURS, POSTGRES_TIME),
        150.0,
        "µs",
    ),
    times("Reading a job (200) beside fastify", rate(POLL, OURS), 3.0, rate(POLL, NODE)),
    below(
        "Processor time of the ingress for reading a job",
        figure(POLL, OURS, INGRESS_TIME),
        25.0,
        "µs",
    ),
    times(
        "Reading an unchanged job (304) beside bare axum",
        rate(POLL, UNCHANGED),
        0.5,
        rate(POLL, BARE_UNCHANGED),
    ),
    times(
        "Finished jobs, provider at 0 s, beside fastify + BullMQ",
        rate(FINISH, OURS),
        3.0,
        rate(FINISH, NODE),
    ),
    times(
        "Finished jobs, provider at 0 s, beside the same with token and limiter",
        rate(FINISH, OURS),
        3.0,
        rate(FINISH, NODE_GATE),
    ),
    below("Pickup on an idle worker, p50", figure(PICKUP, OURS, P50), 2.0, "ms"),
    below("Pickup on an idle worker, p99", figure(PICKUP, OURS, P99), 5.0, "ms"),
    below(
        "Stripe's deliveries at 1,000/s acknowledged, p99",
        figure(WEBHOOKS, OURS, P99),
        10.0,
        "ms",
    ),
    below(
        "10,000 generations of 2 s in one worker, memory",
        figure(IN_FLIGHT, TWO_SECONDS, PEAK),
        500.0,
        "MiB",
    ),
    below(
        "10,000 generations held at once, memory",
        figure(IN_FLIGHT, HELD_BACK, PEAK),
        500.0,
        "MiB",
    ),
    below("Leases lost while 10,000 are held", figure(IN_FLIGHT, HELD_BACK, LOST), 1.0, ""),
    below(
        "Heartbeats failed while 10,000 are held",
        figure(IN_FLIGHT, HELD_BACK, HEARTBEATS_FAILED),
        1.0,
        "",
    ),
    below("Ingress ready after its start", figure(START, "ingress", READY), 200.0, "ms"),
    below("Worker ready after its start", figure(START, "worker", READY), 200.0, "ms"),
    below("Ingress with nothing to do, memory", figure(START, "ingress", IDLE), 25.0, "MiB"),
    below("Worker with nothing to do, memory", figure(START, "worker", IDLE), 25.0, "MiB"),
    times(
        "Accepting with a history of millions of jobs, beside none",
        figure(HISTORY, WITH, MEASURED[0]),
        0.9,
        figure(HISTORY, WITHOUT, MEASURED[0]),
    ),
];

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
        words: "Requests for one plan with the same quiz, each committed before its answer; no \
                worker runs. Regimen checks the token, its limits and every field, and computes the \
                targets; of the peers, those with token and limiter check a token (HS256) and a \
                limit for each user in Redis. The service with background tasks makes two plans \
                for each request and calls its provider (2 s) meanwhile. At half load, requests \
                come at fixed times, half as many as that subject answered flat out, and their \
                times count from when they were due.",
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
        words: "256 connections read one queued job. Regimen checks the token, the owner and the \
                flood guard; 304 is its answer to the job's current ETag.",
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
        words: "The same with a provider that takes two seconds: 1,000 slots finish at most 500 \
                per second. The service with background tasks has no such bound.",
        columns: &[PER_SECOND, ACCEPTED, DRAINED],
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
                while a worker applies them. Times count from when each delivery was due; \
                processor time includes applying.",
        columns: &[PER_SECOND, P50, P99],
        of: None,
        chart: None,
    },
    Section {
        scene: IN_FLIGHT,
        title: "In flight",
        words: "Ten thousand jobs in one worker: with a provider that takes two seconds, and with \
                one that answers nobody until all have been held for longer than a lease.",
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

impl Figure {
    fn median(self, results: &Results) -> Option<f64> {
        results.median(self.scene, self.subject, self.name)
    }
}

impl Goal {
    fn row(&self, results: &Results) -> String {
        let ours = self.ours.median(results);
        let verdict = |reached: bool| if reached { "yes" } else { "no" };
        let (goal, measured, other, reached) = match self.bar {
            Least::Times(least, than) => {
                let than_value = than.median(results);
                let ratio = ours.zip(than_value).map(|(ours, than)| ours / than);
                let measured =
                    ours.zip(ratio).map(|(ours, ratio)| format!("{}: {ratio:.2} ×", number(ours)));
                let other = than_value.map(|value| format!("{} ({})", than.subject, number(value)));
                let reached = ratio.map(|ratio| verdict(ratio >= least));
                (format!("{}: ≥ {least} ×", self.what), measured, other, reached)
            }
            Least::Below(bar, unit) => {
                let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
                let measured = ours.map(|ours| format!("{}{unit}", number(ours)));
                let goal = if unit.is_empty() {
                    format!("{}: none", self.what)
                } else {
                    format!("{}: < {bar}{unit}", self.what)
                };
                (goal, measured, Some(String::new()), ours.map(|ours| verdict(ours < bar)))
            }
        };
        format!(
            "| {goal} | {} | {} | {} |\n",
            measured.unwrap_or_else(|| "not measured".to_owned()),
            other.unwrap_or_else(|| "not measured".to_owned()),
            reached.unwrap_or("–"),
        )
    }
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
        let ours =
            self.of.and_then(|name| scene.find(name)).and_then(|series| series.median(first));
        let has_cpu = scene.subjects().any(|(_, series)| !series.cpu().is_empty());
        let mut heads = vec![String::new()];
        heads.extend(columns.iter().map(|name| (*name).to_owned()));
        heads.extend(ours.map(|_| format!("{} ÷ it", self.of.unwrap_or_default())));
        heads.extend(has_cpu.then(|| "CPU for each".to_owned()));
        let mut table = format!("| {} |\n|{}\n", heads.join(" | "), "---|".repeat(heads.len()));
        for (name, series) in scene.subjects() {
            let mut cells = vec![name.to_owned()];
            for (place, column) in columns.iter().enumerate() {
                let cell = series.median(column).map_or_else(|| "–".to_owned(), number);
                // How far the rounds were apart, for the figure that is compared.
                let range = series.range(column).filter(|(least, most)| place == 0 && least < most);
                cells.push(match range {
                    Some((least, most)) => format!("{cell} ({}–{})", number(least), number(most)),
                    None => cell,
                });
            }
            if let Some(ours) = ours {
                let ratio = series.median(first).filter(|value| *value > 0.0);
                cells.push(ratio.map_or("–".to_owned(), |value| format!("{:.2}", ours / value)));
            }
            if has_cpu {
                cells.push(series.cpu());
            }
            let _ = writeln!(table, "| {} |", cells.join(" | "));
        }
        table
    }
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

/// Three significant digits below a hundred, whole above, with commas.
fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if value.abs() < 10.0 {
        return format!("{value:.2}");
    }
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        let left = digits.len() - place;
        if place > 0 && left % 3 == 0 && !shown.ends_with('-') {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
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
    fn goals_compare_medians_of_one_run() {
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
    fn numbers_read_well() {
        let shown = [0.0, 1.234, 56.78, 999.6, 1_234_567.0].map(number);
        assert_eq!(shown, ["0", "1.23", "56.8", "1,000", "1,234,567"]);
    }

    #[test]
    fn every_goal_reads_a_section() {
        let known: BTreeSet<_> = SECTIONS.iter().map(|section| section.scene).collect();
        for goal in &GOALS {
            assert!(known.contains(goal.ours.scene), "{}", goal.what);
        }
    }
}
