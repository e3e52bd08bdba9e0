//! One master schema, transformed to the subset of JSON Schema that each
//! provider accepts for structured output. A keyword outside the subset moves
//! into the description, where the model still reads it.
//!
//! Sources, as of 2026-11: OpenAI's guide to structured outputs (strict mode),
//! the schema transformation in Anthropic's Python SDK 2.12, Gemini's reference
//! of `responseJsonSchema`.

use serde_json::{Map, Value, json};

/// The depth at which a recursive definition is cut off.
const DEEPEST: usize = 32;

/// Formats that every provider accepts.
const FORMATS: [&str; 9] =
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"];

/// The subset of JSON Schema of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subset {
    /// OpenAI's strict mode.
    Openai,
    /// Anthropic's `output_config.format`.
    Anthropic,
    /// Gemini's `responseJsonSchema`.
    Gemini,
}

/// A master schema and its subset for each provider: built once, shared by all calls for
/// plans of its kind.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplySchema {
    openai: Value,
    anthropic: Value,
    gemini: Value,
    size: usize,
}

impl ReplySchema {
    /// Transforms `master` for every provider.
    pub fn new(master: &Value) -> Self {
        let [openai, anthropic, gemini] = [Subset::Openai, Subset::Anthropic, Subset::Gemini]
            .map(|subset| for_provider(master, subset));
        Self { openai, anthropic, gemini, size: master.to_string().len() }
    }

    /// The schema as `subset` accepts it.
    pub fn of(&self, subset: Subset) -> &Value {
        match subset {
            Subset::Openai => &self.openai,
            Subset::Anthropic => &self.anthropic,
            Subset::Gemini => &self.gemini,
        }
    }

    /// Length of the master schema's JSON, bytes.
    pub fn size(&self) -> usize {
        self.size
    }
}

/// What happens to a keyword.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    Drop,
    /// Into the description.
    Note,
}

/// `master` in the subset of a provider. The order of properties is kept, because it is
/// the order in which the reply is written.
pub fn for_provider(master: &Value, subset: Subset) -> Value {
    let empty = Map::new();
    let definitions = master.get("$defs").and_then(Value::as_object).unwrap_or(&empty);
    let transform = Transform { subset, definitions };
    let mut root = transform.node(master, 0);
    if let (false, Some(root)) = (definitions.is_empty(), root.as_object_mut()) {
        let converted =
            definitions.iter().map(|(name, node)| (name.clone(), transform.node(node, 1)));
        root.insert("$defs".to_owned(), Value::Object(converted.collect()));
    }
    root
}

struct Transform<'a> {
    subset: Subset,
    definitions: &'a Map<String, Value>,
}

