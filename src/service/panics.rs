//! The answer to a request that panicked.

use core::any::Any;

use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::http::problem::Problem;

/// A request that panicked, in its response's extensions.
#[derive(Clone, Copy)]
pub(crate) struct Panicked;

/// For `CatchPanicLayer::custom`. What the panic says is not logged here: it may
/// quote a value. Where it happened is, by the panic hook.
pub(crate) fn panicked(_: Box<dyn Any + Send>) -> Response {
    let mut response =
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Something is wrong here.").into_response();
    response.extensions_mut().insert(Panicked);
    response
}
