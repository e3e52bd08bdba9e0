//! All active settings: which rule applies to a call, its latency, and the
//! faults of the mix.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::chance::Chance;
use crate::provider::Provider;
use crate::wire::usage::Usage;

use super::action::Action;
use super::markers::{MarkerError, Markers};
use super::rule::Rule;
use super::settings::{Control, Latency, Mix};

/// The active settings.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) markers: Markers,
    rules: Vec<Arc<Rule>>,
    /// Indices in `rules` of the rules with a marker, by the marker's number.
    by_marker: HashMap<usize, Vec<usize>>,
    unmarked: Vec<usize>,
    latency: Option<Latency>,
    mix: Option<(Mix, Vec<(f64, Action)>)>,
    next: u64,
}

/// The properties of a call that rules match.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sought<'a> {
    pub(crate) provider: Provider,
    pub(crate) model: &'a str,
    pub(crate) seed: Option<&'a str>,
    /// The number of this call among those of its seed, from 1; without a seed among all.
    pub(crate) ordinal: u64,
}

/// The decision on a call.
#[derive(Debug, Clone)]
pub(crate) struct Decision {
    pub(crate) action: Arc<Action>,
    pub(crate) latency: Duration,
    pub(crate) usage: Option<Usage>,
    pub(crate) rule: Option<Arc<Rule>>,
}

impl Book {
    /// Adds the settings of `control`; returns its markers, too.
    ///
    /// # Errors
    /// There are too many markers.
    pub(crate) fn apply(&mut self, control: &Control) -> Result<Vec<String>, MarkerError> {
        if control.replace {
            self.remove(|_| true);
        }
        let mut names = Vec::new();
        for spec in &control.rules {
            let place = self.rules.len();
            match &spec.marker {
                None => self.unmarked.push(place),
                Some(marker) => {
                    let number = self.markers.add(marker)?;
                    self.by_marker.entry(number).or_default().push(place);
                }
            }
            self.next += 1;
            let rule = Rule::new(self.next, spec.clone());
            names.push(rule.name.clone());
            self.rules.push(Arc::new(rule));
        }
        self.latency = control.latency.or(self.latency);
        if let Some(mix) = &control.mix {
            // Validated before, so every kind resolves.
            self.mix = mix.resolve().ok().map(|kinds| (mix.clone(), kinds));
        }
        Ok(names)
    }

    /// The rules, in order.
    pub(crate) fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// Removes the rules that `which` selects and releases the calls they hold.
    pub(crate) fn remove(&mut self, which: impl Fn(&Rule) -> bool) -> usize {
        let (gone, kept): (Vec<_>, Vec<_>) = self.rules.drain(..).partition(|rule| which(rule));
        gone.iter().for_each(|rule| rule.released.cancel());
        self.by_marker.clear();
        self.unmarked.clear();
        for (place, rule) in kept.iter().enumerate() {
            match rule.spec.marker.as_ref().and_then(|marker| self.markers.number(marker)) {
                Some(number) => self.by_marker.entry(number).or_default().push(place),
                None => self.unmarked.push(place),
            }
        }
        self.rules = kept;
        gone.len()
    }

    /// The decision on a call whose body contains the markers with these numbers.
    pub(crate) fn decide(&self, call: Sought<'_>, found: &[usize]) -> Decision {
        let mut chance = Chance::new(("latency", call.seed, call.ordinal));
        let rule = self.rule(call, found);
        let latency = rule.as_ref().and_then(|rule| rule.spec.latency).or(self.latency);
        let latency = latency.map_or(Duration::ZERO, |latency| latency.draw(&mut chance));
        match rule {
            Some(rule) => Decision {
                action: Arc::clone(&rule.action),
                latency,
                usage: rule.spec.usage,
                rule: Some(rule),
            },
            None => {
                Decision { action: Arc::new(self.fault(call)), latency, usage: None, rule: None }
            }
        }
    }

    /// The first rule that applies to the call. All that match count it.
    fn rule(&self, call: Sought<'_>, found: &[usize]) -> Option<Arc<Rule>> {
        let marked = found.iter().filter_map(|number| self.by_marker.get(number)).flatten();
        let mut places: Vec<usize> = self.unmarked.iter().chain(marked).copied().collect();
        places.sort_unstable();
        let mut taken: Option<Arc<Rule>> = None;
        let rules = places.iter().filter_map(|place| self.rules.get(*place));
        for rule in rules.filter(|rule| rule.is_for(call.provider, call.model)) {
            if taken.is_some() {
                rule.pass(call.seed);
            } else if rule.take(call.seed) {
                taken = Some(Arc::clone(rule));
            }
        }
        taken
    }

    /// The mix's fault for a call: the same for the same call of the same seed.
    fn fault(&self, call: Sought<'_>) -> Action {
        let Some((mix, kinds)) = &self.mix else { return Action::Answer };
        let mut chance = Chance::new((mix.seed, call.seed, call.ordinal));
        if chance.unit() * 100.0 >= mix.percent {
            return Action::Answer;
        }
        let whole: f64 = kinds.iter().map(|(weight, _)| weight).sum();
        let mut left = chance.unit() * whole;
        for (weight, action) in kinds {
            left -= weight;
            if left < 0.0 {
                return action.clone();
            }
        }
        kinds.last().map_or(Action::Answer, |(_, action)| action.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn book(control: serde_json::Value) -> Book {
        let mut book = Book::default();
        book.apply(&serde_json::from_value(control).unwrap()).unwrap();
        book
    }

    fn label(book: &Book, body: &str, ordinal: u64) -> &'static str {
        let call = Sought { provider: Provider::OpenAi, model: "m", seed: Some("s"), ordinal };
        book.decide(call, &book.markers.scan(body.as_bytes())).action.label()
    }

    #[test]
    fn the_first_rule_in_order_that_matches_takes_the_call() {
        let book = book(json!({"rules": [
            {"provider": "gemini", "action": {"do": "hang"}},
            {"marker": "job-1", "times": 1, "action": {"do": "truncated"}},
            {"marker": "job-1", "nth": 2, "action": {"do": "refusal"}},
            {"action": {"do": "empty_body"}},
        ]}));
        assert_eq!(label(&book, "job-1", 1), "truncated");
        assert_eq!(label(&book, "job-1", 2), "refusal");
        assert_eq!(label(&book, "job-1", 3), "empty_body");
        assert_eq!(label(&book, "job-2", 4), "empty_body");
    }

    #[test]
    fn removed_rules_no_longer_act_and_the_others_do() {
        let mut book = book(json!({"rules": [
            {"name": "a", "marker": "x", "action": {"do": "hang"}},
            {"name": "b", "marker": "x", "action": {"do": "truncated"}},
        ]}));
        assert_eq!(book.remove(|rule| rule.name == "a"), 1);
        assert_eq!(label(&book, "x", 1), "truncated");
    }

    #[test]
    fn a_mix_hits_its_share_and_repeats_itself() {
        let book = book(json!({"mix": {"percent": 30, "kinds": ["500", "hang"], "seed": 9}}));
        let labels: Vec<_> = (0..4000).map(|ordinal| label(&book, "", ordinal)).collect();
        let faults = labels.iter().filter(|label| **label != "answered").count();
        assert!((1080..1320).contains(&faults), "{faults}");
        assert!(labels.contains(&"hang") && labels.contains(&"status"));
        assert_eq!(labels, (0..4000).map(|ordinal| label(&book, "", ordinal)).collect::<Vec<_>>());
    }
}
