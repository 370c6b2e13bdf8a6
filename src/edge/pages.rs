//! The few pages that the edge itself shows.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use crate::http::problem::Problem;

#[derive(Template)]
#[template(path = "edge.html")]
pub(super) struct Page<'a> {
    pub(super) base_path: &'a str,
    pub(super) title: &'a str,
    pub(super) message: &'a str,
    pub(super) link: &'a str,
    pub(super) link_text: &'a str,
    /// Whether the browser follows the link by itself.
    pub(super) at_once: bool,
}

impl Page<'_> {
    /// Returns the page as a response with this status, not to be cached.
    pub(super) fn answer(&self, status: StatusCode) -> Response {
        let Ok(html) = self.render() else {
            return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "The page could not be made.")
                .into_response();
        };
        let mut response = (status, Html(html)).into_response();
        let headers = response.headers_mut();
        for (name, value) in [
            (header::CACHE_CONTROL, "no-store"),
            (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'self'; frame-ancestors 'none'"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
