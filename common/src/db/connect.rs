//! Connections: the URL, TLS, the pool of a process and the single connections
//! for work that needs a session of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::Url;

use super::error::{DbError, RootCertificatesProblem};

/// How long a caller waits for a free connection before it hears "unavailable".
const WAIT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long opening a connection may take, TLS and authentication included.
const CREATE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long checking a used connection may take before it is thrown away.
const RECYCLE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long sent bytes may stay unacknowledged before the peer counts as dead.
const PEER_TIMEOUT: Duration = Duration::from_secs(15);

/// A pool of at most `size` connections. Nothing is opened yet, so a database
/// that is down shows at the first use, not here.
///
/// `application_name` is what `pg_stat_activity` shows. TLS is used when the
/// URL says `sslmode=require` (or `verify-ca`, `verify-full`): then chain and
/// host name are always verified, against the public web's roots or those in
/// the file `sslrootcert` names.
///
/// # Errors
/// The URL or the certificate file is unusable.
pub fn pool(url: &SecretString, size: usize, application_name: &str) -> Result<Pool, DbError> {
    let settings = Settings::read(url, application_name)?;
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = match settings.tls()? {
        Some(tls) => Manager::from_config(settings.config, tls, recycling),
        None => Manager::from_config(settings.config, NoTls, recycling),
    };
    let pool = Pool::builder(manager)
        .max_size(size)
        .runtime(Runtime::Tokio1)
        .wait_timeout(Some(WAIT_TIMEOUT))
        .create_timeout(Some(CREATE_TIMEOUT))
        .recycle_timeout(Some(RECYCLE_TIMEOUT))
        .build()?;
    Ok(pool)
}

/// One connection outside any pool, for work that holds a session lock. It
/// closes when the client is dropped.
///
/// # Errors
/// The URL is unusable, or Postgres cannot be reached.
pub async fn connect(url: &SecretString, application_name: &str) -> Result<Client, DbError> {
    let settings = Settings::read(url, application_name)?;
    match settings.tls()? {
        Some(tls) => open(&settings.config, tls).await,
        None => open(&settings.config, NoTls).await,
    }
}

async fn open<T>(config: &Config, tls: T) -> Result<Client, DbError>
where
    T: MakeTlsConnect<Socket>,
    T::TlsConnect: Send,
    T::Stream: Send + 'static,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let (client, connection) = config.connect(tls).await?;
    tokio::spawn(async move {
        // Whoever uses the client sees the failure too and decides what it means.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a Postgres connection ended");
        }
    });
    Ok(client)
}

/// What the URL says, in the terms of our driver and TLS library.
struct Settings {
    config: Config,
    verify: bool,
    roots: Option<PathBuf>,
}

impl Settings {
    /// Takes `sslrootcert` out of the URL and turns libpq's `verify-*` modes
    /// into `require`: the driver knows neither, and our TLS always verifies.
    fn read(url: &SecretString, application_name: &str) -> Result<Self, DbError> {
        let mut text = url.expose_secret().to_owned();
        let mut verify = false;
        let mut roots = None;
        // A key=value string and a list of hosts are for the driver alone to read.
        if let Ok(mut url) = Url::parse(&text) {
            let mut kept = Vec::new();
            for (name, value) in url.query_pairs() {
                match (&*name, &*value) {
                    ("sslrootcert", path) => roots = Some(PathBuf::from(path)),
                    ("sslmode", "require" | "verify-ca" | "verify-full") => verify = true,
                    ("sslmode", "disable" | "prefer") => {}
                    ("sslmode", found) => {
                        return Err(DbError::SslMode { found: found.chars().take(20).collect() });
                    }
                    _ => kept.push((name.into_owned(), value.into_owned())),
                }
            }
            url.set_query(None);
            if !kept.is_empty() {
                url.query_pairs_mut().extend_pairs(kept);
            }
            text = url.into();
        }
        let mut config: Config = text.parse().map_err(|_| DbError::Url)?;
        if config.get_ssl_mode() == tokio_postgres::config::SslMode::Require {
            verify = true;
        }
        if verify {
            config.ssl_mode(tokio_postgres::config::SslMode::Require);
        }
        config.application_name(application_name).connect_timeout(CREATE_TIMEOUT);
        config.tcp_user_timeout(PEER_TIMEOUT);
        Ok(Self { config, verify, roots })
    }

    fn tls(&self) -> Result<Option<MakeRustlsConnect>, DbError> {
        if !self.verify {
            return Ok(None);
        }
        let roots = match &self.roots {
            None => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
            Some(path) => read_roots(path)
                .map_err(|problem| DbError::RootCertificates { path: path.clone(), problem })?,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(DbError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Some(MakeRustlsConnect::new(config)))
    }
}

fn read_roots(path: &PathBuf) -> Result<RootCertStore, RootCertificatesProblem> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path)? {
        roots.add(certificate?)?;
    }
    if roots.is_empty() { Err(RootCertificatesProblem::Empty) } else { Ok(roots) }
}
