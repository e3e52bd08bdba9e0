//! Reads settings from the environment and reports every mistake at once.
//!
//! A binary's config struct calls [`Env`] once per variable and then
//! [`Env::finish`]. Each name may also be given as `NAME_FILE`, the path of a
//! file that holds the value (how container platforms hand over secrets).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

/// One mistake in the environment, with its variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {problem}")]
pub struct ConfigError {
    /// The variable to correct.
    pub name: String,
    /// What is wrong with it and what would be valid. Never the value of a secret.
    pub problem: String,
}

/// A value that is taken, though hardly as it was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The variable.
    pub name: String,
    /// What becomes of it. Never the value of a secret.
    pub found: String,
    /// What to do.
    pub advice: String,
}

/// A variable, and where its value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The variable.
    pub name: &'static str,
    /// `environment`, `file` (as `NAME_FILE`) or `default`.
    pub source: &'static str,
    /// The value; empty for a default, and hidden where it may be a secret.
    pub shown: String,
}

/// Whether a value may be shown to operators.
fn is_public(name: &str, value: &str) -> bool {
    const SECRET: [&str; 9] =
        ["KEY", "SECRET", "PASS", "TOKEN", "DSN", "URL", "HEADERS", "ATTRIBUTES", "USERNAME"];
    // The five old names of the database's address.
    let is_old = name.chars().any(|c| c.is_ascii_lowercase());
    !is_old && !SECRET.iter().any(|part| name.contains(part)) && !value.contains("://")
}

/// All mistakes found in one reading of the environment.
#[derive(Debug, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} setting(s) need correcting:", self.0.len())?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

/// The kind of deployment; it decides which shortcuts are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// A developer's machine: shortcuts such as `AUTH_MODE=off` are allowed.
    Development,
    /// Like production, with Stripe's test mode.
    Staging,
    /// The default: nothing unsafe is accepted.
    Production,
}

impl Environment {
    /// The name in `ENVIRONMENT`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Staging => "staging",
            Self::Production => "production",
        }
    }
}

impl FromStr for Environment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "development" => Ok(Self::Development),
            "staging" => Ok(Self::Staging),
            "production" => Ok(Self::Production),
            _ => Err("must be development, staging or production"),
        }
    }
}

/// The environment while it is being read. `Debug` shows no values.
pub struct Env {
    values: BTreeMap<String, String>,
    /// Names whose values are not UTF-8.
    unreadable: BTreeSet<String>,
    asked: BTreeSet<&'static str>,
    errors: Vec<ConfigError>,
    warnings: Vec<Warning>,
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("asked", &self.asked).field("errors", &self.errors).finish()
    }
}

impl Env {
    /// Reads the variables of this process.
    pub fn from_process() -> Self {
        let mut unreadable = Vec::new();
        let pairs = std::env::vars_os().filter_map(|(name, value)| {
            // Our names are plain; others are ignored.
            let name = name.into_string().ok()?;
            match value.into_string() {
                Ok(value) => Some((name, value)),
                Err(_) => {
                    unreadable.push(name);
                    None
                }
            }
        });
        let mut env = Self::from_pairs(pairs);
        env.unreadable = unreadable.into_iter().collect();
        env
    }

    /// Reads the given variables instead, for tests.
    pub fn from_pairs<N: Into<String>, V: Into<String>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        Self {
            values: pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            unreadable: BTreeSet::new(),
            asked: BTreeSet::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// The raw text of `name`, or of the file that `NAME_FILE` names. Blank counts as
    /// unset.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.asked.insert(name);
        if self.unreadable.contains(name) {
            self.error(
                name,
                "is not valid UTF-8; write it again, or put it into a file for NAME_FILE",
            );
        }
        let file_variable = format!("{name}_FILE");
        if self.is_given(name) {
            if self.is_given(&file_variable) {
                let found = format!("is not read, because {name} is set too");
                self.warn(&file_variable, found, "remove one of the two");
            }
            return self.values.get(name).map(|value| value.trim().to_owned());
        }
        let path = self.values.get(&file_variable).filter(|path| !path.trim().is_empty())?;
        let problem = match std::fs::read_to_string(path) {
            Ok(value) if !value.trim().is_empty() => return Some(value.trim().to_owned()),
            Ok(_) => format!("the file {path} is empty; write the value into it, or unset this"),
            Err(error) => format!(
                "cannot read the file {path}: {error}; it must be there, be text, and be readable \
                 by this user"
            ),
        };
        self.error(&file_variable, problem);
        None
    }

