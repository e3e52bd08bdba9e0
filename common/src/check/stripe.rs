//! Stripe: whether the key works, what is sold exists, and events arrive.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{Answer, Finding, Http, Look, look};
use crate::billing::event::StripeEventKind;
use crate::billing::{API_VERSION, Mode, Offers, StripeAccess};

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct StripeSettings<'a> {
    /// The key and the address.
    pub access: &'a StripeAccess,
    /// Real money or tests.
    pub mode: Mode,
    /// What is sold.
    pub offers: &'a Offers,
    /// The path of our webhook, for whoever serves it.
    pub webhook: Option<&'a str>,
}

/// Looks at the account at Stripe; nothing without a key.
pub fn stripe(settings: StripeSettings<'_>) -> Vec<Look<'_>> {
    let Some(key) = &settings.access.key else { return Vec::new() };
    let asker = move || Asker { access: settings.access, key };
    let mut looks = vec![look("STRIPE_SECRET_KEY", async move { account(&asker()).await })];
    let sold = settings.offers.sold.iter().map(|offer| (offer.price.as_str(), true));
    let sold_ids: BTreeSet<&str> =
        settings.offers.sold.iter().map(|offer| offer.price.as_str()).collect();
    let old = settings.offers.entitling.iter().map(|id| (id.as_str(), false));
    let ids = sold.chain(old.filter(|(id, _)| !sold_ids.contains(id)));
    let ids: Vec<(String, bool)> = ids.map(|(id, is_sold)| (id.to_owned(), is_sold)).collect();
    for (id, is_sold) in ids {
        let name = if is_sold { "STRIPE_PRICES" } else { "STRIPE_OLD_PRICES" };
        let mode = settings.mode;
        looks
            .push(look(name, async move { vec![price(&asker(), name, &id, is_sold, mode).await] }));
    }
    if let Some(path) = settings.webhook {
        looks.push(look("Stripe webhook", async move { vec![webhook(&asker(), path).await] }));
    }
    looks
}

struct Asker<'a> {
    access: &'a StripeAccess,
    key: &'a SecretString,
}

impl Asker<'_> {
    async fn get(&self, path: &str, query: Option<&str>, subject: &str) -> Result<Answer, Finding> {
        let asked = async {
            let http = Http::new()?;
            let mut url = self.access.url(path);
            url.set_query(query);
            let request = http.client().get(url);
            let request = request.bearer_auth(self.key.expose_secret());
            http.ask(request.header("Stripe-Version", API_VERSION)).await
        };
        asked.await.map_err(|problem| {
            let found = format!("Stripe cannot be reached: {problem}");
            Finding::fail(subject, found, "let this machine reach api.stripe.com over https")
        })
    }
}

/// Stripe's word for what is wrong, never its sentence, which may quote the key.
fn code(answer: &Answer) -> String {
    let error = answer.json.get("error");
    let word = |name| error.and_then(|error| error.get(name)).and_then(Value::as_str);
    let code = word("code").or_else(|| word("type")).unwrap_or("no code");
    code.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(60).collect()
}

async fn account(asker: &Asker<'_>) -> Vec<Finding> {
    let subject = "STRIPE_SECRET_KEY";
    let answer = match asker.get("/v1/prices", Some("limit=1"), subject).await {
        Ok(answer) => answer,
        Err(finding) => return vec![finding],
    };
    let skew = answer.skew("Stripe's clock");
    let first = match answer.status {
        200 => Finding::ok(subject, format!("Stripe answered it within {:.1?}", answer.took)),
        401 => Finding::fail(
            subject,
            format!("Stripe does not know the key ({})", code(&answer)),
            "copy the key from the dashboard again; one that was rolled has ended",
        ),
        403 => Finding::fail(
            subject,
            format!("the key may not read prices ({})", code(&answer)),
            "give the restricted key the rights that .env.example names",
        ),
        status => Finding::warn(
            subject,
            format!("Stripe answered {status} ({})", code(&answer)),
            "check again later; status.stripe.com tells of trouble",
        ),
    };
    [Some(first), skew].into_iter().flatten().collect()
}

async fn price(asker: &Asker<'_>, name: &str, id: &str, is_sold: bool, mode: Mode) -> Finding {
    let kind = if id.starts_with("prod_") { "products" } else { "prices" };
    let answer = match asker.get(&format!("/v1/{kind}/{id}"), None, name).await {
        Ok(answer) => answer,
        Err(finding) => return finding,
    };
    let flag = |field: &str| answer.json.get(field).and_then(Value::as_bool);
    match answer.status {
        200 => {}
        404 => {
            return Finding::fail(
                name,
                format!("{id} does not exist in this account and mode"),
                "copy its id from the product catalogue, in the mode that the key is of",
            );
        }
        status => {
            return Finding::warn(
                name,
                format!("{id}: Stripe answered {status} ({})", code(&answer)),
                "correct STRIPE_SECRET_KEY or its rights, and check again",
            );
        }
    }
    if flag("livemode").is_some_and(|live| live != (mode == Mode::Live)) {
        let found = format!("{id} is of the other mode");
        return Finding::fail(name, found, "use the price of this mode, or set STRIPE_LIVEMODE");
    }
    if is_sold && flag("active") == Some(false) {
        let found = format!("{id} is archived: nobody can buy it");
        let advice = "make it active, or move it to STRIPE_OLD_PRICES and name the new one";
        return Finding::fail(name, found, advice);
    }
    if is_sold && answer.json.get("recurring").is_some_and(Value::is_null) {
        let found = format!("{id} is paid once; subscriptions need a recurring price");
        return Finding::fail(name, found, "name a recurring price");
    }
    Finding::ok(name, format!("{id} exists{}", if is_sold { " and is sold" } else { "" }))
}

