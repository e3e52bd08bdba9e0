//! Checks the transformed schemas against each provider's subset.

use proptest::prelude::*;

use super::*;

const SUBSETS: [Subset; 3] = [Subset::Openai, Subset::Anthropic, Subset::Gemini];

fn master() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Plan",
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "meals", "kind"],
        "properties": {
            "name": { "type": "string", "minLength": 1, "maxLength": 80, "pattern": "^[A-Z]" },
            "kind": { "type": "string", "const": "meal" },
            "difficulty": { "type": "string", "enum": ["easy", "hard"], "default": "easy" },
            "meals": {
                "type": "array", "minItems": 2, "maxItems": 6, "description": "All meals.",
                "items": { "$ref": "#/$defs/Meal" }
            },
            "total": { "$ref": "#/$defs/Amount", "description": "Of the day." },
            "note": { "type": ["string", "null"] },
            "either": { "oneOf": [{ "type": "string" }, { "type": "integer", "format": "uint32" }] }
        },
        "$defs": {
            "Meal": {
                "type": "object", "required": ["zeta", "alpha"],
                "properties": {
                    "zeta": { "type": "string", "format": "date" },
                    "alpha": { "allOf": [{ "$ref": "#/$defs/Amount" }] }
                }
            },
            "Amount": { "type": "number", "minimum": 0, "exclusiveMaximum": 9000, "description": "In grams." }
        }
    })
}

/// Every node of a schema, the root included.
fn nodes(schema: &Value) -> Vec<&Map<String, Value>> {
    let Some(node) = schema.as_object() else { return Vec::new() };
    let mut all = vec![node];
    for key in ["properties", "$defs"] {
        let children = node.get(key).and_then(Value::as_object);
        all.extend(children.into_iter().flat_map(Map::values).flat_map(nodes));
    }
    all.extend(node.get("items").into_iter().flat_map(nodes));
    all.extend(node.get("anyOf").and_then(Value::as_array).into_iter().flatten().flat_map(nodes));
    all
}

/// What the documentation of each provider allows, written down independently
/// of the transformation.
fn assert_accepted(schema: &Value, subset: Subset) {
    let common = [
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "enum",
        "anyOf",
        "$ref",
        "$defs",
        "description",
        "format",
    ];
    let own: &[&str] = match subset {
        Subset::Openai => &[
            "const",
            "minItems",
            "maxItems",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
            "multipleOf",
            "pattern",
        ],
        Subset::Anthropic => &["const", "minItems"],
        Subset::Gemini => &["minItems", "maxItems", "minimum", "maximum", "propertyOrdering"],
    };
    for node in nodes(schema) {
        for key in node.keys() {
            assert!(
                common.contains(&key.as_str()) || own.contains(&key.as_str()),
                "{subset:?} has no {key}: {node:?}"
            );
        }
        if node.contains_key("$ref") {
            let alone = node.keys().all(|key| key == "$ref" || key == "$defs");
            assert!(alone, "{subset:?}: a $ref with siblings: {node:?}");
        }
        if let Some(properties) = node.get("properties").and_then(Value::as_object) {
            assert_eq!(node["additionalProperties"], json!(false));
            if subset == Subset::Openai {
                let names: Vec<&String> = properties.keys().collect();
                assert_eq!(node["required"], json!(names));
            }
        }
        if subset == Subset::Anthropic {
            assert!(node.get("minItems").is_none_or(|least| least.as_u64() <= Some(1)));
            assert!(!(node.contains_key("enum") && node.contains_key("type")));
        }
        if subset == Subset::Gemini {
            assert!(node.get("type").is_none_or(Value::is_string));
        }
    }
}

#[test]
fn each_provider_gets_only_what_it_accepts() {
    for subset in SUBSETS {
        assert_accepted(&for_provider(&master(), subset), subset);
    }
}

