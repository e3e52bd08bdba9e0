//! Mails to users, over SMTP.

mod config;
mod letter;

use std::time::Duration;

use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::PoolConfig;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use regimen_common::clock::Clock;
use regimen_common::db::billing::notices::ClaimedMail;
use secrecy::ExposeSecret;

pub use config::{MailConfig, MailTls};
pub use letter::in_app_text;

/// The time limit of one dialogue with the server.
const TOTAL: Duration = Duration::from_secs(45);
/// The time limit of one command.
const COMMAND: Duration = Duration::from_secs(15);
/// Logging in to see whether it works.
const LOG_IN: Duration = Duration::from_secs(10);

/// Sends mails.
#[derive(Debug)]
pub struct Mailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    config: MailConfig,
    clock: Clock,
}

/// Why a mail was not sent.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The user has no address, or an invalid one.
    #[error("the user has no e-mail address that can be written to")]
    NoAddress,
    /// The mail could not be built.
    #[error("the mail could not be put together: {0}")]
    Malformed(#[from] lettre::error::Error),
    /// Its HTML could not be written.
    #[error("the mail could not be put together: {0}")]
    Template(#[from] askama::Error),
    /// The server refused it permanently.
    #[error("the mail server refused it: {0}")]
    Refused(lettre::transport::smtp::Error),
    /// The server is temporarily unavailable.
    #[error("the mail server could not be used: {0}")]
    Away(lettre::transport::smtp::Error),
    /// The server did not answer in time.
    #[error("the mail server did not answer within {} seconds", TOTAL.as_secs())]
    TooSlow,
}

impl MailError {
    /// The class of the error. The server's own text may name the recipient; it is stored
    /// with the mail.
    pub fn class(&self) -> &'static str {
        match self {
            Self::NoAddress => "no_address",
            Self::Malformed(_) | Self::Template(_) => "malformed",
            Self::Refused(_) => "refused",
            Self::Away(_) => "away",
            Self::TooSlow => "too_slow",
        }
    }

    /// The server's reply code.
    pub fn reply(&self) -> Option<String> {
        match self {
            Self::Refused(error) | Self::Away(error) => error.status().map(|code| code.to_string()),
            Self::NoAddress | Self::Malformed(_) | Self::Template(_) | Self::TooSlow => None,
        }
    }

    /// Whether a retry may succeed.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::NoAddress | Self::Malformed(_) | Self::Template(_) | Self::Refused(_) => false,
            Self::Away(_) | Self::TooSlow => true,
        }
    }
}

impl Mailer {
    /// A mailer for the configured server. It connects to nothing yet.
    ///
    /// # Errors
    /// TLS could not be set up.
    pub fn new(config: MailConfig, clock: Clock) -> Result<Self, lettre::transport::smtp::Error> {
        let tls = match config.tls {
            MailTls::None => Tls::None,
            MailTls::StartTls => Tls::Required(trusted(&config)?),
            MailTls::Wrapped => Tls::Wrapper(trusted(&config)?),
        };
        let mut builder =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(config.host.clone())
                .port(config.port)
                .tls(tls)
                .timeout(Some(COMMAND))
                .pool_config(PoolConfig::new().max_size(4));
        if let Some((user, password)) = &config.credentials {
            let password = password.expose_secret().to_owned();
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        Ok(Self { transport: builder.build(), config, clock })
    }

    /// Logs in at the server, and out again.
    ///
    /// # Errors
    /// The server could not be used, or refuses us.
    pub async fn log_in(&self) -> Result<(), MailError> {
        match tokio::time::timeout(LOG_IN, self.transport.test_connection()).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) | Err(_) => Err(MailError::TooSlow),
            Ok(Err(error)) if error.is_permanent() => Err(MailError::Refused(error)),
            Ok(Err(error)) => Err(MailError::Away(error)),
        }
    }

    /// Sends a notice. Its Message-ID is derived from the event, so that a mailbox
    /// recognises a repeated mail.
    ///
    /// # Errors
    /// It was not sent, or that is unknown.
    pub async fn send(&self, mail: &ClaimedMail) -> Result<(), MailError> {
        let message = self.message(mail)?;
        match tokio::time::timeout(TOTAL, self.transport.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error.is_permanent() => Err(MailError::Refused(error)),
            Ok(Err(error)) => Err(MailError::Away(error)),
            Err(_) => Err(MailError::TooSlow),
        }
    }

    fn message(&self, mail: &ClaimedMail) -> Result<Message, MailError> {
        let address = mail.address.as_deref().and_then(|address| address.trim().parse().ok());
        let address = address.ok_or(MailError::NoAddress)?;
        let letter = letter::write(mail, self.config.app_url.as_ref())?;
        let domain = self.config.from.email.domain();
        Ok(Message::builder()
            .from(self.config.from.clone())
            .to(Mailbox::new(None, address))
            .subject(letter.subject)
            .message_id(Some(format!("<{}@{domain}>", letter.id)))
            .date(self.clock.now().into())
            .multipart(MultiPart::alternative_plain_html(letter.text, letter.html))?)
    }
}

/// The accepted server certificates: always only those for its host's name.
fn trusted(config: &MailConfig) -> Result<TlsParameters, lettre::transport::smtp::Error> {
    let builder = TlsParameters::builder(config.host.clone());
    match config.authority.clone() {
        Some(authority) => builder.add_root_certificate(authority).build(),
        None => builder.build(),
    }
}
