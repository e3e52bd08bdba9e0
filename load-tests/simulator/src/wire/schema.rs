//! The subsets of JSON Schema that structured output accepts, per provider.

use serde_json::{Map, Value};

/// The provider of a subset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// OpenAI with `strict: true`.
    OpenAi,
    /// Anthropic `output_config.format`.
    Anthropic,
    /// Gemini `responseJsonSchema`.
    GeminiJson,
    /// Gemini `responseSchema`.
    GeminiOpenApi,
}

/// A part of a schema that the provider refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    RootNotObject,
    Keyword(String),
    Open,
    NotRequired(String),
    UnknownRequired(String),
    Format(String),
    MinItems,
    LoneReference,
    TooDeep(usize),
    TooManyProperties(usize),
    TooManyUnions(usize),
    TooManyOptional(usize),
}

/// Its place in the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Keys from the root.
    pub(crate) path: Vec<String>,
    pub(crate) fault: Fault,
}

/// OpenAI's limit of nested objects.
const MOST_LEVELS: usize = 10;
/// OpenAI's limit of all properties.
const MOST_PROPERTIES: usize = 5000;
/// Anthropic's limit of properties with several types.
const MOST_UNIONS: usize = 16;
/// Anthropic's limit of optional properties.
const MOST_OPTIONAL: usize = 24;

const SHARED: &[&str] =
    &["type", "properties", "required", "items", "enum", "anyOf", "description", "title", "format"];
const REFERENCES: &[&str] =
    &["$ref", "$defs", "$id", "$schema", "definitions", "additionalProperties"];
const OPENAI: &[&str] = &[
    "const",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "pattern",
];
const ANTHROPIC: &[&str] = &["const", "allOf", "minItems"];
const GEMINI_JSON: &[&str] = &[
    "$anchor",
    "prefixItems",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "oneOf",
    "propertyOrdering",
];
const GEMINI_OPENAPI: &[&str] = &[
    "nullable",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "minProperties",
    "maxProperties",
    "default",
    "example",
    "propertyOrdering",
];
const FORMATS: &[&str] =
    &["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"];

/// Counts of the traversal of a schema.
#[derive(Debug, Default)]
struct Met {
    properties: usize,
    unions: usize,
    optional: usize,
}

