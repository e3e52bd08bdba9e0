//! What both OpenAI formats share: key, model, errors, efforts, schemas.

use http::HeaderMap;
use serde_json::Value;

use super::fields::Finding;
use super::models::{Model, Models, NotServed, Sampling};
use super::problem::Problem;
use super::schema::{self, Dialect};
use crate::provider::Provider;

const INVALID: &str = "invalid_request_error";

/// A 400 with the invalid parameter.
pub(crate) fn invalid(message: impl Into<Box<str>>, param: &str, code: &str) -> Problem {
    Problem::new(400, INVALID, message).param(param).code(code)
}

/// Checks the bearer key.
pub(crate) fn authorise(headers: &HeaderMap) -> Result<(), Problem> {
    let header = headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let key = header.and_then(|value| value.strip_prefix("Bearer ")).map(str::trim);
    match key {
        None | Some("") => Err(Problem::new(
            401,
            INVALID,
            "No API key was given: send it as 'Authorization: Bearer KEY'.",
        )),
        Some(key) if super::is_bad_key(key) => {
            let shown: String = key.chars().take(4).collect();
            let message = format!("Incorrect API key provided: {shown}***.");
            Err(Problem::new(401, INVALID, message).code("invalid_api_key"))
        }
        Some(_) => Ok(()),
    }
}

/// Checks that the body is JSON and has its media type.
pub(crate) fn json_only(headers: &HeaderMap, body: &Value) -> Result<(), Problem> {
    if !super::is_json(headers) {
        let message = "Unsupported content type: this method only accepts 'application/json'.";
        return Err(Problem::new(400, INVALID, message).code("unsupported_content_type"));
    }
    if body.is_null() {
        return Err(Problem::new(
            400,
            INVALID,
            "The JSON body of the request could not be parsed.",
        ));
    }
    Ok(())
}

/// A problem in OpenAI's words.
pub(crate) fn field_problem(finding: Finding) -> Problem {
    match finding {
        Finding::Unknown { path } => {
            invalid(format!("Unknown parameter: '{path}'."), &path, "unknown_parameter")
        }
        Finding::Missing { path } => invalid(
            format!("Missing required parameter: '{path}'."),
            &path,
            "missing_required_parameter",
        ),
        Finding::Type { path, expected, got } => invalid(
            format!("Invalid type for '{path}': expected {expected}, but got {got} instead."),
            &path,
            "invalid_type",
        ),
        Finding::Word { path, got, allowed } => invalid(
            format!("Invalid value: '{got}'. Supported values are: {}.", quoted(allowed)),
            &path,
            "invalid_value",
        ),
    }
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ")
}

/// The model, if it is served.
pub(crate) fn model(models: &Models, provider: Provider, name: &str) -> Result<Model, Problem> {
    models.find(provider, name).map_err(|reason| {
        let message = match reason {
            NotServed::Unknown => {
                format!("The model `{name}` does not exist or you do not have access to it.")
            }
            NotServed::Retired => {
                format!("The model `{name}` has been deprecated and is shut down.")
            }
        };
        Problem::new(404, INVALID, message).code("model_not_found")
    })
}

/// The requested effort, or the model's default; `param` names it in errors.
pub(crate) fn effort<'a>(
    model: &Model,
    asked: Option<&'a str>,
    param: &str,
) -> Result<&'a str, Problem> {
    match asked {
        None => Ok(model.default_effort),
        Some(_) if model.efforts.is_empty() => Err(invalid(
            format!("Unsupported parameter: '{param}' is not supported with this model."),
            param,
            "unsupported_parameter",
        )),
        Some(effort) if !model.efforts.contains(&effort) => Err(invalid(
            format!(
                "Unsupported value: '{param}' does not support '{effort}' with this model. Supported values are: {}.",
                quoted(model.efforts)
            ),
            param,
            "unsupported_value",
        )),
        Some(effort) => Ok(effort),
    }
}

/// Refuses what a reasoning model does not accept, unless reasoning is disabled.
pub(crate) fn sampling(model: &Model, effort: &str, body: &Value) -> Result<(), Problem> {
    if model.sampling != Sampling::DefaultOnly || effort == "none" {
        return Ok(());
    }
    for (name, default) in [("temperature", 1.0), ("top_p", 1.0)] {
        let asked = body[name].as_f64().filter(|asked| (asked - default).abs() > f64::EPSILON);
        if let Some(asked) = asked {
            let message = format!(
                "Unsupported value: '{name}' does not support {asked} with this model. Only the default ({default}) value is supported."
            );
            return Err(invalid(message, name, "unsupported_value"));
        }
    }
    for name in ["presence_penalty", "frequency_penalty", "logprobs", "top_logprobs", "logit_bias"]
    {
        let used = body.get(name).is_some_and(|value| {
            !value.is_null() && value != &Value::Bool(false) && value.as_f64() != Some(0.0)
        });
        if used {
            let message =
                format!("Unsupported parameter: '{name}' is not supported with this model.");
            return Err(invalid(message, name, "unsupported_parameter"));
        }
    }
    Ok(())
}

/// Checks the cap against the model's limit.
pub(crate) fn cap(model: &Model, cap: Option<u64>, param: &str) -> Result<(), Problem> {
    match cap {
        Some(0) => Err(invalid(
            format!("Invalid '{param}': integer below minimum value. Expected a value >= 1."),
            param,
            "integer_below_min_value",
        )),
        Some(cap) if cap > model.max_output => Err(invalid(
            format!(
                "{param} is too large: {cap}. This model supports at most {} completion tokens.",
                model.max_output
            ),
            param,
            "invalid_value",
        )),
        _ => Ok(()),
    }
}

/// Checks that strict mode accepts the schema.
pub(crate) fn strict_schema(name: &str, schema: &Value, param: &str) -> Result<(), Problem> {
    match schema::check(schema, Dialect::OpenAi) {
        None => Ok(()),
        Some(found) => Err(invalid(
            format!(
                "Invalid schema for response_format '{name}': In context={}, {}",
                found.context(),
                found.message()
            ),
            param,
            "invalid_json_schema",
        )),
    }
}

/// The name of a schema: letters, digits, `_` and `-`, at most 64.
pub(crate) fn schema_name(name: &str, param: &str) -> Result<(), Problem> {
    let fits = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if fits && (1..=64).contains(&name.len()) {
        return Ok(());
    }
    let message = format!(
        "Invalid '{param}': expected a string of 1 to 64 characters that matches '^[a-zA-Z0-9_-]+$'."
    );
    Err(invalid(message, param, "invalid_value"))
}

/// The limits of the fields about the caller in both formats.
pub(crate) fn caller(body: &Value) -> Result<(), Problem> {
    let name = "safety_identifier";
    if body[name].as_str().is_some_and(|id| id.len() > 128) {
        let message =
            format!("Invalid '{name}': string too long. Expected at most 128 characters.");
        return Err(invalid(message, name, "string_above_max_length"));
    }
    let pairs = body["metadata"].as_object();
    if pairs.is_some_and(|pairs| pairs.len() > 16) {
        let message = "Invalid 'metadata': too many properties. Expected at most 16.";
        return Err(invalid(message, "metadata", "object_above_max_properties"));
    }
    let long = |(key, value): (&String, &Value)| {
        key.len() > 64 || value.as_str().is_none_or(|text| text.len() > 512)
    };
    if pairs.is_some_and(|pairs| pairs.iter().any(long)) {
        let message = "Invalid 'metadata': keys have at most 64 characters, values are strings of at most 512.";
        return Err(invalid(message, "metadata", "invalid_value"));
    }
    Ok(())
}
