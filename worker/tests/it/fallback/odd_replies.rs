//! Odd letters in a plan are paid once and saved: Postgres takes no NUL, and no
//! half of a letter.

use serde_json::json;

use crate::fleet::{Fleet, soon};

#[tokio::test]
async fn a_plan_with_odd_letters_is_one_call_and_saved() {
    let fleet = Fleet::new(&[]).await;
    let (ingress, _worker) = (fleet.ingress().await, fleet.worker().await);
    let shapes =
        ["nul", "control", "half_letter", "split_letter", "numbers_as_text", "words_as_numbers"];
    for (shape, plans) in shapes.into_iter().zip(1..) {
        let action = json!({ "do": "odd", "shape": shape });
        fleet.simulator.control(json!({"replace": true, "rules": [{ "action": action }]})).await;
        let (user, job) = ingress.submit_one().await;
        let view = soon("the plan", ingress.ended(user, job)).await;
        assert_eq!(view["status"], "succeeded", "{shape}: {view}");
        assert_eq!(fleet.simulator.calls_of(job).await, 1, "{shape}");
        assert_eq!(fleet.plans().await, plans, "{shape}");
    }
}
