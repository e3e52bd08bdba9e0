//! The raw results of `bench all`: the figures of every round, by scene and subject. They
//! are kept as JSON, so that the page can be rendered again without measuring.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::BenchError;
use super::spread::Spread;
use super::subject::{CPU, LOAD, Round};

/// The figures of several rounds of one subject, by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Series(BTreeMap<String, Vec<f64>>);

/// What one scene measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Scene {
    /// When: date and time in UTC.
    pub(super) taken_at: String,
    /// Of which commit.
    pub(super) commit: String,
    /// How it ran: rounds, seconds, the command.
    pub(super) settings: String,
    /// The subjects in the order they were measured.
    pub(super) subjects: Vec<(String, Series)>,
    /// What a reader must know of the figures, such as a peer that could not be measured.
    pub(super) notes: Vec<String>,
}

/// Everything that was measured.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Results {
    /// The machine: what and how much of it.
    pub(super) machine: BTreeMap<String, String>,
    /// The scenes by name.
    pub(super) scenes: BTreeMap<String, Scene>,
}

/// The median of some values.
pub(super) fn median(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| Spread::of(values.to_vec()).percentile(0.5))
}

/// The smallest and the largest of some values.
pub(super) fn range(values: &[f64]) -> Option<(f64, f64)> {
    let spread = Spread::of(values.to_vec());
    (!values.is_empty()).then(|| (spread.percentile(0.0), spread.percentile(1.0)))
}

impl Series {
    /// Adds the figures of a round.
    pub(super) fn add(&mut self, round: Round) {
        for (name, value) in round {
            self.0.entry(name).or_default().push(value);
        }
    }

    /// The names of its figures.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// A figure of each round, in their order; none if it was not measured.
    pub(super) fn rounds(&self, name: &str) -> &[f64] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The median of a figure, if it was measured.
    pub(super) fn median(&self, name: &str) -> Option<f64> {
        median(self.rounds(name))
    }

    /// This figure divided by one of another series, round by round: what a round does to both
    /// divides out. Of a series with fewer rounds, all.
    pub(super) fn ratios(&self, name: &str, other: &Self, of: &str) -> Vec<f64> {
        let pairs = self.rounds(name).iter().zip(other.rounds(of));
        pairs.filter(|(_, of)| **of > 0.0).map(|(value, of)| value / of).collect()
    }

    /// The median processor time of each process for one answer, and the load
    /// generator's cores, in words.
    pub(super) fn cpu(&self) -> String {
        let mut words = String::new();
        for name in self.0.keys().filter_map(|name| name.strip_prefix(CPU)) {
            let micros = self.median(&format!("{CPU}{name}")).unwrap_or_default();
            let comma = if words.is_empty() { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(words, "{comma}{name} {micros:.0} µs");
        }
        if let Some(cores) = self.median(LOAD) {
            let _ = write!(words, "; load generator {cores:.2} cores");
        }
        words
    }

    fn to_json(&self) -> Value {
        json!(self.0)
    }

    fn from_json(value: &Value) -> Option<Self> {
        let figures = value.as_object()?.iter().map(|(name, values)| {
            let values: Option<Vec<f64>> = values.as_array()?.iter().map(Value::as_f64).collect();
            Some((name.clone(), values?))
        });
        figures.collect::<Option<_>>().map(Self)
    }
}

impl Scene {
    /// The series of a subject, made if it is new.
    pub(super) fn of(&mut self, subject: &str) -> &mut Series {
        let place = match self.subjects.iter().position(|(name, _)| name == subject) {
            Some(place) => place,
            None => {
                self.subjects.push((subject.to_owned(), Series::default()));
                self.subjects.len() - 1
            }
        };
        &mut self.subjects[place].1
    }

    /// The series of a subject that was measured.
    pub(super) fn find(&self, subject: &str) -> Option<&Series> {
        self.subjects.iter().find(|(name, _)| name == subject).map(|(_, series)| series)
    }

    /// All subjects in their order.
    pub(super) fn subjects(&self) -> impl Iterator<Item = (&str, &Series)> {
        self.subjects.iter().map(|(name, series)| (name.as_str(), series))
    }

