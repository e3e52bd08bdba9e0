//! The configured providers and their order.

use std::num::NonZeroU32;

use regimen_common::config::Env;
use reqwest::{Client, RequestBuilder};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::anthropic::{Messages, VERSION};
use super::gemini::GenerateContent;
use super::http::Transport;
use super::openai::{ChatCompletions, Dialect};
use super::slot::SlotLimits;
use super::{Provider, ProviderName};

/// The default limit of calls per second.
const PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(49);
/// The default limit of concurrent calls.
const CONCURRENT: u32 = 256;

/// One provider that has a key.
#[derive(Debug, Clone)]
pub struct ProviderConfig {
    /// Its name.
    pub name: ProviderName,
    /// Its key.
    pub key: SecretString,
    /// Its base URL; the adapter adds the path.
    pub base: Url,
    /// The model for jobs that name none.
    pub model: String,
    /// This worker's own limits for it.
    pub limits: SlotLimits,
}

impl ProviderConfig {
    /// Asks for the list of models, the cheapest request that needs the key.
    pub fn list_models(&self, client: &Client) -> RequestBuilder {
        let key = self.key.expose_secret();
        match self.name {
            ProviderName::Openai | ProviderName::Llama => {
                client.get(below(&self.base, &["models"])).bearer_auth(key)
            }
            ProviderName::Anthropic => {
                let mut url = below(&self.base, &["v1", "models"]);
                url.set_query(Some("limit=1000"));
                client.get(url).header("x-api-key", key).header("anthropic-version", VERSION)
            }
            ProviderName::Gemini => {
                let mut url = below(&self.base, &["v1", "models"]);
                url.set_query(Some("pageSize=1000"));
                client.get(url).header("x-goog-api-key", key)
            }
        }
    }
}

/// The configured fallback: providers with a key, in their order.
#[derive(Debug, Clone, Default)]
pub struct FallbackConfig {
    /// In the order of calls. Providers left out of `PROVIDER_ORDER` are not called.
    pub slots: Vec<ProviderConfig>,
}

/// The names of one provider's variables and their defaults.
struct Variables {
    base: &'static str,
    default_base: Option<&'static str>,
    model: &'static str,
    default_model: Option<&'static str>,
    per_second: &'static str,
    concurrent: &'static str,
}

/// Model defaults are dated 2026-11-22; see the catalogue.
fn variables(name: ProviderName) -> Variables {
    match name {
        ProviderName::Openai => Variables {
            base: "OPENAI_BASE_URL",
            default_base: Some("https://api.openai.com/v1"),
            model: "OPENAI_MODEL",
            default_model: Some("gpt-6-luna"),
            per_second: "OPENAI_CALLS_PER_SECOND",
            concurrent: "OPENAI_CONCURRENCY",
        },
        ProviderName::Anthropic => Variables {
            base: "ANTHROPIC_BASE_URL",
            default_base: Some("https://api.anthropic.com"),
            model: "ANTHROPIC_MODEL",
            default_model: Some("claude-haiku-5-5"),
            per_second: "ANTHROPIC_CALLS_PER_SECOND",
            concurrent: "ANTHROPIC_CONCURRENCY",
        },
        ProviderName::Gemini => Variables {
            base: "GEMINI_BASE_URL",
            default_base: Some("https://generativelanguage.googleapis.com"),
            model: "GEMINI_MODEL",
            default_model: Some("gemini-3.5-flash-lite"),
            per_second: "GEMINI_CALLS_PER_SECOND",
            concurrent: "GEMINI_CONCURRENCY",
        },
        ProviderName::Llama => Variables {
            base: "LLAMA_BASE_URL",
            default_base: None,
            model: "LLAMA_MODEL",
            default_model: None,
            per_second: "LLAMA_CALLS_PER_SECOND",
            concurrent: "LLAMA_CONCURRENCY",
        },
    }
}

impl FallbackConfig {
    /// Reads `PROVIDER_ORDER`, `{OPENAI,ANTHROPIC,GEMINI,LLAMA}_{API_KEY,BASE_URL,MODEL}`,
    /// and per provider `_CALLS_PER_SECOND` and `_CONCURRENCY`.
    pub fn from_env(env: &mut Env) -> Self {
        let order = order(env);
        for name in ProviderName::ALL {
            judge_presence(env, *name, order.contains(name));
        }
        let slots = order.into_iter().filter_map(|name| provider(env, name)).collect();
        Self { slots }
    }

    /// The adapters, over one shared HTTP client.
    pub fn connect(&self, transport: &Transport) -> Vec<Box<dyn Provider>> {
        self.slots.iter().map(|slot| adapter(slot, transport.clone())).collect()
    }
}

/// Warns of what is set and has no effect.
fn judge_presence(env: &mut Env, name: ProviderName, is_asked: bool) {
    let (variables, key) = (variables(name), name.key_variable());
    let has_key = env.is_given(key) || env.is_given(&format!("{key}_FILE"));
    let is_named = env.is_given("PROVIDER_ORDER");
    if has_key && !is_asked {
        let found = format!("has no effect: PROVIDER_ORDER does not name {name}");
        env.warn(key, found, format!("add {name} to PROVIDER_ORDER, or remove the key"));
    }
    if !has_key && is_asked && is_named {
        let found = format!("names {name}, which has no key and is left out");
        env.warn("PROVIDER_ORDER", found, format!("set {key}, or take {name} out"));
    }
    for setting in [variables.base, variables.model] {
        if !has_key && env.is_given(setting) {
            env.warn(setting, format!("has no effect without {key}"), format!("set {key}"));
        }
    }
}

