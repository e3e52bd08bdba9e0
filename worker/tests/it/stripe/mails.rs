//! Mails about payments, sent by the real worker to a mail server that was
//! not written here.

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use regimen_common::clock::Clock;
use regimen_common::test_support::{Language, Scripted};
use serde_json::{Value, json};
use uuid::Uuid;

use super::stripe_api::StripeApi;
use super::worker::{event, subscription};
use crate::fleet::{Fleet, answers};

const SECRET: &str = "whsec_mails";
const SENT: &str = "select count(*) from regimen.billing_notices where mail_state = 'sent'";

struct MailFleet {
    fleet: Fleet,
    mails: Scripted,
    _stripe: StripeApi,
}

async fn mail_fleet(mails: Scripted, settings: &[(&str, &str)]) -> MailFleet {
    let stripe = StripeApi::start().await;
    let charge = json!({"id": "ch_1", "object": "charge", "customer": "cus_1"});
    stripe.set("charges/ch_1", charge);
    let port = mails.port.to_string();
    let mut all = vec![
        ("STRIPE_WEBHOOK_SECRET", SECRET),
        ("STRIPE_SECRET_KEY", StripeApi::KEY),
        ("STRIPE_BASE_URL", stripe.url.as_str()),
        ("BACKFILL_HOURS", "0"),
        ("SMTP_HOST", "127.0.0.1"),
        ("SMTP_PORT", port.as_str()),
        ("SMTP_TLS", "none"),
        ("SMTP_FROM", "Regimen <billing@regimen.example.test>"),
        ("APP_URL", "https://app.example.test/plan"),
    ];
    all.extend(settings);
    MailFleet { fleet: Fleet::new(&all).await, mails, _stripe: stripe }
}

impl MailFleet {
    /// A mail the server has taken.
    fn mail(&self, name: &str) -> Value {
        serde_json::from_str(&self.mails.file(name).unwrap()).unwrap()
    }
}

/// The four events that users are told of; each with a phrase of its mail.
fn news(user: Uuid) -> [(Value, &'static str, &'static str); 4] {
    let now = Clock::system().now().timestamp();
    let invoice = json!({"id": "in_1", "object": "invoice", "customer": "cus_1",
        "amount_due": 999, "currency": "eur", "hosted_invoice_url": "https://pay.example.test/1",
        "next_payment_attempt": 1_800_574_790_i64, "parent": {"type": "subscription_details",
            "subscription_details": {"subscription": "sub_1", "metadata": {"user_id": user}}}});
    let mut trial = subscription("trialing", Some(user));
    trial["trial_end"] = json!(1_800_574_790_i64);
    let dispute = json!({"id": "dp_1", "object": "dispute", "charge": "ch_1", "amount": 999,
        "currency": "eur"});
    let make = |id: &str, kind: &str, object: &Value| event(id, kind, now, object);
    // The trial first: it makes the subscription known, and with it whose the
    // disputed charge is.
    [
        (
            make("evt_trial", "customer.subscription.trial_will_end", &trial),
            "Your free trial is about to end",
            "Your free trial ends on 21 January 2027.",
        ),
        (
            make("evt_failed", "invoice.payment_failed", &invoice),
            "Your payment did not go through",
            "Your payment of 9.99 EUR failed. We try again on 21 January 2027.",
        ),
        (
            make("evt_action", "invoice.payment_action_required", &invoice),
            "Please confirm your payment",
            "Your bank wants you to confirm a payment of 9.99 EUR.",
        ),
        (
            make("evt_dispute", "charge.dispute.created", &dispute),
            "A payment of yours was disputed",
            "A payment of 9.99 EUR was disputed with your bank.",
        ),
    ]
}

