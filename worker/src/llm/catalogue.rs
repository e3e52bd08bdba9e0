//! The model catalogue: prices, caps, reasoning settings and retirement dates.
//! It is a data file with a dated default, because model ids change every few
//! months; `MODEL_CATALOGUE` replaces it without a new build.

use chrono::NaiveDate;
use regimen_common::config::Env;
use serde::Deserialize;

use super::{ProviderName, Reasoning, TokenUsage};

const BUILT_IN: &str = include_str!("catalogue.json");
/// The highest number of successors to follow.
const LONGEST_CHAIN: usize = 8;

/// All known models.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    /// The day on which the facts were checked.
    pub dated: NaiveDate,
    /// Whether `MODEL_CATALOGUE` gave it.
    #[serde(skip)]
    is_given: bool,
    unknown: Unknown,
    models: Vec<Model>,
}

/// The assumptions about an unlisted model, on the high side.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unknown {
    max_output: u32,
    headroom: u32,
    price: Price,
}

/// One model of one provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Its provider.
    pub provider: ProviderName,
    /// The provider's id.
    pub id: String,
    /// The longest prompt, in tokens.
    pub max_input: u32,
    /// The highest output cap, in tokens.
    pub max_output: u32,
    /// Output tokens to allow for reasoning on top of the visible reply.
    #[serde(default)]
    pub headroom: u32,
    /// The reasoning setting to send.
    #[serde(default = "unset")]
    pub reasoning: Reasoning,
    /// The usual price.
    pub price: Price,
    /// The price of prompts above a size, where it differs.
    #[serde(default)]
    pub long: Option<LongPrice>,
    /// The day on which it retires.
    #[serde(default)]
    pub retires: Option<NaiveDate>,
    /// The model to call from that day on.
    #[serde(default)]
    pub successor: Option<String>,
}

/// US dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Prompt tokens.
    pub input: f64,
    /// Prompt tokens read from a cache.
    pub cached: f64,
    /// Prompt tokens written to a cache; as `input` if they are not billed separately.
    #[serde(default)]
    pub cache_write: Option<f64>,
    /// Generated tokens, reasoning included.
    pub output: f64,
}

/// The price of long prompts.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LongPrice {
    /// Applies to prompts with more tokens than this.
    pub above: u64,
    /// Their price, output included.
    pub price: Price,
}

/// Why a catalogue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The JSON is malformed.
    #[error("the model catalogue is malformed: {0}")]
    Malformed(#[from] serde_json::Error),
    /// A price below zero or implausibly high.
    #[error("the price of {0} is not between 0 and 10,000 dollars per million tokens")]
    Price(String),
    /// A successor that is not listed for the same provider, or a circle of them.
    #[error("the successors of {0} lead to no listed model of its provider")]
    Successor(String),
}

/// A model as it is called today.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The id to send: the requested one, or its successor.
    pub id: String,
    /// The reasoning setting to send.
    pub reasoning: Reasoning,
    /// Output tokens to allow for reasoning.
    pub headroom: u32,
    /// Its highest output cap.
    pub max_output: u32,
}

fn unset() -> Reasoning {
    Reasoning::Unset
}

impl Catalogue {
    /// The catalogue of this build.
    ///
    /// # Errors
    /// The built-in file is malformed; a test excludes that.
    pub fn built_in() -> Result<Self, CatalogueError> {
        Self::parse(BUILT_IN)
    }

    /// `MODEL_CATALOGUE` (JSON, or a file by `MODEL_CATALOGUE_FILE`), else the built-in one.
    pub fn from_env(env: &mut Env) -> Option<Self> {
        let text = env.text("MODEL_CATALOGUE");
        let given = |text: &str| Ok(Self { is_given: true, ..Self::parse(text)? });
        let parsed = text.map_or_else(Self::built_in, |text| given(&text));
        parsed
            .map_err(|error| {
                env.error(
                    "MODEL_CATALOGUE",
                    format!("{error}; correct the JSON, or unset it for the built-in catalogue"),
                )
            })
            .ok()
    }

