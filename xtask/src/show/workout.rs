//! A week of training: each day with its exercises.

use std::fmt::Write;

use serde_json::Value;

use super::{capitalised, dotted, items, labelled, number, printable, text, texts};

/// The lines of a plan, with the tips at the end.
pub(crate) fn workout_plan(plan: &Value) -> String {
    let summary = &plan["weekly_summary"];
    let mut out = format!(
        "WORKOUT PLAN   {} days · {} minutes · about {} kcal a week · {}\n",
        number(summary, "total_workout_days"),
        number(summary, "total_time_minutes"),
        number(summary, "estimated_weekly_calories_burned"),
        text(summary, "training_split"),
    );
    for day in items(plan, "weekly_plan") {
        write_day(&mut out, day);
    }
    out.push('\n');
    for tip in items(plan, "personalized_tips").iter().filter_map(Value::as_str) {
        out.push_str(&labelled("Tip        ", &printable(tip)));
    }
    out
}

fn write_day(out: &mut String, day: &Value) {
    let about = dotted([
        capitalised(&text(day, "workout_type")),
        text(day, "focus"),
        text(day, "training_location"),
        format!("{} min", number(day, "duration_minutes")),
        text(day, "intensity"),
        format!("effort {}", text(day, "rpe_target")),
    ]);
    let _ = writeln!(out, "\n{:<10} {about}", capitalised(&text(day, "day")));
    write_phase(out, "warm-up", &day["warmup"]);
    for exercise in items(day, "exercises") {
        let load = format!("{} × {}", number(exercise, "sets"), text(exercise, "reps"));
        let rest = format!("rest {} s", number(exercise, "rest_seconds"));
        let equipment = texts(exercise, "equipment_needed");
        let more = dotted([rest, equipment]);
        let _ = writeln!(out, "           {load:<20} {:<34} {more}", text(exercise, "name"));
    }
    write_phase(out, "cool-down", &day["cooldown"]);
}

fn write_phase(out: &mut String, name: &str, phase: &Value) {
    let minutes = number(phase, "duration_minutes");
    let _ = writeln!(out, "           {name} {minutes} min: {}", texts(phase, "activities"));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn days_and_exercises_are_shown() {
        let plan = json!({
            "weekly_plan": [{
                "day": "monday", "workout_type": "strength", "focus": "legs",
                "training_location": "home", "duration_minutes": 45, "intensity": "moderate",
                "rpe_target": "6-7",
                "warmup": {"duration_minutes": 5, "activities": ["Marching", "Hip circles"]},
                "exercises": [{"name": "Goblet squat", "sets": 3, "reps": "8-12",
                               "rest_seconds": 60, "equipment_needed": ["dumbbells"]}],
                "cooldown": {"duration_minutes": 4, "activities": ["Stretching"]},
            }],
            "weekly_summary": {"total_workout_days": 1, "total_time_minutes": 45},
            "personalized_tips": ["Keep the knee over the foot."],
        });
        let shown = workout_plan(&plan);
        assert!(shown.starts_with("WORKOUT PLAN   1 days · 45 minutes"), "{shown}");
        let day = "\nMonday     Strength · legs · home · 45 min · moderate · effort 6-7\n";
        assert!(shown.contains(day), "{shown}");
        assert!(shown.contains("warm-up 5 min: Marching, Hip circles\n"), "{shown}");
        assert!(shown.contains("3 × 8-12             Goblet squat "), "{shown}");
        assert!(shown.contains(" rest 60 s · dumbbells\n"), "{shown}");
        assert!(shown.ends_with("Tip        Keep the knee over the foot.\n"), "{shown}");
    }
}