    /// A setting without which the process cannot start.
    pub fn required<T>(&mut self, name: &'static str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let value = self.text(name);
        if value.is_none() {
            self.error(name, "is required; .env.example describes it");
        }
        value.and_then(|value| self.parse(name, &value))
    }

    /// An optional setting.
    pub fn optional<T>(&mut self, name: &'static str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.text(name).and_then(|value| self.parse(name, &value))
    }

    /// A setting with a default.
    pub fn or<T>(&mut self, name: &'static str, default: T) -> T
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.optional(name).unwrap_or(default)
    }

    /// An address to listen on, with a default.
    pub fn address(&mut self, name: &'static str, default: SocketAddr) -> SocketAddr {
        let Some(value) = self.text(name) else { return default };
        value.parse().unwrap_or_else(|_| {
            let problem = format!(
                "is {value:?}; must be an IP address and a port, such as {default} or \
                 0.0.0.0:{} for every address of the machine",
                default.port()
            );
            self.error(name, problem);
            default
        })
    }

    /// An optional URL.
    pub fn url(&mut self, name: &'static str) -> Option<Url> {
        let value = self.text(name)?;
        let problem = match value.parse::<Url>() {
            Ok(url) if matches!(url.scheme(), "http" | "https") => return Some(url),
            Ok(_) => "must begin with https:// (or http://)".to_owned(),
            // The value is not repeated, because URLs may contain passwords.
            Err(error) => {
                format!("is no web address ({error}); write it whole, as https://host/path")
            }
        };
        self.error(name, problem);
        None
    }

    /// A number with a default that must lie within `range`.
    pub fn number<T>(
        &mut self,
        name: &'static str,
        default: T,
        range: std::ops::RangeInclusive<T>,
    ) -> T
    where
        T: FromStr + PartialOrd + Copy + fmt::Display,
    {
        let Some(text) = self.text(name) else { return default };
        if let Ok(value) = text.parse()
            && range.contains(&value)
        {
            return value;
        }
        let (low, high) = (range.start(), range.end());
        self.error(name, format!("is {text:?}; must be a number between {low} and {high}"));
        default
    }

    /// A duration in whole or fractional seconds with a default; must be above zero and at most a day.
    pub fn seconds(&mut self, name: &'static str, default: f64) -> Duration {
        Duration::from_secs_f64(self.number(name, default, 0.001..=86_400.0))
    }

