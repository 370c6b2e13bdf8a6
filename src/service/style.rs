//! The style sheet of every page, for the issuer and the edge.

use axum::response::IntoResponse;
use http::header;

/// Returns the style sheet, which browsers may cache for an hour.
pub(crate) async fn style_sheet() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "public, max-age=3600")],
        include_str!("templates/style.css"),
    )
}
