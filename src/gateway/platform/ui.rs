//! `/ui`: a page that shows live what the API knows. Its files need no token; all that it shows comes from the API,
//! with the token of whoever looks.
//!
//! The files are served as they are written: modules that the browser loads itself, and nothing from elsewhere.

use axum::Router;

use super::docs::file;

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The page's modules by name.
const SCRIPTS: [(&str, &str); 11] = [
    ("/ui/page.js", include_str!("ui/page.js")),
    ("/ui/api.js", include_str!("ui/api.js")),
    ("/ui/stream.js", include_str!("ui/stream.js")),
    ("/ui/dom.js", include_str!("ui/dom.js")),
    ("/ui/history.js", include_str!("ui/history.js")),
    ("/ui/plot.js", include_str!("ui/plot.js")),
    ("/ui/overview.js", include_str!("ui/overview.js")),
    ("/ui/cluster.js", include_str!("ui/cluster.js")),
    ("/ui/deployments.js", include_str!("ui/deployments.js")),
    ("/ui/feed.js", include_str!("ui/feed.js")),
    ("/ui/audit.js", include_str!("ui/audit.js")),
];

pub(super) fn router() -> Router {
    let page = file("text/html; charset=utf-8", include_str!("ui/page.html"));
    let style = file("text/css; charset=utf-8", include_str!("ui/page.css"));
    let router = Router::new()
        .route("/ui", page.clone())
        .route("/ui/", page)
        .route("/ui/page.css", style);
    SCRIPTS.iter().fold(router, |router, (path, text)| {
        router.route(path, file(SCRIPT, text))
    })
}
