//! Why a request is not served, and the one place that turns it into a
//! response.

use core::fmt::Display;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use crate::error::{ConfigError, Rejection};
use crate::event::Limit;
use crate::http::problem::Problem;
use crate::issuer::TicketError;
use crate::issuer::store::StoreError;
use crate::server::login::LogInError;
use crate::server::login::limits::Limited;
use crate::server::login::tickets::IssueError;

/// The result of handlers.
pub(crate) type ApiResult<T = Response> = Result<T, ApiError>;

/// Why a request is not served. The client learns only what it can act on.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// It carries no token, or two.
    NoToken,
    /// A page of another site made the browser send it.
    CrossSite,
    /// Its token is refused; the client is not told why.
    Rejected(Rejection),
    LogIn(LogInError),
    Ticket(IssueError),
    /// The request can't be served as it is; the text says what to change.
    Problem(StatusCode, &'static str),
    /// Too many of these are being served already.
    TooMany(StatusCode, &'static str),
    /// Something in the service does not work at the moment; logged where it
    /// failed.
    Unavailable(&'static str),
}

/// Logs why something failed, and answers that it may work later.
pub(super) fn failed<E: Display>(detail: &'static str) -> impl FnOnce(E) -> ApiError {
    move |error| {
        tracing::error!(%error, "request failed: {detail}");
        ApiError::Unavailable(detail)
    }
}

pub(super) const fn unprocessable(detail: &'static str) -> ApiError {
    ApiError::Problem(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

impl<E: Into<LogInError>> From<E> for ApiError {
    fn from(error: E) -> Self {
        Self::LogIn(error.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::NoToken => Problem::unauthorized().into_response(),
            Self::CrossSite => Problem::cross_site().into_response(),
            Self::Rejected(rejection) => with_rejection(Problem::unauthorized(), rejection),
            Self::LogIn(error) => log_in(&error),
            Self::Ticket(error) => ticket(&error),
            Self::Problem(status, detail) => Problem::new(status, detail).into_response(),
            Self::TooMany(status, detail) => later(status, detail, HeaderValue::from_static("2")),
            Self::Unavailable(detail) => {
                later(StatusCode::SERVICE_UNAVAILABLE, detail, HeaderValue::from_static("2"))
            }
        }
    }
}

/// Adds the challenge, which depends on why the token was refused.
fn with_rejection(problem: Problem, rejection: Rejection) -> Response {
    let mut response = problem.into_response();
    response.extensions_mut().insert(rejection);
    response
}

/// Makes a response that says when to try again.
fn later(status: StatusCode, detail: &'static str, after: HeaderValue) -> Response {
    let mut response = Problem::new(status, detail).into_response();
    response.headers_mut().insert(header::RETRY_AFTER, after);
    response
}

fn log_in(error: &LogInError) -> Response {
    if error.status().is_server_error() && !matches!(error, LogInError::Busy) {
        tracing::error!(%error, "log-in failed");
    }
    let problem = Problem::new(error.status(), error.advice());
    let mut response = match error {
        LogInError::Proof(why) => with_rejection(problem, Rejection::from(*why)),
        _ => problem.into_response(),
    };
    if let Some(after) = error.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, after);
    }
    response
}

/// When to retry, in seconds: after the default lifetime of a ticket.
const TICKET_RETRY: HeaderValue = HeaderValue::from_static("30");

/// Makes the response for a ticket that could not be issued.
fn ticket(error: &IssueError) -> Response {
    let detail = match error {
        IssueError::TooMany(_) => {
            let detail = "There are too many unused tickets. Use them, or wait until they are over.";
            return later(StatusCode::TOO_MANY_REQUESTS, detail, TICKET_RETRY);
        }
        IssueError::Ticket(TicketError::SessionEnded { .. }) => return ApiError::NoToken.into_response(),
        IssueError::Ticket(TicketError::Lifetime) => "max_age is 1 to 300 seconds.",
        IssueError::Ticket(TicketError::Path) => {
            "The path starts with a slash, has no query and needs no escapes."
        }
        IssueError::Ticket(TicketError::Audience) => "The audience can't be used.",
        IssueError::Ticket(TicketError::Config(ConfigError::TokenTooLong { .. })) => {
            "The ticket would be too long. Ask for a shorter path."
        }
        IssueError::Ticket(error) => {
            return failed("No ticket can be made at the moment. Try again.")(error).into_response();
        }
    };
    unprocessable(detail).into_response()
}

impl LogInError {
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Refused
            | Self::Proof(_)
            | Self::Store(StoreError::UserChanged | StoreError::ParentOver) => StatusCode::UNAUTHORIZED,
            Self::Limited(_) | Self::Throttled(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy | Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Token(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns when to try again.
    pub(super) fn retry_after(&self) -> Option<HeaderValue> {
        match self {
            Self::Limited(limited) => Some(limited.retry_after.as_secs().into()),
            Self::Throttled(wait) => Some(wait.as_secs().into()),
            _ if self.status() == StatusCode::SERVICE_UNAVAILABLE => Some(HeaderValue::from_static("2")),
            _ => None,
        }
    }

    /// Returns the advice for a page.
    pub(super) fn advice_on_page(&self) -> String {
        match self {
            Self::Limited(limited) => {
                let attempts = matches!(limited.limit, Limit::Account | Limit::Failures);
                let elsewhere = if attempts {
                    " In a browser in which you logged in before, you need not wait."
                } else {
                    ""
                };
                let advice = self.advice().trim_end_matches(" Try again later.");
                let wait = humantime::format_duration(limited.retry_after);
                format!("{advice} Try again in {wait}.{elsewhere}")
            }
            _ => self.advice().to_owned(),
        }
    }

    /// Returns what the user can do.
    pub(super) const fn advice(&self) -> &'static str {
        match self {
            Self::Refused => "The user name or the password is wrong.",
            Self::Store(StoreError::UserChanged) => "This user may not log in, or has just been changed.",
            Self::Store(StoreError::ParentOver) => "This session has ended. Log in again.",
            Self::Limited(Limited { limit: Limit::SessionsOfAccount | Limit::SessionsOfAddress, .. }) => {
                "There are too many sessions. Log out where you don't need one, or try again later."
            }
            Self::Limited(Limited { limit: Limit::Feed, .. }) => {
                "Too many requests for the feed from your network. Try again later."
            }
            Self::Limited(_) => "Too many attempts to log in. Try again later.",
            Self::Proof(_) => "The proof of the key is refused. Make another, with the nonce of this answer.",
            Self::Throttled(_) => "Log-ins from your network are refused for a while. Try again later.",
            Self::Busy => "Too many people are logging in. Try again in a moment.",
            Self::Store(_) => "Log-in is not possible at the moment. Try again in a moment.",
            Self::Token(_) => "Log-in is not possible. Tell whoever runs this service to look at its log.",
        }
    }
}