impl Transform<'_> {
    fn node(&self, node: &Value, depth: usize) -> Value {
        let Some(source) = node.as_object() else { return json!({}) };
        if depth > DEEPEST {
            return json!({ "type": "object", "additionalProperties": false });
        }
        let source = self.flattened(source);
        if let Some(reference) = source.get("$ref") {
            return json!({ "$ref": reference });
        }
        let mut out = Map::new();
        let mut notes = Vec::new();
        for (keyword, value) in &source {
            self.keyword(keyword, value, depth, &mut out, &mut notes);
        }
        self.close_object(&mut out);
        if matches!(self.subset, Subset::Anthropic)
            && (out.contains_key("enum") || out.contains_key("const"))
        {
            out.remove("type");
        }
        describe(&mut out, &source, &notes);
        Value::Object(out)
    }

    /// Merges the siblings or the target of a reference: no provider accepts a `$ref`
    /// with siblings or `allOf`.
    fn flattened(&self, source: &Map<String, Value>) -> Map<String, Value> {
        let mut flat = source.clone();
        for _ in 0..DEEPEST {
            let mut parts = match flat.remove("allOf") {
                Some(Value::Array(parts)) => parts,
                _ => Vec::new(),
            };
            let annotated =
                flat.keys().any(|key| key != "$ref" && key != "$defs") || !parts.is_empty();
            if annotated
                && let Some(target) = flat.get("$ref").and_then(|name| self.definition(name))
            {
                parts.push(target.clone());
                flat.remove("$ref");
            }
            if parts.is_empty() {
                break;
            }
            for part in parts {
                merge(&mut flat, part);
            }
        }
        flat
    }

    fn definition(&self, reference: &Value) -> Option<&Value> {
        self.definitions.get(reference.as_str()?.strip_prefix("#/$defs/")?)
    }

    fn keyword(
        &self,
        keyword: &str,
        value: &Value,
        depth: usize,
        out: &mut Map<String, Value>,
        notes: &mut Vec<String>,
    ) {
        match keyword {
            "properties" => {
                let all = value.as_object().into_iter().flatten();
                let converted = all.map(|(name, node)| (name.clone(), self.node(node, depth + 1)));
                out.insert("properties".to_owned(), Value::Object(converted.collect()));
            }
            "items" => {
                out.insert("items".to_owned(), self.node(value, depth + 1));
            }
            "anyOf" | "oneOf" => {
                let all = value.as_array().into_iter().flatten();
                let converted = all.map(|node| self.node(node, depth + 1)).collect();
                out.insert("anyOf".to_owned(), converted);
            }
            "type" if self.subset == Subset::Gemini && value.is_array() => {
                let all = value.as_array().into_iter().flatten();
                out.insert("anyOf".to_owned(), all.map(|kind| json!({ "type": kind })).collect());
            }
            "const"
                if self.subset == Subset::Gemini && (value.is_string() || value.is_number()) =>
            {
                out.insert("enum".to_owned(), json!([value]));
            }
            _ => match self.fate(keyword, value) {
                Fate::Keep => {
                    out.insert(keyword.to_owned(), value.clone());
                }
                Fate::Note => notes.push(format!("{keyword}: {value}")),
                Fate::Drop => {}
            },
        }
    }

    fn fate(&self, keyword: &str, value: &Value) -> Fate {
        let kept_by = |subsets: &[Subset]| {
            if subsets.contains(&self.subset) { Fate::Keep } else { Fate::Note }
        };
        match keyword {
            "type" | "required" | "additionalProperties" => Fate::Keep,
            // The description is written last; the others mean nothing to a model.
            "description" | "title" | "default" | "examples" | "$schema" | "$id" | "$comment"
            | "$defs" => Fate::Drop,
            "enum" if self.subset == Subset::Gemini => {
                let simple = |member: &Value| member.is_string() || member.is_number();
                let all_simple = value.as_array().is_some_and(|all| all.iter().all(simple));
                if all_simple { Fate::Keep } else { Fate::Note }
            }
            "enum" => Fate::Keep,
            "const" => kept_by(&[Subset::Openai, Subset::Anthropic]),
            "minItems" if self.subset == Subset::Anthropic => {
                if value.as_u64().is_some_and(|least| least <= 1) { Fate::Keep } else { Fate::Note }
            }
            "minItems" | "maxItems" | "minimum" | "maximum" => {
                kept_by(&[Subset::Openai, Subset::Gemini])
            }
            "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" | "pattern" => {
                kept_by(&[Subset::Openai])
            }
            "format" => match value.as_str() {
                Some(format) if FORMATS.contains(&format) => Fate::Keep,
                Some("uri") => kept_by(&[Subset::Anthropic]),
                // What schemars writes for Rust's number types.
                _ => Fate::Drop,
            },
            _ => Fate::Note,
        }
    }

    /// Objects are closed; OpenAI requires every property to be required, and Gemini
    /// needs the order.
    fn close_object(&self, out: &mut Map<String, Value>) {
        let is_object =
            out.get("type").is_some_and(|kind| kind == "object") || out.contains_key("properties");
        if !is_object {
            out.remove("additionalProperties");
            out.remove("required");
            return;
        }
        let names = out.get("properties").and_then(Value::as_object);
        let names: Vec<Value> =
            names.into_iter().flat_map(Map::keys).map(|name| json!(name)).collect();
        out.insert("additionalProperties".to_owned(), json!(false));
        match self.subset {
            Subset::Openai => {
                out.insert("required".to_owned(), Value::Array(names));
            }
            Subset::Gemini if names.len() > 1 => {
                out.insert("propertyOrdering".to_owned(), Value::Array(names));
            }
            Subset::Gemini | Subset::Anthropic => {}
        }
    }
}

/// Adds the keywords that `flat` lacks.
fn merge(flat: &mut Map<String, Value>, part: Value) {
    let Value::Object(part) = part else { return };
    for (keyword, value) in part {
        match (flat.get_mut(&keyword), value) {
            (Some(Value::Object(mine)), Value::Object(theirs)) => {
                for (name, node) in theirs {
                    mine.entry(name).or_insert(node);
                }
            }
            (Some(Value::Array(mine)), Value::Array(theirs)) if keyword == "required" => {
                mine.extend(
                    theirs.into_iter().filter(|name| !mine.contains(name)).collect::<Vec<_>>(),
                );
            }
            (Some(_), _) => {}
            (None, value) => {
                flat.insert(keyword, value);
            }
        }
    }
}

fn describe(out: &mut Map<String, Value>, source: &Map<String, Value>, notes: &[String]) {
    let said = source.get("description").and_then(Value::as_str).unwrap_or_default();
    let noted = if notes.is_empty() { String::new() } else { format!("{{{}}}", notes.join(", ")) };
    let text =
        [said, &noted].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n");
    if !text.is_empty() {
        out.insert("description".to_owned(), json!(text));
    }
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
