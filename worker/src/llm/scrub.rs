//! Removes from a host's text everything that looks like a secret: keys and
//! their endings, tokens, organisations, credentials in URLs, long random
//! strings, of our account and of others.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// The replacement of a secret.
const CUT: &str = "[cut]";

/// Known prefixes of keys, tokens and account ids.
const KNOWN: &str = r"(?i)\b(?:sk|pk|rk|ak|gsk|hf|r8|xai|nvapi|tgp|pplx|csk|org|proj|acct|whsec|ghp|gho|glpat|xox[abps])[-_][A-Za-z0-9*•…._-]{4,}";

static RULES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        // A name and its value: `api_key=…`, `"token": "…"`, `password …`.
        r#"(?i)\b((?:x-)?(?:api[-_ ]?key|apikey|key|token|secret|password|passwd|pwd|authorization|signature|sig)["']?\s*[:=]\s*["']?)(?:(?:bearer|basic)\s+)?[^\s"',;&)}\]]{3,}"#,
        r"(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9+/=._~*•…-]{4,}",
        // "API key provided: abc", "a key ending in wxYZ", "the token 'abc'".
        r#"(?i)\b((?:key|token)s? (?:(?:provided|given|used|supplied|received)\s*[:=]|(?:ending|ends|starting|beginning) (?:in|with))\s*["'`(]?)[^\s"'`,;)]{3,}"#,
        r#"(?i)\b((?:key|token|secret) ["'`])[^"'`]{4,}"#,
        KNOWN,
        r"\b(?:AKIA|ASIA)[A-Z0-9]{8,}",
        // A mail address.
        r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+\.[A-Za-z0-9.-]+[A-Za-z]",
        // Google's old and new keys and its tokens, JSON web tokens.
        r"\bAIza[A-Za-z0-9_*•….-]{2,}",
        r"\bAQ\.[A-Za-z0-9_*•….-]{4,}",
        r"\bya29\.[A-Za-z0-9_.-]+",
        r"\beyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)*",
        // A masked key of which only head and tail are shown.
        r"[A-Za-z0-9_-]*(?:\*{3,}|•{3,}|\bx{6,})[A-Za-z0-9_-]*",
        r"[A-Za-z0-9_-]*(?:…|\.{3})[A-Za-z0-9_-]{3,}",
        // An organisation, a project or an account by its id or its quoted name.
        r#"(?i)\b((?:organi[sz]ation|org|project|account|workspace|tenant|customer|subscription)s?(?:[ _-]?(?:id|number|name))?(?:\s*[:=#]\s*|\s+))(?:["'`“][^"'`”]{1,80}["'`”]|[A-Za-z]*[0-9_-][A-Za-z0-9_.-]*)"#,
        r"(?i)\b((?:organi[sz]ations|projects|accounts|workspaces|tenants|teams|subscriptions)/)[^\s/]+",
        r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b",
        r"\b[0-9]{9,}\b",
    ]
    .iter()
    .filter_map(|rule| Regex::new(rule).ok())
    .collect()
});

/// A URL: its scheme and host stay, the rest is removed.
static ADDRESS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"\b([a-z][a-z0-9+.-]*://)(?:[^\s/@"'<>]*@)?([^\s/?#"'<>)\]]+)[^\s"'<>)\]]*"#).ok()
});

/// A word long enough to be a random string.
static LONG: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[A-Za-z0-9+/=_~.-]{16,}").ok());

/// `text` with only the schemes and hosts of its URLs.
pub fn without_paths(text: &str) -> Cow<'_, str> {
    match ADDRESS.as_ref() {
        Some(address) => address.replace_all(text, "$1$2"),
        None => Cow::Borrowed(text),
    }
}

/// `text` without everything that looks like a secret.
pub fn scrubbed(text: &str) -> String {
    let mut clean = without_paths(text).into_owned();
    for rule in RULES.iter() {
        let cut = |found: &Captures<'_>| {
            format!("{}{CUT}", found.get(1).map(|kept| kept.as_str()).unwrap_or_default())
        };
        clean = rule.replace_all(&clean, cut).into_owned();
    }
    if let Some(long) = LONG.as_ref() {
        let cut = |found: &Captures<'_>| {
            let word = found.get(0).map(|word| word.as_str()).unwrap_or_default();
            if is_random(word) { CUT.to_owned() } else { word.to_owned() }
        };
        clean = long.replace_all(&clean, cut).into_owned();
    }
    clean
}

