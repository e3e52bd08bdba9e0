//! The goals of the page, and whether the results reach them.

use super::number::number;
use super::peers::{NODE, NODE_GATE, SYNCHRONOUS};
use super::scenes::in_flight::JOBS;
use super::scenes::{
    ACCEPT, BARE_UNCHANGED, FINISH, HEARTBEATS_FAILED, HELD, HELD_BACK, HISTORY, IDLE, IN_FLIGHT,
    LOST, PEAK, PICKUP, POLL, READY, START, STEADY_P99, TWO_SECONDS, UNCHANGED, WEBHOOKS,
};
use crate::bench::accept::OURS;
use crate::bench::history::{MEASURED, WITH, WITHOUT};
use crate::bench::results::{Results, Series, median, range};
use crate::bench::subject::{P50, P99, PER_SECOND};

/// A figure of a subject of a scene.
#[derive(Debug, Clone, Copy)]
pub(super) struct Figure {
    pub(super) scene: &'static str,
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
pub(super) struct Goal {
    pub(super) what: &'static str,
    pub(super) ours: Figure,
    bar: Least,
    /// How many must have been held at once for a verdict, by this figure; with fewer, the
    /// verdict is that of the other.
    held: Option<[Figure; 2]>,
}

const fn figure(scene: &'static str, subject: &'static str, name: &'static str) -> Figure {
    Figure { scene, subject, name }
}

const fn rate(scene: &'static str, subject: &'static str) -> Figure {
    figure(scene, subject, PER_SECOND)
}

const fn times(what: &'static str, ours: Figure, least: f64, than: Figure) -> Goal {
    Goal { what, ours, bar: Least::Times(least, than), held: None }
}

const fn below(what: &'static str, ours: Figure, bar: f64, unit: &'static str) -> Goal {
    Goal { what, ours, bar: Least::Below(bar, unit), held: None }
}

/// Megabytes of 1,000,000 bytes; the figures are in MiB.
const MB: &str = "MB";
const MIB_IN_MB: f64 = 1.048_576;

const fn memory(what: &'static str, ours: Figure, bar: f64) -> Goal {
    below(what, ours, bar, MB)
}

const fn in_flight(way: &'static str, name: &'static str) -> Figure {
    figure(IN_FLIGHT, way, name)
}

/// Processor time for each answer, µs.
const INGRESS_TIME: &str = "CPU µs, ingress";
const POSTGRES_TIME: &str = "CPU µs, PostgreSQL";

const fn budget(what: &'static str, scene: &'static str, process: &'static str, bar: f64) -> Goal {
    below(what, figure(scene, OURS, process), bar, "µs")
}

pub(super) const GOALS: [Goal; 29] = [
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
    budget(
        "Processor time of the ingress for an accepted request, 32 connections",
        ACCEPT[0],
        INGRESS_TIME,
        120.0,
    ),
    budget(
        "Processor time of the ingress for an accepted request, 256 connections",
        ACCEPT[1],
        INGRESS_TIME,
        120.0,
    ),
    budget(
        "Processor time of PostgreSQL for an accepted request, 32 connections",
        ACCEPT[0],
        POSTGRES_TIME,
        150.0,
    ),
    budget(
        "Processor time of PostgreSQL for an accepted request, 256 connections",
        ACCEPT[1],
        POSTGRES_TIME,
        150.0,
    ),
    times("Reading a job (200) beside fastify", rate(POLL, OURS), 3.0, rate(POLL, NODE)),
    budget("Processor time of the ingress for reading a job", POLL, INGRESS_TIME, 25.0),
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
    Goal {
        held: Some([in_flight(TWO_SECONDS, HELD), in_flight(HELD_BACK, PEAK)]),
        ..memory(
            "10,000 generations of 2 s in one worker, memory",
            in_flight(TWO_SECONDS, PEAK),
            500.0,
        )
    },
    memory("10,000 generations held at once, memory", in_flight(HELD_BACK, PEAK), 500.0),
    below("Leases lost while 10,000 are held", figure(IN_FLIGHT, HELD_BACK, LOST), 1.0, ""),
    below(
        "Heartbeats failed while 10,000 are held",
        figure(IN_FLIGHT, HELD_BACK, HEARTBEATS_FAILED),
        1.0,
        "",
    ),
    below("Ingress ready after its start", figure(START, "ingress", READY), 200.0, "ms"),
    below("Worker ready after its start", figure(START, "worker", READY), 200.0, "ms"),
    memory("Ingress with nothing to do, memory", figure(START, "ingress", IDLE), 25.0),
    memory("Worker with nothing to do, memory", figure(START, "worker", IDLE), 25.0),
    times(
        "Accepting with a history of millions of jobs, beside none",
        figure(HISTORY, WITH, MEASURED[0]),
        0.9,
        figure(HISTORY, WITHOUT, MEASURED[0]),
    ),
];

impl Figure {
    fn series(self, results: &Results) -> Option<&Series> {
        results.find(self.scene, self.subject)
    }

