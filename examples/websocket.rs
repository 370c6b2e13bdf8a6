//! A WebSocket that ends with its session: when the session is revoked or
//! expires the server closes it, with code 1008 (RFC 6455 §7.4.1).
//!
//! `cargo run --example websocket --features axum,issuer`

use std::pin::pin;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use axum::routing::any;
use hallpass::{Ended, Session, SessionLayer, Verifier};

/// An echo at `/echo`, for users with a session.
pub fn app(verifier: Verifier) -> Router {
    Router::new().route("/echo", any(upgrade)).layer(SessionLayer::new(verifier))
}

async fn upgrade(session: Session, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|socket| echo(socket, session))
}

async fn echo(mut socket: WebSocket, session: Session) {
    let mut ended = pin!(session.ended());
    let why = loop {
        tokio::select! {
            why = &mut ended => break why,
            message = socket.recv() => match message {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    if socket.send(message).await.is_err() {
                        return;
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
        }
    };
    let reason = match why {
        Ended::Expired => "the token has expired; connect again with a renewed one",
        _ => "the session is over",
    };
    let close = CloseFrame { code: close_code::POLICY, reason: reason.into() };
    // If this fails, the connection is closed already.
    let _ = socket.send(Message::Close(Some(close))).await;
}

/// Serves one made-up session for a minute, then revokes it.
#[tokio::main]
#[allow(dead_code, reason = "the tests use the rest")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use hallpass::revocation::{Entry, RevocationList};
    use hallpass::{
        Algorithm, Clock, KeySet, KeyUse, Lifetimes, Minter, NewSession, SigningKey, StalePolicy, Subject,
        SystemClock,
    };

    let key = SigningKey::generate(KeyUse::Session, Algorithm::EdDsa)?;
    let (subject, now) = (Subject::new("alice")?, SystemClock.now());
    let new = NewSession {
        subject: &subject,
        claims: &(),
        started: now,
        auth_time: now,
        ends: None,
        amr: &[],
        bound_to: None,
    };
    let token = Minter::new(Lifetimes::default()).start(&key, &new, now)?;

    let list = RevocationList::new();
    let verifier = Verifier::builder(KeySet::new([key.verifying_key().clone()])?)
        .revocations(list.clone())
        .stale_policy(StalePolicy::NeverStale)
        .build()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("ws://{}/echo  Authorization: Bearer {}", listener.local_addr()?, token.as_str());

    let (sid, ends) = (token.session().id(), token.session().ends_at());
    tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_mins(1)).await;
        println!("the session is revoked");
        list.insert(Entry::Session { sid, ends });
    });
    Ok(axum::serve(listener, app(verifier)).await?)
}
