//! One trace from the click in a browser to the saved plan, the provider and
//! the callback; through retry rounds and crashes.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Value, json};
use uuid::Uuid;

use super::recorder::{Recorder, Seen, Then, transactions};
use super::{CLICK, TRACE, submit, watched};
use crate::callbacks::LOCAL;
use crate::callbacks::receiver::Receiver;
use crate::fleet::ingress::body;
use crate::fleet::{Fleet, soon};

/// The spans of one name in the trace of the click.
fn named<'a>(spans: &'a [Seen], name: &str) -> Vec<&'a Seen> {
    spans.iter().filter(|seen| seen.span.name == name && seen.trace() == TRACE).collect()
}

fn only<'a>(spans: &'a [Seen], name: &str) -> &'a Seen {
    let found = named(spans, name);
    assert_eq!(found.len(), 1, "{name} in {spans:#?}");
    found[0]
}

fn assert_attributes(seen: &Seen, kind: SpanKind, wanted: &[(&str, Value)]) {
    assert_eq!(seen.span.kind(), kind, "{seen:?}");
    for (name, value) in wanted {
        assert_eq!(&seen.attribute(name), value, "{name} of {seen:#?}");
    }
}

/// Whether a round belongs to what the ingress sent: by parent and by link.
fn assert_sent_by(round: &Seen, producer: &Seen) {
    assert_eq!((round.parent(), round.trace()), (producer.id(), producer.trace()));
    let links: Vec<_> = round.span.links.iter().map(|link| hex::encode(&link.span_id)).collect();
    assert_eq!(links, [producer.id()]);
}

