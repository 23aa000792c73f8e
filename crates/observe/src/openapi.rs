//! The table of routes as an OpenAPI 3.1 document.

use crate::routes::{Endpoint, Method, Needs, ROUTES};
use serde_json::{Map, Value, json};

/// The fields of an action's body.
fn body_of(verb: &str) -> Value {
    let text = |what: &str| json!({ "type": "string", "minLength": 1, "pattern": "\\S", "description": what });
    let (properties, required): (Value, Vec<&str>) = match verb {
        "cancel" => (json!({ "order": text("client order id") }), vec!["order"]),
        "flatten" => (json!({ "instrument": text("symbol; all when absent") }), vec![]),
        "release" => (json!({ "instrument": text("symbol") }), vec!["instrument"]),
        "emergency-stop" => (json!({ "reason": text("why, for the record") }), vec![]),
        "rearm" => (json!({ "reason": text("why it may go on, for the record") }), vec!["reason"]),
        "stop" => (json!({ "force": { "type": "boolean", "description": "cut optional steps" } }), vec![]),
        _ => (json!({}), vec![]),
    };
    let mut properties = properties;
    if let Some(fields) = properties.as_object_mut() {
        let wait = json!({ "type": "integer", "minimum": 0, "description": "how long to wait for confirmation; ms" });
        fields.insert("timeout_ms".to_owned(), wait);
    }
    json!({ "type": "object", "additionalProperties": false, "properties": properties, "required": required })
}

fn answer(what: &str, kind: &str) -> Value {
    let schema = if kind == "application/json" { json!({}) } else { json!({ "type": "string" }) };
    json!({ "description": what, "content": { kind: { "schema": schema } } })
}

fn failure(what: &str) -> Value {
    json!({ "description": what, "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Error" } } } })
}

fn responses(endpoint: Endpoint, needs: Needs) -> Map<String, Value> {
    let mut all = Map::new();
    let mut put = |status: &str, value: Value| drop(all.insert(status.to_owned(), value));
    put("421", failure("asked under a name that is not this machine's loopback"));
    match endpoint {
        Endpoint::Page => put("200", answer("the page", "text/html")),
        Endpoint::Prometheus => put("200", answer("metrics", "text/plain")),
        Endpoint::Events => {
            put("200", answer("events", "text/event-stream"));
        }
        Endpoint::Act(_) => {
            put("200", answer("confirmed", "application/json"));
            put("202", answer("under way, not confirmed yet", "application/json"));
            put("400", failure("the body is not understood"));
            put("409", answer("refused, nothing was done", "application/json"));
            put("413", failure("the body is too long"));
            put("415", failure("the body is not JSON"));
        }
        Endpoint::OpenApi => put("200", answer("this document", "application/json")),
        Endpoint::Live | Endpoint::Ready | Endpoint::Startup => {
            put("200", answer("well", "application/json"));
            put("503", answer("not so, and why", "application/json"));
        }
        Endpoint::See(_) => {
            put("200", answer("as it is now", "application/json"));
            put("400", failure("a parameter is not understood"));
            put("503", failure("not there yet"));
        }
    }
    put("403", failure("the request comes from another site, or the token may not do this"));
    if needs != Needs::Nothing {
        put("401", failure("no token, or one that is not known"));
        put("429", failure("too many wrong tokens or listeners"));
    }
    all
}

/// The document.
#[must_use]
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let mut operation = json!({
            "summary": route.what,
            "operationId": route.path.trim_start_matches('/').replace(['/', '-', '.'], "_"),
            "responses": responses(route.endpoint, route.needs),
            "security": match route.needs { Needs::Nothing => json!([]), Needs::Token(_) => json!([{ "token": [] }]) },
        });
        if let Some(fields) = operation.as_object_mut() {
            match route.endpoint {
                Endpoint::Act(verb) => {
                    let content = json!({ "application/json": { "schema": body_of(verb) } });
                    fields.insert("requestBody".to_owned(), json!({ "required": true, "content": content }));
                }
                Endpoint::See(_) => {
                    let schema = json!({ "type": "integer", "minimum": 1, "maximum": 5000 });
                    let limit = json!({ "name": "limit", "in": "query", "required": false, "schema": schema });
                    fields.insert("parameters".to_owned(), json!([limit]));
                }
                _ => {}
            }
            if route.path == "/" {
                fields.insert("operationId".to_owned(), "page".into());
            }
        }
        let method = if route.method == Method::Get { "get" } else { "post" };
        paths.insert(route.path.to_owned(), json!({ method: operation }));
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Keel", "version": env!("CARGO_PKG_VERSION"), "description": "What a running bot shows and does." },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": {
                "Error": { "type": "object", "required": ["error"], "properties": { "error": { "type": "string" } } }
            }
        }
    })
}
