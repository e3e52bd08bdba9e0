//! Opens connections: the URL, TLS, session settings, and single connections
//! for work that needs its own session.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, TargetSessionAttrs};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{CancelToken, Client, Config, NoTls, SimpleQueryMessage, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use url::Url;

use super::error::{Asked, DbError, RootCertificatesProblem};
use super::limits::StatementLimits;
use super::planner;
use super::pool::Pool;
use super::pooler::{self, Sessions};

/// The time limit of opening a connection, TLS and authentication included. Several
/// servers share it, so that a silent one leaves time for the next,
const CREATE_TIMEOUT: Duration = Duration::from_secs(5);
/// but each gets this much.
const LEAST: Duration = Duration::from_secs(1);
/// How long sent bytes may stay unacknowledged before the peer counts as dead.
const PEER_TIMEOUT: Duration = Duration::from_secs(15);
/// After this time without a byte, keepalive probes are sent, in this interval and
/// number.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(10), Duration::from_secs(3), 3);

/// The settings of our sessions.
///
/// - The longest time that a transaction may wait for its next statement. A frozen
///   process in the middle of one holds locks that block repairs: after the duration of a
///   lease, Postgres ends the transaction.
/// - Statements see what was committed before them, whatever the database's default:
///   those that wait for a lock see the changes of its holder.
/// - Replies, quizzes and plans are compressed with lz4 where the server has it: the
///   default takes several times as long.
const SESSION: &str = "set idle_in_transaction_session_timeout = '10s';
    set default_transaction_isolation = 'read committed';
    select set_config(name, 'lz4', false) from pg_settings
    where name = 'default_toast_compression' and 'lz4' = any(enumvals)";

/// Identifies a server process.
const PROCESS: &str = "select pg_backend_pid()";

/// A pool of at most `size` connections for requests. It opens none yet, so an
/// unreachable database shows at the first use.
///
/// `application_name` is shown in `pg_stat_activity`. TLS is used when the URL says
/// `sslmode=require` (or `verify-ca`, `verify-full`): then chain and host name are always
/// verified, against the public roots or those in the file `sslrootcert`.
///
/// # Errors
/// The URL or the certificate file is unusable.
pub fn pool(url: &SecretString, size: usize, application_name: &str) -> Result<Pool, DbError> {
    pool_with(url, size, application_name, StatementLimits::REQUEST)
}

/// The same with other limits.
///
/// # Errors
/// The URL or the certificate file is unusable.
pub fn pool_with(
    url: &SecretString,
    size: usize,
    application_name: &str,
    limits: StatementLimits,
) -> Result<Pool, DbError> {
    Pool::new(url, size, application_name, limits, "main")
}

/// A pool of one connection for a worker's heartbeat, independent of its other
/// connections.
///
/// # Errors
/// As [`pool`].
pub fn heartbeat_pool(url: &SecretString) -> Result<Pool, DbError> {
    Pool::new(url, 1, "regimen-worker-heartbeat", StatementLimits::REQUEST, "heartbeat")
}

/// The hosts of `url`, without paths of sockets.
///
/// # Errors
/// The URL is unusable.
pub fn hosts(url: &SecretString) -> Result<Vec<String>, DbError> {
    let settings = Settings::read(url, "")?;
    let hosts = settings.servers.iter().flat_map(Config::get_hosts);
    let named = |host: &Host| match host {
        Host::Tcp(name) => Some(name.clone()),
        Host::Unix(_) => None,
    };
    Ok(hosts.filter_map(named).collect())
}

/// Whether connections to `url` are encrypted and the server's name is verified.
///
/// # Errors
/// The URL or the certificate file is unusable.
pub fn verifies_tls(url: &SecretString) -> Result<bool, DbError> {
    Ok(Settings::read(url, "")?.tls()?.is_some())
}

/// One connection outside any pool, for work that holds a session lock. It closes when
/// the client is dropped. Its statements have only the limits that the caller sets.
///
/// # Errors
/// The URL is unusable, Postgres cannot be reached, or there is a pooler in transaction
/// mode.
pub async fn connect(url: &SecretString, application_name: &str) -> Result<Client, DbError> {
    let endpoint = Endpoint::read(url, application_name)?;
    let opened = async {
        if pooler::inspect(&endpoint).await? == Sessions::Shared {
            return Err(DbError::TransactionPooler);
        }
        // The task ends with the client.
        Ok(endpoint.open().await?.0)
    };
    let limit = 2 * CREATE_TIMEOUT;
    let in_time = tokio::time::timeout(limit, opened).await;
    in_time.unwrap_or(Err(DbError::TimedOut { asked: Asked::Connection, limit }))
}

