//! Reads the answers field by field and records errors instead of stopping, so
//! that a client gets all errors in one response.
//!
//! The reader of a required field returns an empty value after recording an
//! error. Such a value is never used: any error refuses the whole quiz.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::forgiving::{self, Adjustment};
use super::limits::{self, MAX_CHOICE_CHARS, MAX_ITEMS, escape, longer_than};
use super::measure::{Bounds, Measure, MeasureError, MeasureProblem};
use super::number::{is_blank, is_nothing, is_number, level, number_of, whole};
use super::problem::{InvalidQuiz, Problems};
use super::words::Unit;

const REQUIRED: &str = "is required";
const NO_NUMBER: &str = "Left out: there is no number in it.";
const NOTHING_CHOSEN: &str = "Nothing was chosen, so the plan leaves this open.";

/// The answers being read.
pub(super) struct Fields<'a> {
    answers: &'a Map<String, Value>,
    problems: Problems,
    /// Left-out and changed answers; none if adjusting is not allowed.
    adjusted: Option<Vec<Adjustment>>,
}

impl<'a> Fields<'a> {
    /// Answers that are refused or used unchanged.
    pub(super) fn strict(answers: &'a Map<String, Value>) -> Self {
        Self::of(answers, None)
    }

    /// Answers that may be adjusted; `cut` is what was adjusted before.
    pub(super) fn forgiving(answers: &'a Map<String, Value>, cut: Vec<Adjustment>) -> Self {
        Self::of(answers, Some(cut))
    }

    /// Checks the limits first, so that no reader gets a value beyond them unnoticed.
    fn of(answers: &'a Map<String, Value>, adjusted: Option<Vec<Adjustment>>) -> Self {
        let mut problems = Problems::default();
        limits::check(answers, &mut problems);
        Self { answers, problems, adjusted }
    }

    /// The value read from these fields and the adjustments, unless there was an error.
    pub(super) fn finish<T>(self, value: T) -> Result<(T, Vec<Adjustment>), InvalidQuiz> {
        self.problems.or((value, self.adjusted.unwrap_or_default()))
    }

    /// Records an adjustment; false if adjusting is not allowed.
    fn adjust(&mut self, name: &str, text: impl Into<String>) -> bool {
        let Some(adjusted) = &mut self.adjusted else { return false };
        adjusted.push(Adjustment { pointer: format!("/{name}"), text: text.into() });
        true
    }

    /// A required answer to a question with options.
    pub(super) fn choice(&mut self, name: &str) -> String {
        self.required(name, Self::optional_choice)
    }

    /// An answer to a question with options.
    pub(super) fn optional_choice(&mut self, name: &str) -> Option<String> {
        let text = self.optional_text(name)?;
        if !longer_than(&text, MAX_CHOICE_CHARS) {
            return Some(text);
        }
        if self.adjust(name, format!("Only the first {MAX_CHOICE_CHARS} characters were used.")) {
            return Some(forgiving::cut(&text, MAX_CHOICE_CHARS));
        }
        self.refuse(name, format!("is longer than {MAX_CHOICE_CHARS} characters"));
        Some(text)
    }