fn click() -> [(&'static str, String); 4] {
    [
        ("traceparent", format!("00-{TRACE}-{CLICK}-01")),
        ("sentry-trace", format!("{TRACE}-{CLICK}-1")),
        ("tracestate", "vendor=opaque".to_owned()),
        (
            "baggage",
            format!(
                "sentry-trace_id={TRACE},sentry-sample_rate=0.5,sentry-user_id=marker-of-a-person,\
                 mail=marker-of-a-person"
            ),
        ),
    ]
}

#[tokio::test]
async fn one_trace_leads_from_the_browser_to_the_provider_and_back() {
    let (recorder, receiver) = (Recorder::start(Then::Thanks).await, Receiver::new().await);
    let mut fleet = watched(&recorder, &LOCAL).await;
    let provider = Recorder::start(Then::Forward(fleet.simulator.url().to_owned())).await;
    fleet.set("OPENAI_BASE_URL", &format!("{}/v1", provider.url));
    let (ingress, _worker) = (fleet.ingress().await, fleet.worker().await);
    let (user, mut body) = (Uuid::new_v4(), body(&["meal"]));
    body["callback_url"] = json!(receiver.url);
    let headers = click();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let job = submit(&ingress, user, &body, &headers).await[0];
    assert_eq!(soon("the plan", ingress.ended(user, job)).await["status"], "succeeded");

    let callback = |spans: &[Seen]| !named(spans, "process callbacks").is_empty();
    let spans = recorder.spans_until("the callback's span", callback).await;
    let request = only(&spans, "POST /v1/plans");
    assert_eq!((request.parent().as_str(), request.service.as_str()), (CLICK, "regimen-ingress"));
    assert_eq!(request.span.trace_state, "vendor=opaque");
    let http = [
        ("http.request.method", json!("POST")),
        ("http.route", json!("/v1/plans")),
        ("http.response.status_code", json!(202)),
    ];
    assert_attributes(request, SpanKind::Server, &http);
    let producer = only(&spans, "send plans");
    assert_eq!(producer.parent(), request.id());
    let messaging = [
        ("messaging.system", json!("postgresql")),
        ("messaging.operation.type", json!("send")),
        ("messaging.destination.name", json!("plans")),
        ("messaging.batch.message_count", json!(1)),
    ];
    assert_attributes(producer, SpanKind::Producer, &messaging);
    let insert = only(&spans, "INSERT regimen.jobs");
    assert_eq!(insert.parent(), producer.id());
    assert_attributes(insert, SpanKind::Client, &[("db.system.name", json!("postgresql"))]);

    let round = only(&spans, "process plans");
    assert_eq!(round.service, "regimen-worker");
    assert_sent_by(round, producer);
    let messaging =
        [("messaging.operation.type", json!("process")), ("messaging.message.id", json!(job))];
    assert_attributes(round, SpanKind::Consumer, &messaging);
    let call = spans.iter().find(|seen| seen.span.name.starts_with("chat ")).unwrap();
    assert_eq!(call.parent(), round.id());
    let model = call.span.name.trim_start_matches("chat ");
    let gen_ai = [
        ("gen_ai.operation.name", json!("chat")),
        ("gen_ai.provider.name", json!("openai")),
        ("gen_ai.request.model", json!(model)),
        ("gen_ai.response.finish_reasons", json!(["stop"])),
    ];
    assert_attributes(call, SpanKind::Client, &gen_ai);
    for tokens in ["gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"] {
        assert!(call.attribute(tokens).as_i64() > Some(0), "{call:#?}");
    }
    let verify = only(&spans, "verify plan");
    assert_eq!(verify.parent(), round.id());
    assert_attributes(verify, SpanKind::Internal, &[("regimen.verification.violations", json!(0))]);
    let save = only(&spans, "UPDATE regimen.jobs");
    assert_eq!(save.parent(), round.id());
    let told = only(&spans, "process callbacks");
    assert_sent_by(told, producer);

    // Outside: the trace, and nothing about anybody.
    let calls = provider.received();
    let sent = &calls[0].headers;
    assert_eq!(sent["traceparent"], format!("00-{TRACE}-{}-01", call.id()));
    assert_eq!(sent["sentry-trace"], format!("{TRACE}-{}-1", call.id()));
    assert_eq!(sent["baggage"], format!("sentry-trace_id={TRACE},sentry-sample_rate=0.5"));
    assert!(sent.get("tracestate").is_none());
    let delivery = &receiver.until(1).await[0];
    assert_eq!(delivery.header("traceparent"), format!("00-{TRACE}-{}-01", told.id()));

    // Sentry sees the same trace, with the same ids.
    let transaction = recorder.transaction("POST /v1/plans").await;
    let trace = json!(transaction.contexts["trace"]);
    assert_eq!(
        (&trace["trace_id"], &trace["span_id"], &trace["parent_span_id"], &trace["op"]),
        (&json!(TRACE), &json!(request.id()), &json!(CLICK), &json!("http.server"))
    );
    assert_eq!(transaction.user.unwrap().id.unwrap(), user.to_string());
    let transaction = recorder.transaction("process plans").await;
    let trace = json!(transaction.contexts["trace"]);
    assert_eq!(trace["parent_span_id"], producer.id());
    assert_eq!(trace["op"], "queue.process");
    let mut inside: Vec<_> =
        transaction.spans.iter().map(|span| span.op.clone().unwrap()).collect();
    inside.sort();
    assert_eq!(inside, ["db", "function", "gen_ai.chat"]);
    let about = json!(transaction.contexts["ai_generation"]);
    assert_eq!((&about["job_id"], &about["provider"]), (&json!(job), &json!("openai")));
    for request in recorder.received().iter().chain(&calls) {
        let text = String::from_utf8_lossy(&request.body);
        assert!(!text.contains("marker-of-a-person"), "{}: {text}", request.path);
        assert!(!format!("{:?}", request.headers).contains("marker-of-a-person"));
    }
    let export = recorder.received().into_iter().find(|one| one.path == "/v1/traces").unwrap();
    assert_eq!(export.headers["x-key"], "of the+test");
}

#[tokio::test]
async fn every_round_is_linked_to_what_was_sent() {
    let recorder = Recorder::start(Then::Thanks).await;
    let settings = [("PROVIDER_ATTEMPTS", "1"), ("RETRY_ROUNDS_SECONDS", "0.1")];
    let fleet = watched(&recorder, &settings).await;
    let rule = json!({"times": 1, "action": {"do": "status", "status": 500}});
    fleet.simulator.control(json!({ "rules": [rule] })).await;
    let spans = two_rounds(&recorder, &fleet, async |_| {}).await;
    let failed = named(&spans, "process plans").into_iter().min_by_key(start).unwrap();
    assert_eq!(failed.span.status.as_ref().unwrap().code(), StatusCode::Error);
    assert_eq!(failed.attribute("error.type"), "retry");
    let calls = spans.iter().filter(|seen| seen.span.name.starts_with("chat "));
    let errors: Vec<_> = calls.map(|seen| seen.attribute("error.type")).collect();
    assert!(errors.contains(&json!("unavailable")) && errors.contains(&Value::Null), "{errors:?}");
}

#[tokio::test]
async fn the_round_after_a_crash_is_linked_to_what_was_sent() {
    let recorder = Recorder::start(Then::Thanks).await;
    let fleet = watched(&recorder, &[]).await;
    let rule = json!({"nth": 1, "action": {"do": "hang"}});
    fleet.simulator.control(json!({ "rules": [rule] })).await;
    let (ingress, mut killed) = (fleet.ingress().await, fleet.worker().await);
    let user = Uuid::new_v4();
    let headers = click();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let job = submit(&ingress, user, &body(&["meal"]), &headers).await[0];
    fleet.simulator.wait("open=1").await;
    let _other = fleet.worker().await;
    killed.process.kill9().await;
    assert_eq!(soon("the plan", ingress.ended(user, job)).await["status"], "succeeded");
    let done = |spans: &[Seen]| !named(spans, "process plans").is_empty();
    let spans = recorder.spans_until("the second round", done).await;
    // Of the round that was killed nothing can tell.
    assert_sent_by(only(&spans, "process plans"), only(&spans, "send plans"));
}

fn start(seen: &&Seen) -> u64 {
    seen.span.start_time_unix_nano
}

/// Submits with the click's headers and waits until two rounds of the job have come.
async fn two_rounds(
    recorder: &Recorder,
    fleet: &Fleet,
    meanwhile: impl AsyncFnOnce(Uuid),
) -> Vec<Seen> {
    let (ingress, _worker) = (fleet.ingress().await, fleet.worker().await);
    let user = Uuid::new_v4();
    let headers = click();
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let job = submit(&ingress, user, &body(&["meal"]), &headers).await[0];
    meanwhile(job).await;
    assert_eq!(soon("the plan", ingress.ended(user, job)).await["status"], "succeeded");
    let both = |spans: &[Seen]| named(spans, "process plans").len() == 2;
    let spans = recorder.spans_until("both rounds", both).await;
    for round in named(&spans, "process plans") {
        assert_sent_by(round, only(&spans, "send plans"));
    }
    spans
}

#[tokio::test]
async fn hostile_headers_begin_a_trace_of_our_own() {
    let recorder = Recorder::start(Then::Thanks).await;
    let fleet = watched(&recorder, &[]).await;
    let ingress = fleet.ingress().await;
    let long = "0".repeat(20_000);
    let hostile = ["' or 1=1 --", "00-00000000000000000000000000000000-0000000000000000-01", &long];
    for text in hostile {
        let headers = [
            ("traceparent", text),
            ("sentry-trace", text),
            ("tracestate", "===,,,"),
            ("baggage", "====;;;,,,sentry-trace_id"),
        ];
        submit(&ingress, Uuid::new_v4(), &body(&["meal"]), &headers).await;
    }
    let sent =
        |spans: &[Seen]| spans.iter().filter(|one| one.span.name == "send plans").count() == 3;
    let spans = recorder.spans_until("the producers", sent).await;
    let requests = spans.iter().filter(|seen| seen.span.name == "POST /v1/plans");
    for request in requests {
        assert_eq!((request.parent().as_str(), request.span.trace_state.as_str()), ("", ""));
    }
}

/// A trace that the browser does not keep is kept by nobody, and one that
/// nobody decided about by a share of the ids: the same in both processes.
#[tokio::test]
async fn sentry_keeps_what_the_browser_keeps() {
    let recorder = Recorder::start(Then::Thanks).await;
    let dsn = recorder.dsn();
    let fleet = Fleet::new(&[("SENTRY_DSN", &dsn), ("SENTRY_TRACES_SAMPLE_RATE", "0.5")]).await;
    let (ingress, worker) = (fleet.ingress().await, fleet.worker().await);
    let low = "ffffffffffffffff0000000000000001";
    let high = "0000000000000001ffffffffffffffff";
    let wanted = [(low, "", true), (low, "-0", false), (high, "", false), (high, "-1", true)];
    for (trace, decision, _) in wanted {
        let (header, user) = (format!("{trace}-{CLICK}{decision}"), Uuid::new_v4());
        let headers = [("sentry-trace", header.as_str())];
        let job = submit(&ingress, user, &body(&["meal"]), &headers).await[0];
        assert_eq!(soon("the plan", ingress.ended(user, job)).await["status"], "succeeded");
    }
    super::end(worker).await;
    super::end(ingress.binary).await;
    for name in ["POST /v1/plans", "process plans"] {
        let found = transactions(&recorder.received(), name);
        let mut traces: Vec<_> =
            found.iter().map(|one| json!(one.contexts["trace"])["trace_id"].clone()).collect();
        traces.sort_by_key(Value::to_string);
        assert_eq!(traces, [json!(high), json!(low)], "{name}");
    }
    assert!(recorder.received().iter().all(|one| one.path != "/v1/traces"));
}