#[tokio::test]
async fn each_event_is_told_by_one_mail_and_one_notification() {
    let Some(python) = Language::python("stripe") else { return };
    let mails = Scripted::start(&python, "mail_server.py", &[]).await;
    let sender = mail_fleet(mails, &[]).await;
    let user = sender.fleet.profile().await;
    let (ingress, _worker) = (sender.fleet.ingress().await, sender.fleet.worker().await);
    let news = news(user);
    for (n, (event, ..)) in news.iter().enumerate() {
        for _ in 0..3 {
            assert_eq!(ingress.door().deliver(event, SECRET).await.status(), 200);
        }
        sender.fleet.until_count(SENT, n as i64 + 1).await;
    }
    // Applied once more, each of them.
    for (event, ..) in &news {
        let (code, said) =
            sender.fleet.command(&["events", "replay", event["id"].as_str().unwrap()]).await;
        assert_eq!(code, Some(0), "{said}");
    }
    let open = "select count(*) from regimen.stripe_events where state <> 'applied'";
    sender.fleet.until_count(open, 0).await;

    let address = format!("{user}@example.test");
    for (n, (_, subject, sentence)) in news.iter().enumerate() {
        let mail = sender.mail(&format!("mail-{}.json", n + 1));
        assert_eq!(mail["subject"], *subject);
        assert_eq!(mail["rcpt_tos"], json!([address]), "{mail}");
        assert_eq!(mail["from"], "Regimen <billing@regimen.example.test>");
        assert_eq!(mail["kind"], "multipart/alternative");
        let (text, html) = (mail["text"].as_str().unwrap(), mail["html"].as_str().unwrap());
        assert!(text.starts_with("Hello Ana,") && text.contains(sentence), "{text}");
        assert!(html.contains("<p>Hello Ana,</p>") && html.contains(sentence), "{html}");
        assert!(text.contains("https://") && html.contains("href=\"https://"), "a way to act");
    }
    assert!(sender.mails.file("mail-5.json").is_none(), "each told once");
    let told = "select count(*) from public.notifications";
    assert_eq!(sender.fleet.count(told).await, 4);
    assert_eq!(sender.fleet.count(SENT).await, 4);
}

/// Whoever reads a mailbox learns nothing of a quiz, a provider or a key.
#[tokio::test]
async fn a_mail_holds_nothing_of_a_quiz_and_nothing_a_provider_said() {
    let Some(python) = Language::python("stripe") else { return };
    let mails = Scripted::start(&python, "mail_server.py", &[]).await;
    let rest = [("RETRY_ROUNDS_SECONDS", "0.1"), ("PROVIDER_ATTEMPTS", "1"), ("RUST_LOG", "trace")];
    let sender = mail_fleet(mails, &rest).await;
    let fleet = &sender.fleet;
    let action = json!({"do": "status", "status": 400,
        "message": "upstream-gw refused 'torn vexilium' for key sk-MARKER-0123456789"});
    fleet.simulator.control(json!({"rules": [{ "action": action }]})).await;
    let user = fleet.profile().await;
    let (ingress, worker) = (fleet.ingress().await, fleet.worker().await);
    let mut answers = answers();
    answers["injuries"] = json!("torn vexilium");
    let body = json!({"kinds": ["meal"], "answers": answers});
    let job = ingress.submit_body(user, &body).await[0];
    assert_eq!(ingress.ended(user, job).await["status"], "failed");
    for (n, (event, ..)) in news(user).iter().enumerate() {
        assert_eq!(ingress.door().deliver(event, SECRET).await.status(), 200);
        fleet.until_count(SENT, n as i64 + 1).await;
    }
    let mails: String =
        (1..=4).map(|n| sender.mails.file(&format!("mail-{n}.json")).unwrap()).collect();
    assert!(mails.contains("Hello Ana"), "{mails}");
    for text in [mails, worker.process.output(), ingress.binary.process.output()] {
        let private = ["vexilium", "upstream-gw", "MARKER", "sk-", SECRET, StripeApi::KEY];
        let told = private.into_iter().find(|private| text.contains(private));
        assert_eq!(told, None, "{text}");
    }
}

#[tokio::test]
async fn a_mail_that_was_given_up_is_sent_once_an_operator_replays_it() {
    let Some(python) = Language::python("stripe") else { return };
    let mails = Scripted::start(&python, "mail_server.py", &[]).await;
    let sender = mail_fleet(mails, &[]).await;
    let fleet = &sender.fleet;
    let user = fleet.profile().await;
    let address = async |mail: &str| {
        let sql = "update public.profiles set email = $2 where id = $1";
        fleet.db().await.execute(sql, &[&user, &mail]).await.unwrap();
    };
    address("").await;
    let (ingress, _worker) = (fleet.ingress().await, fleet.worker().await);
    let (event, ..) = &news(user)[1];
    assert_eq!(ingress.door().deliver(event, SECRET).await.status(), 200);
    let failed = "select count(*) from regimen.billing_notices where mail_state = 'failed'";
    fleet.until_count(failed, 1).await;
    address("ana@example.test").await;
    let (code, said) = fleet.command(&["admin", "mails", "replay", "--all-dead"]).await;
    assert_eq!(code, Some(0), "{said}");
    fleet.until_count(SENT, 1).await;
    assert_eq!(sender.mail("mail-1.json")["rcpt_tos"], json!(["ana@example.test"]));
}

