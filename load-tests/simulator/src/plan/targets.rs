//! The targets of a prompt, parsed from its machine-readable line.
//!
//! The line is `REGIMEN-TARGETS: {json}` anywhere in the prompt; the last one
//! counts. Every field may be missing. Unknown fields are ignored.

use serde::{Deserialize, Deserializer, Serialize};

/// The start of the line.
const LABEL: &str = "REGIMEN-TARGETS:";

/// The kind of plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// A day of meals.
    Meal,
    /// A week of training.
    Workout,
}

/// The targets of a plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Targets {
    pub(crate) kind: Option<Kind>,
    /// kcal per day.
    #[serde(deserialize_with = "number")]
    pub(crate) calories: Option<f64>,
    /// g per day.
    #[serde(deserialize_with = "number")]
    pub(crate) protein_g: Option<f64>,
    /// g per day.
    #[serde(deserialize_with = "number")]
    pub(crate) carbs_g: Option<f64>,
    /// g per day.
    #[serde(deserialize_with = "number")]
    pub(crate) fats_g: Option<f64>,
    /// Meals per day.
    #[serde(deserialize_with = "number")]
    pub(crate) meals: Option<f64>,
    #[serde(deserialize_with = "words")]
    pub(crate) diet: Vec<String>,
    #[serde(deserialize_with = "words")]
    pub(crate) allergies: Vec<String>,
    #[serde(deserialize_with = "words")]
    pub(crate) dislikes: Vec<String>,
    /// Training days per week.
    #[serde(deserialize_with = "number")]
    pub(crate) days: Option<f64>,
    #[serde(deserialize_with = "words")]
    pub(crate) equipment: Vec<String>,
    #[serde(deserialize_with = "words")]
    pub(crate) places: Vec<String>,
    #[serde(deserialize_with = "words")]
    pub(crate) injuries: Vec<String>,
    /// Identifies the job: varies the plan and indexes the counts.
    pub(crate) seed: Option<String>,
}

/// The result of a search.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Found {
    /// A valid line.
    Targets(Box<Targets>),
    /// An invalid line, with the reason.
    Unreadable(String),
    /// No line.
    Nothing,
}

/// Searches `prompt` for the line.
pub(crate) fn find(prompt: &str) -> Found {
    let Some(start) = prompt.rfind(LABEL) else { return Found::Nothing };
    let rest = &prompt[start + LABEL.len()..];
    let line = rest.lines().next().unwrap_or_default();
    // Text after the object on the same line is ignored.
    match serde_json::Deserializer::from_str(line).into_iter::<Targets>().next() {
        Some(Ok(targets)) => Found::Targets(Box::new(targets)),
        Some(Err(error)) => Found::Unreadable(error.to_string()),
        None => Found::Unreadable("nothing stands behind the label".to_owned()),
    }
}

/// A number, or a text that starts with one ("4-5", "3 (standard)").
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        Number(f64),
        Text(String),
        Nothing(()),
    }
    Ok(match Given::deserialize(deserializer)? {
        Given::Number(value) => Some(value),
        Given::Text(text) => {
            let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
            text[..end].parse().ok()
        }
        Given::Nothing(()) => None,
    })
}

/// A list of texts, or one text with commas.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Given {
        List(Vec<String>),
        Text(String),
        Nothing(()),
    }
    let list = match Given::deserialize(deserializer)? {
        Given::List(list) => list,
        Given::Text(text) => vec![text],
        Given::Nothing(()) => Vec::new(),
    };
    let parts = list.iter().flat_map(|text| text.split([',', ';', '/', '\n']));
    Ok(parts.map(|part| part.trim().to_lowercase()).filter(|part| !part.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(prompt: &str) -> Targets {
        match find(prompt) {
            Found::Targets(targets) => *targets,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_last_line_of_the_prompt_counts() {
        let prompt = "Hello\nREGIMEN-TARGETS: {\"calories\":1}\nREGIMEN-TARGETS: \
            {\"kind\":\"meal\",\"calories\":2100,\"meals\":\"4-5 (smaller meals)\",\
            \"allergies\":[\"Peanut\"],\"dislikes\":\"fish, Okra\",\"new\":1,\"seed\":\"j\"} end\nmore";
        let targets = read(prompt);
        assert_eq!(targets.kind, Some(Kind::Meal));
        assert_eq!(targets.calories, Some(2100.0));
        assert_eq!(targets.meals, Some(4.0));
        assert_eq!(targets.allergies, ["peanut"]);
        assert_eq!(targets.dislikes, ["fish", "okra"]);
        assert_eq!(targets.seed.as_deref(), Some("j"));
    }

    #[test]
    fn nulls_and_missing_fields_mean_nothing_asked() {
        let targets = read("REGIMEN-TARGETS: {\"calories\":null,\"equipment\":null}");
        assert_eq!(targets, Targets::default());
    }

    #[test]
    fn a_broken_line_is_told_from_no_line() {
        assert_eq!(find("nothing here"), Found::Nothing);
        assert!(matches!(find("REGIMEN-TARGETS: {oops"), Found::Unreadable(_)));
        assert!(matches!(find("REGIMEN-TARGETS:"), Found::Unreadable(_)));
    }
}
