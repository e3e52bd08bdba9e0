//! What `regimen-worker check` looks at: the stores, Stripe, and what only a
//! worker uses: AI providers, the mail server, callbacks.

use regimen_common::check::{
    Checked, Finding, Http, HttpProblem, Look, Pools, StripeSettings, database, look, otlp, redis,
    sentry, stripe,
};
use regimen_common::clock::Clock;
use regimen_common::config::{Env, Environment};
use regimen_common::provider::ProviderName;

use crate::config::WorkerConfig;
use crate::llm::catalogue::Catalogue;
use crate::llm::config::ProviderConfig;
use crate::llm::models;
use crate::mail::{MailConfig, MailError, Mailer};

impl Checked for WorkerConfig {
    fn take(env: &mut Env) -> Option<Self> {
        Self::take(env)
    }

    fn judge(&self) -> Vec<Finding> {
        let mut findings = providers(self);
        findings.push(budget(self));
        findings.extend(stripe_settings(self));
        if self.mail.is_none() {
            let found = "off: nobody is mailed about their payments";
            findings.push(Finding::ok("SMTP_HOST", found));
        }
        findings.push(callbacks(self));
        findings.push(sentry(&self.telemetry.sentry));
        findings
    }

    fn looks(&self) -> Vec<Look<'_>> {
        // The heartbeat has a connection of its own.
        let pools = Pools { size: self.database_pool_size, beside: 1 };
        let mut looks = database(&self.database_url, self.environment, pools);
        looks.push(redis(&self.redis_url, &self.redis_prefix, self.environment));
        for slot in &self.providers.slots {
            let answers = async move { provider(slot, &self.catalogue).await };
            looks.push(look(slot.name.key_variable(), answers));
        }
        looks.extend(stripe(StripeSettings {
            access: &self.stripe.access,
            mode: self.stripe.mode,
            offers: &self.stripe.offers,
            webhook: None,
        }));
        if let Some(mail) = &self.mail {
            looks.push(look("SMTP_HOST", async move { vec![mail_server(mail).await] }));
        }
        looks.push(look("OTEL_EXPORTER_OTLP_ENDPOINT", otlp(&self.telemetry.otlp)));
        looks
    }
}

/// Whether there is anybody to ask, and what is known of their models.
fn providers(config: &WorkerConfig) -> Vec<Finding> {
    let slots = &config.providers.slots;
    if slots.is_empty() {
        let found = "no provider has a key: no plan can be made";
        let advice = format!("set one of {}", ProviderName::key_variables());
        return vec![Finding::warn("AI providers", found, advice)];
    }
    let order: Vec<&str> = slots.iter().map(|slot| slot.name.as_str()).collect();
    let mut findings =
        vec![Finding::ok("AI providers", format!("asked in the order {}", order.join(", ")))];
    if let [only] = slots.as_slice() {
        let found = format!("{} alone: while it fails, no plan is made", only.name);
        findings = vec![Finding::warn("AI providers", found, "give a second provider a key")];
    }
    let today = Clock::system().now().date_naive();
    for slot in slots {
        let subject = format!("{}_MODEL", slot.name.as_str().to_ascii_uppercase());
        findings.push(match config.catalogue.notice(&slot.model, today) {
            Some(notice) => Finding::warn(subject, notice.to_string(), "choose a model that stays"),
            None if config.catalogue.model(&slot.model).is_none() => Finding::warn(
                subject,
                format!("{} is not in the catalogue: its price is guessed, and high", slot.model),
                "add it to a MODEL_CATALOGUE of your own",
            ),
            None => Finding::ok(subject, format!("{}, which is known", slot.model)),
        });
    }
    findings
}

fn budget(config: &WorkerConfig) -> Finding {
    let subject = "BUDGET_DAILY_USD";
    let limits = config.budgets.limits;
    let dollars = |micros: u64| format!("{:.2} USD", micros as f64 / 1e6);
    match limits.daily {
        Some(daily) => {
            Finding::ok(subject, format!("everybody together: {} a day", dollars(daily)))
        }
        None if config.environment == Environment::Development => {
            Finding::ok(subject, "no limit; fine for development")
        }
        None => Finding::warn(
            subject,
            "nothing limits what AI calls may cost in a day",
            "set it, to some times of what a usual day costs",
        ),
    }
}