/// The first part of `schema` that the provider refuses.
pub(crate) fn check(schema: &Value, dialect: Dialect) -> Option<Found> {
    let at_root = |fault| Some(Found { path: Vec::new(), fault });
    let object = schema["type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("object"));
    let strict = matches!(dialect, Dialect::OpenAi | Dialect::Anthropic);
    if strict && (!object || schema.get("anyOf").is_some()) {
        return at_root(Fault::RootNotObject);
    }
    let mut met = Met::default();
    let mut path = Vec::new();
    if let Err(fault) = node(schema, dialect, &mut path, 0, &mut met) {
        return Some(Found { path, fault });
    }
    match dialect {
        Dialect::OpenAi if met.properties > MOST_PROPERTIES => {
            at_root(Fault::TooManyProperties(met.properties))
        }
        Dialect::Anthropic if met.unions > MOST_UNIONS => at_root(Fault::TooManyUnions(met.unions)),
        Dialect::Anthropic if met.optional > MOST_OPTIONAL => {
            at_root(Fault::TooManyOptional(met.optional))
        }
        _ => None,
    }
}

/// Checks one schema node and its children; on a fault `path` leads to it.
fn node(
    schema: &Value,
    dialect: Dialect,
    path: &mut Vec<String>,
    level: usize,
    met: &mut Met,
) -> Result<(), Fault> {
    let Some(map) = schema.as_object() else { return Ok(()) };
    keywords(map, dialect)?;
    let strict = matches!(dialect, Dialect::OpenAi | Dialect::Anthropic);
    if strict && (map.contains_key("properties") || has_type(map, "object")) {
        closed(map)?;
    }
    if dialect == Dialect::OpenAi && level > MOST_LEVELS {
        return Err(Fault::TooDeep(level));
    }
    if map.get("type").is_some_and(Value::is_array) || map.contains_key("anyOf") {
        met.unions += 1;
    }
    if let Some(properties) = map.get("properties").and_then(Value::as_object) {
        required(map, properties, dialect, met)?;
        met.properties += properties.len();
        for (name, inner) in properties {
            below(inner, &["properties", name], dialect, path, level + 1, met)?;
        }
    }
    for name in ["$defs", "definitions"] {
        for (key, inner) in map.get(name).and_then(Value::as_object).into_iter().flatten() {
            below(inner, &[name, key], dialect, path, level, met)?;
        }
    }
    if let Some(items) = map.get("items") {
        below(items, &["items"], dialect, path, level, met)?;
    }
    for name in ["anyOf", "allOf", "oneOf", "prefixItems"] {
        let list = map.get(name).and_then(Value::as_array);
        for (index, inner) in list.into_iter().flatten().enumerate() {
            below(inner, &[name, &index.to_string()], dialect, path, level, met)?;
        }
    }
    Ok(())
}

fn below(
    schema: &Value,
    steps: &[&str],
    dialect: Dialect,
    path: &mut Vec<String>,
    level: usize,
    met: &mut Met,
) -> Result<(), Fault> {
    let depth = path.len();
    path.extend(steps.iter().map(|step| (*step).to_owned()));
    node(schema, dialect, path, level, met)?;
    path.truncate(depth);
    Ok(())
}

fn keywords(map: &Map<String, Value>, dialect: Dialect) -> Result<(), Fault> {
    let (own, references): (&[&str], &[&str]) = match dialect {
        Dialect::OpenAi => (OPENAI, REFERENCES),
        Dialect::Anthropic => (ANTHROPIC, REFERENCES),
        Dialect::GeminiJson => (GEMINI_JSON, REFERENCES),
        Dialect::GeminiOpenApi => (GEMINI_OPENAPI, &[]),
    };
    let known = |name: &str| [SHARED, own, references].iter().any(|list| list.contains(&name));
    if let Some(name) = map.keys().find(|name| !known(name)) {
        return Err(Fault::Keyword(name.clone()));
    }
    if map.contains_key("$ref") && map.keys().any(|name| !name.starts_with('$')) {
        return Err(Fault::LoneReference);
    }
    let format = map.get("format").and_then(Value::as_str);
    if let Some(format) = format.filter(|_| matches!(dialect, Dialect::OpenAi | Dialect::Anthropic))
    {
        let uri = dialect == Dialect::Anthropic && format == "uri";
        if !uri && !FORMATS.contains(&format) {
            return Err(Fault::Format(format.to_owned()));
        }
    }
    let least = map.get("minItems").and_then(Value::as_u64).unwrap_or_default();
    if dialect == Dialect::Anthropic && least > 1 { Err(Fault::MinItems) } else { Ok(()) }
}

fn has_type(map: &Map<String, Value>, kind: &str) -> bool {
    match map.get("type") {
        Some(Value::String(one)) => one == kind,
        Some(Value::Array(list)) => list.iter().any(|one| one == kind),
        _ => false,
    }
}

fn closed(map: &Map<String, Value>) -> Result<(), Fault> {
    let shut = map.get("additionalProperties") == Some(&Value::Bool(false));
    if shut { Ok(()) } else { Err(Fault::Open) }
}

fn required(
    map: &Map<String, Value>,
    properties: &Map<String, Value>,
    dialect: Dialect,
    met: &mut Met,
) -> Result<(), Fault> {
    let list = map.get("required").and_then(Value::as_array);
    let listed: Vec<&str> = list.into_iter().flatten().filter_map(Value::as_str).collect();
    if let Some(stray) = listed.iter().find(|name| !properties.contains_key(**name)) {
        return Err(Fault::UnknownRequired((*stray).to_owned()));
    }
    let mut left_out = properties.keys().filter(|name| !listed.contains(&name.as_str()));
    if dialect == Dialect::OpenAi {
        return left_out.next().map_or(Ok(()), |name| Err(Fault::NotRequired(name.clone())));
    }
    met.optional += left_out.count();
    Ok(())
}

impl Found {
    /// The provider's message.
    pub(crate) fn message(&self) -> String {
        match &self.fault {
            Fault::RootNotObject => "the root must be of type 'object' and not a union.".to_owned(),
            Fault::Keyword(name) => format!("'{name}' is not permitted."),
            Fault::Open => {
                "'additionalProperties' is required to be supplied and to be false.".to_owned()
            }
            Fault::NotRequired(name) => format!(
                "'required' is required to be supplied and to be an array including every key in properties. Missing '{name}'."
            ),
            Fault::UnknownRequired(name) => {
                format!("'required' names '{name}', which is not a property.")
            }
            Fault::Format(name) => format!("'{name}' is not a valid format."),
            Fault::MinItems => "'minItems' values other than 0 or 1 are not supported.".to_owned(),
            Fault::LoneReference => "'$ref' cannot have keywords beside it.".to_owned(),
            Fault::TooDeep(levels) => {
                format!("{levels} levels of nesting exceed the limit of {MOST_LEVELS}.")
            }
            Fault::TooManyProperties(count) => {
                format!("{count} properties exceed the limit of {MOST_PROPERTIES}.")
            }
            Fault::TooManyUnions(count) => format!(
                "the schema has {count} parameters with union types, the limit is {MOST_UNIONS}."
            ),
            Fault::TooManyOptional(count) => {
                format!("the schema has {count} optional parameters, the limit is {MOST_OPTIONAL}.")
            }
        }
    }

    /// The path as OpenAI prints it.
    pub(crate) fn context(&self) -> String {
        let steps: Vec<String> = self.path.iter().map(|step| format!("'{step}'")).collect();
        format!("({})", steps.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(property: Value) -> Value {
        json!({
            "type": "object", "additionalProperties": false, "required": ["x"],
            "properties": {"x": property}
        })
    }

    fn fault(property: Value, dialect: Dialect) -> Option<Fault> {
        check(&with(property), dialect).map(|found| found.fault)
    }

    const ALL: [Dialect; 3] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::GeminiJson];

    #[test]
    fn the_careful_subset_passes_everywhere() {
        let items = json!({"type": "array", "items": {"type": "string", "enum": ["a", "b"]}});
        for dialect in ALL {
            assert_eq!(check(&with(items.clone()), dialect), None, "{dialect:?}");
        }
    }

    #[test]
    fn keywords_are_refused_by_those_who_do_not_know_them() {
        let keyword = |name: &str| Some(Fault::Keyword(name.to_owned()));
        let ranged = json!({"type": "integer", "minimum": 1});
        assert_eq!(fault(ranged.clone(), Dialect::OpenAi), None);
        assert_eq!(fault(ranged.clone(), Dialect::Anthropic), keyword("minimum"));
        assert_eq!(fault(ranged, Dialect::GeminiJson), None);
        let fixed = json!({"const": 1});
        assert_eq!(fault(fixed.clone(), Dialect::GeminiJson), keyword("const"));
        assert_eq!(fault(fixed.clone(), Dialect::OpenAi), None);
        let choice = json!({"oneOf": [{"type": "string"}]});
        assert_eq!(fault(choice.clone(), Dialect::OpenAi), keyword("oneOf"));
        assert_eq!(fault(choice.clone(), Dialect::Anthropic), keyword("oneOf"));
        assert_eq!(fault(choice, Dialect::GeminiOpenApi), keyword("additionalProperties"));
        let pattern = json!({"type": "string", "pattern": "a"});
        assert_eq!(fault(pattern.clone(), Dialect::OpenAi), None);
        assert_eq!(fault(pattern.clone(), Dialect::Anthropic), keyword("pattern"));
        assert_eq!(fault(pattern, Dialect::GeminiJson), keyword("pattern"));
        let many = json!({"type": "array", "minItems": 3, "items": {"type": "string"}});
        assert_eq!(fault(many, Dialect::Anthropic), Some(Fault::MinItems));
    }

    #[test]
    fn objects_must_be_closed_and_openai_wants_all_keys() {
        let open =
            json!({"type": "object", "properties": {"y": {"type": "string"}}, "required": ["y"]});
        assert_eq!(fault(open.clone(), Dialect::OpenAi), Some(Fault::Open));
        assert_eq!(fault(open.clone(), Dialect::Anthropic), Some(Fault::Open));
        assert_eq!(fault(open, Dialect::GeminiJson), None);
        let optional =
            json!({"type": "object", "additionalProperties": false, "properties": {"y": {}}});
        let found = check(&with(optional.clone()), Dialect::OpenAi).unwrap();
        assert_eq!(found.fault, Fault::NotRequired("y".to_owned()));
        assert_eq!(found.context(), "('properties', 'x')");
        assert_eq!(fault(optional, Dialect::Anthropic), None);
    }

    #[test]
    fn anthropic_counts_unions_and_optionals() {
        let many = |count: usize, inner: Value, required: bool| {
            let names: Vec<String> = (0..count).map(|index| format!("p{index}")).collect();
            let properties: Map<String, Value> =
                names.iter().map(|name| (name.clone(), inner.clone())).collect();
            let listed = if required { names } else { Vec::new() };
            json!({"type": "object", "additionalProperties": false, "properties": properties, "required": listed})
        };
        let union = json!({"type": ["string", "null"]});
        assert_eq!(check(&many(16, union.clone(), true), Dialect::Anthropic), None);
        let found = check(&many(17, union.clone(), true), Dialect::Anthropic).unwrap();
        assert_eq!(found.fault, Fault::TooManyUnions(17));
        assert_eq!(check(&many(17, union, true), Dialect::OpenAi), None);
        let found = check(&many(25, json!({"type": "string"}), false), Dialect::Anthropic).unwrap();
        assert_eq!(found.fault, Fault::TooManyOptional(25));
    }
}
