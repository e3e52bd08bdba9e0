//! The allowed return URLs of Stripe pages: the web origins that may call the
//! API, so that a payment page never leads to another site.

use url::Url;

use crate::error::FieldError;
use crate::middleware::AllowedOrigins;

const MAX_CHARS: usize = 2_000;

/// The return URL: `wanted`, else `default`. It is passed on unchanged: Stripe fills in
/// `{CHECKOUT_SESSION_ID}`.
///
/// # Errors
/// It has another origin, or there is none; `field` is named.
pub fn choose(
    field: &str,
    wanted: Option<&str>,
    default: Option<&str>,
    origins: &AllowedOrigins,
) -> Result<String, FieldError> {
    let wrong =
        |message: &str| FieldError { pointer: format!("/{field}"), message: message.to_owned() };
    let Some(wanted) = wanted else {
        let default = default.map(str::to_owned);
        return default.ok_or_else(|| {
            wrong("is required: this deployment has neither APP_URL nor ALLOWED_ORIGINS")
        });
    };
    if is_allowed(wanted, origins) {
        Ok(wanted.to_owned())
    } else {
        Err(wrong("must be an address on one of the ALLOWED_ORIGINS of this deployment"))
    }
}

/// Plain characters only: characters that browsers and we may read differently
/// (backslashes, tabs, other alphabets) do not occur in legitimate URLs.
fn is_allowed(text: &str, origins: &AllowedOrigins) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && c != '\\';
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    text.len() <= MAX_CHARS
        && rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
        && text.chars().all(plain)
        && Url::parse(text).is_ok_and(|url| origins.allow(&url))
}

/// The default return URL.
pub fn default(app_url: Option<&Url>, origins: &AllowedOrigins) -> Option<String> {
    match (app_url, origins) {
        (Some(url), _) => Some(url.to_string()),
        (None, AllowedOrigins::Exactly(origins)) => {
            origins.first().map(|origin| format!("{origin}/"))
        }
        (None, AllowedOrigins::Any) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_our_own_origins() {
        let origins = AllowedOrigins::Exactly(vec!["https://app.example.test".to_owned()]);
        let allowed = |text: &str| is_allowed(text, &origins);
        assert!(allowed("https://app.example.test/ok?session={CHECKOUT_SESSION_ID}#done"));
        assert!(allowed("https://APP.example.test:443/"));
        for elsewhere in [
            "https://app.example.test.evil.com/",
            "https://app.example.test@evil.com/",
            "https://evil.com/https://app.example.test/",
            "https://user@app.example.test/",
            "https://user:password@app.example.test/",
            "https://app.example.test:8443/",
            "http://app.example.test/",
            "//app.example.test/",
            "//evil.com",
            "/settings",
            "javascript:alert(1)",
            "javascript://app.example.test/%0aalert(1)",
            "data:text/html,x",
            "https:\\\\app.example.test/",
            "https:\\evil.com",
            "https://app.example.test\\@evil.com/",
            "https://evil.com\\.app.example.test/",
            "https:app.example.test/",
            "https:///app.example.test/",
            " https://app.example.test/",
            "https://app.example.test/\tx",
            "https://app.example.test/\n",
            "https://аpp.example.test/",
            "https://app.example.test／@evil.com/",
            "https://app。example.test/",
            "https://app.example.test。evil.com/",
            "https://sub.app.example.test/",
            "https://app.example.test./",
            "",
        ] {
            assert!(!allowed(elsewhere), "{elsewhere}");
        }
        assert!(!allowed(&format!("https://app.example.test/{}", "a".repeat(MAX_CHARS))));
    }
}
