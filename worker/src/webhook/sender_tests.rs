//! The webhook sender with real sockets and lying name servers.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use rand::SeedableRng;
use regimen_common::callbacks::JobCallback;
use regimen_common::config::Env;
use regimen_common::job::{JobState, PlanKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::*;

/// Answers with each of these in turn, and then with the last one.
struct Rebinding {
    answers: Vec<&'static str>,
    asked: Arc<AtomicUsize>,
}

impl Lookup for Rebinding {
    fn lookup(&self, _: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let turn = self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers[turn.min(self.answers.len() - 1)];
        Box::pin(async move { Ok(vec![answer.parse().unwrap()]) })
    }
}

fn sender(
    settings: &[(&str, &str)],
    answers: &[&'static str],
) -> (WebhookSender, Arc<AtomicUsize>) {
    regimen_common::process::install_crypto();
    let secret = ("CALLBACK_SECRETS", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let basics = [secret, ("CALLBACK_ALLOW_HTTP", "true"), ("CALLBACK_TIMEOUT_SECONDS", "5")];
    let pairs = basics.into_iter().chain(settings.iter().copied());
    let settings = WebhookConfig::from_env(&mut Env::from_pairs(pairs));
    let asked = Arc::new(AtomicUsize::new(0));
    let lookup = Rebinding { answers: answers.to_vec(), asked: Arc::clone(&asked) };
    let rng = StdRng::seed_from_u64(1);
    let sender = WebhookSender::new(&settings, Arc::new(lookup), Clock::system(), rng);
    (sender.unwrap().unwrap(), asked)
}

fn claimed(url: String) -> ClaimedCallback {
    let now = Clock::system().now();
    let (job, state) = (Uuid::nil(), JobState::Succeeded);
    let message = JobCallback::new(job, PlanKind::Meal, state, None, now);
    let (user_id, host, trace_context) = (Uuid::nil(), String::new(), None);
    ClaimedCallback { user_id, url, host, attempts: 1, message, trace_context }
}

/// Listens on loopback and takes one request for each of `answers`.
async fn receiver(answers: Vec<String>) -> (u16, tokio::task::JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = tokio::spawn(async move {
        let mut taken = 0;
        for answer in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            taken += 1;
            let mut request = vec![0; 64 * 1024];
            let _ = socket.read(&mut request).await;
            let _ = socket.write_all(answer.as_bytes()).await;
        }
        taken
    });
    (port, served)
}

/// Listens on loopback, takes everything, and keeps its connections open.
async fn keeper() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = vec![0; 64 * 1024];
                while socket.read(&mut request).await.is_ok_and(|read| read > 0) {
                    let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                    let _ = socket.write_all(ok).await;
                }
            });
        }
    });
    port
}

/// Whether anybody has connected to a listener so far.
async fn nobody_came(listener: &TcpListener) -> bool {
    // A connection that was made is there at once.
    futures_util::FutureExt::now_or_never(listener.accept()).is_none()
}

#[tokio::test]
async fn a_name_that_turns_to_loopback_between_two_looks_is_not_called() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // Public when it was accepted, say, and inside when it is called.
    let (sender, asked) = sender(&[], &["93.184.215.14", "127.0.0.1"]);
    let resolver = PublicResolver::new(
        Arc::clone(&sender.rules),
        Arc::new(Rebinding {
            answers: vec!["93.184.215.14", "127.0.0.1"],
            asked: Arc::clone(&asked),
        }),
    );
    let name = || "rebind.example".parse::<reqwest::dns::Name>().unwrap();
    let first = reqwest::dns::Resolve::resolve(&resolver, name()).await.unwrap();
    assert_eq!(first.collect::<Vec<_>>(), ["93.184.215.14:0".parse().unwrap()]);
    assert!(reqwest::dns::Resolve::resolve(&resolver, name()).await.is_err());
    // The sender's own connection asks once, and gets the second answer too.
    asked.store(1, Ordering::SeqCst);
    let refused = sender.deliver(&claimed(format!("http://rebind.example:{port}/hook"))).await;
    assert!(matches!(refused, Err(DeliveryError::NotPublic(_))), "{refused:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 2, "one look for one connection");
    assert!(nobody_came(&listener).await);
}

