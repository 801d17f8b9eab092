//! The description of the API in OpenAPI 3.1, made from the handlers.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Platform, audit, clusters, deployments, events, pods, tokens};
use crate::wire::error::ErrorCode;

/// The error of every answer that is none of the promised ones.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct Failure {
    error: FailureDetails,
}

/// What is wrong.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ErrorDetails)]
struct FailureDetails {
    /// One of the codes in the description's introduction.
    #[schema(example = "INVALID_REQUEST")]
    code: String,
    /// A sentence for people.
    #[schema(example = "Invalid cluster name")]
    message: String,
    /// What of the request, and what is expected.
    #[schema(value_type = Object)]
    details: BTreeMap<String, Value>,
}

#[derive(OpenApi)]
#[openapi(
    info(title = "PipeOps platform API", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    modifiers(&Bearer, &Introduction),
    security(("token" = [])),
    tags(
        (name = "clusters", description = "Clusters, and how they are"),
        (name = "deployments", description = "Manifests applied in clusters, and what came of it"),
        (name = "pods", description = "Logs of pods, and programs in them"),
        (name = "events", description = "What happens in clusters"),
        (name = "tokens", description = "Who may do what"),
        (name = "audit", description = "Who had what done")
    )
)]
struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A user token: `pipeops-gateway token create user …`"))
            .build();
        let components = api.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

struct Introduction;

impl Modify for Introduction {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let codes: String = ErrorCode::all()
            .map(|code| format!("| `{}` | {} |\n", code.as_str(), code.status()))
            .collect();
        api.info.description = Some(format!(
            "Every request needs a user token as `Authorization: Bearer …`; what it may do is in its scopes.\n\n\
             Each token may ask 600 times a minute, 100 of them at once, of each of the gateway's threads; `X-RateLimit-Limit`, \
             `X-RateLimit-Remaining` and `X-RateLimit-Reset` (seconds since 1970) say how it stands, and 429 comes with \
             `Retry-After`. `X-Request-ID` is taken over from the request or made up, and is in the logs. A list has \
             `items` and `next_cursor`, which is the `cursor` of the next part. A JSON answer to a GET has an `ETag`; with it \
             as `If-None-Match`, what has not changed is answered with 304. A stream of events ends with an event `end` or `error`.\n\n\
             | code | status |\n| --- | --- |\n{codes}"
        ));
        api.info.version = env!("CARGO_PKG_VERSION").to_owned();
    }
}

/// The handlers, and what they say of themselves.
pub(super) fn routes() -> OpenApiRouter<Platform> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(clusters::list, clusters::post))
        .routes(routes!(clusters::get, clusters::patch, clusters::delete))
        .routes(routes!(deployments::list, deployments::post))
        .routes(routes!(deployments::deploy))
        .routes(routes!(deployments::get, deployments::delete))
        .routes(routes!(deployments::watch))
        .routes(routes!(deployments::cancel))
        .routes(routes!(pods::logs))
        .routes(routes!(pods::exec))
        .routes(routes!(events::get))
        .routes(routes!(tokens::list, tokens::post))
        .routes(routes!(tokens::delete))
        .routes(routes!(audit::list))
}

/// The description as JSON, as it is served at `/v1/openapi.json`.
#[must_use]
pub fn description() -> Value {
    let (_, api) = routes().split_for_parts();
    // Made of strings and numbers only.
    serde_json::to_value(api).unwrap_or_default()
}