    /// The tag of a language, e.g. "pt-BR".
    pub(super) fn locale(&mut self, name: &str) -> Option<String> {
        let text = self.optional_choice(name)?;
        let mut parts = text.split(['-', '_']);
        let is_language = parts.next().is_some_and(|language| {
            (2..=3).contains(&language.len()) && language.bytes().all(|b| b.is_ascii_alphabetic())
        });
        let is_subtag = |part: &str| {
            (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
        };
        if is_language && parts.all(is_subtag) {
            return Some(text);
        }
        if !self.adjust(name, "Left out: it is no tag of a language, such as \"de\" or \"pt-BR\".")
        {
            self.refuse(name, "must be the tag of a language, such as \"de\" or \"pt-BR\"");
        }
        None
    }

    /// Free text, trimmed. A list is joined with commas.
    pub(super) fn optional_text(&mut self, name: &str) -> Option<String> {
        let text = match self.given(name)? {
            Value::Array(_) => self.list(name).join(", "),
            Value::Bool(_) | Value::Object(_) => {
                self.refuse(name, "must be text");
                return None;
            }
            value => plain(value)?,
        };
        (!text.is_empty()).then_some(text)
    }

    /// A required list with at least one item.
    pub(super) fn required_list(&mut self, name: &str) -> Vec<String> {
        self.required(name, |fields, name| {
            let items = fields.list(name);
            let sent = fields.answers.contains_key(name);
            (!items.is_empty() || (sent && fields.adjust(name, NOTHING_CHOSEN))).then_some(items)
        })
    }

    /// A list of short texts; blank items are left out. Text is split at commas,
    /// semicolons and line ends, unless it is a JSON list itself.
    pub(super) fn list(&mut self, name: &str) -> Vec<String> {
        let given = self.given(name);
        let written_out = given.and_then(json_list);
        let items = match written_out.as_ref().or(given) {
            None => Vec::new(),
            Some(Value::Array(items)) => {
                items.iter().enumerate().filter_map(|(n, item)| self.item(name, n, item)).collect()
            }
            Some(Value::String(text)) => split_list(text),
            Some(_) => {
                self.refuse(name, "must be a list of texts");
                Vec::new()
            }
        };
        if self.adjusted.is_some() {
            return self.cut_list(name, items);
        }
        if items.len() > MAX_ITEMS {
            self.refuse(name, format!("has more than {MAX_ITEMS} items"));
        } else if items.iter().any(|item| longer_than(item, MAX_CHOICE_CHARS)) {
            self.refuse(name, format!("has an item of more than {MAX_CHOICE_CHARS} characters"));
        }
        items
    }

    fn cut_list(&mut self, name: &str, mut items: Vec<String>) -> Vec<String> {
        if items.len() > MAX_ITEMS {
            items.truncate(MAX_ITEMS);
            self.adjust(name, format!("Only the first {MAX_ITEMS} entries were used."));
        }
        if items.iter().any(|item| longer_than(item, MAX_CHOICE_CHARS)) {
            items.iter_mut().for_each(|item| *item = forgiving::cut(item, MAX_CHOICE_CHARS));
            let text =
                format!("Of each entry only the first {MAX_CHOICE_CHARS} characters were used.");
            self.adjust(name, text);
        }
        items
    }

    /// A required age in whole years.
    pub(super) fn age(&mut self, name: &str, range: RangeInclusive<u8>) -> u8 {
        let read = |value: &Value| number_of(value, Unit::Year);
        self.whole_number(name, range, read, r#"; write the years, such as "34""#)
    }

    /// A required level, e.g. `7`, `"7"` or `"7/10"`.
    pub(super) fn level(&mut self, name: &str, range: RangeInclusive<u8>) -> u8 {
        self.whole_number(name, range, level, "")
    }

    fn whole_number(
        &mut self,
        name: &str,
        range: RangeInclusive<u8>,
        read: impl Fn(&Value) -> Option<f64>,
        advice: &str,
    ) -> u8 {
        self.required(name, |fields, name| {
            let number = read(fields.given(name)?).and_then(whole);
            let number = number.filter(|number| range.contains(number));
            if number.is_none() {
                let (min, max) = (range.start(), range.end());
                fields.refuse(name, format!("must be a whole number from {min} to {max}{advice}"));
            }
            number
        })
    }

    /// A share in percent; clients send zero and NaN for no answer.
    pub(super) fn optional_percent(
        &mut self,
        name: &str,
        range: RangeInclusive<f64>,
    ) -> Option<f64> {
        let value = self.given(name)?;
        if is_nothing(value) {
            self.adjust(name, NO_NUMBER);
            return None;
        }
        let number = number_of(value, Unit::Percent).filter(|number| range.contains(number));
        if number.is_none() {
            let text = format!("Left out: only {} to {} can be used.", range.start(), range.end());
            if self.adjust(name, text) {
                return None;
            }
            let (min, max) = (range.start(), range.end());
            self.refuse(name, format!("must be a number from {min} to {max}"));
        }
        number
    }

    /// A required answer that is either a level of 1 to 10 or one of the
    /// client's texts.
    pub(super) fn level_or_choice(&mut self, name: &str) -> String {
        if self.given(name).is_some_and(is_number) {
            return self.level(name, 1..=10).to_string();
        }
        self.choice(name)
    }

    /// A required measure; `fallback` replaces it after an error.
    pub(super) fn measure<M: Measure>(&mut self, name: &str, bounds: &Bounds, fallback: M) -> M {
        match self.read_measure(name, bounds) {
            Ok(measure) => measure,
            Err(problem) => {
                if let Some(corrected) = self.corrected::<M>(name, &problem, bounds) {
                    return corrected;
                }
                self.refuse_measure::<M>(name, &problem, bounds);
                fallback
            }
        }
    }

    /// A measure; an empty form counts as no answer.
    pub(super) fn optional_measure<M: Measure>(
        &mut self,
        name: &str,
        bounds: &Bounds,
    ) -> Option<M> {
        match self.read_measure(name, bounds) {
            Ok(measure) => Some(measure),
            Err(MeasureProblem { error: MeasureError::Missing, .. }) => {
                if self.given(name).is_some_and(says_nothing) {
                    self.adjust(name, NO_NUMBER);
                }
                None
            }
            Err(problem) => {
                let what = match problem.error {
                    MeasureError::OutOfRange => "this is no measure a person can have",
                    MeasureError::Ambiguous(_) => "it can be read in several ways",
                    _ => "it could not be read",
                };
                if self.adjust(name, format!("Left out: {what}.")) {
                    return None;
                }
                self.refuse_measure::<M>(name, &problem, bounds);
                None
            }
        }
    }

    /// An impossible measure with one possible meaning.
    fn corrected<M: Measure>(
        &mut self,
        name: &str,
        problem: &MeasureProblem,
        bounds: &Bounds,
    ) -> Option<M> {
        self.adjusted.as_ref()?;
        if problem.error != MeasureError::OutOfRange {
            return None;
        }
        let (measure, text) = M::mistaken(self.given(name)?, bounds)?;
        self.adjust(name, text).then_some(measure)
    }

    fn read_measure<M: Measure>(&self, name: &str, bounds: &Bounds) -> Result<M, MeasureProblem> {
        let missing = MeasureProblem { member: None, error: MeasureError::Missing };
        M::parse(self.given(name).ok_or(missing)?, bounds)
    }

    fn refuse_measure<M: Measure>(
        &mut self,
        name: &str,
        problem: &MeasureProblem,
        bounds: &Bounds,
    ) {
        let pointer = match &problem.member {
            Some(member) => format!("/{name}/{}", escape(member)),
            None => format!("/{name}"),
        };
        let examples = bounds.examples;
        let message = match &problem.error {
            MeasureError::OutOfRange => {
                let (min, max) = (bounds.allowed.start(), bounds.allowed.end());
                format!("must be between {min} and {max} {}; write {examples}", M::UNIT_NAME)
            }
            error @ MeasureError::Ambiguous(_) => format!("{error}; write the one that is meant"),
            error => format!("{error}; write {examples}"),
        };
        self.problems.add(pointer, message);
    }

    /// Reads a required field; none without a recorded error means missing.
    fn required<T: Default>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self, &str) -> Option<T>,
    ) -> T {
        read(self, name).unwrap_or_else(|| {
            // Keeps a more specific error with the same pointer.
            self.refuse(name, REQUIRED);
            T::default()
        })
    }

