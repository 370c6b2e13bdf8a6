//! `Session<C>` as an argument of an axum handler.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use http::request::Parts;

use crate::http::problem::Problem;
use crate::session::Session;

/// The request has no session: 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no session; is the route inside a SessionLayer?")]
pub struct NoSession;

impl IntoResponse for NoSession {
    fn into_response(self) -> Response {
        Problem::unauthorized().into_response()
    }
}

/// The session that [`SessionLayer`](crate::http::SessionLayer) admitted.
impl<C: 'static, S: Sync> FromRequestParts<S> for Session<C> {
    type Rejection = NoSession;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NoSession> {
        parts.extensions.get::<Session>().map(Session::seen_with).ok_or(NoSession)
    }
}

/// `Option<Session<C>>`: for handlers under an optional layer.
impl<C: 'static, S: Sync> OptionalFromRequestParts<S> for Session<C> {
    type Rejection = core::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get::<Session>().map(Session::seen_with))
    }
}
