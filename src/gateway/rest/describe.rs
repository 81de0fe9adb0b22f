//! The OpenAPI description of the routes: the operations by utoipa, the types by the schemas that they derive for the WebSocket
//! protocol already.

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode};
use chatlab_kit::{
    ids::{ClientMsgId, MessageId, RoomId, SessionId, UserId},
    message::MAX_EMOJI_BYTES,
    wire::ErrorCode,
};
use schemars::{SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Value, json};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, HeaderBuilder, HttpMethod, InfoBuilder, OpenApiBuilder, Paths, RefOr,
    Required, Response, ResponseBuilder, Schema, SecurityRequirement,
    path::{Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn},
    request_body::RequestBodyBuilder,
    security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use super::{
    asked::IDEMPOTENCY_KEY,
    route::{Route, SchemaOf},
};
use crate::gateway::fault::{self, PROBLEM_JSON, Problem};

/// Where the schemas of the types stand in the document.
const SCHEMAS: &str = "/components/schemas";
/// The name of the one way to show who one is.
const BEARER: &str = "token";
/// The codes that any route may answer with.
const ANY: [ErrorCode; 5] = [
    ErrorCode::Invalid,
    // A page of a foreign origin, or a denied address.
    ErrorCode::Forbidden,
    ErrorCode::RateLimited,
    ErrorCode::Internal,
    ErrorCode::Unavailable,
];

/// Writes the document.
struct Describer {
    schemas: SchemaGenerator,
}

/// The description of routes as an OpenAPI document.
///
/// # Errors
/// When a schema can't be put in OpenAPI's words.
pub fn describe(routes: &[Route]) -> Result<Value, serde_json::Error> {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = SCHEMAS.into());
    let mut describer = Describer { schemas: settings.into_generator() };
    let mut paths = Paths::new();
    for route in routes {
        paths.add_path_operation(route.path, vec![method(&route.method)], describer.operation(route)?);
    }
    let info = InfoBuilder::new()
        .title("chatlab")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Rooms and messages over HTTP. What is done here is done by the same services as over WebSocket and Socket.IO. Errors are \
             problem details (RFC 9457) with a stable `code`. A page that is not the last has a `Link` to the next one. What an \
             `Idempotency-Key` was sent with is done once, however often it is sent.",
        ))
        .build();
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    let components = ComponentsBuilder::new().security_scheme(BEARER, SecurityScheme::Http(scheme)).build();
    let api = OpenApiBuilder::new().info(info).paths(paths).components(Some(components)).build();
    let mut document = serde_json::to_value(api)?;
    document["components"]["schemas"] = Value::Object(describer.schemas.take_definitions(true));
    Ok(document)
}