/// The servers of connections, and their session settings.
pub(super) struct Endpoint {
    /// One for each host of the URL: a primary and those that may succeed it.
    servers: Vec<Config>,
    /// The one that the last connection reached.
    current: AtomicUsize,
    tls: Option<MakeRustlsConnect>,
    session: String,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl Endpoint {
    pub(super) fn read(url: &SecretString, application_name: &str) -> Result<Self, DbError> {
        let settings = Settings::read(url, application_name)?;
        let tls = settings.tls()?;
        let session = format!("{SESSION};\n{};\n{PROCESS}", planner::SESSION);
        Ok(Self { servers: settings.servers, current: AtomicUsize::new(0), tls, session })
    }

    /// Sets limits on the server. Stricter limits of a role or database stay.
    pub(super) fn limited(mut self, limits: &StatementLimits) -> Self {
        let at_most = |name: &str, limit: Duration| {
            let limit = limit.as_millis();
            format!(
                "select set_config('{name}', '{limit}ms', false)
                 where current_setting('{name}')::interval
                       not between interval '1 ms' and interval '{limit} ms'"
            )
        };
        let statement = at_most("statement_timeout", limits.on_the_server());
        let lock = at_most("lock_timeout", limits.lock);
        let planner = planner::SESSION;
        self.session = format!("{SESSION};\n{planner};\n{statement};\n{lock};\n{PROCESS}");
        self
    }

    /// A new connection, and the task that drives it: to the server of the last one, or
    /// else to the next that accepts writes.
    pub(super) async fn open(&self) -> Result<(Client, JoinHandle<()>), DbError> {
        let (servers, first) = (self.servers.len(), self.current.load(Ordering::Relaxed));
        let turns = (first..servers).chain(0..first);
        let mut failure = DbError::Url;
        for turn in turns {
            let Some(server) = self.servers.get(turn) else { continue };
            let opened = match &self.tls {
                Some(tls) => open(server, tls.clone(), share(servers)).await,
                None => open(server, NoTls, share(servers)).await,
            };
            match opened {
                Ok(opened) => {
                    self.current.store(turn, Ordering::Relaxed);
                    return Ok(opened);
                }
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Sets a session up; returns its server process. Uses a statement instead of a
    /// connection option, which poolers refuse.
    pub(super) async fn set_up(&self, client: &Client) -> Result<i32, DbError> {
        process(client, &self.session).await.map_err(DbError::Unreachable)
    }

    /// The current server process.
    pub(super) async fn process(&self, client: &Client) -> Result<i32, tokio_postgres::Error> {
        process(client, PROCESS).await
    }

    pub(super) async fn cancel(&self, token: &CancelToken) -> Result<(), tokio_postgres::Error> {
        match &self.tls {
            Some(tls) => token.cancel_query(tls.clone()).await,
            None => token.cancel_query(NoTls).await,
        }
    }
}

/// The last value that `sql` returns, which ends with [`PROCESS`].
async fn process(client: &Client, sql: &str) -> Result<i32, tokio_postgres::Error> {
    let messages = client.simple_query(sql).await?;
    let value = messages.iter().rev().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).and_then(|value| value.parse().ok()),
        _ => None,
    });
    Ok(value.unwrap_or_default())
}

/// The time of one server of several.
fn share(servers: usize) -> Duration {
    let servers = u32::try_from(servers).unwrap_or(u32::MAX);
    CREATE_TIMEOUT.checked_div(servers).unwrap_or(CREATE_TIMEOUT).max(LEAST)
}

async fn open<T>(
    config: &Config,
    tls: T,
    limit: Duration,
) -> Result<(Client, JoinHandle<()>), DbError>
where
    T: MakeTlsConnect<Socket>,
    T::TlsConnect: Send,
    T::Stream: Send + 'static,
    <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
{
    let connecting = tokio::time::timeout(limit, config.connect(tls));
    let (client, connection) = connecting
        .await
        .map_err(|_| DbError::TimedOut { asked: Asked::Connection, limit })?
        .map_err(DbError::Unreachable)?;
    let task = tokio::spawn(async move {
        // The client's user sees the failure too and decides what it means.
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a Postgres connection ended");
        }
    });
    Ok((client, task))
}

/// The URL's settings for our driver and TLS library.
struct Settings {
    servers: Vec<Config>,
    verify: bool,
    roots: Option<PathBuf>,
}

