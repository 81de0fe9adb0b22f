//! The REST API: the same services as over WebSocket and Socket.IO, a request at a time.
//!
//! | module | for |
//! | --- | --- |
//! | `route` | a route with its description, in one place |
//! | `asked` | what a request says: who asks, about what, by which key |
//! | `rooms`, `messages`, `find`, `people`, `mail` | the routes |
//! | `stream` | for who has no WebSocket: server-sent `events` and long `poll`s, and `places` to go on from |
//! | `describe` | the OpenAPI document of all that |
//! | `docs` | the document, and a page to browse it |

mod asked;
mod describe;
mod docs;
mod events;
mod find;
mod mail;
mod messages;
mod people;
mod places;
mod poll;
mod rooms;
pub(super) mod route;
mod stream;

use std::sync::Arc;

use axum::{Router, middleware};
use serde_json::Value;

pub use asked::IDEMPOTENCY_KEY;
pub use events::LAST_EVENT_ID;

use super::{Gateway, http};
use route::Route;

fn known_routes() -> Vec<Route> {
    [rooms::routes(), messages::routes(), find::routes(), people::routes(), mail::routes()]
        .into_iter()
        .flatten()
        .collect()
}

/// The routes that answer at once.
pub(super) fn routes(gateway: &Arc<Gateway>) -> Router<Arc<Gateway>> {
    let known = middleware::from_fn_with_state(gateway.clone(), asked::known);
    let accounts = http::routes();
    route::router(&known_routes()).route_layer(known).merge(route::router(&accounts)).merge(docs::routes())
}

/// The routes that answer for as long as somebody listens.
pub(super) fn streams(gateway: &Arc<Gateway>) -> Router<Arc<Gateway>> {
    let known = middleware::from_fn_with_state(gateway.clone(), asked::known);
    route::router(&stream::routes()).route_layer(known)
}

/// The OpenAPI document of all routes under `/v1`.
///
/// # Errors
/// When a type can't be put in OpenAPI's words.
pub fn document() -> Result<Value, serde_json::Error> {
    let all: Vec<Route> = http::routes().into_iter().chain(known_routes()).chain(stream::routes()).collect();
    describe::describe(&all)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every `$ref` of a document.
    fn references(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|field| references(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }

    #[test]
    fn the_document_is_whole() {
        let document = document().unwrap();
        assert_eq!(document["openapi"].as_str().unwrap().split('.').next(), Some("3"));
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        assert!(found.contains("#/components/schemas/Message"), "{found:?}");
        for reference in found {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_operation_says_what_it_does_and_has_a_name_of_its_own() {
        let document = document().unwrap();
        let mut names = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method} {path}");
                assert!(names.insert(operation["operationId"].as_str().unwrap()), "{method} {path}");
                let done = operation["responses"].as_object().unwrap().keys().filter(|s| s.starts_with('2'));
                assert_eq!(done.count(), 1, "{method} {path}");
            }
        }
        assert!(names.len() > 30, "{names:?}");
    }
}
