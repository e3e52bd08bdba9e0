//! The settings of authentication, and the checks between them.

use std::str::FromStr;

use regimen_common::config::{Env, Environment};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::TableName;

/// Shorter secrets can be guessed.
const MIN_SECRET_BYTES: usize = 32;
/// One valid key and its successor.
const MAX_SERVICE_KEYS: usize = 2;
const JWKS_PATH: &str = "/.well-known/jwks.json";

/// The authentication mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// A Supabase access token; the user is its `sub`.
    Jwt,
    /// A service key of a trusted backend, which names the user.
    Service,
    /// None; the request names the user. Development only.
    Off,
}

impl FromStr for AuthMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "jwt" => Ok(Self::Jwt),
            "service" => Ok(Self::Service),
            "off" => Ok(Self::Off),
            _ => Err("must be jwt, service or off"),
        }
    }
}

/// The settings of the [`super::Authenticator`].
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// `AUTH_MODE`, jwt unless set.
    pub mode: AuthMode,
    /// `JWT_SECRET`: the project's legacy HS256 secret, as raw text; two,
    /// comma-separated, during a rotation.
    pub jwt_secrets: Vec<SecretString>,
    /// `JWT_ISSUER`: the required `iss` of a token. With `JWKS_URL` it defaults to that
    /// URL without its well-known path; without either it is not checked.
    pub issuer: Option<String>,
    /// `JWT_AUDIENCE`: the required `aud` of a token, `authenticated` by default.
    pub audience: String,
    /// `JWKS_URL`: where the project publishes its signing keys.
    pub jwks_url: Option<Url>,
    /// `SERVICE_KEYS`: comma-separated; two during a rotation.
    pub service_keys: Vec<SecretString>,
    /// `ALLOW_ANONYMOUS`: whether Supabase's anonymous sessions count as users.
    pub allow_anonymous: bool,
    /// `ADMIN_TABLE`: the app's own table of operators, in addition to the claim.
    pub admin_table: Option<TableName>,
}

impl AuthConfig {
    /// Reads the variables; mistakes are recorded in `env`.
    pub fn from_env(env: &mut Env, environment: Environment) -> Self {
        let jwks_url: Option<Url> = env.url("JWKS_URL");
        let derived = jwks_url.as_ref().and_then(|url| url.as_str().strip_suffix(JWKS_PATH));
        let derived = derived.map(str::to_owned);
        let config = Self {
            mode: env.or("AUTH_MODE", AuthMode::Jwt),
            jwt_secrets: jwt_secrets(env),
            issuer: env.text("JWT_ISSUER").or(derived),
            audience: env.text("JWT_AUDIENCE").unwrap_or_else(|| "authenticated".to_owned()),
            jwks_url,
            service_keys: env.list("SERVICE_KEYS").into_iter().map(SecretString::from).collect(),
            allow_anonymous: env.flag("ALLOW_ANONYMOUS", false),
            admin_table: env.optional("ADMIN_TABLE"),
        };
        config.report(env, environment);
        config
    }

    fn report(&self, env: &mut Env, environment: Environment) {
        self.warn(env);
        match self.mode {
            AuthMode::Jwt if self.jwt_secrets.is_empty() && self.jwks_url.is_none() => {
                env.error("AUTH_MODE", "jwt needs JWT_SECRET, JWKS_URL or both");
            }
            AuthMode::Service if self.service_keys.is_empty() => {
                env.error("SERVICE_KEYS", "is required with AUTH_MODE=service");
            }
            AuthMode::Off if environment != Environment::Development => {
                env.error("AUTH_MODE", "off is for ENVIRONMENT=development only");
            }
            AuthMode::Jwt | AuthMode::Service | AuthMode::Off => {}
        }
        let short = |secret: &SecretString| secret.expose_secret().len() < MIN_SECRET_BYTES;
        if self.service_keys.iter().any(short) {
            env.error("SERVICE_KEYS", format!("each must have at least {MIN_SECRET_BYTES} bytes"));
        }
        if self.service_keys.len() > MAX_SERVICE_KEYS {
            env.error("SERVICE_KEYS", "takes two keys at most: the valid one and its successor");
        }
        if let Some(url) = &self.jwks_url
            && url.scheme() != "https"
            && environment != Environment::Development
        {
            env.error("JWKS_URL", "must be https outside development");
        }
    }
}

impl AuthConfig {
    /// What is set and has no effect, or hardly the one that was meant.
    fn warn(&self, env: &mut Env) {
        let unread: &[&str] = match self.mode {
            AuthMode::Jwt => &["SERVICE_KEYS"],
            AuthMode::Service => &["JWT_SECRET", "JWKS_URL"],
            AuthMode::Off => &["JWT_SECRET", "JWKS_URL", "SERVICE_KEYS"],
        };
        for name in unread.iter().filter(|name| env.is_given(name)).collect::<Vec<_>>() {
            env.warn(name, "has no effect with this AUTH_MODE", "remove it, or set AUTH_MODE");
        }
        if self.mode == AuthMode::Jwt && self.jwks_url.is_some() && self.issuer.is_none() {
            let found = format!("does not end with {JWKS_PATH}, so that no token's iss is checked");
            env.warn("JWKS_URL", found, "correct it, or set JWT_ISSUER");
        }
        // Supabase's keys are tokens themselves, and stand beside the secret.
        let is_token = |secret: &SecretString| {
            let secret = secret.expose_secret();
            secret.starts_with("eyJ") && secret.split('.').count() == 3
        };
        if self.jwt_secrets.iter().any(is_token) {
            let found = "is a token, such as the project's anon or service_role key; no user's \
                         token will hold";
            env.warn("JWT_SECRET", found, "copy the JWT secret of the project instead");
        }
    }
}