    fn to_json(&self) -> Value {
        let subjects = self.subjects().map(|(name, series)| (name.to_owned(), series.to_json()));
        json!({
            "taken_at": self.taken_at,
            "commit": self.commit,
            "settings": self.settings,
            "subjects": subjects.collect::<Map<_, _>>(),
            "notes": self.notes,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |name: &str| Some(value[name].as_str()?.to_owned());
        let subjects = value["subjects"].as_object()?.iter();
        let subjects =
            subjects.map(|(name, value)| Some((name.clone(), Series::from_json(value)?)));
        let notes = value["notes"].as_array()?.iter();
        Some(Self {
            taken_at: text("taken_at")?,
            commit: text("commit")?,
            settings: text("settings")?,
            subjects: subjects.collect::<Option<_>>()?,
            notes: notes.map(|note| Some(note.as_str()?.to_owned())).collect::<Option<_>>()?,
        })
    }
}

impl Results {
    /// What was measured of a subject.
    pub(super) fn find(&self, scene: &str, subject: &str) -> Option<&Series> {
        self.scenes.get(scene)?.find(subject)
    }

    /// Those of `path`; none if there is no such file.
    ///
    /// # Errors
    /// The file cannot be read, or is not one of ours.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, BenchError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let parsed = serde_json::from_str(&text).ok().as_ref().and_then(Self::from_json);
        let foreign = || {
            BenchError::Measurement(format!(
                "{} is not a file of results; remove it",
                path.display()
            ))
        };
        parsed.ok_or_else(foreign).map(Some)
    }

    /// Writes them to `path`, atomically.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn write(&self, path: &Path) -> Result<(), BenchError> {
        let draft = path.with_extension("draft");
        std::fs::write(&draft, format!("{:#}\n", self.to_json()))?;
        Ok(std::fs::rename(draft, path)?)
    }

    fn to_json(&self) -> Value {
        let scenes = self.scenes.iter().map(|(name, scene)| (name.clone(), scene.to_json()));
        json!({
            "machine": self.machine,
            "scenes": scenes.collect::<Map<_, _>>(),
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let machine = value["machine"].as_object()?.iter();
        let machine = machine.map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
        let scenes = value["scenes"].as_object()?.iter();
        let scenes = scenes.map(|(name, value)| Some((name.clone(), Scene::from_json(value)?)));
        Some(Self {
            machine: machine.collect::<Option<_>>()?,
            scenes: scenes.collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(value: f64) -> Round {
        Round::from([
            ("per second".to_owned(), value),
            (format!("{CPU}ingress"), value / 10.0),
            (LOAD.to_owned(), 0.25),
        ])
    }

    #[test]
    fn a_series_tells_medians_ranges_and_processor_time() {
        let mut series = Series::default();
        [10.0, 1_000.0, 30.0].into_iter().for_each(|value| series.add(round(value)));
        assert_eq!(series.median("per second"), Some(30.0));
        assert_eq!(range(series.rounds("per second")), Some((10.0, 1_000.0)));
        assert_eq!(series.median("p99 ms"), None);
        assert_eq!(series.cpu(), "ingress 3 µs; load generator 0.25 cores");
    }

    #[test]
    fn series_are_compared_round_by_round() {
        let (mut ours, mut other) = (Series::default(), Series::default());
        [10.0, 1_000.0, 30.0].into_iter().for_each(|value| ours.add(round(value)));
        [5.0, 100.0].into_iter().for_each(|value| other.add(round(value)));
        assert_eq!(ours.ratios("per second", &other, "per second"), [2.0, 10.0]);
        assert_eq!(ours.ratios("per second", &other, "p99 ms"), [0.0; 0]);
    }

    #[test]
    fn what_is_written_is_read_in_its_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.json");
        assert_eq!(Results::read(&path).unwrap(), None);
        let mut scene = Scene { commit: "abc".to_owned(), ..Scene::default() };
        scene.of("zebra").add(round(2.5));
        scene.of("ape").add(round(3.5));
        scene.of("zebra").add(round(4.5));
        scene.notes.push("a note".to_owned());
        let scenes = BTreeMap::from([("accept".to_owned(), scene)]);
        let machine = BTreeMap::from([("cores".to_owned(), "2".to_owned())]);
        let results = Results { machine, scenes };
        results.write(&path).unwrap();
        let read = Results::read(&path).unwrap().unwrap();
        assert_eq!(read, results);
        let names: Vec<_> = read.scenes["accept"].subjects().map(|(name, _)| name).collect();
        assert_eq!(names, ["zebra", "ape"]);
        std::fs::write(&path, "{}").unwrap();
        assert!(Results::read(&path).unwrap_err().to_string().contains("remove it"));
    }
}
