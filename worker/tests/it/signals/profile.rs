//! Flame graphs of the real binaries, on the port for operators alone.

use regimen_common::test_support::Binary;

use crate::fleet::{Fleet, soon};

async fn get(binary: &Binary, query: &str) -> (u16, String) {
    let url = format!("{}/debug/pprof/profile{query}", binary.address("METRICS_URL"));
    let answer = soon("a profile", reqwest::get(url)).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_flame_graph_is_drawn_where_it_is_allowed() {
    let mut fleet = Fleet::new(&[]).await;
    let ingress = fleet.ingress().await;
    assert_eq!(get(&ingress.binary, "?seconds=1").await.0, 404);
    assert_eq!(get(&fleet.worker().await, "?seconds=1").await.0, 404);
    fleet.set("PROFILING", "true");
    for binary in [fleet.ingress().await.binary, fleet.worker().await] {
        for bad in ["0", "61", "-1", "1.5", "ever"] {
            let (status, text) = get(&binary, &format!("?seconds={bad}")).await;
            assert_eq!(status, 400, "{text}");
            assert!(text.contains(bad) && text.contains("between 1 and 60"), "{text}");
        }
        let url = format!("{}/metrics", binary.address("METRICS_URL"));
        let work = tokio::spawn(async move {
            while let Ok(answer) = reqwest::get(&url).await {
                answer.bytes().await.unwrap();
            }
        });
        // One of two is refused, whichever comes first.
        let (first, second) = tokio::join!(get(&binary, "?seconds=2"), get(&binary, "?seconds=2"));
        work.abort();
        let (drawn, refused) = if first.0 == 200 { (first, second) } else { (second, first) };
        assert_eq!((drawn.0, refused.0), (200, 409), "{} {}", drawn.1, refused.1);
        assert!(drawn.1.contains("<svg"), "{}", drawn.1);
    }
}