/// At least once: between the server's yes and its record no order is safe,
/// and a reminder lost costs a customer more than one that comes twice. Both
/// carry one Message-ID, by which a mailbox tells them for one.
#[tokio::test]
async fn a_worker_killed_between_send_and_record_sends_the_same_mail_again() {
    let Some(python) = Language::python("stripe") else { return };
    let mails = Scripted::start(&python, "mail_server.py", &[]).await;
    let mut sender = mail_fleet(mails, &[]).await;
    let user = sender.fleet.profile().await;
    let hold = sender.mails.folder().join("hold");
    std::fs::write(&hold, "").unwrap();
    let (ingress, mut worker) = (sender.fleet.ingress().await, sender.fleet.worker().await);
    let (event, ..) = &news(user)[1];
    assert_eq!(ingress.door().deliver(event, SECRET).await.status(), 200);
    sender.mails.when_there("mail-1.json").await;
    worker.process.kill9().await;
    std::fs::remove_file(&hold).unwrap();
    assert_eq!(sender.fleet.count(SENT).await, 0);
    // The claim of the dead worker runs out.
    let sql = "update regimen.billing_notices set run_at = now()";
    sender.fleet.db().await.batch_execute(sql).await.unwrap();
    let _worker = sender.fleet.worker().await;
    sender.fleet.until_count(SENT, 1).await;
    let (first, second) = (sender.mail("mail-1.json"), sender.mail("mail-2.json"));
    assert_eq!(first["message_id"], second["message_id"]);
    assert_eq!(first["text"], second["text"]);
    assert!(sender.mails.file("mail-3.json").is_none());
    assert_eq!(sender.fleet.count("select count(*) from public.notifications").await, 1);
}

#[tokio::test]
async fn mails_go_through_starttls_and_a_login() {
    let Some(python) = Language::python("stripe") else { return };
    let papers = tempfile::tempdir().unwrap();
    let path = |name: &str| papers.path().join(name).to_str().unwrap().to_owned();
    let (certificate, key) = (path("certificate.pem"), path("key.pem"));
    let authority = certify(&certificate, &key);
    std::fs::write(path("authority.pem"), authority).unwrap();
    let login = ["billing", "s3cret-of-the-relay"];
    let args = [certificate.as_str(), key.as_str(), login[0], login[1]];
    let mails = Scripted::start(&python, "mail_server.py", &args).await;
    let authority = path("authority.pem");
    let secured = [
        ("SMTP_HOST", "localhost"),
        ("SMTP_TLS", "starttls"),
        ("SMTP_USERNAME", login[0]),
        ("SMTP_PASSWORD", login[1]),
    ];
    let sender = mail_fleet(mails, &secured).await;
    let user = sender.fleet.profile().await;
    let ingress = sender.fleet.ingress().await;
    let [(first, ..), (second, ..), ..] = news(user);

    // A stranger's certificate: nothing is said to such a server.
    let worker = sender.fleet.worker().await;
    assert_eq!(ingress.door().deliver(&first, SECRET).await.status(), 200);
    let refused = "select count(*) from regimen.billing_notices
                   where mail_state = 'waiting' and error like '%certificate%'";
    sender.fleet.until_count(refused, 1).await;
    drop(worker);

    let trusting = sender.fleet.worker_with(&[("SMTP_ROOT_CERT", authority.as_str())]).await;
    assert_eq!(ingress.door().deliver(&second, SECRET).await.status(), 200);
    // The next try of the first one.
    let sql = "update regimen.billing_notices set run_at = now() where mail_state = 'waiting'";
    sender.fleet.db().await.batch_execute(sql).await.unwrap();
    sender.fleet.until_count(SENT, 2).await;
    for name in ["mail-1.json", "mail-2.json"] {
        let mail = sender.mail(name);
        assert_eq!((&mail["tls"], &mail["login"]), (&json!(true), &json!(true)), "{mail}");
    }
    assert!(!trusting.process.output().contains(login[1]), "the password is in the log");
}

/// Writes a certificate for localhost and its key; returns its issuer's.
fn certify(certificate: &str, key: &str) -> String {
    let issuer_key = KeyPair::generate().unwrap();
    let mut issuer = CertificateParams::new(Vec::new()).unwrap();
    issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = issuer.self_signed(&issuer_key).unwrap();
    let issuer = rcgen::Issuer::new(issuer, issuer_key);
    let own_key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let own = own.signed_by(&own_key, &issuer).unwrap();
    std::fs::write(certificate, own.pem()).unwrap();
    std::fs::write(key, own_key.serialize_pem()).unwrap();
    authority.pem()
}
