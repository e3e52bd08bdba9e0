//! An event of the other mode on its way through the real binaries: taken,
//! kept, told of, and never applied.

use regimen_common::clock::Clock;
use serde_json::json;

use super::worker::{event, subscription};
use crate::fleet::Fleet;

const SECRET: &str = "whsec_wrong_mode";

#[tokio::test]
async fn a_live_event_in_a_test_deployment_is_kept_told_of_and_never_applied() {
    let fleet = Fleet::new(&[("STRIPE_WEBHOOK_SECRET", SECRET)]).await;
    let (ingress, worker) = (fleet.ingress().await, fleet.worker().await);
    let (rich, poor) = (fleet.profile().await, fleet.profile().await);
    let now = Clock::system().now().timestamp();
    let mut live = event(
        "evt_live",
        "customer.subscription.created",
        now,
        &subscription("active", Some(rich)),
    );
    live["livemode"] = json!(true);
    for _ in 0..2 {
        assert_eq!(ingress.door().deliver(&live, SECRET).await.status(), 200);
    }
    let alert = "regimen_stripe_alerts_total{alert=\"livemode\"}";
    fleet.until_metric(&ingress.binary, alert, 1.0).await;
    // One that is ours, behind it.
    let mut object = subscription("active", Some(poor));
    object["id"] = json!("sub_2");
    object["customer"] = json!("cus_2");
    let ours = event("evt_ours", "customer.subscription.created", now, &object);
    assert_eq!(ingress.door().deliver(&ours, SECRET).await.status(), 200);
    let applied = "select count(*) from regimen.stripe_events
                   where id = 'evt_ours' and state = 'applied'";
    fleet.until_count(applied, 1).await;
    assert_eq!(fleet.plan_of(poor).await, "pro");
    assert_eq!(fleet.plan_of(rich).await, "free");
    let kept = "select count(*) from regimen.stripe_events
                where id = 'evt_live' and state = 'mismatched' and attempts = 0";
    assert_eq!(fleet.count(kept).await, 1);
    let needing = "regimen_stripe_events_attention{state=\"mismatched\"}";
    fleet.until_metric(&worker, needing, 1.0).await;
    let (code, said) = fleet.command(&["events", "replay", "evt_live"]).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("must never be applied here"), "{said}");
}