    /// Reads and checks a catalogue.
    ///
    /// # Errors
    /// It is malformed or contradicts itself.
    pub fn parse(json: &str) -> Result<Self, CatalogueError> {
        let catalogue: Self = serde_json::from_str(json)?;
        let sane = |price: &Price| {
            [price.input, price.cached, price.output, price.write()]
                .iter()
                .all(|price| (0.0..=10_000.0).contains(price))
        };
        for model in &catalogue.models {
            let long = model.long.is_none_or(|long| sane(&long.price));
            if !sane(&model.price) || !long {
                return Err(CatalogueError::Price(model.id.clone()));
            }
            let end = catalogue.follow(model, NaiveDate::MAX);
            if end.successor.is_some() || end.provider != model.provider {
                return Err(CatalogueError::Successor(model.id.clone()));
            }
        }
        if !sane(&catalogue.unknown.price) {
            return Err(CatalogueError::Price("unknown models".to_owned()));
        }
        Ok(catalogue)
    }

    /// The entry of `id`, if it is listed.
    pub fn model(&self, id: &str) -> Option<&Model> {
        self.models.iter().find(|model| model.id == id)
    }

    /// The model to call for `id` on `today`.
    pub fn resolve(&self, id: &str, today: NaiveDate) -> Resolved {
        let Some(model) = self.model(id) else {
            return Resolved {
                id: id.to_owned(),
                reasoning: Reasoning::Unset,
                headroom: self.unknown.headroom,
                max_output: self.unknown.max_output,
            };
        };
        let model = self.follow(model, today);
        Resolved {
            id: model.id.clone(),
            reasoning: model.reasoning.clone(),
            headroom: model.headroom,
            max_output: model.max_output,
        }
    }

    /// The day on which a model retires, if it is announced.
    pub fn retires(&self, id: &str) -> Option<NaiveDate> {
        self.model(id)?.retires
    }

    /// The cost of a call in millionths of a US dollar, rounded up.
    pub fn cost_micros(&self, id: &str, usage: &TokenUsage) -> u64 {
        self.price(id, usage.input).micros(usage)
    }

    /// The highest cost of a call: nothing of the prompt cached, and every token of the
    /// cap.
    pub fn most_micros(&self, id: &str, input: u64, max_output: u32) -> u64 {
        let usage = TokenUsage {
            input,
            cache_write: input,
            output: max_output.into(),
            ..TokenUsage::default()
        };
        let price = self.price(id, input);
        price.micros(&usage).max(price.micros(&TokenUsage { cache_write: 0, ..usage }))
    }

    /// The usual price of the model that is called for `id` on `today`, and where it stands.
    pub fn price_of(&self, id: &str, today: NaiveDate) -> (Price, String) {
        let Some(model) = self.model(id) else {
            let source = "not in the catalogue: assumed on the high side";
            return (self.unknown.price, source.to_owned());
        };
        let name = if self.is_given { "MODEL_CATALOGUE" } else { "built-in catalogue" };
        (self.follow(model, today).price, format!("{name} of {}", self.dated))
    }

    fn price(&self, id: &str, input: u64) -> Price {
        let Some(model) = self.model(id) else { return self.unknown.price };
        match model.long {
            Some(long) if input > long.above => long.price,
            _ => model.price,
        }
    }

    fn follow<'a>(&'a self, model: &'a Model, today: NaiveDate) -> &'a Model {
        let mut model = model;
        for _ in 0..LONGEST_CHAIN {
            let next = model
                .successor
                .as_deref()
                .filter(|_| model.retires.is_some_and(|day| day <= today));
            match next.and_then(|id| self.model(id)) {
                Some(next) => model = next,
                None => break,
            }
        }
        model
    }
}

impl Price {
    fn write(&self) -> f64 {
        self.cache_write.unwrap_or(self.input)
    }

