//! Believable plans that fit what a prompt asks for.
//!
//! A plan depends on its targets and on a variety number taken from the seed,
//! so that people with equal answers get different weeks, while a load test
//! with one quiz is served from the cache.

mod conform;
mod dishes;
mod exercise;
mod food;
mod meal;
mod menu;
mod portions;
pub(crate) mod spoil;
mod table;
pub(crate) mod targets;
mod taste;
mod week;
pub(crate) mod words;
mod workout;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, RwLock};

use serde_json::Value;

use crate::chance::{Chance, hash};

use self::exercise::Exercise;
use self::food::Food;
pub use self::table::TableError;
use self::targets::{Kind, Targets};

/// Different plans for equal targets.
const VARIETIES: u64 = 16;
/// Plans kept; the cache starts over when it is full.
const KEPT: usize = 4096;

/// Makes plans.
#[derive(Debug)]
pub(crate) struct Planner {
    foods: Vec<Food>,
    exercises: Vec<Exercise>,
    made: RwLock<HashMap<u64, Arc<str>>>,
}

impl Planner {
    /// Reads the tables.
    ///
    /// # Errors
    /// A row of a table does not read.
    pub(crate) fn new() -> Result<Self, TableError> {
        let (foods, exercises) = (food::load()?, exercise::load()?);
        Ok(Self { foods, exercises, made: RwLock::default() })
    }

    /// The plan for `targets` as JSON text, in the shape of `schema`.
    pub(crate) fn text(&self, targets: &Targets, schema: Option<&Value>) -> Arc<str> {
        let variety = hash(&targets.seed) % VARIETIES;
        let plain = Targets { seed: None, ..targets.clone() };
        let asked = serde_json::to_string(&plain).unwrap_or_default();
        let key = hash((variety, asked, schema.map(fingerprint)));
        // A poisoned cache is still a cache of finished plans.
        let made = self.made.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(text) = made.get(&key) {
            return Arc::clone(text);
        }
        drop(made);
        let text: Arc<str> = self.value(&plain, schema, variety, false).to_string().into();
        let mut made = self.made.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        if made.len() >= KEPT {
            made.clear();
        }
        made.insert(key, Arc::clone(&text));
        text
    }

    /// The same plan with one food that the person must not eat in the place of another
    /// that does the same in its dish, where there is one.
    pub(crate) fn forbidden(&self, targets: &Targets, schema: Option<&Value>) -> String {
        let variety = hash(&targets.seed) % VARIETIES;
        let plain = Targets { seed: None, ..targets.clone() };
        self.value(&plain, schema, variety, true).to_string()
    }

    /// A new plan.
    fn value(
        &self,
        targets: &Targets,
        schema: Option<&Value>,
        variety: u64,
        forbidden: bool,
    ) -> Value {
        let mut chance = Chance::new((variety, targets.calories.map(f64::to_bits)));
        let plan = match kind(targets, schema) {
            Kind::Meal => {
                meal::write(&self.foods, targets, forbidden, &mut chance).unwrap_or_default()
            }
            Kind::Workout => workout::write(&self.exercises, targets, &mut chance),
        };
        match schema {
            None => plan,
            Some(schema) => {
                let mut plan = conform::conform(plan, schema);
                // Rounding to a schema's integers moves the sums.
                spoil::total(&mut plan);
                plan
            }
        }
    }
}

/// A number for a schema, for less than writing it out would cost.
fn fingerprint(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    mark(value, &mut hasher);
    hasher.finish()
}

fn mark(value: &Value, hasher: &mut DefaultHasher) {
    match value {
        Value::Array(items) => {
            hasher.write_usize(items.len());
            items.iter().for_each(|item| mark(item, hasher));
        }
        Value::Object(map) => {
            hasher.write_usize(map.len());
            for (key, value) in map {
                key.hash(hasher);
                mark(value, hasher);
            }
        }
        // Numbers, flags and texts hash by kind and content.
        plain => plain.hash(hasher),
    }
}

/// The kind asked for: said outright, or told by the schema's fields.
fn kind(targets: &Targets, schema: Option<&Value>) -> Kind {
    let weekly = schema.is_some_and(|schema| schema["properties"].get("weekly_plan").is_some());
    targets.kind.unwrap_or(if weekly { Kind::Workout } else { Kind::Meal })
}

#[cfg(test)]
mod tests;
