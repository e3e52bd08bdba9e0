//! The document as one HTML page: no script, nothing from elsewhere.

use std::fmt::Write;

use serde_json::Value;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;\
padding:0 1rem;color:#1b1f24;background:#fff}h2{margin-top:2.5rem;text-transform:capitalize}\
details{border:1px solid #d0d7de;border-radius:6px;margin:.5rem 0;padding:.4rem .8rem}\
summary{cursor:pointer}code,pre{font:14px ui-monospace,monospace}pre{background:#f6f8fa;\
padding:.8rem;overflow:auto;border-radius:6px}b.m{display:inline-block;min-width:4.5rem;\
text-transform:uppercase}table{border-collapse:collapse}td{padding:.2rem .8rem .2rem 0;\
vertical-align:top}@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}\
pre{background:#161b22}details{border-color:#30363d}}";

/// Renders a finished document.
pub(super) fn render(document: &Value) -> String {
    let (title, version) = (text(&document["info"]["title"]), text(&document["info"]["version"]));
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{title} API</title><style>{STYLE}</style>\
         <h1>{title} {version}</h1><p>{}<p>For programs: <a href=\"/openapi.json\">openapi.json</a>",
        text(&document["info"]["description"])
    );
    for tag in document["tags"].as_array().into_iter().flatten() {
        section(&mut page, document, tag);
    }
    if document["webhooks"].is_object() {
        page.push_str("<h2>callbacks</h2><p>Requests from here to a server of yours");
    }
    for (name, item) in object(&document["webhooks"]) {
        for (method, operation) in object(item) {
            describe(&mut page, name, method, operation);
        }
    }
    schemas(&mut page, document);
    page
}

fn section(page: &mut String, document: &Value, tag: &Value) {
    let mut operations = String::new();
    for (path, item) in object(&document["paths"]) {
        for (method, operation) in object(item) {
            if operation["tags"][0] == tag["name"] {
                describe(&mut operations, path, method, operation);
            }
        }
    }
    if !operations.is_empty() {
        let (name, description) = (text(&tag["name"]), text(&tag["description"]));
        // Writing to a String cannot fail, here and below.
        let _ = write!(page, "<h2>{name}</h2><p>{description}{operations}");
    }
}

fn describe(page: &mut String, path: &str, method: &str, operation: &Value) {
    let _ = write!(
        page,
        "<details><summary><b class=m>{}</b> <code>{}</code> {}</summary><p>{}",
        escape(method),
        escape(path),
        text(&operation["summary"]),
        text(&operation["description"])
    );
    if operation["security"].is_array() {
        page.push_str("<p>Needs a token.");
    }
    rows(
        page,
        operation["parameters"].as_array().into_iter().flatten().map(|parameter| {
            let place = format!("{} ({})", text(&parameter["name"]), text(&parameter["in"]));
            (place, text(&parameter["description"]))
        }),
    );
    for (_, content) in object(&operation["requestBody"]["content"]) {
        page.push_str("<p>Request");
        sample(page, content);
    }
    rows(
        page,
        object(&operation["responses"])
            .map(|(status, response)| (escape(status), text(&response["description"]))),
    );
    page.push_str("</details>");
}

fn rows(page: &mut String, rows: impl Iterator<Item = (String, String)>) {
    page.push_str("<table>");
    for (name, description) in rows {
        let _ = write!(page, "<tr><td><code>{name}</code><td>{description}");
    }
    page.push_str("</table>");
}

/// The example of a content, or the name of its schema.
fn sample(page: &mut String, content: &Value) {
    let shown = if content["example"].is_null() { &content["schema"] } else { &content["example"] };
    let _ = write!(page, "<pre>{}</pre>", escape(&format!("{shown:#}")));
}

fn schemas(page: &mut String, document: &Value) {
    page.push_str("<h2>schemas</h2>");
    for (name, schema) in object(&document["components"]["schemas"]) {
        let (name, schema) = (escape(name), escape(&format!("{schema:#}")));
        let _ = write!(page, "<details><summary>{name}</summary><pre>{schema}</pre></details>");
    }
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn text(value: &Value) -> String {
    escape(value.as_str().unwrap_or_default())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