    fn micros(&self, usage: &TokenUsage) -> u64 {
        let written = usage.cache_write.min(usage.input);
        let cached = usage.cached.min(usage.input - written);
        let plain = usage.input - written - cached;
        let parts = [
            (plain, self.input),
            (cached, self.cached),
            (written, self.write()),
            (usage.output, self.output),
        ];
        let picos: u128 =
            parts.iter().map(|(tokens, price)| u128::from(*tokens) * picos_per_token(*price)).sum();
        u64::try_from(picos.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// Dollars per million tokens equal millionths of a dollar per token; computing in
/// millionths of those keeps the sum in integers.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "prices are checked to lie between 0 and 10,000"
)]
fn picos_per_token(price: f64) -> u128 {
    (price * 1e6).round() as u128
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(year: i32, month: u32, day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(year, month, day).unwrap()
    }

    fn catalogue() -> Catalogue {
        Catalogue::built_in().unwrap()
    }

    #[test]
    fn a_typical_plan_costs_what_the_price_lists_say() {
        let usage = TokenUsage { input: 3_000, output: 6_000, ..TokenUsage::default() };
        let cost = |id: &str| catalogue().cost_micros(id, &usage);
        assert_eq!(cost("gpt-6-luna"), 3_300);
        assert_eq!(cost("claude-haiku-5-5"), 3_300);
        assert_eq!(cost("gemini-3.5-flash-lite"), 15_900);
        assert_eq!(cost("never-heard-of"), 99_000);
    }

    #[test]
    fn cached_and_written_tokens_have_their_own_price_and_fractions_round_up() {
        let usage = TokenUsage {
            input: 1_201,
            cached: 1_000,
            cache_write: 101,
            output: 9,
            ..TokenUsage::default()
        };
        // 100 × 0.1 + 1000 × 0.01 + 101 × 0.125 + 9 × 0.5 = 37.125
        assert_eq!(catalogue().cost_micros("claude-haiku-5-5", &usage), 38);
        let impossible =
            TokenUsage { input: 1, cached: 5, cache_write: 5, ..TokenUsage::default() };
        assert_eq!(catalogue().cost_micros("claude-haiku-5-5", &impossible), 1);
        let huge = TokenUsage { input: u64::MAX, output: u64::MAX, ..TokenUsage::default() };
        assert!(catalogue().cost_micros("gpt-6.1-sol", &huge) > 0);
    }

    #[test]
    fn long_prompts_cost_their_own_price() {
        let usage = TokenUsage { input: 100_001, output: 1_000, ..TokenUsage::default() };
        assert_eq!(catalogue().cost_micros("claude-haiku-5-5", &usage), 52_501);
        let usage = TokenUsage { input: 100_000, ..usage };
        assert_eq!(catalogue().cost_micros("claude-haiku-5-5", &usage), 10_500);
    }

    #[test]
    fn no_call_within_its_cap_costs_more_than_the_most() {
        let catalogue = catalogue();
        for model in &catalogue.models {
            let usage = TokenUsage {
                input: 5_000,
                cache_write: 5_000,
                output: 8_000,
                ..TokenUsage::default()
            };
            let most = catalogue.most_micros(&model.id, 5_000, 8_000);
            assert!(catalogue.cost_micros(&model.id, &usage) <= most);
            assert!(
                catalogue.cost_micros(&model.id, &TokenUsage { cache_write: 0, ..usage }) <= most
            );
        }
    }

    #[test]
    fn retired_models_lead_to_their_successor() {
        let catalogue = catalogue();
        let today = day(2026, 11, 22);
        let id = |asked: &str, today: NaiveDate| catalogue.resolve(asked, today).id;
        assert_eq!(id("claude-3-5-sonnet-20241022", today), "claude-sonnet-5-5");
        assert_eq!(id("gemini-1.5-flash", today), "gemini-3.5-flash-lite");
        assert_eq!(id("gpt-4o-mini", today), "gpt-4o-mini");
        assert_eq!(id("gpt-4o-mini", day(2027, 1, 14)), "gpt-6-luna");
        assert_eq!(id("my-own-model", today), "my-own-model");
    }

    #[test]
    fn a_catalogue_that_contradicts_itself_is_refused() {
        let model = |extra: &str| {
            format!(
                r#"{{"dated":"2026-11-22","unknown":{{"max_output":1,"headroom":0,"price":{{"input":1,"cached":1,"output":1}}}},
                "models":[{{"provider":"openai","id":"a","max_input":1,"max_output":1,"price":{{"input":1,"cached":1,"output":1}}{extra}}}]}}"#
            )
        };
        Catalogue::parse(&model("")).unwrap();
        let refused = |extra: &str| Catalogue::parse(&model(extra)).unwrap_err();
        let successor = refused(r#","retires":"2026-01-01","successor":"a""#);
        assert!(matches!(successor, CatalogueError::Successor(_)));
        let successor = refused(r#","retires":"2026-01-01","successor":"b""#);
        assert!(matches!(successor, CatalogueError::Successor(_)));
        assert!(matches!(refused(r#","colour":"red""#), CatalogueError::Malformed(_)));
        let free = model("").replace("\"input\":1", "\"input\":-1");
        assert!(matches!(Catalogue::parse(&free), Err(CatalogueError::Price(_))));
    }
}
