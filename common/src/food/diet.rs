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

/// What one answer about the way of eating asks for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Diet {
    /// Every style to keep to.
    pub styles: Vec<Style>,
    /// Foods to leave out by name ("no pork", "gluten-free").
    pub avoid: Avoid,
    /// Foods that are eaten all the same.
    exceptions: Vec<Exception>,
    /// Words nobody knows, and styles in which nothing can be checked.
    unread: Vec<String>,
}

/// What a style forbids.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The style.
    pub style: Style,
    forbids: Traits,
    exceptions: Vec<Exception>,
}

impl Diet {
    /// Reads an answer.
    pub fn read(text: &str) -> Self {
        reader::read(text)
    }

    /// Whether a style is among those to keep to.
    pub fn has(&self, style: Style) -> bool {
        self.styles.contains(&style)
    }

    /// Whether little carbohydrate is eaten, so that targets for it give way.
    pub fn is_low_in_carbohydrate(&self) -> bool {
        self.styles
            .iter()
            .any(|style| matches!(style, Style::Keto | Style::LowCarb | Style::Carnivore))
    }

    /// The rules of all styles that forbid something.
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
    /// What is wrong with a food under this rule.
    pub fn faults(&self, found: &Found) -> Traits {
        let mut traits = found.open.or(found.hidden);
        if self.style.is_strict() {
            traits = traits.or(found.maybe);
        }
        let faults = traits.and(self.forbids);
        self.exceptions.iter().fold(faults, |left, exception| exception.forgives(found, left))
    }
}
