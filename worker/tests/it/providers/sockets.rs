//! Single behaviours of the fallback that only show on a socket.

use std::time::Duration;

use futures_util::future::join_all;
use regimen_common::redis::Redis;
use regimen_common::test_support::TestRedis;
use regimen_worker::llm::{ProviderName, interpret};
use secrecy::SecretString;
use serde_json::json;

use super::bench::{Kept, Reads, Sim, quick, request};
use super::matrix::PROVIDERS;

#[tokio::test]
async fn every_provider_delivers_and_its_stored_reply_reads_the_same_again() {
    let sim = Sim::start().await;
    for name in PROVIDERS {
        let (fallback, log) = (sim.fallback(&[name], quick(), None), Kept::default());
        let seed = format!("plain-{name}");
        let delivered =
            fallback.run(&request(&seed, Duration::from_secs(60)), &Reads, &log).await.unwrap();
        assert_eq!((delivered.provider, delivered.calls), (name, 1));
        assert!(delivered.usage.input > 0 && delivered.usage.output > 0, "{:?}", delivered.usage);
        let ends = log.ends.lock().unwrap();
        assert!(ends[0].request_id.is_some(), "{name} gives every call an id");
        assert!(ends[0].cost_micros > 0);
        let raw = log.raw.lock().unwrap();
        assert_eq!(interpret(name, &raw[0]).unwrap().usage, delivered.usage);
    }
}

#[tokio::test]
async fn dropping_a_run_closes_the_connection_to_the_provider() {
    let sim = Sim::start().await;
    for name in PROVIDERS {
        for action in ["hang", "hang_after_headers"] {
            let seed = format!("dropped-{name}-{action}");
            sim.rule(json!({ "marker": seed, "action": { "do": action } })).await;
            let (fallback, log) = (sim.fallback(&[name], quick(), None), Kept::default());
            let request = request(&seed, Duration::from_secs(60));
            let mut run = Box::pin(fallback.run(&request, &Reads, &log));
            let arrived = format!("/control/wait?marker={seed}&open=1");
            tokio::select! {
                _ = &mut run => panic!("nobody answers this call"),
                _ = sim.get(&arrived) => {}
            }
            drop(run);
            let seen = sim.get(&format!("/control/wait?marker={seed}&aborted=1&timeout=5")).await;
            assert_eq!(seen["counts"]["open"], 0, "{seen}");
        }
    }
}

/// Three workers share a cool-down: from the 429 on, nobody calls until the
/// hinted time has passed, measured by when the calls arrive.
#[tokio::test]
async fn after_a_rate_limit_no_worker_calls_until_the_hint_has_passed() {
    const HINT_MS: f64 = 1_500.0;
    let (sim, redis) = (Sim::start().await, TestRedis::new());
    let name = ProviderName::Openai;
    let limit = json!({ "do": "status", "status": 429, "retry_after_ms": HINT_MS });
    sim.rule(json!({ "provider": "openai", "times": 1, "action": limit })).await;
    let store = || Redis::new(&SecretString::from(redis.url()), redis.prefix()).unwrap();
    let fleet: Vec<_> = (0..3).map(|_| sim.fallback(&[name], quick(), Some(store()))).collect();

    let first = request("cool-first", Duration::from_secs(60));
    let log = Kept::default();
    let mut limited = Box::pin(fleet[0].run(&first, &Reads, &log));
    // An attempt ends after what it said about its provider is known to all.
    tokio::select! {
        _ = &mut limited => panic!("the first call is limited"),
        () = log.ended.notified() => {}
    }

    let logs: Vec<_> = (0..6).map(|_| Kept::default()).collect();
    let requests: Vec<_> =
        (0..6).map(|n| request(&format!("cool-{n}"), Duration::from_secs(60))).collect();
    let runs = requests.iter().zip(&logs).enumerate();
    let others = join_all(runs.map(|(n, (request, log))| fleet[n % 3].run(request, &Reads, log)));
    let (limited, others) = tokio::join!(limited, others);
    assert_eq!(limited.unwrap().calls, 2);
    for run in others {
        assert_eq!(run.unwrap().calls, 1);
    }

    let calls = sim.get("/control/calls?provider=openai").await;
    let mut arrived: Vec<f64> =
        calls.as_array().unwrap().iter().map(|call| call["arrived_ms"].as_f64().unwrap()).collect();
    arrived.sort_by(f64::total_cmp);
    assert_eq!(arrived.len(), 8);
    let quiet = arrived[1] - arrived[0];
    assert!(quiet >= HINT_MS, "a call arrived {quiet} ms after the limit");
}
