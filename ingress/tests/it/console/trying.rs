//! `/try`: the quiz as a form, and the plans as they are made.

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use super::browser::Browser;
use crate::harness::Ingress;

/// The fields of a page's form, as a browser would send them.
fn filled(page: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let attribute = |tag: &str, name: &str| {
        let rest = tag.split(&format!(" {name}=\"")).nth(1)?;
        Some(rest.split('"').next().unwrap_or_default().replace("&#39;", "'"))
    };
    for tag in page.split('<').filter(|tag| tag.starts_with("input ")) {
        let kind = attribute(tag, "type").unwrap_or_default();
        let chosen = !["radio", "checkbox"].contains(&kind.as_str()) || tag.contains(" checked");
        if let (Some(name), true) = (attribute(tag, "name"), chosen) {
            fields.push((name, attribute(tag, "value").unwrap_or_default()));
        }
    }
    for select in page.split("<select ").skip(1) {
        let name = select.split("name=\"").nth(1).and_then(|rest| rest.split('"').next());
        let chosen =
            select.split("<option selected>").nth(1).and_then(|rest| rest.split('<').next());
        fields.push((name.unwrap().to_owned(), chosen.unwrap_or_default().to_owned()));
    }
    fields
}

async fn send(browser: &mut Browser, fields: &[(String, String)]) -> super::browser::Page {
    let fields: Vec<(&str, &str)> =
        fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    browser.post("/try", &fields).await
}

#[tokio::test]
async fn the_form_as_it_is_makes_both_plans_and_shows_them() {
    let ingress = Ingress::start(&[]).await;
    let mut browser = Browser::new(&ingress);
    let form = browser.get("/try").await;
    assert!(form.status == 200 && form.text.len() < 100_000, "{form:?}");
    let mut fields = filled(&form.text);
    let begun = send(&mut browser, &fields).await;
    assert_eq!(begun.status, 303, "{begun:?}");
    let place = begun.header("location").to_owned();
    let page = browser.get(&place).await;
    assert!(page.text.contains("in the queue") && page.text.contains("accepted"), "{page:?}");

    // Two plans, as a worker would save them.
    let client = ingress.database.client().await;
    let plan = json!({
        "meals": [{"meal_name": "<b>Porridge</b>", "meal_type": "breakfast", "meal_timing": "08:00",
            "total_calories": 400, "total_protein": 20, "total_carbs": 50, "total_fats": 10,
            "foods": [{"name": "Oats", "portion": "1 cup", "grams": 80, "calories": 300}]}],
        "daily_totals": {"calories": 1700, "protein": 120},
        "shopping_list": {"proteins": ["Tofu"], "estimated_cost": "10 EUR"},
    });
    let week = json!({"weekly_plan": [{"day": "monday", "workout_type": "strength",
        "exercises": [{"name": "Squat", "sets": 3, "reps": "8-12"}]}]});
    for (kind, table, plan) in
        [("meal", "ai_meal_plans", plan), ("workout", "ai_workout_plans", week)]
    {
        let more = if kind == "meal" {
            ("", "")
        } else {
            (", workout_type, duration_per_session", ", '', ''")
        };
        let sql = format!(
            "with plan as (
                 insert into public.{table} (user_id, plan_data{})
                 select user_id, $1{} from regimen.jobs where kind = $2 returning id
             )
             update regimen.jobs set state = 'succeeded', finished_at = now(), stage = 'saved',
                 dispatched_at = null, plan_id = (select id from plan)
             where kind = $2",
            more.0, more.1
        );
        client.execute(&sql, &[&plan, &kind]).await.unwrap();
    }
    let page = browser.get(&place).await;
    for seen in [
        "&#60;b&#62;Porridge",
        "1700 kcal",
        "stroke-dasharray",
        "Tofu",
        "Squat",
        "3 × 8-12",
        "Rest",
    ] {
        assert!(page.text.contains(seen), "{seen}: {page:?}");
    }
    assert!(page.text.contains("<rect class=\"bar\""), "totals against targets");
    // The stream ends with the plans.
    let live = browser.request(Method::GET, &format!("{place}/live"));
    let live = live.send().await.unwrap().text().await.unwrap();
    assert!(live.contains("event: part") && live.contains("event: over"), "{live}");

    // In the other units.
    for (name, value) in &mut fields {
        match name.as_str() {
            "units" => *value = "imperial".to_owned(),
            "height" => *value = "5'8\"".to_owned(),
            "currentWeight" => *value = "165".to_owned(),
            "targetWeight" => *value = "150".to_owned(),
            _ => {}
        }
    }
    assert_eq!(send(&mut browser, &fields).await.status, 303);
}

#[tokio::test]
async fn a_mistake_is_told_at_its_field_and_uses_nothing_up() {
    let ingress = Ingress::start(&[]).await;
    let mut browser = Browser::new(&ingress);
    let mut fields = filled(&browser.get("/try").await.text);
    for (name, value) in &mut fields {
        if name == "age" {
            *value = "<script>alert(1)</script>".to_owned();
        }
    }
    for _ in 0..40 {
        let page = send(&mut browser, &fields).await;
        assert_eq!(page.status, 422, "{page:?}");
        assert!(
            page.text.contains("id=\"age-error\"") && page.text.contains("aria-invalid=\"true\"")
        );
        assert!(!page.text.contains("<script>alert"), "{page:?}");
        assert!(page.text.contains("Vegetarian</option>"), "the other answers stay");
    }
    let jobs = "select count(*) from regimen.jobs where user_id <> $1";
    assert_eq!(ingress.count(jobs, Uuid::nil()).await, 0);
}

#[tokio::test]
async fn tries_are_limited_and_only_their_secret_leads_to_them() {
    let ingress = Ingress::start(&[]).await;
    let mut browser = Browser::new(&ingress);
    let fields = filled(&browser.get("/try").await.text);
    let mut begun = 0;
    while send(&mut browser, &fields).await.status == 303 {
        begun += 1;
        assert!(begun <= 30);
    }
    assert_eq!(begun, 30);
    let client = ingress.database.client().await;
    let user: Uuid =
        client.query_one("select user_id from regimen.jobs limit 1", &[]).await.unwrap().get(0);
    for path in [user.to_string(), user.simple().to_string(), Uuid::new_v4().simple().to_string()] {
        assert_eq!(browser.get(&format!("/try/{path}")).await.status, 404, "{path}");
        assert_eq!(browser.get(&format!("/try/{path}/live")).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn it_is_for_development_unless_somebody_says_so() {
    for (settings, status) in [
        ([("ENVIRONMENT", "staging"), ("DEMO", "")], 404),
        ([("ENVIRONMENT", "staging"), ("DEMO", "on")], 200),
        ([("ENVIRONMENT", "development"), ("DEMO", "off")], 404),
    ] {
        let ingress = Ingress::start(&settings).await;
        assert_eq!(
            Browser::new(&ingress).get("/try").await.status.as_u16(),
            status,
            "{settings:?}"
        );
    }
}