    /// The value of a field; none when absent, null or blank.
    fn given(&self, name: &str) -> Option<&'a Value> {
        self.answers.get(name).filter(|value| !is_blank(value))
    }

    fn item(&mut self, name: &str, index: usize, item: &Value) -> Option<String> {
        match plain(item) {
            Some(text) => (!text.is_empty()).then_some(text),
            None if item.is_null() => None,
            None => {
                self.problems.add(format!("/{name}/{index}"), "must be text");
                None
            }
        }
    }

    /// Field names are our own constants, so they need no escaping.
    fn refuse(&mut self, name: &str, message: impl Into<String>) {
        self.problems.add(format!("/{name}"), message);
    }
}

/// Whether a measure was filled in with zero or "NaN", and not left blank.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.values().any(|v| is_nothing(v) && !is_blank(v)),
        _ => is_nothing(value),
    }
}

/// A text or number as trimmed text.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A list that was sent as the text of its JSON.
fn json_list(value: &Value) -> Option<Value> {
    let text = value.as_str()?.trim();
    let list = text.starts_with('[').then(|| serde_json::from_str::<Vec<String>>(text).ok())??;
    Some(list.into())
}

/// Splits `"eggs, fish (cod, tuna)"` into two items: separators inside parentheses belong
/// to their item.
fn split_list(text: &str) -> Vec<String> {
    let mut depth = 0_usize;
    text.split(|mark: char| {
        match mark {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        mark == '\n' || (depth == 0 && matches!(mark, ',' | ';'))
    })
    .map(|item| item.trim().to_owned())
    .filter(|item| !item.is_empty())
    .collect()
}
