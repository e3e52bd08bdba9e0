//! Settings of the mail server.

use std::path::PathBuf;

use lettre::message::Mailbox;
use lettre::transport::smtp::client::Certificate;
use regimen_common::config::{Env, Environment};
use secrecy::SecretString;
use url::Url;

/// How the connection to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailTls {
    /// Plain, then upgraded before any data is sent (port 587).
    StartTls,
    /// Encrypted from the first byte (port 465).
    Wrapped,
    /// None: for a relay on the same host.
    None,
}

impl std::str::FromStr for MailTls {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "starttls" => Ok(Self::StartTls),
            "tls" => Ok(Self::Wrapped),
            "none" => Ok(Self::None),
            _ => Err("must be starttls, tls or none"),
        }
    }
}

/// The mail server, and the sender.
#[derive(Debug, Clone)]
pub struct MailConfig {
    /// `SMTP_HOST`.
    pub host: String,
    /// `SMTP_PORT`.
    pub port: u16,
    /// `SMTP_TLS`.
    pub tls: MailTls,
    /// `SMTP_ROOT_CERT`: a root certificate in addition to the public ones.
    pub authority: Option<Certificate>,
    /// `SMTP_USERNAME` and `SMTP_PASSWORD`.
    pub credentials: Option<(String, SecretString)>,
    /// `SMTP_FROM`.
    pub from: Mailbox,
    /// `APP_URL`: where users manage their plan.
    pub app_url: Option<Url>,
}

impl MailConfig {
    /// Reads the settings; mistakes are recorded in `env`. Without a host no mails are
    /// sent.
    pub fn from_env(env: &mut Env, environment: Environment) -> Option<Self> {
        let host = env.text("SMTP_HOST");
        let tls = env.or("SMTP_TLS", MailTls::StartTls);
        let default_port = match tls {
            MailTls::StartTls => 587,
            MailTls::Wrapped => 465,
            MailTls::None => 25,
        };
        let port = env.or("SMTP_PORT", default_port);
        let authority = authority(env);
        let username = env.text("SMTP_USERNAME");
        let password = env.secret("SMTP_PASSWORD");
        let from = env.optional::<Mailbox>("SMTP_FROM");
        let app_url = env.url("APP_URL");
        if host.is_none() {
            for name in ["SMTP_PORT", "SMTP_USERNAME", "SMTP_FROM"] {
                if env.is_given(name) {
                    let found = "has no effect without SMTP_HOST: no mails are sent";
                    env.warn(name, found, "set SMTP_HOST, or remove it");
                }
            }
        }
        let host = host?;
        if username.is_some() != password.is_some() {
            env.error("SMTP_PASSWORD", "SMTP_USERNAME and SMTP_PASSWORD belong together");
        }
        let local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1");
        if tls == MailTls::None && !local && environment == Environment::Production {
            env.error("SMTP_TLS", "none is for a relay on the same host; use starttls or tls");
        }
        if from.is_none() {
            env.error("SMTP_FROM", "is required with SMTP_HOST: Name <address@example.test>");
        }
        let credentials = username.zip(password);
        Some(Self { host, port, tls, authority, credentials, from: from?, app_url })
    }
}

/// The certificate in the file `SMTP_ROOT_CERT` names.
fn authority(env: &mut Env) -> Option<Certificate> {
    const NAME: &str = "SMTP_ROOT_CERT";
    let path = env.optional::<PathBuf>(NAME)?;
    let pem = std::fs::read(&path).map_err(|error| {
        env.error(
            NAME,
            format!(
                "cannot read the file {}: {error}; it must be there and be readable by this user",
                path.display()
            ),
        )
    });
    let certificate = Certificate::from_pem(&pem.ok()?).map_err(|error| {
        env.error(NAME, format!("the file {} holds no PEM certificate: {error}", path.display()))
    });
    certificate.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Option<MailConfig>, Vec<String>) {
        let mut env = Env::from_pairs(pairs.iter().copied());
        let config = MailConfig::from_env(&mut env, Environment::Production);
        let errors = env.finish(Some(())).err().map(|errors| errors.0).unwrap_or_default();
        (config, errors.into_iter().map(|error| error.name).collect())
    }

    #[test]
    fn without_a_host_mails_are_off() {
        let (config, errors) = read(&[("SMTP_FROM", "Regimen <billing@example.test>")]);
        assert!(config.is_none() && errors.is_empty());
    }

    #[test]
    fn the_port_follows_the_protection() {
        let base = [("SMTP_HOST", "mail.example.test"), ("SMTP_FROM", "billing@example.test")];
        for (tls, port) in [("starttls", 587), ("tls", 465)] {
            let (config, errors) = read(&[base[0], base[1], ("SMTP_TLS", tls)]);
            assert_eq!((config.unwrap().port, errors.len()), (port, 0));
        }
    }

    #[test]
    fn mistakes_are_named() {
        let (_, errors) = read(&[
            ("SMTP_HOST", "mail.example.test"),
            ("SMTP_TLS", "none"),
            ("SMTP_USERNAME", "regimen"),
            ("SMTP_ROOT_CERT", "/nowhere/at/all"),
        ]);
        assert_eq!(errors, ["SMTP_ROOT_CERT", "SMTP_PASSWORD", "SMTP_TLS", "SMTP_FROM"]);
    }
}
