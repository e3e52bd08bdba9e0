//! Parses answers about the diet, as apps and people write them.
//!
//! A small grammar over curated names: diets ("Pescetarian"), negations
//! ("Non-vegetarian", "anything but vegan", "previously vegetarian"),
//! exclusions ("no pork", "egg-free") and allowed foods ("vegetarian but eats
//! fish"). In doubt a food is refused; words that are not understood are
//! reported.

mod items;
mod reader;
mod styles;
#[cfg(test)]
mod tests;
mod words;

use super::{Avoid, Exception, Found, Traits};

pub use styles::Style;

/// The requirements of one answer about the diet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Diet {
    /// All diets in the answer.
    pub styles: Vec<Style>,
    /// Foods to exclude by name ("no pork", "gluten-free").
    pub avoid: Avoid,
    /// Foods that are eaten despite the diet.
    exceptions: Vec<Exception>,
    /// Unknown words, and diets that cannot be checked.
    unread: Vec<String>,
}

/// What a diet forbids.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The diet.
    pub style: Style,
    forbids: Traits,
    exceptions: Vec<Exception>,
}

impl Diet {
    /// Parses an answer.
    pub fn read(text: &str) -> Self {
        reader::read(text)
    }

    /// Whether a diet is in the answer.
    pub fn has(&self, style: Style) -> bool {
        self.styles.contains(&style)
    }

    /// Whether the diet is low in carbohydrate, so that its target gives way.
    pub fn is_low_in_carbohydrate(&self) -> bool {
        self.styles
            .iter()
            .any(|style| matches!(style, Style::Keto | Style::LowCarb | Style::Carnivore))
    }

    /// The rules of all diets that forbid something.
    pub fn rules(&self) -> Vec<Rule> {
        let rule = |style: &Style| Rule {
            style: *style,
            forbids: style.forbids(),
            exceptions: [style.exceptions(), self.exceptions.clone()].concat(),
        };
        self.styles.iter().map(rule).filter(|rule| !rule.forbids.is_empty()).collect()
    }

    /// Words that were not understood, or cannot be checked.
    pub fn unread(&self) -> &[String] {
        &self.unread
    }
}

impl Rule {
    /// The forbidden traits of a food under this rule.
    pub fn faults(&self, found: &Found) -> Traits {
        let mut traits = found.open.or(found.hidden);
        if self.style.is_strict() {
            traits = traits.or(found.maybe);
        }
        let faults = traits.and(self.forbids);
        self.exceptions.iter().fold(faults, |left, exception| exception.forgives(found, left))
    }
}
