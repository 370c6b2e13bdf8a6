//! The style sheet of every page, the issuer's and the edge's alike.

use axum::response::IntoResponse;
use http::header;

/// Answers with the style sheet, which browsers may keep for an hour.
pub(crate) async fn style_sheet() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "public, max-age=3600")],
        include_str!("templates/style.css"),
    )
}
