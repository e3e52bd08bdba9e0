//! Names in the environment that nothing reads and somebody surely meant to be
//! read: misspelt ones, those of other services, those of families of ours.

use super::Finding;
use super::documented::documented;
use crate::config::Env;

/// Names that begin so are ours, or of a service that we are told about.
const FAMILIES: [&str; 13] = [
    "REGIMEN_",
    "OPENAI_",
    "ANTHROPIC_",
    "GEMINI_",
    "LLAMA_",
    "STRIPE_",
    "SMTP_",
    "CALLBACK_",
    "CALLBACKS_",
    "PROVIDER_",
    "BUDGET_",
    "RATE_",
    "FLOOD_",
];

/// What other services and platforms call it, our name, and what to write.
const ELSEWHERE: [(&str, &str, &str); 11] = [
    ("PORT", "LISTEN_ADDR", "set LISTEN_ADDR=0.0.0.0:PORT with the number of PORT"),
    ("STRIPE_PRICE_ID", "STRIPE_PRICES", "write STRIPE_PRICES=pro=price_…"),
    ("STRIPE_API_KEY", "STRIPE_SECRET_KEY", "rename it to STRIPE_SECRET_KEY"),
    ("SUPABASE_JWT_SECRET", "JWT_SECRET", "rename it to JWT_SECRET"),
    ("SUPABASE_DB_URL", "DATABASE_URL", "rename it to DATABASE_URL"),
    ("POSTGRES_URL", "DATABASE_URL", "rename it to DATABASE_URL"),
    ("GOOGLE_API_KEY", "GEMINI_API_KEY", "rename it to GEMINI_API_KEY"),
    ("GROQ_API_KEY", "LLAMA_API_KEY", "write LLAMA_API_KEY, LLAMA_BASE_URL and LLAMA_MODEL"),
    ("LOG_LEVEL", "RUST_LOG", "rename it to RUST_LOG"),
    ("CORS_ORIGINS", "ALLOWED_ORIGINS", "rename it to ALLOWED_ORIGINS"),
    ("FRONTEND_URL", "APP_URL", "rename it to APP_URL"),
];

/// The replaced service's names are common words: `HOST` is no misspelt `host`.
const LOWER_CASE: [&str; 5] = ["user", "password", "host", "port", "dbname"];

/// Warns of each name that was surely meant to be read. To be called once all
/// settings were asked for.
pub(super) fn look(env: &mut Env) {
    let known = documented(None);
    let is_known = |name: &str| known.contains(name);
    let mut warnings = Vec::new();
    for name in env.given() {
        let stem = name.strip_suffix("_FILE").unwrap_or(name);
        if is_known(name) || is_known(stem) {
            continue;
        }
        let elsewhere = ELSEWHERE.iter().find(|(theirs, ..)| *theirs == name);
        let advice = if let Some((_, ours, advice)) = elsewhere {
            // A leftover beside the right one, or a matter of the other binary.
            if env.is_given(ours) || !env.asked().contains(ours) {
                continue;
            }
            (*advice).to_owned()
        } else if let Some(meant) = closest(stem, known.iter().copied()) {
            let suffix = if stem == name { "" } else { "_FILE" };
            format!("rename it to {meant}{suffix}")
        } else if FAMILIES.iter().any(|family| stem.starts_with(family)) {
            "remove it, or look for its right name in .env.example".to_owned()
        } else {
            continue;
        };
        warnings.push((name.to_owned(), advice));
    }
    for (name, advice) in warnings {
        env.warn(&name, "is set, and nothing reads it", advice);
    }
}

/// The setting that `name` was surely meant to be.
fn closest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let upper = name.to_ascii_uppercase().replace('-', "_");
    let bare = upper.strip_prefix("REGIMEN_").unwrap_or(&upper);
    let allowed = match bare.len() {
        0..8 => 0,
        8..12 => 1,
        12..16 => 2,
        _ => 3,
    };
    let near = known
        .filter(|known| !LOWER_CASE.contains(known))
        .map(|known| (strsim::osa_distance(bare, known), known))
        .min()?;
    (near.0 <= allowed).then_some(near.1)
}

