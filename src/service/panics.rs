//! The response to a request that panicked.

use core::any::Any;

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::http::problem::Problem;

/// Marks the response of a request that panicked, in its extensions.
#[derive(Clone, Copy)]
pub(crate) struct Panicked;

/// Handles panics for `CatchPanicLayer::custom`. The message is not logged
/// here, since it may quote a value. The panic hook logs the location.
pub(crate) fn panicked(_: Box<dyn Any + Send>) -> Response {
    let mut response =
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Something is wrong here.").into_response();
    response.extensions_mut().insert(Panicked);
    response
}