/// The secrets of `JWT_SECRET`: one, or two during a rotation. Text with a comma is also
/// tried as a whole, so that one secret with a comma is not split; if its parts cannot be
/// two secrets, it is an error.
fn jwt_secrets(env: &mut Env) -> Vec<SecretString> {
    const NAME: &str = "JWT_SECRET";
    let Some(whole) = env.secret(NAME) else { return Vec::new() };
    let text = whole.expose_secret();
    if !text.contains(',') {
        if text.len() < MIN_SECRET_BYTES {
            env.error(NAME, format!("must have at least {MIN_SECRET_BYTES} bytes"));
        }
        return vec![whole];
    }
    let parts: Vec<_> = text.split(',').map(str::trim).collect();
    if parts.len() != 2 || parts.iter().any(|part| part.len() < MIN_SECRET_BYTES) {
        env.error(
            NAME,
            format!(
                "holds a comma, which stands between two secrets (the valid one and its \
                 successor) of at least {MIN_SECRET_BYTES} bytes each; these are not two such. If \
                 it is one secret, replace it by one without a comma"
            ),
        );
    }
    let parts = parts.into_iter().map(SecretString::from).collect::<Vec<_>>();
    parts.into_iter().chain([whole.clone()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(pairs: &[(&str, &str)], environment: Environment) -> Vec<String> {
        let mut env = Env::from_pairs(pairs.iter().copied());
        AuthConfig::from_env(&mut env, environment);
        match env.finish(Some(())) {
            Ok(()) => Vec::new(),
            Err(errors) => errors.0.into_iter().map(|error| error.name).collect(),
        }
    }

    #[test]
    fn off_is_refused_outside_development() {
        let off = [("AUTH_MODE", "off")];
        assert_eq!(mistakes(&off, Environment::Development), Vec::<String>::new());
        assert_eq!(mistakes(&off, Environment::Staging), ["AUTH_MODE"]);
        assert_eq!(mistakes(&off, Environment::Production), ["AUTH_MODE"]);
    }

    #[test]
    fn each_mode_needs_its_keys() {
        assert_eq!(mistakes(&[], Environment::Production), ["AUTH_MODE"]);
        let service = [("AUTH_MODE", "service")];
        assert_eq!(mistakes(&service, Environment::Production), ["SERVICE_KEYS"]);
    }

    #[test]
    fn weak_secrets_and_plain_http_are_named() {
        let pairs = [
            ("JWT_SECRET", "short"),
            ("SERVICE_KEYS", "a,b,c"),
            ("JWKS_URL", "http://keys.example/.well-known/jwks.json"),
        ];
        let expected = ["JWT_SECRET", "SERVICE_KEYS", "SERVICE_KEYS", "JWKS_URL"];
        assert_eq!(mistakes(&pairs, Environment::Production), expected);
    }

    #[test]
    fn two_secrets_stand_side_by_side_and_nothing_is_guessed() {
        let (one, two) = ("a".repeat(32), "b".repeat(40));
        let read = |text: &str| {
            let mut env = Env::from_pairs([("JWT_SECRET", text)]);
            let config = AuthConfig::from_env(&mut env, Environment::Production);
            let secrets = config.jwt_secrets.iter().map(|secret| secret.expose_secret().to_owned());
            let secrets: Vec<_> = secrets.collect();
            env.finish(Some(secrets)).map_err(|errors| errors.to_string())
        };
        assert_eq!(read(&one), Ok(vec![one.clone()]));
        let both = format!("{one},{two}");
        assert_eq!(read(&both), Ok(vec![one.clone(), two.clone(), both.clone()]));
        assert_eq!(read(&format!("{one} , {two}")).unwrap()[..2], [one.clone(), two.clone()]);
        for unclear in [format!("{one},"), format!("{one},short"), format!("{one},{two},{one}")] {
            let error = read(&unclear).unwrap_err();
            assert!(error.contains("JWT_SECRET: holds a comma"), "{error}");
            assert!(!error.contains(&one), "{error}");
        }
        assert!(read("short").unwrap_err().contains("at least 32 bytes"));
    }

    #[test]
    fn the_issuer_follows_from_the_key_set() {
        let url = "https://ref.supabase.co/auth/v1/.well-known/jwks.json";
        let mut env = Env::from_pairs([("JWKS_URL", url)]);
        let config = AuthConfig::from_env(&mut env, Environment::Production);
        assert_eq!(config.issuer.as_deref(), Some("https://ref.supabase.co/auth/v1"));
    }
}