impl Settings {
    /// Of several servers only one that accepts writes is of use.
    fn read(url: &SecretString, application_name: &str) -> Result<Self, DbError> {
        let one = |url: String| Self::of_one_host(url, application_name);
        let hosts: Vec<Self> =
            each_host(url.expose_secret()).into_iter().map(one).collect::<Result<_, _>>()?;
        let (several, limit) = (hosts.len() > 1, share(hosts.len()));
        let mut settings = Self { servers: Vec::new(), verify: false, roots: None };
        for host in hosts {
            settings.verify |= host.verify;
            settings.roots = settings.roots.or(host.roots);
            settings.servers.extend(host.servers);
        }
        for server in &mut settings.servers {
            server.connect_timeout(limit);
            if several {
                server.target_session_attrs(TargetSessionAttrs::ReadWrite);
            }
        }
        Ok(settings)
    }

    /// Removes `sslrootcert` from the URL and turns libpq's `verify-*` modes into
    /// `require`: the driver knows neither, and our TLS always verifies.
    fn of_one_host(mut text: String, application_name: &str) -> Result<Self, DbError> {
        let mut verify = false;
        let mut roots = None;
        // Only the driver can parse a key=value string.
        if let Ok(mut url) = Url::parse(&text) {
            let mut kept = Vec::new();
            // The rest stays byte for byte, because the driver does not read + as a
            // space.
            for pair in url.query().unwrap_or_default().split('&') {
                match parameter(pair) {
                    ("sslrootcert", path) => roots = Some(PathBuf::from(path)),
                    ("sslmode", mode) => match &*mode {
                        "require" | "verify-ca" | "verify-full" => verify = true,
                        "disable" | "prefer" => {}
                        _ => return Err(DbError::SslMode { found: shown(&mode) }),
                    },
                    _ => kept.push(pair),
                }
            }
            let kept = kept.join("&");
            url.set_query(Some(&*kept).filter(|kept| !kept.is_empty()));
            text = url.into();
        }
        let mut config: Config = text.parse().map_err(|_| DbError::Url)?;
        if config.get_ssl_mode() == tokio_postgres::config::SslMode::Require {
            verify = true;
        }
        if verify {
            config.ssl_mode(tokio_postgres::config::SslMode::Require);
        }
        config.application_name(application_name);
        config.tcp_user_timeout(PEER_TIMEOUT);
        let (idle, interval, times) = KEEPALIVE;
        config.keepalives(true).keepalives_idle(idle).keepalives_interval(interval);
        config.keepalives_retries(times);
        Ok(Self { servers: vec![config], verify, roots })
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

/// One URL for each of the comma-separated hosts of a URL; anything else as it is.
fn each_host(text: &str) -> Vec<String> {
    let Some((scheme, rest)) = text.split_once("://") else { return vec![text.to_owned()] };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let (login, hosts) = match authority.rsplit_once('@') {
        Some((login, hosts)) => (format!("{login}@"), hosts),
        None => (String::new(), authority),
    };
    hosts.split(',').map(|host| format!("{scheme}://{login}{host}{path}")).collect()
}

/// The name of one `name=value` pair of a query, and its decoded value.
fn parameter(pair: &str) -> (&str, String) {
    let name = pair.split('=').next().unwrap_or_default();
    // The decoder is for forms, where + is a space; here it is not.
    let literal = pair.replace('+', "%2B");
    let value = url::form_urlencoded::parse(literal.as_bytes()).next();
    (name, value.map(|(_, value)| value.into_owned()).unwrap_or_default())
}

/// A truncated invalid value, for a message.
fn shown(value: &str) -> String {
    value.chars().take(20).collect()
}

fn read_roots(path: &PathBuf) -> Result<RootCertStore, RootCertificatesProblem> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path)? {
        roots.add(certificate?)?;
    }
    if roots.is_empty() { Err(RootCertificatesProblem::Empty) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::SslMode;

    use super::*;

    fn read(url: &str) -> Result<Settings, DbError> {
        Settings::read(&SecretString::from(url), "test")
    }

    #[test]
    fn tls_is_verified_whenever_it_is_asked_for() {
        for (mode, verify) in [
            ("", false),
            ("?sslmode=disable", false),
            ("?sslmode=prefer", false),
            ("?sslmode=require", true),
            ("?sslmode=verify-ca", true),
            ("?sslmode=verify-full&connect_timeout=3", true),
        ] {
            let settings = read(&format!("postgres://u@db.example.test/app{mode}")).unwrap();
            assert_eq!(settings.verify, verify, "{mode}");
            assert_eq!(settings.servers[0].get_ssl_mode() == SslMode::Require, verify, "{mode}");
            assert_eq!(settings.tls().unwrap().is_some(), verify, "{mode}");
        }
        let settings = read("host=db.example.test user=u sslmode=require").unwrap();
        assert!(settings.verify);
    }

    #[test]
    fn the_rest_of_the_url_reaches_the_driver() {
        let url = "postgres://user:p%40ss%2Fword@one.test:6000/app?sslmode=disable\
                   &options=-c%20search_path%3Da&target_session_attrs=read-write";
        let config = read(url).unwrap().servers.remove(0);
        assert_eq!(config.get_password(), Some(&b"p@ss/word"[..]));
        assert_eq!(config.get_options(), Some("-c search_path=a"));
        assert_eq!(config.get_ports(), [6000]);
        assert_eq!(config.get_dbname(), Some("app"));
        assert_eq!(config.get_application_name(), Some("test"));
    }

    #[test]
    fn each_of_several_hosts_has_the_whole_url_and_must_accept_writes() {
        let url =
            "postgres://u:p%40s@one.test:1,two.test/app?sslmode=verify-full&connect_timeout=9";
        let settings = read(url).unwrap();
        assert!(settings.verify);
        let told: Vec<_> = settings
            .servers
            .iter()
            .map(|server| (server.get_hosts().to_vec(), server.get_ports().to_vec()))
            .collect();
        let host = |name: &str| vec![Host::Tcp(name.to_owned())];
        assert_eq!(told, [(host("one.test"), vec![1]), (host("two.test"), vec![5432])]);
        for server in &settings.servers {
            assert_eq!(server.get_password(), Some(&b"p@s"[..]));
            assert_eq!(server.get_dbname(), Some("app"));
            assert_eq!(server.get_ssl_mode(), SslMode::Require);
            assert_eq!(server.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
            // Both within the time of one connection.
            assert_eq!(server.get_connect_timeout(), Some(&(CREATE_TIMEOUT / 2)));
        }
        let one = read("postgres://u@one.test/app").unwrap().servers;
        assert_eq!(one[0].get_target_session_attrs(), TargetSessionAttrs::Any);
        let message = read("postgres://u:s3cret@one.test,two.test:port/app").err().unwrap();
        assert!(!message.to_string().contains("s3cret"), "{message}");
    }

    /// What no test can make a network do: a peer that vanishes without a word.
    #[test]
    fn a_peer_that_vanished_is_known_as_dead_within_half_a_minute() {
        const LONGEST: Duration = Duration::from_secs(30);
        let config = read("postgres://u@one.test/app").unwrap().servers.remove(0);
        assert!(config.get_keepalives());
        let interval = config.get_keepalives_interval().unwrap();
        let quiet =
            config.get_keepalives_idle() + interval * config.get_keepalives_retries().unwrap();
        assert!(quiet <= LONGEST, "{quiet:?}");
        assert!(config.get_tcp_user_timeout().is_some_and(|limit| *limit <= LONGEST));
    }

    #[test]
    fn mistakes_are_named_without_the_password() {
        let text = |url| read(url).err().unwrap().to_string();
        let message = text("postgres://u:s3cret@h/app?sslmode=maybe");
        assert!(message.contains("maybe") && message.contains("verify-full"), "{message}");
        for url in ["postgres://u:s3cret@h:port/app", "postgres://u@h/app?s3cret=1", "s3cret"] {
            let message = read(url).err().map(|error| error.to_string());
            let message = message.unwrap_or_else(|| panic!("{url} is accepted"));
            assert!(message.contains("percent-encode"), "{message}");
            assert!(!message.contains("s3cret"), "{message}");
        }
    }

    #[test]
    fn an_unusable_certificate_file_is_named() {
        let problem = |path: &str| {
            let url = format!("postgres://u@h/app?sslmode=verify-full&sslrootcert={path}");
            match read(&url).unwrap().tls() {
                Err(error @ DbError::RootCertificates { .. }) => error.to_string(),
                _ => String::new(),
            }
        };
        let missing = problem("/nowhere/ca.pem");
        assert!(missing.contains("/nowhere/ca.pem"), "{missing}");
        let file = tempfile::NamedTempFile::new().unwrap();
        let empty = problem(file.path().to_str().unwrap());
        assert!(empty.contains("holds no certificate"), "{empty}");
    }
}
