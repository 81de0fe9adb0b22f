//! A route: its handler, and what a reader of the API is told of it. Both stand in one place, so that neither is without the other.

use std::sync::Arc;

use axum::{
    Router,
    handler::Handler,
    http::{Method, StatusCode},
    routing::{self, MethodRouter},
};
use chatlab_kit::wire::ErrorCode;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::gateway::Gateway;

/// Gives the schema of a type, its parts by reference.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// One operation.
pub struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    handler: MethodRouter<Arc<Gateway>>,
    /// What it does, in a line.
    pub(super) says: &'static str,
    /// The fields of its query.
    pub(super) query: Option<SchemaOf>,
    /// Its JSON body.
    pub(super) body: Option<SchemaOf>,
    /// The status when it was done.
    pub(super) status: StatusCode,
    /// What comes with it, and of which type.
    pub(super) answer: Option<(&'static str, SchemaOf)>,
    /// Whether it takes an idempotency key.
    pub(super) keyed: bool,
    /// Whether it needs no token.
    pub(super) open: bool,
    /// The codes of its refusals beyond those that any route may give.
    pub(super) codes: &'static [ErrorCode],
}

/// `GET`.
pub fn get<H: Handler<T, Arc<Gateway>>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route::new(Method::GET, path, routing::get(handler))
}

/// `POST`.
pub fn post<H: Handler<T, Arc<Gateway>>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route::new(Method::POST, path, routing::post(handler))
}

/// `PUT`.
pub fn put<H: Handler<T, Arc<Gateway>>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route::new(Method::PUT, path, routing::put(handler))
}

/// `PATCH`.
pub fn patch<H: Handler<T, Arc<Gateway>>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route::new(Method::PATCH, path, routing::patch(handler))
}

/// `DELETE`.
pub fn delete<H: Handler<T, Arc<Gateway>>, T: 'static>(path: &'static str, handler: H) -> Route {
    Route::new(Method::DELETE, path, routing::delete(handler))
}

impl Route {
    fn new(method: Method, path: &'static str, handler: MethodRouter<Arc<Gateway>>) -> Self {
        Self {
            method,
            path,
            handler,
            says: "",
            query: None,
            body: None,
            status: StatusCode::NO_CONTENT,
            answer: None,
            keyed: false,
            open: false,
            codes: &[],
        }
    }

    /// What it does.
    pub fn says(self, says: &'static str) -> Self {
        Self { says, ..self }
    }

    /// What its query may say.
    pub fn query<T: JsonSchema>(self) -> Self {
        Self { query: Some(T::json_schema), ..self }
    }

    /// What its body must say.
    pub fn body<T: JsonSchema>(self) -> Self {
        Self { body: Some(SchemaGenerator::subschema_for::<T>), ..self }
    }

    /// What it answers.
    pub fn gives<T: JsonSchema>(self, status: StatusCode) -> Self {
        Self { status, answer: Some(("application/json", SchemaGenerator::subschema_for::<T>)), ..self }
    }

    /// That it is done otherwise than by 204, with nothing to say.
    pub fn answers(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// What it answers, of another type than JSON.
    pub fn gives_as<T: JsonSchema>(self, content_type: &'static str) -> Self {
        let answer = Some((content_type, SchemaGenerator::subschema_for::<T> as SchemaOf));
        Self { status: StatusCode::OK, answer, ..self }
    }

    /// It takes an idempotency key.
    pub fn keyed(self) -> Self {
        Self { keyed: true, ..self }
    }

    /// It needs no token.
    pub fn open(self) -> Self {
        Self { open: true, ..self }
    }

    /// How it may refuse, beyond what any route may.
    pub fn codes(self, codes: &'static [ErrorCode]) -> Self {
        Self { codes, ..self }
    }
}

/// The routes as a router.
pub fn router(routes: &[Route]) -> Router<Arc<Gateway>> {
    routes.iter().fold(Router::new(), |router, route| router.route(route.path, route.handler.clone()))
}