fn order(env: &mut Env) -> Vec<ProviderName> {
    let mut order = Vec::new();
    for word in env.list("PROVIDER_ORDER") {
        match word.parse() {
            Ok(name) if !order.contains(&name) => order.push(name),
            Ok(name) => env.error("PROVIDER_ORDER", format!("names {name} twice")),
            Err(error) => env.error("PROVIDER_ORDER", format!("{error}")),
        }
    }
    if order.is_empty() { ProviderName::ALL.to_vec() } else { order }
}

fn provider(env: &mut Env, name: ProviderName) -> Option<ProviderConfig> {
    let (variables, key_variable) = (variables(name), name.key_variable());
    let key = env.secret(key_variable);
    let base = env.optional::<Url>(variables.base);
    let model = env.text(variables.model);
    let limits = SlotLimits {
        per_second: env.number(variables.per_second, PER_SECOND, NonZeroU32::MIN..=NonZeroU32::MAX),
        concurrent: env.number(variables.concurrent, CONCURRENT, 1..=100_000),
    };
    let key = key?;
    let base = base.or_else(|| variables.default_base.and_then(|base| base.parse().ok()));
    let model = model.or_else(|| variables.default_model.map(str::to_owned));
    if base.is_none() {
        env.error(variables.base, format!("is required with {key_variable}"));
    }
    if model.is_none() {
        env.error(variables.model, format!("is required with {key_variable}"));
    }
    let (base, model) = (base?, model?);
    if !matches!(base.scheme(), "http" | "https") {
        env.error(variables.base, "must be an http or https address");
    }
    if model.ends_with("-contributor") {
        env.error(variables.model, "names a model whose owner trains on what it is sent");
    }
    Some(ProviderConfig { name, key, base, model, limits })
}

fn adapter(settings: &ProviderConfig, transport: Transport) -> Box<dyn Provider> {
    let (base, key) = (&settings.base, settings.key.clone());
    match settings.name {
        ProviderName::Openai => {
            Box::new(ChatCompletions::new(Dialect::Openai, base, key, transport))
        }
        ProviderName::Llama => {
            Box::new(ChatCompletions::new(Dialect::Compatible, base, key, transport))
        }
        ProviderName::Anthropic => Box::new(Messages::new(base, key, transport)),
        ProviderName::Gemini => Box::new(GenerateContent::new(base, key, transport)),
    }
}

/// `base` with `segments` below its path. A segment is encoded, so that a model name
/// cannot change the path.
pub(crate) fn below(base: &Url, segments: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_without_a_key_are_left_out_and_the_order_is_kept() {
        let mut env = Env::from_pairs([
            ("PROVIDER_ORDER", "gemini, openai"),
            ("OPENAI_API_KEY", "sk-1"),
            ("GEMINI_API_KEY", "AQ.1"),
            ("ANTHROPIC_API_KEY", "sk-ant"),
            ("OPENAI_MODEL", "gpt-6.1-terra"),
        ]);
        let fallback = FallbackConfig::from_env(&mut env);
        let slots: Vec<_> =
            fallback.slots.iter().map(|slot| (slot.name, slot.model.as_str())).collect();
        assert_eq!(
            slots,
            [
                (ProviderName::Gemini, "gemini-3.5-flash-lite"),
                (ProviderName::Openai, "gpt-6.1-terra")
            ]
        );
        assert!(!format!("{fallback:?}").contains("sk-1"));
        env.finish(Some(())).unwrap();
    }

    #[test]
    fn mistakes_are_named() {
        let mut env = Env::from_pairs([
            ("PROVIDER_ORDER", "openai,openai,bard,llama"),
            ("LLAMA_API_KEY", "k"),
            ("OPENAI_API_KEY", "k"),
            ("OPENAI_BASE_URL", "ftp://files.example.test"),
        ]);
        FallbackConfig::from_env(&mut env);
        let errors = env.finish(Some(())).unwrap_err().0;
        let names: Vec<_> = errors.iter().map(|error| error.name.as_str()).collect();
        let expected = [
            "PROVIDER_ORDER",
            "PROVIDER_ORDER",
            "OPENAI_BASE_URL",
            "LLAMA_BASE_URL",
            "LLAMA_MODEL",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn a_path_is_added_below_any_base_and_a_model_cannot_leave_it() {
        let join =
            |base: &str, segments: &[&str]| below(&base.parse().unwrap(), segments).to_string();
        assert_eq!(
            join("https://api.openai.com/v1", &["chat", "completions"]),
            "https://api.openai.com/v1/chat/completions"
        );
        assert_eq!(
            join("http://127.0.0.1:9/gw/", &["v1", "messages"]),
            "http://127.0.0.1:9/gw/v1/messages"
        );
        assert_eq!(
            join("https://g.test", &["v1", "models", "../../x?key=1:streamGenerateContent"]),
            "https://g.test/v1/models/..%2F..%2Fx%3Fkey=1:streamGenerateContent"
        );
    }
}
