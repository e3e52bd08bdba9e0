//! What is not called: anything inside, wherever a name or a redirect leads.

use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::receiver::{Receiver, Reply};
use super::{SECRETS, fleet, settled, submit};
use crate::fleet::Fleet;
use crate::fleet::ingress::body;

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_not_called() {
    let settings = [
        ("CALLBACK_SECRETS", SECRETS),
        ("CALLBACK_ALLOW_HTTP", "true"),
        ("CALLBACK_RETRY_SECONDS", "0.05"),
    ];
    let fleet = Fleet::new(&settings).await;
    let ingress = fleet.ingress().await;
    let worker = fleet.worker().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (user, job) = submit(&ingress, &format!("http://localhost:{port}/hook")).await;
    let account = settled(&fleet, &ingress, user, job).await;
    assert_eq!((&account["state"], &account["attempts"]), (&json!("dead"), &json!(2)));
    let reason = account["error"].as_str().unwrap();
    assert_eq!(reason, "the host name does not resolve to public addresses only");
    assert!(listener.accept().now_or_never().is_none(), "somebody connected");
    // Operators see where it led.
    let log = worker.process.output();
    assert!(log.contains("loopback"), "{log}");
}

#[tokio::test]
async fn addresses_inside_are_refused_with_the_request() {
    let fleet = Fleet::new(&[("CALLBACK_SECRETS", SECRETS)]).await;
    let ingress = fleet.ingress().await;
    for url in ["https://127.0.0.1/", "https://[::1]/", "https://10.0.0.1/", "http://example.com/"]
    {
        let mut body = body(&["meal"]);
        body["callback_url"] = json!(url);
        let answer = ingress.door().post_plans(uuid::Uuid::new_v4(), &body, None).await.unwrap();
        assert_eq!(answer.status(), 422, "{url}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["errors"][0]["pointer"], "/callback_url", "{problem}");
    }
    assert_eq!(fleet.count("select count(*) from regimen.jobs").await, 0);
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_leads_nowhere() {
    let fleet = fleet(&[("CALLBACK_RETRY_SECONDS", "0.05")]).await;
    let elsewhere = Receiver::new().await;
    let receiver = Receiver::with(&[], Reply::Redirect(elsewhere.url.clone())).await;
    let ingress = fleet.ingress().await;
    let _worker = fleet.worker().await;
    let (user, job) = submit(&ingress, &receiver.url).await;
    let account = settled(&fleet, &ingress, user, job).await;
    assert_eq!((&account["state"], &account["http_status"]), (&json!("dead"), &json!(302)));
    assert_eq!((receiver.deliveries().len(), elsewhere.deliveries().len()), (2, 0));
}
