//! `/v1/openapi.json` and `/docs`: what the API is, for programs and for people. Neither needs a token.

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use http::header;
use utoipa::openapi::OpenApi;

/// Nothing from elsewhere, and nothing that stands in the page itself (CSP level 3).
const POLICY: &str = "default-src 'none'; connect-src 'self'; style-src 'self'; script-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

pub(super) fn router(api: &OpenApi) -> Router {
    // Made of strings and numbers only.
    let description: Bytes = serde_json::to_vec(api).unwrap_or_default().into();
    let json = async move || asset("application/json", description);
    Router::new()
        .route("/v1/openapi.json", get(json))
        .route(
            "/docs",
            file("text/html; charset=utf-8", include_str!("docs/page.html")),
        )
        .route(
            "/docs/page.css",
            file("text/css; charset=utf-8", include_str!("docs/page.css")),
        )
        .route(
            "/docs/page.js",
            file(
                "text/javascript; charset=utf-8",
                include_str!("docs/page.js"),
            ),
        )
}

/// A file of the program's own, for anybody.
pub(super) fn file(media_type: &'static str, text: &'static str) -> axum::routing::MethodRouter {
    get(async move || asset(media_type, Bytes::from_static(text.as_bytes())))
}

fn asset(media_type: &'static str, bytes: Bytes) -> impl IntoResponse {
    let fields = [
        (header::CONTENT_TYPE, media_type),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (fields, bytes)
}