    /// A switch: true/false, 1/0, yes/no, on/off.
    pub fn flag(&mut self, name: &'static str, default: bool) -> bool {
        let Some(value) = self.text(name) else {
            return default;
        };
        match value.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true,
            "false" | "0" | "no" | "off" => false,
            _ => {
                self.error(name, format!("is {value:?}; must be true or false"));
                default
            }
        }
    }

    /// A secret; its value never reaches a message.
    pub fn secret(&mut self, name: &'static str) -> Option<SecretString> {
        self.text(name).map(SecretString::from)
    }

    /// Comma-separated values; blank ones are dropped.
    pub fn list(&mut self, name: &'static str) -> Vec<String> {
        self.text(name)
            .map(|value| {
                value
                    .split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty())
                    .map(str::to_owned)
                    .collect()
            })
            .unwrap_or_default()
    }

    /// Comma-separated names from a fixed list; any other is an error that shows the
    /// list.
    pub fn names<T: Copy + Ord>(
        &mut self,
        name: &'static str,
        known: &[T],
        as_str: fn(T) -> &'static str,
    ) -> BTreeSet<T> {
        let mut chosen = BTreeSet::new();
        for given in self.list(name) {
            match known.iter().find(|one| as_str(**one) == given) {
                Some(one) => {
                    chosen.insert(*one);
                }
                None => {
                    let all: Vec<&str> = known.iter().map(|one| as_str(*one)).collect();
                    let all = all.join(", ");
                    self.error(name, format!("{given:?} is not one of {all}"));
                }
            }
        }
        chosen
    }

    /// A list of waits in seconds, each up to a day, or `default` if it is unset.
    pub fn waits(&mut self, name: &'static str, default: &[u64]) -> Vec<Duration> {
        let waits = self.list(name);
        if waits.is_empty() {
            return default.iter().copied().map(Duration::from_secs).collect();
        }
        let mut read = Vec::with_capacity(waits.len());
        for text in &waits {
            match text.parse::<f64>() {
                Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => {
                    read.push(Duration::from_secs_f64(seconds));
                }
                _ => self.error(name, format!("{text:?} is not a number of seconds up to a day")),
            }
        }
        read
    }

    /// Records a mistake that involves several variables, such as a contradiction.
    pub fn error(&mut self, name: &str, problem: impl Into<String>) {
        self.errors.push(ConfigError { name: name.to_owned(), problem: problem.into() });
    }

    /// Records a value that is taken, though hardly as it was meant.
    pub fn warn(&mut self, name: &str, found: impl Into<String>, advice: impl Into<String>) {
        let (found, advice) = (found.into(), advice.into());
        let warning = Warning { name: name.to_owned(), found, advice };
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    /// The warnings recorded so far, which are then forgotten.
    pub fn take_warnings(&mut self) -> Vec<Warning> {
        std::mem::take(&mut self.warnings)
    }

    /// Whether `name` has a value of its own.
    pub fn is_given(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| !value.trim().is_empty())
    }

    /// Every name that has a value, whatever it is for.
    pub fn given(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str).filter(|name| self.is_given(name))
    }

    /// All variables read so far; a test compares them with `.env.example`.
    pub fn asked(&self) -> &BTreeSet<&'static str> {
        &self.asked
    }

    /// Every variable read so far, and where its value comes from. A value is shown only
    /// where neither its name nor its form is that of a secret.
    pub fn settings(&self) -> Vec<Setting> {
        let setting = |name: &&'static str| {
            let source = match (self.is_given(name), self.is_given(&format!("{name}_FILE"))) {
                (true, _) => "environment",
                (false, true) => "file",
                (false, false) => "default",
            };
            let value = self.values.get(*name).filter(|_| source == "environment");
            let shown = match value {
                Some(value) if is_public(name, value) => value.trim().to_owned(),
                Some(_) => "(hidden)".to_owned(),
                None if source == "file" => "(hidden)".to_owned(),
                None => String::new(),
            };
            Setting { name, source, shown }
        };
        self.asked.iter().map(setting).collect()
    }

    /// Ends the reading. `config` is `None` when a required value was missing.
    ///
    /// # Errors
    /// All mistakes, so that one restart corrects them all.
    pub fn finish<T>(self, config: Option<T>) -> Result<T, ConfigErrors> {
        match config {
            Some(config) if self.errors.is_empty() => Ok(config),
            _ => Err(ConfigErrors(self.errors)),
        }
    }

    fn parse<T>(&mut self, name: &str, value: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        value.parse().map_err(|error: T::Err| self.error(name, error.to_string())).ok()
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn every_mistake_is_reported_at_once() {
        let mut env = Env::from_pairs([("PORT", "many"), ("SLOTS", "0"), ("FLAG", "maybe")]);
        let _: Option<u16> = env.optional("PORT");
        env.number("SLOTS", 4_u32, 1..=100);
        env.flag("FLAG", false);
        let _: Option<String> = env.required("NAME");
        let errors = env.finish(Some(())).unwrap_err().0;
        let names: Vec<_> = errors.iter().map(|error| error.name.as_str()).collect();
        assert_eq!(names, ["PORT", "SLOTS", "FLAG", "NAME"]);
    }

    #[test]
    fn a_setting_says_where_it_comes_from_and_shows_no_secret() {
        let pairs =
            [("SLOTS", "4"), ("API_KEY", "sk-1"), ("ORIGINS", "https://u:p@x"), ("A_FILE", "/x")];
        let mut env = Env::from_pairs(pairs);
        for name in ["SLOTS", "API_KEY", "ORIGINS", "A", "UNSET"] {
            env.text(name);
        }
        let shown: Vec<_> =
            env.settings().into_iter().map(|one| (one.name, one.source, one.shown)).collect();
        let line = |name, source, shown: &str| (name, source, shown.to_owned());
        let expected = [
            line("A", "file", "(hidden)"),
            line("API_KEY", "environment", "(hidden)"),
            line("ORIGINS", "environment", "(hidden)"),
            line("SLOTS", "environment", "4"),
            line("UNSET", "default", ""),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_value_may_come_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "s3cret\n").unwrap();
        let mut env = Env::from_pairs([("TOKEN_FILE", path.to_str().unwrap())]);
        assert_eq!(env.secret("TOKEN").unwrap().expose_secret(), "s3cret");
        let mut env = Env::from_pairs([("TOKEN_FILE", "/nowhere/at/all")]);
        assert!(env.secret("TOKEN").is_none());
        assert_eq!(env.finish(Some(())).unwrap_err().0[0].name, "TOKEN_FILE");
    }
}
