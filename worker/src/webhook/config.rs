//! The callback settings of the worker.

use std::time::Duration;

use regimen_common::callbacks::{Rules, Signer};
use regimen_common::config::Env;

/// The default waits between tries, as Standard Webhooks proposes: ten tries within 76
/// hours.
const RETRY_SECONDS: [u64; 9] = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/// The highest number of waits.
const MAX_RETRIES: usize = 20;

/// The callback settings of the worker.
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// `CALLBACK_SECRETS`; without them this worker sends none.
    pub signer: Option<Signer>,
    /// `CALLBACK_ALLOW_HTTP` and `CALLBACK_ALLOWED_NETWORKS`.
    pub rules: Rules,
    /// `CALLBACK_SLOTS`: concurrent callbacks of this process.
    pub slots: usize,
    /// `CALLBACKS_PER_HOST`: of those, to one host, and for one user.
    pub per_host: i64,
    /// `CALLBACK_TIMEOUT_SECONDS`: from the look-up of the name to the answer.
    pub timeout: Duration,
    /// `CALLBACK_RETRY_SECONDS`: waits before each further try.
    pub retries: Vec<Duration>,
}

impl WebhookConfig {
    /// Reads the settings; mistakes are recorded in `env`.
    pub fn from_env(env: &mut Env) -> Self {
        let timeout = env.number("CALLBACK_TIMEOUT_SECONDS", 15.0, 0.1..=60.0);
        let retries = env.waits("CALLBACK_RETRY_SECONDS", &RETRY_SECONDS);
        if retries.len() > MAX_RETRIES {
            env.error("CALLBACK_RETRY_SECONDS", format!("has more than {MAX_RETRIES} waits"));
        }
        Self {
            signer: Signer::from_env(env),
            rules: Rules::from_env(env),
            slots: env.number("CALLBACK_SLOTS", 64, 1..=1_000),
            per_host: env.number("CALLBACKS_PER_HOST", 8, 1..=1_000),
            timeout: Duration::from_secs_f64(timeout),
            retries,
        }
    }

    /// How long a claim is valid: longer than sending and recording take.
    pub fn hold(&self) -> Duration {
        self.timeout + Duration::from_secs(5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_secrets_callbacks_are_off_and_the_rest_has_defaults() {
        let mut env = Env::from_pairs::<String, String>([]);
        let settings = WebhookConfig::from_env(&mut env);
        assert!(settings.signer.is_none());
        let total: Duration = settings.retries.iter().sum();
        assert_eq!((settings.retries.len(), total.as_secs() / 3_600), (9, 75));
        env.finish(Some(())).unwrap();
    }

    #[test]
    fn mistakes_are_named() {
        let many = vec!["1"; 21].join(",");
        let mut env = Env::from_pairs([
            ("CALLBACK_SECRETS", "whsec_short"),
            ("CALLBACK_TIMEOUT_SECONDS", "0"),
            ("CALLBACK_RETRY_SECONDS", &many),
            ("CALLBACK_SLOTS", "0"),
            ("CALLBACKS_PER_HOST", "0"),
            ("CALLBACK_ALLOWED_NETWORKS", "everywhere"),
        ]);
        WebhookConfig::from_env(&mut env);
        let mut names: Vec<_> =
            env.finish(Some(())).unwrap_err().0.into_iter().map(|error| error.name).collect();
        names.sort();
        let expected = [
            "CALLBACKS_PER_HOST",
            "CALLBACK_ALLOWED_NETWORKS",
            "CALLBACK_RETRY_SECONDS",
            "CALLBACK_SECRETS",
            "CALLBACK_SLOTS",
            "CALLBACK_TIMEOUT_SECONDS",
        ];
        assert_eq!(names, expected);
    }
}
