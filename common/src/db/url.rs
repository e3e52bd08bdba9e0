//! Where Postgres is, as the environment tells it.

use secrecy::SecretString;
use url::Url;

use super::connect;
use crate::config::Env;

/// The replaced service's names.
const OLD_NAMES: [&str; 5] = ["user", "password", "host", "port", "dbname"];

/// How to reach Postgres: one URL, or the replaced service's five names.
/// Mistakes are recorded in `env`, those within the URL too.
pub fn url_from_env(env: &mut Env) -> Option<SecretString> {
    if let Some(url) = env.secret("DATABASE_URL") {
        if OLD_NAMES.iter().filter(|name| **name != "port").all(|name| env.is_given(name)) {
            let found = "are not read, because DATABASE_URL is set";
            env.warn("user, password, host, port, dbname", found, "remove them or DATABASE_URL");
        }
        // Asked for in any case, so that they count as known.
        for name in OLD_NAMES {
            let _ = env.text(name);
        }
        return checked(env, url);
    }
    let parts = OLD_NAMES.map(|name| (name, env.text(name)));
    if parts.iter().all(|(_, value)| value.is_none()) {
        env.error("DATABASE_URL", "is required (or user, password, host, port and dbname)");
        return None;
    }
    let [user, password, host, port, dbname] = parts.map(|(name, value)| {
        if value.is_none() && name != "port" {
            env.error(name, "is required when DATABASE_URL is not set");
        }
        value
    });
    let mut url = Url::parse("postgres://localhost").ok()?;
    url.set_username(&user?).ok()?;
    url.set_password(Some(&password?)).ok()?;
    let host = host?;
    if url.set_host(Some(&host)).is_err() {
        env.error("host", "is not a host name");
        return None;
    }
    match port.map_or(Ok(5432), |port| port.parse::<u16>()) {
        Ok(port) => url.set_port(Some(port)).ok()?,
        Err(_) => env.error("port", "must be a port number"),
    }
    url.set_path(&dbname?);
    Some(SecretString::from(String::from(url)))
}

fn checked(env: &mut Env, url: SecretString) -> Option<SecretString> {
    match connect::verifies_tls(&url) {
        Ok(_) => Some(url),
        Err(error) => {
            env.error("DATABASE_URL", error.to_string());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn the_old_database_names_make_a_url_with_the_password_escaped() {
        let mut env = Env::from_pairs([
            ("user", "app"),
            ("password", "p@ss/word"),
            ("host", "db.example.test"),
            ("dbname", "fit"),
        ]);
        let url = url_from_env(&mut env).unwrap();
        assert_eq!(url.expose_secret(), "postgres://app:p%40ss%2Fword@db.example.test:5432/fit");
    }

    #[test]
    fn a_missing_database_is_one_clear_error() {
        let mut env = Env::from_pairs([("host", "db.example.test")]);
        assert!(url_from_env(&mut env).is_none());
        let errors = env.finish(Some(())).unwrap_err().to_string();
        assert!(errors.contains("password: is required"), "{errors}");
    }

    #[test]
    fn mistakes_within_the_url_are_mistakes_of_the_setting() {
        for (url, told) in [
            ("localhost", "percent-encode"),
            ("postgres://u:s3cret@h/app?sslmode=maybe", "verify-full"),
            ("postgres://u@h/app?sslmode=require&sslrootcert=/nowhere/ca.pem", "/nowhere/ca.pem"),
        ] {
            let mut env = Env::from_pairs([("DATABASE_URL", url)]);
            assert!(url_from_env(&mut env).is_none());
            let error = env.finish(Some(())).unwrap_err().0.remove(0);
            assert_eq!(error.name, "DATABASE_URL");
            assert!(error.problem.contains(told) && !error.problem.contains("s3cret"), "{error}");
        }
    }
}
