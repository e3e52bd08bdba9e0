//! The app's production database keeps one plan row a quiz: a second generation
//! for a quiz replaces the plan instead of failing after it was paid.

use serde_json::json;

use crate::fleet::{Fleet, answers, soon};

#[tokio::test]
async fn a_second_generation_for_a_quiz_replaces_the_plan() {
    let fleet = Fleet::new(&[]).await;
    for table in ["ai_meal_plans", "ai_workout_plans"] {
        let sql = format!(
            "alter table public.{table} add constraint {table}_user_quiz_unique
                 unique (user_id, quiz_result_id)"
        );
        fleet.db().await.batch_execute(&sql).await.unwrap();
    }
    let (ingress, _worker) = tokio::join!(fleet.ingress(), fleet.worker());
    let user = fleet.profile().await;
    let quiz: uuid::Uuid = {
        let sql =
            "insert into public.quiz_results (user_id, answers) values ($1, '{}') returning id";
        fleet.db().await.query_one(sql, &[&user]).await.unwrap().get(0)
    };
    let body = json!({"kinds": ["meal", "workout"], "answers": answers(), "quiz_result_id": quiz});
    let mut ids = Vec::new();
    for _ in 0..2 {
        for job in ingress.submit_body(user, &body).await {
            let view = soon("the plan", ingress.ended(user, job)).await;
            assert_eq!(view["status"], "succeeded", "{view}");
            assert!(view["plan"].is_object(), "{view}");
            ids.push(job);
        }
    }
    assert_eq!(fleet.plans().await, 2);
    let same_row = "select count(*) from regimen.jobs j
                    join (select id from public.ai_meal_plans
                          union all select id from public.ai_workout_plans) p on p.id = j.plan_id
                    join regimen.job_events e on e.job_id = j.id and e.kind = 'saved'
                         and e.data ->> 'plan_id' = j.plan_id::text";
    assert_eq!(fleet.count(same_row).await, 4);
    let origins =
        "select count(*) from regimen.plan_origins o join regimen.jobs j on j.id = o.job_id
                   where o.plan_id = j.plan_id";
    assert_eq!(fleet.count(origins).await, 2, "each plan's origin is the newest job's");
    for job in ids {
        assert_eq!(fleet.simulator.calls_of(job).await, 1);
    }
}