/// Whether a long word is a random string: one of its parts mixes digits and letters
/// repeatedly. Names of models, fields and quotas do not.
fn is_random(word: &str) -> bool {
    let part_is = |part: &str| {
        let kinds: Vec<u8> = part.bytes().map(kind).collect();
        let changes = kinds.windows(2).filter(|pair| pair[0] != pair[1]).count();
        let digits = kinds.iter().filter(|kind| **kind == 0).count();
        let letters = part.len() - digits;
        (part.len() >= 12 && digits >= 2 && letters >= 2 && changes >= 4)
            || (part.len() >= 20 && digits >= 4 && letters >= 4)
    };
    word.split(['-', '_', '.', '/', '~']).any(part_is)
}

fn kind(letter: u8) -> u8 {
    match letter {
        b'0'..=b'9' => 0,
        b'a'..=b'z' => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_is_a_rule() {
        assert_eq!(RULES.len(), 17);
        assert!(ADDRESS.is_some() && LONG.is_some());
    }

    #[test]
    fn secrets_are_cut_out() {
        for (text, secrets) in [
            ("Incorrect API key provided: sk-MARK*****************wxYZ.", "sk-MARK wxYZ"),
            ("Incorrect API key provided: sk-proj-MARKabc_def-123. You can find", "MARK 123"),
            ("invalid x-api-key sk-ant-api03-MARKabcdef", "MARK"),
            ("API key AIzaSyMARK0123456789abcdefghijklmnopqrst is not valid", "MARK"),
            ("bad key AQ.Ab8RN6MARK-xyz", "MARK"),
            ("Authorization: Bearer MARK.token was refused", "MARK"),
            ("{\"authorization\": \"Bearer MARKtoken\"}", "MARK"),
            (
                "Rate limit reached for gpt-6-luna in organization org-MARKabc on tokens",
                "org-MARK MARK",
            ),
            ("in organization acme-MARK-inc on requests", "MARK acme"),
            ("in organization 'MARK Foods Ltd' on requests", "MARK Foods"),
            ("project proj_MARK7 and projects/MARK-4711/locations/x", "MARK"),
            ("Consumer 'project_number:583984921034' has been suspended", "583984921034"),
            (
                "see https://user:MARK@gw.internal.example:8443/v1/x?key=MARK2#MARK3 now",
                "user MARK",
            ),
            ("postgres://svc:MARK@db.internal:5432/billing failed", "svc MARK"),
            ("token=MARKMARK&x=1", "MARKMARK"),
            ("api_key: 'MARKMARK'", "MARKMARK"),
            ("jwt eyJhbGciOiJIUzI1NiJ9.eyJMARK.sig", "MARK"),
            ("request req_011CSHoEeqs5C35K2UUqR7Fy failed", "011CSHoEeqs5C35K2UUqR7Fy"),
            ("hash 9f86d081884c7d659a2feaa0c55ad015", "9f86d081884c7d65"),
            ("ends in …MARK: ab12…MARK", "ab12"),
            ("tenant 3f2b8c1e-0d4a-4b7e-9a51-1c2d3e4f5a6b", "3f2b8c1e"),
            ("gsk_MARKabcd1234", "MARK"),
            ("Incorrect API key provided: MARK42. You can find", "MARK42"),
            ("the key ending in MARK is disabled", "MARK"),
            ("API key ends with 'MARK'", "MARK"),
            ("API key 'MARK 4711' was revoked", "MARK 4711"),
            ("user AKIAMARKMARKMARKMARK may not invoke", "AKIA MARK"),
            ("the account of mark.MARK@corp.example is suspended", "MARK corp"),
            ("sk-or-v1-MARK0123 and hf_MARKMARK and nvapi-MARKMARK", "MARK"),
        ] {
            let clean = scrubbed(text);
            for secret in secrets.split(' ') {
                assert!(!clean.contains(secret), "{secret} in {clean:?} of {text:?}");
            }
            assert!(clean.contains(CUT) || text.contains("://"), "{clean:?}");
        }
    }

    #[test]
    fn what_an_operator_needs_stays() {
        for text in [
            "Your credit balance is too low to access the Anthropic API.",
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            "models/gemini-1.5-flash is not found for API version v1beta",
            "The model `claude-3-5-sonnet-20241022` does not exist",
            "Quota exceeded for GenerateRequestsPerMinutePerProjectPerModel-FreeTier, limit 20",
            "meta-llama/Llama-3.3-70B-Instruct-Turbo is overloaded",
            "upstream connect error or disconnect/reset before headers. reset reason: overflow",
            "body.response_format.json_schema: Extra inputs are not permitted",
            "This model's maximum context length is 8192 tokens",
            "No auth credentials found",
            "token limit exceeded: 8192 tokens used, 200 left",
        ] {
            assert_eq!(scrubbed(text), text);
        }
        let host = scrubbed("call to https://gw.example/v1/chat?key=abc failed");
        assert_eq!(host, "call to https://gw.example failed");
    }
}
