//! The one master JSON schema per plan kind, derived from the plan's types.
//!
//! It uses only what every provider accepts after a mechanical change: object
//! root, `additionalProperties: false`, everything required, no unions, no
//! `$ref`, enums for closed sets. Numeric ranges and list lengths are keywords
//! here; an adapter whose provider refuses them moves them into descriptions.
//! Key order is the order of generation (serde_json keeps it).

use std::sync::LazyLock;

use regimen_common::job::PlanKind;
use schemars::JsonSchema;
use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use serde_json::Value;

use super::{MealPlan, WorkoutPlan};

static MEAL: LazyLock<Value> = LazyLock::new(of::<MealPlan>);
static WORKOUT: LazyLock<Value> = LazyLock::new(of::<WorkoutPlan>);

/// The master schema of a kind, built once per process.
pub fn schema(kind: PlanKind) -> &'static Value {
    match kind {
        PlanKind::Meal => &MEAL,
        PlanKind::Workout => &WORKOUT,
    }
}

fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    RecursiveTransform(strip).transform(&mut schema);
    schema.to_value()
}

/// Rust's number formats and type names mean nothing to a provider.
fn strip(schema: &mut Schema) {
    if let Some(object) = schema.as_object_mut() {
        object.shift_remove("format");
        // `title` is also a fine property name, but never a string-valued one.
        if object.get("title").is_some_and(Value::is_string) {
            object.shift_remove("title");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Visits every schema node with its depth of nested objects.
    fn walk(node: &Value, depth: usize, visit: &mut dyn FnMut(&Value, usize)) {
        visit(node, depth);
        if let Some(properties) = node["properties"].as_object() {
            properties.values().for_each(|child| walk(child, depth + 1, visit));
        }
        if node["items"].is_object() {
            walk(&node["items"], depth + 1, visit);
        }
    }

    #[test]
    fn objects_are_closed_and_require_everything_and_stay_shallow() {
        for kind in PlanKind::ALL {
            let mut objects = 0;
            let mut properties = 0;
            walk(schema(*kind), 0, &mut |node, depth| {
                assert!(depth <= 7, "{kind}: nested too deeply: {node}");
                for banned in
                    ["$ref", "$defs", "$schema", "anyOf", "oneOf", "allOf", "title", "format"]
                {
                    assert!(node.get(banned).is_none(), "{kind}: {banned} in {node}");
                }
                assert!(node["type"].is_string(), "{kind}: no single type: {node}");
                if node["type"] == "object" {
                    objects += 1;
                    assert_eq!(node["additionalProperties"], false);
                    let named: Vec<_> = node["properties"].as_object().unwrap().keys().collect();
                    properties += named.len();
                    let required: Vec<_> = node["required"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|v| v.as_str().unwrap())
                        .collect();
                    assert_eq!(named, required, "{kind}");
                }
            });
            assert!(objects >= 6 && properties < 200, "{kind}: {objects} {properties}");
            println!("{kind}: {} bytes", schema(*kind).to_string().len());
        }
    }

    #[test]
    fn totals_come_after_what_they_add_up() {
        let keys = |node: &Value| {
            node["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        let meal = schema(PlanKind::Meal);
        assert_eq!(keys(meal).first().unwrap(), "meals");
        assert_eq!(keys(meal).last().unwrap(), "daily_totals");
        let one = keys(&meal["properties"]["meals"]["items"]);
        let place = |name: &str| one.iter().position(|key| key == name).unwrap();
        assert!(place("meal_type") < place("foods") && place("foods") < place("total_calories"));
        assert_eq!(keys(schema(PlanKind::Workout)).last().unwrap(), "weekly_summary");
    }
}