    /// It in each round.
    fn rounds(self, results: &Results) -> &[f64] {
        self.series(results).map(|series| series.rounds(self.name)).unwrap_or_default()
    }

    fn median(self, results: &Results) -> Option<f64> {
        median(self.rounds(results))
    }
}

/// Whether a goal reads this figure of the scene: its range is shown there, too.
pub(super) fn is_judged(scene: &str, name: &str) -> bool {
    let figures = GOALS.iter().map(|goal| goal.ours);
    figures.into_iter().any(|figure| figure.scene == scene && figure.name == name)
}

/// A goal is reached if it is in each round; if only the median reaches it, in how many.
fn verdict(rounds: &[f64], reaches: impl Fn(f64) -> bool) -> Option<String> {
    let middle = median(rounds)?;
    let reached = rounds.iter().filter(|value| reaches(**value)).count();
    Some(if reached == rounds.len() {
        "yes".to_owned()
    } else if reaches(middle) {
        format!("in {reached} of {} rounds", rounds.len())
    } else {
        "no".to_owned()
    })
}

/// The median of some rounds and, if they differ, their range.
pub(super) fn spread(rounds: &[f64], show: impl Fn(f64) -> String) -> Option<String> {
    let middle = show(median(rounds)?);
    let (least, most) = range(rounds).map(|(least, most)| (show(least), show(most)))?;
    Some(if least == most { middle } else { format!("{middle} ({least}–{most})") })
}

impl Goal {
    /// If fewer were held at once than the goal is about: how many, and what is judged instead.
    fn too_few(&self, results: &Results) -> Option<(f64, Figure)> {
        let [held, instead] = self.held?;
        let most = held.median(results)?;
        (most < f64::from(JOBS)).then_some((most, instead))
    }

    /// Its row of the table.
    pub(super) fn row(&self, results: &Results) -> String {
        let (goal, measured, other, reached) = match self.bar {
            Least::Times(least, than) => self.beside(results, least, than),
            Least::Below(bar, unit) => self.under(results, bar, unit),
        };
        format!(
            "| {goal} | {} | {} | {} |\n",
            measured.unwrap_or_else(|| "not measured".to_owned()),
            other.unwrap_or_else(|| "not measured".to_owned()),
            reached.as_deref().unwrap_or("–"),
        )
    }

    fn beside(&self, results: &Results, least: f64, than: Figure) -> Cells {
        let ours = self.ours.median(results);
        let both = self.ours.series(results).zip(than.series(results));
        let ratios = both.map(|(ours, other)| ours.ratios(self.ours.name, other, than.name));
        let ratios = ratios.unwrap_or_default();
        let shown = spread(&ratios, |ratio| format!("{ratio:.2}"));
        let measured = ours.zip(shown).map(|(ours, ratio)| format!("{}: {ratio} ×", number(ours)));
        let other = than.median(results);
        let other = other.map(|value| format!("{} ({})", than.subject, number(value)));
        let reached = verdict(&ratios, |ratio| ratio >= least);
        (format!("{}: ≥ {least} ×", self.what), measured, other, reached)
    }