async fn webhook(asker: &Asker<'_>, path: &str) -> Finding {
    let subject = "Stripe webhook";
    let answer = match asker.get("/v1/webhook_endpoints", Some("limit=100"), subject).await {
        Ok(answer) => answer,
        Err(finding) => return finding,
    };
    if answer.status != 200 {
        return Finding::warn(
            subject,
            format!("not looked at: Stripe answered {} ({})", answer.status, code(&answer)),
            "let the key read webhook endpoints, or look at them in the dashboard",
        );
    }
    let all = answer.json.get("data").and_then(Value::as_array);
    judge_endpoints(all.map(Vec::as_slice).unwrap_or_default(), path)
}

/// Whether one of the endpoints is ours and brings what we need.
fn judge_endpoints(endpoints: &[Value], path: &str) -> Finding {
    let subject = "Stripe webhook";
    let text = |endpoint: &Value, name: &str| {
        endpoint.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let ours =
        endpoints.iter().filter(|one| text(one, "url").trim_end_matches('/').ends_with(path));
    let ours: Vec<&Value> = ours.collect();
    let Some(endpoint) =
        ours.iter().find(|one| text(one, "status") == "enabled").or_else(|| ours.first())
    else {
        return Finding::fail(
            subject,
            format!("no endpoint of the account ends with {path}: events reach us a day late"),
            "register one at Stripe, and put its secret into STRIPE_WEBHOOK_SECRET",
        );
    };
    let url = text(endpoint, "url");
    if text(endpoint, "status") != "enabled" {
        let found = format!("{url} is disabled: events reach us a day late");
        return Finding::fail(subject, found, "enable it at Stripe");
    }
    let events = endpoint.get("enabled_events").and_then(Value::as_array);
    let events: BTreeSet<&str> = events.into_iter().flatten().filter_map(Value::as_str).collect();
    let missing: Vec<&str> = if events.contains("*") {
        Vec::new()
    } else {
        StripeEventKind::NEEDED.iter().copied().filter(|name| !events.contains(name)).collect()
    };
    if !missing.is_empty() {
        let found = format!("{url} is not sent {}", missing.join(", "));
        return Finding::fail(subject, found, "add these events to the endpoint at Stripe");
    }
    let version = text(endpoint, "api_version");
    if version != API_VERSION {
        let version = if version.is_empty() { "the account's own" } else { &version };
        let found = format!("{url} sends events of API version {version}, read leniently here");
        let advice = format!("make a new endpoint of version {API_VERSION}");
        return Finding::warn(subject, found, advice);
    }
    Finding::ok(subject, format!("{url} is sent every event that does something here"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Level;
    use super::*;

    #[test]
    fn an_endpoint_is_judged_by_address_state_events_and_version() {
        let path = "/api/stripe/webhook";
        let sound = json!({"url": "https://api.example.test/api/stripe/webhook",
            "status": "enabled", "enabled_events": StripeEventKind::NEEDED,
            "api_version": API_VERSION});
        let judge = |change: &dyn Fn(&mut Value)| {
            let mut endpoint = sound.clone();
            change(&mut endpoint);
            let found =
                judge_endpoints(&[json!({"url": "https://other.test/hook"}), endpoint], path);
            (found.level, found.found)
        };
        assert_eq!(judge(&|_| {}).0, Level::Ok);
        assert_eq!(judge(&|one| one["enabled_events"] = json!(["*"])).0, Level::Ok);
        let (level, found) = judge(&|one| one["enabled_events"] = json!(["invoice.paid"]));
        assert_eq!(level, Level::Fail);
        assert!(found.contains("customer.subscription.deleted"), "{found}");
        let (level, found) = judge(&|one| one["status"] = json!("disabled"));
        assert!(level == Level::Fail && found.contains("disabled"), "{found}");
        let (level, found) = judge(&|one| one["api_version"] = json!("2020-08-27"));
        assert!(level == Level::Warn && found.contains("2020-08-27"), "{found}");
        let (level, found) = judge(&|one| one["url"] = json!("https://api.example.test/"));
        assert!(level == Level::Fail && found.contains(path), "{found}");
    }
}
