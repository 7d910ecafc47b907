//! The OpenAPI document (3.1) of the API, made from the table of routes. `docs/openapi.json` is
//! what it gave; a test compares the two.

use super::routes::{Endpoint, Route, all};
use crate::parameter::{Form, Parameter};
use crate::report::column::{Column, Kind};
use crate::report::{reconcile, rows, table};
use serde_json::{Map, Value, json};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The whole document.
#[must_use]
pub fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in all() {
        let path = format!("/api/v1/{}", route.path);
        let operations = paths.entry(path).or_insert_with(|| json!({}));
        operations[route.method.as_str().to_ascii_lowercase()] = operation(&route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "gokart admin API",
            "version": VERSION,
            "description": "Configuration, credentials, decisions by hand and reports. Listens on \
                loopback; every request carries the admin token. The time zone of days and times is \
                the tenant's unless `tz` is given, and every answer states it. Amounts are decimal \
                texts; currencies are never added together. Test conversions are left out unless \
                asked for.",
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": { "Error": error_schema(), "Period": period_schema() },
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut parameters: Vec<Value> = route.parameters().iter().map(parameter).collect();
    if route.path.contains("{id}") {
        parameters.insert(
            0,
            json!({ "name": "id", "in": "path", "required": true, "schema": { "type": "string" } }),
        );
    }
    let mut answers = json!({ "200": { "description": "Done.", "content": content(route) } });
    for (status, text) in [
        ("400", "The request is wrong; the message names the parameter."),
        ("401", "The token is missing or wrong."),
        ("404", "What was asked about does not exist."),
        ("413", "It would be too much for one report: ask for less."),
        ("503", "ClickHouse or the log cannot be asked now."),
        ("504", "It took too long: ask for less."),
    ] {
        answers[status] = json!({
            "description": text,
            "content": { "application/json": { "schema": reference("Error") } },
        });
    }
    let mut operation = json!({
        "operationId": route.name,
        "summary": route.about,
        "parameters": parameters,
        "responses": answers,
    });
    if let Some(body) = body(route.endpoint) {
        operation["requestBody"] = json!({ "required": true, "content": body });
    }
    operation
}

fn parameter(parameter: &Parameter) -> Value {
    let schema = match parameter.form {
        Form::Text => json!({ "type": "string" }),
        Form::Flag => json!({ "type": "boolean", "default": false }),
        Form::Whole { min, max, default } => {
            let mut schema = json!({ "type": "integer", "minimum": min, "maximum": max });
            if let Some(default) = default {
                schema["default"] = json!(default);
            }
            schema
        }
        Form::Choice(words) => json!({ "type": "string", "enum": words }),
    };
    json!({
        "name": parameter.name,
        "in": "query",
        "required": parameter.required,
        "description": parameter.about,
        "schema": schema,
    })
}

fn body(endpoint: Endpoint) -> Option<Value> {
    let schema = match endpoint {
        Endpoint::Apply => json!({
            "type": "object",
            "required": ["files"],
            "properties": {
                "files": { "type": "array", "items": {
                    "type": "object",
                    "required": ["name", "text"],
                    "properties": { "name": { "type": "string" }, "text": { "type": "string" } },
                } },
                "dry_run": { "type": "boolean" },
                "base_version": { "type": ["integer", "null"] },
            },
        }),
        Endpoint::Approve | Endpoint::Reject => json!({
            "type": "object",
            "required": ["reason"],
            "properties": {
                "reason": { "type": "string" },
                "over_limit": { "type": "boolean" },
            },
        }),
        Endpoint::Erase => json!({
            "type": "object",
            "required": ["kind", "value", "requested_by", "reason"],
            "properties": {
                "kind": { "type": "string", "description": "click, or sub1 to sub15" },
                "value": { "type": "string" },
                "requested_by": { "type": "string" },
                "reason": { "type": "string" },
            },
        }),
        Endpoint::Reconciliation => {
            let about = "The advertiser's file, with a heading: event_id, and click_id or \
                transaction_id; revenue, currency and status are compared when they are there.";
            return Some(json!({ "text/csv": {
                "schema": { "type": "string", "description": about },
            } }));
        }
        Endpoint::Redecide => json!({
            "type": "object",
            "required": ["apply"],
            "properties": {
                "apply": { "type": "boolean" },
                "reason": { "type": "string" },
                "operator": { "type": "string" },
                "after": { "type": ["object", "null"], "description": "`next` of the page before." },
            },
        }),
        _ => return None,
    };
    Some(json!({ "application/json": { "schema": schema } }))
}

fn content(route: &Route) -> Value {
    match route.endpoint {
        Endpoint::Report(kind) => table_content(kind.definition().columns),
        Endpoint::Reconciliation => table_content(reconcile::DEFINITION.columns),
        Endpoint::List(kind) => json!({
            "application/json": { "schema": list_schema(kind) },
            "text/csv": { "schema": { "type": "string" } },
        }),
        Endpoint::Export(_) => json!({
            "text/csv": { "schema": { "type": "string" } },
            "application/x-ndjson": { "schema": { "type": "string" } },
            "application/vnd.apache.parquet": { "schema": { "type": "string", "format": "binary" } },
        }),
        _ => json!({ "application/json": { "schema": { "type": "object" } } }),
    }
}

fn table_content(columns: &[Column]) -> Value {
    json!({
        "application/json": { "schema": table_schema(columns) },
        "text/csv": { "schema": { "type": "string" } },
    })
}

fn table_schema(columns: &[Column]) -> Value {
    let mut properties = Map::new();
    for column in columns {
        let mut schema = cell_schema(column.kind);
        schema["description"] = json!(column.about);
        properties.insert(column.name.to_owned(), schema);
    }
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let row = json!({
        "type": "object",
        "required": names,
        "additionalProperties": false,
        "properties": properties,
    });
    json!({
        "type": "object",
        "required": table::FIELDS,
        "properties": {
            "report": { "type": "string" },
            "period": reference("Period"),
            "columns": { "type": "array", "items": { "type": "string" } },
            "rows": { "type": "array", "items": row },
            "totals": {
                "type": "array",
                "items": { "type": "object" },
                "description": "Sums over the rows, one for each currency.",
            },
            "more": { "type": "boolean", "description": "There are more rows than are shown." },
            "tests_included": { "type": "boolean" },
            "notes": { "type": "array", "items": { "type": "string" } },
        },
    })
}

fn list_schema(kind: rows::Kind) -> Value {
    let names = kind.column_names();
    let properties: Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
    json!({
        "type": "object",
        "required": ["columns", "more", "period", "rows", "tests_included"],
        "properties": {
            "period": reference("Period"),
            "columns": { "type": "array", "items": { "type": "string" } },
            "rows": { "type": "array", "items": {
                "type": "object",
                "required": names,
                "additionalProperties": false,
                "properties": properties,
            } },
            "more": { "type": "boolean" },
            "tests_included": { "type": "boolean" },
        },
    })
}

fn cell_schema(kind: Kind) -> Value {
    match kind {
        Kind::Text | Kind::Id => json!({ "type": ["string", "null"] }),
        Kind::Count | Kind::Seconds => json!({ "type": ["integer", "null"] }),
        Kind::Percent | Kind::Rate => json!({ "type": ["number", "null"] }),
        Kind::Amount => json!({ "type": ["string", "null"], "format": "decimal" }),
        Kind::Measure => json!({ "type": ["string", "integer", "null"] }),
        Kind::Time => json!({ "type": ["string", "null"], "format": "date-time" }),
        Kind::Day => json!({ "type": ["string", "null"], "format": "date" }),
        Kind::Flag => json!({ "type": ["boolean", "null"] }),
    }
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn error_schema() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": { "error": {
            "type": "object",
            "required": ["message"],
            "properties": {
                "message": { "type": "string" },
                "hint": { "type": "string", "description": "What to do." },
                "problems": { "type": "array", "items": { "type": "object" } },
            },
        } },
    })
}

fn period_schema() -> Value {
    json!({
        "type": "object",
        "required": ["from", "to", "time_zone"],
        "properties": {
            "from": { "type": ["string", "null"], "description": "The first moment in it." },
            "to": { "type": ["string", "null"], "description": "The first moment after it." },
            "time_zone": { "type": "string" },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_OPENAPI=1 cargo test -p admin openapi` writes the file anew.
    #[test]
    fn the_file_is_what_the_routes_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/openapi.json");
        let made = format!("{:#}\n", document());
        if std::env::var_os("UPDATE_OPENAPI").is_some() {
            std::fs::write(path, &made).unwrap();
        }
        let file = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            file == made,
            "docs/openapi.json is not what the routes say; write it with UPDATE_OPENAPI=1 and look \
             at what changed"
        );
    }
}