#[test]
fn what_a_provider_does_not_know_moves_into_the_description() {
    let anthropic = for_provider(&master(), Subset::Anthropic);
    let meals = &anthropic["properties"]["meals"];
    assert_eq!(meals["description"], "All meals.\n\n{minItems: 2, maxItems: 6}");
    assert_eq!(
        anthropic["$defs"]["Amount"]["description"],
        "In grams.\n\n{minimum: 0, exclusiveMaximum: 9000}"
    );
    let openai = for_provider(&master(), Subset::Openai);
    assert_eq!(openai["properties"]["meals"]["minItems"], 2);
    assert_eq!(openai["properties"]["name"]["description"], "{minLength: 1, maxLength: 80}");
    let gemini = for_provider(&master(), Subset::Gemini);
    assert_eq!(gemini["properties"]["kind"]["enum"], json!(["meal"]));
    assert_eq!(
        gemini["properties"]["name"]["description"],
        r#"{minLength: 1, maxLength: 80, pattern: "^[A-Z]"}"#
    );
}

#[test]
fn a_reference_with_siblings_is_inlined_and_the_sibling_wins() {
    for subset in SUBSETS {
        let total = &for_provider(&master(), subset)["properties"]["total"];
        assert_eq!(total["type"], "number");
        assert!(total["description"].as_str().unwrap().starts_with("Of the day."));
    }
}

#[test]
fn the_order_of_properties_is_the_masters() {
    for subset in SUBSETS {
        let schema = for_provider(&master(), subset);
        let names: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["name", "kind", "difficulty", "meals", "total", "note", "either"]);
        let meal: Vec<&String> =
            schema["$defs"]["Meal"]["properties"].as_object().unwrap().keys().collect();
        assert_eq!(meal, ["zeta", "alpha"]);
    }
    let gemini = for_provider(&master(), Subset::Gemini);
    assert_eq!(gemini["$defs"]["Meal"]["propertyOrdering"], json!(["zeta", "alpha"]));
}

#[test]
fn a_definition_that_contains_itself_ends() {
    let tree = json!({
        "$ref": "#/$defs/Node", "description": "A tree.",
        "$defs": { "Node": {
            "type": "object", "required": ["left"],
            "properties": { "left": { "$ref": "#/$defs/Node", "description": "Deeper." } }
        } }
    });
    for subset in SUBSETS {
        assert_accepted(&for_provider(&tree, subset), subset);
    }
}

fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({ "type": "string", "minLength": 2, "format": "uri" })),
        Just(json!({ "type": "integer", "minimum": 1, "multipleOf": 5, "format": "int64" })),
        Just(json!({ "type": ["number", "null"], "title": "T", "default": null })),
        Just(json!({ "enum": ["a", "b"], "type": "string" })),
        Just(json!({ "const": true })),
        Just(json!({ "$ref": "#/$defs/D" })),
        Just(json!({ "$ref": "#/$defs/D", "description": "d", "maxLength": 4 })),
        Just(json!(true)),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(("[a-z]{1,4}", inner.clone()), 0..4).prop_map(|pairs| {
                let properties: Map<String, Value> = pairs.into_iter().collect();
                json!({ "type": "object", "properties": properties, "minProperties": 1 })
            }),
            (inner.clone(), 0..3_u32).prop_map(
                |(items, least)| json!({ "type": "array", "items": items, "minItems": least, "uniqueItems": true })
            ),
            proptest::collection::vec(inner.clone(), 1..3).prop_map(|of| json!({ "oneOf": of })),
            inner.prop_map(|part| json!({ "allOf": [part], "not": { "type": "null" } })),
        ]
    })
}

proptest! {
    #[test]
    fn any_schema_ends_up_inside_the_subset(inner in any_schema()) {
        let master = json!({
            "type": "object", "properties": { "p": inner, "q": { "type": "string" } },
            "$defs": { "D": { "type": "object", "properties": { "x": { "type": "string" } } } }
        });
        for subset in SUBSETS {
            assert_accepted(&for_provider(&master, subset), subset);
        }
    }
}