fn stripe_settings(config: &WorkerConfig) -> Option<Finding> {
    let stripe = &config.stripe;
    match &stripe.access.key {
        None => {
            let found = "off: events that only Stripe can settle are given up";
            Some(Finding::ok("STRIPE_SECRET_KEY", found))
        }
        Some(_) if stripe.offers.sold.is_empty() => Some(Finding::warn(
            "STRIPE_PRICES",
            "is not set: whatever the account sells gives pro",
            "set it to the same as the ingress has: NAME=price_…",
        )),
        Some(_) => None,
    }
}

fn callbacks(config: &WorkerConfig) -> Finding {
    let subject = "CALLBACK_SECRETS";
    let production = config.environment == Environment::Production;
    match &config.callbacks.signer {
        None => Finding::ok(subject, "off: nobody is called at a job's end"),
        Some(_) if config.callbacks.rules.allow_http && production => Finding::warn(
            "CALLBACK_ALLOW_HTTP",
            "receivers may be called in the clear",
            "unset it, unless all receivers are in a network of your own",
        ),
        Some(_) => Finding::ok(subject, "callbacks are signed; the ingress needs them too"),
    }
}

/// Whether the key is taken and the model is there.
async fn provider(slot: &ProviderConfig, catalogue: &Catalogue) -> Vec<Finding> {
    let subject = slot.name.key_variable();
    let answer = async {
        let http = Http::new()?;
        http.ask(slot.list_models(http.client())).await
    };
    let answer = match answer.await {
        Ok(answer) => answer,
        Err(problem) => return vec![unreachable(slot, &problem)],
    };
    let today = Clock::system().now().date_naive();
    let model = catalogue.resolve(&slot.model, today).id;
    let first = match (answer.status, models::lists(&answer.json, &model)) {
        (200, Some(true)) => Finding::ok(
            subject,
            format!("{} took the key within {:.1?} and has {model}", slot.name, answer.took),
        ),
        // Hosts of this kind list what they like.
        (200, Some(false)) if slot.name == ProviderName::Llama => Finding::warn(
            subject,
            format!("the host took the key and does not list {model}"),
            "look whether it answers to that name, or correct LLAMA_MODEL",
        ),
        (200, Some(false)) => Finding::fail(
            subject,
            format!("{} took the key, which has no model {model}", slot.name),
            "correct the model, or let the key's project use it",
        ),
        (401 | 403, _) => Finding::fail(
            subject,
            format!("{} refuses the key with {}", slot.name, answer.status),
            "make a new key, or give this one the right to list and use models",
        ),
        // Google's word for a key that does not exist.
        (400, _) if slot.name == ProviderName::Gemini => {
            Finding::fail(subject, "gemini refuses the key with 400", "make a new key")
        }
        (status, _) => Finding::warn(
            subject,
            format!("{} answered the question for its models with {status}", slot.name),
            "correct the BASE_URL if it is one of your own; else check again later",
        ),
    };
    let skew = answer.skew(&format!("the clock of {}", slot.name));
    [Some(first), skew].into_iter().flatten().collect()
}

fn unreachable(slot: &ProviderConfig, problem: &HttpProblem) -> Finding {
    Finding::fail(
        slot.name.key_variable(),
        format!("{} cannot be reached: {problem}", slot.base.host_str().unwrap_or("the provider")),
        "let this machine reach it over https, or correct the BASE_URL",
    )
}

async fn mail_server(config: &MailConfig) -> Finding {
    let subject = "SMTP_HOST";
    let place = format!("{}:{}", config.host, config.port);
    let logged_in = match Mailer::new(config.clone(), Clock::system()) {
        Ok(mailer) => mailer.log_in().await,
        Err(error) => Err(MailError::Away(error)),
    };
    match logged_in {
        Ok(()) if config.credentials.is_none() => {
            Finding::ok(subject, format!("{place} answers; no login is set"))
        }
        Ok(()) => Finding::ok(subject, format!("{place} let us in")),
        Err(error) => Finding::fail(
            subject,
            format!("{place}: {error}"),
            "correct SMTP_HOST, SMTP_PORT, SMTP_TLS, SMTP_USERNAME and SMTP_PASSWORD",
        ),
    }
}