    fn under(&self, results: &Results, bar: f64, unit: &str) -> Cells {
        let in_unit = |figure: Figure| -> Vec<f64> {
            let factor = if unit == MB { MIB_IN_MB } else { 1.0 };
            figure.rounds(results).iter().map(|value| value * factor).collect()
        };
        let too_few = self.too_few(results);
        let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
        let few =
            too_few.map_or(String::new(), |(held, _)| format!(", with {} at once", number(held)));
        let measured =
            spread(&in_unit(self.ours), number).map(|shown| format!("{shown}{unit}{few}"));
        let goal = if unit.is_empty() {
            format!("{}: none", self.what)
        } else {
            format!("{}: < {bar}{unit}", self.what)
        };
        let judged = in_unit(too_few.map_or(self.ours, |(_, instead)| instead));
        let other = too_few
            .and(spread(&judged, number))
            .map(|judged| format!("{HELD_BACK}, which decides ({judged}{unit})"));
        (goal, measured, Some(other.unwrap_or_default()), verdict(&judged, |value| value < bar))
    }
}

/// The cells of a row: the goal; what was measured, and of the other; whether it is reached.
type Cells = (String, Option<String>, Option<String>, Option<String>);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::bench::results::Scene;
    use crate::bench::subject::Round;

    fn row(scene: &'static str, series: &[(&str, &[Round])], what: &str) -> String {
        let mut measured = Scene::default();
        for (subject, rounds) in series {
            rounds.iter().for_each(|round| measured.of(subject).add(round.clone()));
        }
        let scenes = BTreeMap::from([(scene.to_owned(), measured)]);
        let goal = GOALS.iter().find(|goal| goal.what.starts_with(what)).unwrap();
        goal.row(&Results { scenes, ..Results::default() })
    }

    fn round(figures: &[(&str, f64)]) -> Round {
        figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    #[test]
    fn memory_is_judged_in_megabytes_and_where_enough_was_held() {
        let of = |held, peak| {
            let two_seconds = [round(&[(HELD, held), (PEAK, peak)])];
            let series = [
                (TWO_SECONDS, &two_seconds[..]),
                (HELD_BACK, &[round(&[(HELD, 10_000.0), (PEAK, 769.0)])]),
            ];
            row(IN_FLIGHT, &series, "10,000 generations of 2 s")
        };
        let few = of(6_270.0, 399.0);
        assert!(few.contains("| 418 MB, with 6,270 at once | "), "{few}");
        assert!(few.contains("which decides (806 MB) | no |"), "{few}");
        assert!(of(10_000.0, 399.0).contains("| 418 MB |  | yes |"));
        // 503 MB.
        assert!(of(10_000.0, 480.0).contains("| 503 MB |  | no |"));
    }

    #[test]
    fn a_goal_is_reached_in_every_round_or_in_some() {
        let of = |waits: [f64; 3]| {
            let rounds = waits.map(|wait| round(&[(P99, wait)]));
            row(PICKUP, &[(OURS, &rounds)], "Pickup on an idle worker, p99")
        };
        assert!(of([4.0, 4.5, 4.25]).contains("| 4.25 (4.00–4.50) ms |  | yes |"));
        assert!(of([4.0, 9.0, 4.25]).contains("| 4.25 (4.00–9.00) ms |  | in 2 of 3 rounds |"));
        assert!(of([6.0, 9.0, 4.25]).contains("| 6.00 (4.25–9.00) ms |  | no |"));
    }

    #[test]
    fn subjects_are_compared_round_by_round() {
        let of = |rates: [f64; 3]| rates.map(|rate| round(&[(PER_SECOND, rate)]));
        // The ratio of the medians would be 5.
        let (ours, node) = (of([100.0, 500.0, 900.0]), of([25.0, 100.0, 450.0]));
        let row = row(POLL, &[(OURS, &ours), (NODE, &node)], "Reading a job (200)");
        let expected = "| 500: 4.00 (2.00–5.00) × | fastify + BullMQ (100) | in 2 of 3 rounds |";
        assert!(row.contains(expected), "{row}");
    }
}