/// Which settings are set, by name.
pub(super) fn given(env: &Env) -> Finding {
    let asked = env.asked();
    let is_set = |name: &&str| env.is_given(name) || env.is_given(&format!("{name}_FILE"));
    let set: Vec<&str> = asked.iter().copied().filter(is_set).collect();
    let found = match set.as_slice() {
        [] => format!("none of {} is set; all have their defaults", asked.len()),
        set => format!(
            "{} of {} are set, the others have their defaults: {}",
            set.len(),
            asked.len(),
            set.join(", ")
        ),
    };
    Finding::ok("settings", found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a single name that is set.
    fn said_of(name: &str) -> Option<String> {
        let mut env = Env::from_pairs([(name, "x")]);
        for known in documented(None) {
            // What a binary does; the value is of no interest here.
            let _ = env.text(known);
        }
        look(&mut env);
        env.take_warnings().into_iter().next().map(|warning| warning.advice)
    }

    #[test]
    fn every_name_that_was_meant_to_be_read_is_told_with_the_right_one() {
        for (wrong, right) in [
            ("OPENAI_APIKEY", "OPENAI_API_KEY"),
            ("OPENAI_API_KEYS", "OPENAI_API_KEY"),
            ("ANTROPIC_API_KEY", "ANTHROPIC_API_KEY"),
            ("openai_api_key", "OPENAI_API_KEY"),
            ("STRIPE_PRICE_ID", "STRIPE_PRICES"),
            ("STRIPE_WEBHOOK_SECRETS", "STRIPE_WEBHOOK_SECRET"),
            ("STRIPE_API_KEY", "STRIPE_SECRET_KEY"),
            ("REDIS_URI", "REDIS_URL"),
            ("DATABASE_URI", "DATABASE_URL"),
            ("REGIMEN_DATABASE_URL", "DATABASE_URL"),
            ("ALLOWED_ORIGIN", "ALLOWED_ORIGINS"),
            ("SENTRY_DNS", "SENTRY_DSN"),
            ("SERVICE_KEY", "SERVICE_KEYS"),
            ("WORKER_SLOT", "WORKER_SLOTS"),
            ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
            ("LOG_LEVEL", "RUST_LOG"),
            ("PORT", "LISTEN_ADDR"),
            ("CALLBACK_SECRET", "CALLBACK_SECRETS"),
            ("CALLBACK_SECRET_FILE", "CALLBACK_SECRETS"),
        ] {
            let said = said_of(wrong).unwrap_or_default();
            assert!(said.contains(right), "{wrong}: {said:?}");
        }
        for unknown in ["REGIMEN_COLOUR", "OPENAI_ORG_ID", "SMTP_PASS", "STRIPE_PUBLISHABLE"] {
            let said = said_of(unknown).unwrap_or_default();
            assert!(said.contains(".env.example"), "{unknown}: {said:?}");
        }
    }

    #[test]
    fn names_of_others_are_none_of_our_business() {
        for name in [
            "PATH",
            "HOME",
            "HOST",
            "USER",
            "HOSTNAME",
            "HTTP_PROXY",
            "RUST_BACKTRACE",
            "LANG",
            "REDIS_PORT",
            "REDIS_SERVICE_HOST",
            "DATABASE_PRIVATE_URL",
            "RAILWAY_SERVICE_ID",
            "KUBERNETES_SERVICE_HOST",
            "API_URL",
            "NODE_ENV",
            "OTEL_LOG_LEVEL",
            "PWD",
        ] {
            assert_eq!(said_of(name), None, "{name}");
        }
        for known in documented(None) {
            assert_eq!(said_of(known), None, "{known}");
            assert_eq!(said_of(&format!("{known}_FILE")), None, "{known}_FILE");
        }
    }

    #[test]
    fn a_leftover_beside_the_right_name_is_passed_over() {
        let mut env = Env::from_pairs([("LOG_LEVEL", "debug"), ("RUST_LOG", "debug")]);
        assert!(env.text("RUST_LOG").is_some());
        look(&mut env);
        assert!(env.take_warnings().is_empty());
    }

    #[test]
    fn each_family_has_a_setting() {
        let known = documented(None);
        for family in FAMILIES.iter().filter(|family| **family != "REGIMEN_") {
            assert!(known.iter().any(|name| name.starts_with(family)), "{family}");
        }
    }

    #[test]
    fn what_is_set_is_told_by_name_and_never_by_value() {
        let mut env = Env::from_pairs([("REDIS_URL", "s3cret")]);
        assert!(env.text("REDIS_URL").is_some() && env.text("REDIS_PREFIX").is_none());
        let found = given(&env).found;
        assert_eq!(found, "1 of 2 are set, the others have their defaults: REDIS_URL");
    }
}