fn method(method: &Method) -> HttpMethod {
    match *method {
        Method::POST => HttpMethod::Post,
        Method::PUT => HttpMethod::Put,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

/// What a route is about: the part of its path after the version.
fn tag(path: &str) -> &str {
    path.split('/').nth(2).unwrap_or_default()
}

/// A name for an operation that no other has.
fn operation_id(route: &Route) -> String {
    let words = route.path.split('/').skip(2).map(|word| word.trim_matches(['{', '}']));
    let name: Vec<&str> = words.collect();
    format!("{}_{}", route.method.as_str().to_lowercase(), name.join("_"))
}

impl Describer {
    fn operation(&mut self, route: &Route) -> Result<Operation, serde_json::Error> {
        let mut operation = OperationBuilder::new()
            .tag(tag(route.path))
            .operation_id(Some(operation_id(route)))
            .summary(Some(route.says));
        for name in route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            let schema = self.in_path(name)?;
            operation = operation.parameter(parameter(name, ParameterIn::Path, schema, true));
        }
        for one in self.query(route.query)? {
            operation = operation.parameter(one);
        }
        if route.keyed {
            let schema = self.schema(SchemaGenerator::subschema_for::<ClientMsgId>)?;
            let key = parameter(IDEMPOTENCY_KEY.as_str(), ParameterIn::Header, schema, false);
            operation = operation.parameter(key);
        }
        if let Some(body) = route.body {
            let content = ContentBuilder::new().schema(Some(self.schema(body)?)).build();
            let body =
                RequestBodyBuilder::new().content("application/json", content).required(Some(Required::True));
            operation = operation.request_body(Some(body.build()));
        }
        if !route.open {
            operation = operation.security(SecurityRequirement::new(BEARER, Vec::<String>::new()));
        }
        operation = operation.response(route.status.as_str(), self.done(route)?);
        for (status, codes) in refusals(route) {
            operation = operation.response(status.as_str(), self.refusal(&codes)?);
        }
        Ok(operation.build())
    }

    /// A schema in OpenAPI's words.
    fn schema(&mut self, of: SchemaOf) -> Result<RefOr<Schema>, serde_json::Error> {
        serde_json::from_value(of(&mut self.schemas).to_value())
    }

    fn in_path(&mut self, name: &str) -> Result<RefOr<Schema>, serde_json::Error> {
        let of: SchemaOf = match name {
            "room" => SchemaGenerator::subschema_for::<RoomId>,
            "user" => SchemaGenerator::subschema_for::<UserId>,
            "msg" => SchemaGenerator::subschema_for::<MessageId>,
            "id" => SchemaGenerator::subschema_for::<SessionId>,
            _ => |_| json_schema!({ "type": "string", "minLength": 1, "maxLength": MAX_EMOJI_BYTES }),
        };
        self.schema(of)
    }

    /// A parameter for each field of a query.
    fn query(&mut self, of: Option<SchemaOf>) -> Result<Vec<Parameter>, serde_json::Error> {
        let Some(of) = of else { return Ok(Vec::new()) };
        let schema = of(&mut self.schemas).to_value();
        let required: BTreeSet<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let Some(fields) = schema["properties"].as_object() else { return Ok(Vec::new()) };
        let each = fields.iter().map(|(name, field)| {
            let mut field = field.clone();
            let description = field.as_object_mut().and_then(|field| field.remove("description"));
            let one = ParameterBuilder::new()
                .name(name)
                .parameter_in(ParameterIn::Query)
                .description(description.as_ref().and_then(Value::as_str))
                .required(if required.contains(name.as_str()) { Required::True } else { Required::False })
                .schema(Some(serde_json::from_value::<RefOr<Schema>>(without_null(field))?));
            Ok(one.build())
        });
        each.collect()
    }

    /// The answer to what was done.
    fn done(&mut self, route: &Route) -> Result<Response, serde_json::Error> {
        let mut done = ResponseBuilder::new().description(route.says);
        if let Some((content_type, of)) = route.answer {
            let content = ContentBuilder::new().schema(Some(self.schema(of)?)).build();
            done = done.content(content_type, content);
        }
        if route.query.is_some() {
            let header = HeaderBuilder::new().description(Some("Where the next page is, if there is one."));
            done = done.header("Link", header.build());
        }
        Ok(done.build())
    }

    fn refusal(&mut self, codes: &[ErrorCode]) -> Result<Response, serde_json::Error> {
        let names: Vec<String> = codes.iter().map(|code| format!("`{}`", fault::name(*code))).collect();
        let problem = self.schema(SchemaGenerator::subschema_for::<Problem>)?;
        let content = ContentBuilder::new().schema(Some(problem)).build();
        Ok(ResponseBuilder::new().description(names.join(", ")).content(PROBLEM_JSON, content).build())
    }
}

/// A query has no null: what may be missing is missing.
fn without_null(mut field: Value) -> Value {
    if let Some(types) = field["type"].as_array() {
        field["type"] = types.iter().find(|one| *one != "null").cloned().unwrap_or(Value::Null);
    }
    let not_null = |any: &Vec<Value>| any.iter().find(|one| **one != json!({ "type": "null" })).cloned();
    match field["anyOf"].as_array().and_then(not_null) {
        Some(one) => one,
        None => {
            if let Some(fields) = field.as_object_mut() {
                // Looking for it has put it there.
                fields.retain(|_, value| !value.is_null());
            }
            field
        }
    }
}

fn parameter(name: &str, place: ParameterIn, schema: RefOr<Schema>, required: bool) -> Parameter {
    let required = if required { Required::True } else { Required::False };
    ParameterBuilder::new().name(name).parameter_in(place).required(required).schema(Some(schema)).build()
}

/// How a route may refuse, by status.
fn refusals(route: &Route) -> Vec<(StatusCode, Vec<ErrorCode>)> {
    let mut codes: Vec<ErrorCode> = ANY.to_vec();
    if !route.open {
        codes.extend([ErrorCode::Unauthorized, ErrorCode::TokenExpired, ErrorCode::SessionRevoked]);
    }
    if route.body.is_some() {
        codes.extend([ErrorCode::BadFrame, ErrorCode::TooLarge]);
    }
    codes.extend(route.codes.iter().filter(|code| !ANY.contains(code)));
    let mut by_status: Vec<(StatusCode, Vec<ErrorCode>)> = Vec::new();
    let of_body = route.body.map(|_| (StatusCode::UNSUPPORTED_MEDIA_TYPE, ErrorCode::Invalid));
    for (status, code) in codes.into_iter().map(|code| (fault::status(code), code)).chain(of_body) {
        match by_status.iter_mut().find(|(known, _)| *known == status) {
            Some((_, codes)) if codes.contains(&code) => {}
            Some((_, codes)) => codes.push(code),
            None => by_status.push((status, vec![code])),
        }
    }
    by_status
}
