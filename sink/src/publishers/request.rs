//! The request that tells a publisher: filled from the template and signed (Standard Webhooks).
//!
//! What is signed is the body; a GET request has none, so its query string is signed in its place.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Uri};
use keyring::WebhookSecret;
use schemas::postback::{Field, MACROS, Position, RequestForm};
use schemas::time::SECOND_MS;
use schemas::{DeliveryOrder, DeliveryProblem, PublisherMessage, PublisherPostback, UnixMillis};
use serde_json::{Map, Value, json};

const AGENT: &str = concat!("gokart/", env!("CARGO_PKG_VERSION"));
/// A URL longer than this is refused by too many servers.
const URL_BYTES_MAX: usize = 8 * 1024;

/// Makes the request of one attempt at `now`; `header_value` is the fixed header's, opened.
///
/// # Errors
/// [`DeliveryProblem::Url`] when the filled template is no URL that can be called.
pub fn build(
    order: &DeliveryOrder,
    postback: &PublisherPostback,
    secrets: &[WebhookSecret],
    header_value: Option<&str>,
    now: UnixMillis,
) -> Result<Request<Full<Bytes>>, DeliveryProblem> {
    let url = postback.url.fill_url(&order.message);
    let uri: Uri = url.parse().map_err(|_| DeliveryProblem::Url)?;
    if url.len() > URL_BYTES_MAX || uri.host().is_none_or(str::is_empty) {
        return Err(DeliveryProblem::Url);
    }
    let (method, content_type, body) = match &postback.form {
        RequestForm::Get => (Method::GET, None, String::new()),
        RequestForm::Form(fields) => {
            (Method::POST, Some("application/x-www-form-urlencoded"), form(fields, &order.message))
        }
        RequestForm::Json(fields) if fields.is_empty() => {
            (Method::POST, Some("application/json"), everything(order).to_string())
        }
        RequestForm::Json(fields) => {
            (Method::POST, Some("application/json"), object(fields, &order.message).to_string())
        }
    };
    let signed = match method {
        Method::GET => uri.query().unwrap_or_default().as_bytes(),
        _ => body.as_bytes(),
    };
    let timestamp = now.0.div_euclid(SECOND_MS);
    let signatures: Vec<String> =
        secrets.iter().map(|secret| secret.sign(&order.delivery_id, timestamp, signed)).collect();
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .header(USER_AGENT, AGENT)
        .header("webhook-id", &*order.delivery_id)
        .header("webhook-timestamp", timestamp.to_string())
        .header("webhook-signature", signatures.join(" "))
        .header("idempotency-key", &*order.delivery_id);
    if let Some(content_type) = content_type {
        request = request.header(CONTENT_TYPE, content_type);
    }
    if let (Some(header), Some(value)) = (&postback.header, header_value) {
        let name = HeaderName::try_from(&header.name).map_err(|_| DeliveryProblem::Url)?;
        let mut value = HeaderValue::try_from(value).map_err(|_| DeliveryProblem::Url)?;
        value.set_sensitive(true);
        request = request.header(name, value);
    }
    request.body(Full::new(Bytes::from(body))).map_err(|_| DeliveryProblem::Url)
}

fn form(fields: &[Field], message: &PublisherMessage) -> String {
    let pair = |field: &Field| {
        let name = schemas::postback::encoded(&field.name, Position::Form);
        format!("{name}={}", field.value.fill(message, Position::Form))
    };
    fields.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn object(fields: &[Field], message: &PublisherMessage) -> Value {
    let pair = |field: &Field| {
        (field.name.clone(), Value::from(field.value.fill(message, Position::Plain)))
    };
    Value::Object(fields.iter().map(pair).collect())
}

/// Everything that a publisher may know, in the shape of Standard Webhooks.
fn everything(order: &DeliveryOrder) -> Value {
    let message = &order.message;
    let mut data = Map::new();
    for name in MACROS {
        if let Some(value) = message.value(name) {
            data.insert(name.to_owned(), Value::from(value.into_owned()));
        }
    }
    data.insert("test".to_owned(), Value::from(message.test));
    let status = message.status.code().to_ascii_lowercase();
    json!({
        "type": format!("conversion.{status}"),
        "timestamp": message.decided_at.to_string(),
        "data": data,
    })
}
