//! Tickets for requests without headers: a WebSocket handshake, and a download
//! link for one path. Each is good once.
//!
//! `cargo run --example tickets --features axum,issuer`

use axum::Router;
use axum::extract::Path;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::{any, get};
use hallpass::http::TicketLayer;
use hallpass::{Session, TicketVerifier};

/// An echo at `/echo` and files at `/files/…`, for requests with a ticket. A
/// page requests it from the issuer (`POST /tickets`) just before.
pub fn app(tickets: TicketVerifier) -> Router {
    Router::new()
        .route("/echo", any(upgrade))
        .route("/files/{name}", get(download))
        .layer(TicketLayer::new(tickets))
}

async fn upgrade(session: Session, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|socket| echo(socket, session))
}

/// The ticket was only for the handshake; the socket lasts as long as the
/// session.
async fn echo(mut socket: WebSocket, session: Session) {
    let mut ended = std::pin::pin!(session.ended());
    loop {
        tokio::select! {
            _ = &mut ended => return,
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
    }
}

async fn download(session: Session, Path(name): Path<String>) -> String {
    format!("{name}, for {}\n", session.subject())
}

/// Serves, and prints a link of each kind for a made-up session.
#[tokio::main]
#[allow(dead_code, reason = "the tests use the rest")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    use std::time::Duration;

    use hallpass::{Algorithm, SystemClock, Verifier};
    use hallpass::{Clock, Issuer, KeyUse, Lifetimes, Minter, NonceCache, SigningKey, Subject};

    let key = SigningKey::generate(KeyUse::Session, Algorithm::EdDsa)?;
    let issuer = Issuer::new(key.clone(), Lifetimes::default())?;
    let now = SystemClock.now();
    let token = issuer.start(Subject::new("alice")?, (), now)?;

    let keys = issuer.key_set().clone();
    let verifier = Verifier::builder(keys).audience("files").without_revocations().build()?;
    // A ticket issued up to the start plus leeway may have been used before the
    // start. Here there was no earlier process.
    let nonces = NonceCache::new(now.saturating_sub(Duration::from_mins(1)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;

    let minter = Minter::new(Lifetimes::default());
    for (link, path) in [("ws", "/echo"), ("http", "/files/report.txt")] {
        let life = Duration::from_mins(5);
        let ticket = minter.ticket(&key, token.session(), "files", life, Some(path), now)?;
        println!("{link}://{address}{path}?ticket={}", ticket.as_str());
    }
    Ok(axum::serve(listener, app(TicketVerifier::new(verifier, nonces))).await?)
}
