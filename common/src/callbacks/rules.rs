//! The operator's rules for callback URLs. Both binaries read them, so that the
//! ingress accepts exactly what the worker calls.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use super::address::objection;
use crate::config::Env;

/// The longest accepted URL.
const MAX_CHARS: usize = 2_000;

/// The rules of callback URLs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    /// `CALLBACK_ALLOW_HTTP`: whether plain http is allowed.
    pub allow_http: bool,
    /// `CALLBACK_ALLOWED_NETWORKS`: allowed although they are not public.
    pub networks: Vec<IpNet>,
}

/// Why a URL is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlRefused {
    /// Not an absolute http(s) URL.
    #[error(
        "must be an absolute https URL of at most {MAX_CHARS} characters, without user and password"
    )]
    Malformed,
    /// Plain http is not encrypted.
    #[error("must be an https URL; plain http is not allowed here")]
    PlainHttp,
    /// The host is an address that must not be called.
    #[error("must name a public host: {0}")]
    Address(#[from] AddressRefused),
}

/// Why an IP address is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {why}, not a public address")]
pub struct AddressRefused {
    /// The address.
    pub address: IpAddr,
    /// Its purpose.
    pub why: &'static str,
}

impl Rules {
    /// Reads the settings; mistakes are recorded in `env`.
    pub fn from_env(env: &mut Env) -> Self {
        let mut networks = Vec::new();
        for text in env.list("CALLBACK_ALLOWED_NETWORKS") {
            match text.parse::<IpNet>() {
                Ok(network) => {
                    if network.prefix_len() == 0 {
                        let found =
                            format!("{text} lets callers reach everything this machine can");
                        let advice = "name the receivers' own networks";
                        env.warn("CALLBACK_ALLOWED_NETWORKS", found, advice);
                    }
                    networks.push(network);
                }
                Err(_) => env.error(
                    "CALLBACK_ALLOWED_NETWORKS",
                    format!("{text:?} is not a network; write it like 10.20.0.0/16"),
                ),
            }
        }
        Self { allow_http: env.flag("CALLBACK_ALLOW_HTTP", false), networks }
    }

    /// Parses a caller's URL and checks everything except what its name resolves to.
    ///
    /// # Errors
    /// It may not be called.
    pub fn check_url(&self, text: &str) -> Result<Url, UrlRefused> {
        let url = Url::parse(text)
            .ok()
            .filter(|url| {
                text.len() <= MAX_CHARS
                    && matches!(url.scheme(), "http" | "https")
                    && url.has_host()
                    && url.username().is_empty()
                    && url.password().is_none()
            })
            .ok_or(UrlRefused::Malformed)?;
        if url.scheme() == "http" && !self.allow_http {
            return Err(UrlRefused::PlainHttp);
        }
        match url.host() {
            Some(Host::Ipv4(address)) => self.check_address(address.into())?,
            Some(Host::Ipv6(address)) => self.check_address(address.into())?,
            Some(Host::Domain(_)) => {}
            None => return Err(UrlRefused::Malformed),
        }
        Ok(url)
    }

    /// Checks an address before a call.
    ///
    /// # Errors
    /// It is not public, and no operator's rule allows it.
    pub fn check_address(&self, address: IpAddr) -> Result<(), AddressRefused> {
        match objection(address) {
            Some(why) if !self.networks.iter().any(|network| network.contains(&address)) => {
                Err(AddressRefused { address, why })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(allow_http: bool, networks: &[&str]) -> Rules {
        Rules { allow_http, networks: networks.iter().map(|net| net.parse().unwrap()).collect() }
    }

    #[test]
    fn only_absolute_web_urls_without_credentials_are_read() {
        let rules = rules(true, &[]);
        let long = format!("https://example.com/{}", "a".repeat(MAX_CHARS));
        for text in [
            "",
            "/hook",
            "example.com/hook",
            "//example.com/hook",
            "https://",
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://user:pass@example.com/",
            "https://user@example.com/",
            &long,
        ] {
            assert_eq!(rules.check_url(text), Err(UrlRefused::Malformed), "{text}");
        }
        assert!(rules.check_url("https://example.com:8443/hook?token=1").is_ok());
    }

    #[test]
    fn plain_http_needs_the_operators_word() {
        let url = "http://example.com/hook";
        assert_eq!(rules(false, &[]).check_url(url), Err(UrlRefused::PlainHttp));
        assert!(rules(true, &[]).check_url(url).is_ok());
    }

    #[test]
    fn an_address_is_known_in_every_spelling() {
        let rules = rules(true, &[]);
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "127.0.0.1.",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[64:ff9b::7f00:1]",
            "１２７.0.0.1",
        ] {
            let checked = rules.check_url(&format!("http://{host}/"));
            assert!(matches!(checked, Err(UrlRefused::Address(_))), "{host}: {checked:?}");
        }
        assert!(rules.check_url("https://1.1.1.1/").is_ok());
        assert!(rules.check_url("https://localhost/").is_ok(), "names are checked when resolved");
    }

    #[test]
    fn the_operator_may_allow_networks() {
        let rules = rules(false, &["10.20.0.0/16", "fd00::/8"]);
        assert!(rules.check_url("https://10.20.3.4/hook").is_ok());
        assert!(rules.check_url("https://[fd12::1]/hook").is_ok());
        let other = rules.check_url("https://10.21.0.1/hook").unwrap_err().to_string();
        assert!(other.contains("10.21.0.1 is private"), "{other}");
    }

    #[test]
    fn networks_that_are_none_are_named() {
        let mut env = Env::from_pairs([("CALLBACK_ALLOWED_NETWORKS", "10.0.0.0/8,home")]);
        let rules = Rules::from_env(&mut env);
        assert_eq!(rules.networks.len(), 1);
        let error = env.finish(Some(())).unwrap_err().to_string();
        assert!(error.contains("CALLBACK_ALLOWED_NETWORKS") && error.contains("home"), "{error}");
    }
}