#[tokio::test]
async fn the_connection_goes_to_the_address_that_was_checked() {
    let ok = "HTTP/1.1 204 No Content\r\n\r\n".to_owned();
    let (port, served) = receiver(vec![ok]).await;
    // Would the name be looked up again, the second answer would lead nowhere.
    let allowed = [("CALLBACK_ALLOWED_NETWORKS", "127.0.0.1/32")];
    let (sender, asked) = sender(&allowed, &["127.0.0.1", "192.0.2.1"]);
    let delivered = sender.deliver(&claimed(format!("http://hook.example:{port}/"))).await;
    assert_eq!(delivered.unwrap(), 204);
    assert_eq!((served.await.unwrap(), asked.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test]
async fn a_kept_connection_is_not_used_for_a_name_that_changed() {
    let port = keeper().await;
    let allowed = [("CALLBACK_ALLOWED_NETWORKS", "127.0.0.1/32")];
    let (sender, _) = sender(&allowed, &["127.0.0.1", "10.0.0.1"]);
    let claimed = claimed(format!("http://hook.example:{port}/"));
    assert_eq!(sender.deliver(&claimed).await.unwrap(), 200);
    let second = sender.deliver(&claimed).await;
    assert!(matches!(second, Err(DeliveryError::NotPublic(_))), "{second:?}");
}

#[tokio::test]
async fn literal_addresses_inside_are_not_called_however_they_are_written() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, asked) = sender(&[], &["93.184.215.14"]);
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "[::1]"] {
        let refused = sender.deliver(&claimed(format!("http://{host}:{port}/"))).await;
        assert!(matches!(refused, Err(DeliveryError::Refused(_))), "{host}: {refused:?}");
    }
    assert!(nobody_came(&listener).await);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn redirects_are_failures_wherever_they_lead() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = elsewhere.local_addr().unwrap();
    let to = |status| format!("HTTP/1.1 {status} Moved\r\nlocation: http://{target}/\r\n\r\n");
    let (port, _served) = receiver(vec![to(301), to(307), to(308)]).await;
    let allowed = [("CALLBACK_ALLOWED_NETWORKS", "127.0.0.1/32")];
    let (sender, _) = sender(&allowed, &["127.0.0.1"]);
    for status in [301, 307, 308] {
        let refused = sender.deliver(&claimed(format!("http://hook.example:{port}/"))).await;
        assert!(matches!(refused, Err(DeliveryError::Status(s)) if s == status), "{refused:?}");
    }
    assert!(nobody_came(&elsewhere).await);
}

#[tokio::test]
async fn an_answer_without_end_is_read_for_a_moment_only() {
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(4 * BODY_LIMIT));
    let (port, _served) = receiver(vec![endless]).await;
    let allowed = [("CALLBACK_ALLOWED_NETWORKS", "127.0.0.1/32")];
    let (sender, _) = sender(&allowed, &["127.0.0.1"]);
    let delivered = sender.deliver(&claimed(format!("http://hook.example:{port}/"))).await;
    assert_eq!(delivered.unwrap(), 200);
}

#[tokio::test]
async fn silence_has_an_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let allowed =
        [("CALLBACK_ALLOWED_NETWORKS", "127.0.0.1/32"), ("CALLBACK_TIMEOUT_SECONDS", "0.2")];
    let (sender, _) = sender(&allowed, &["127.0.0.1"]);
    let late = sender.deliver(&claimed(format!("http://hook.example:{port}/"))).await;
    assert!(matches!(late, Err(DeliveryError::TimedOut(_))), "{late:?}");
}

#[tokio::test]
async fn waits_follow_the_plan_give_or_take_a_fifth_and_end() {
    let (sender, _) = sender(&[("CALLBACK_RETRY_SECONDS", "10,100")], &["127.0.0.1"]);
    let mut seen = Vec::new();
    for _ in 0..200 {
        let wait = sender.wait_after(1).unwrap().as_secs_f64();
        assert!((8.0..=12.0).contains(&wait), "{wait}");
        seen.push(wait);
        let wait = sender.wait_after(2).unwrap().as_secs_f64();
        assert!((80.0..=120.0).contains(&wait), "{wait}");
    }
    assert!(seen.iter().any(|wait| *wait < 9.0) && seen.iter().any(|wait| *wait > 11.0));
    assert_eq!(sender.wait_after(3), None);
    assert_eq!(sender.wait_after(0), None);
    assert!(!sender.is_exhausted(3) && sender.is_exhausted(4));
}
