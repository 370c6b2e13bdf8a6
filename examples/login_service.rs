//! The smallest login service: the ledger is in memory, the key made at start.
//!
//! `cargo run --example login_service --features axum,issuer -- public.cbor`

use axum::{Form, Router, extract::State, http::StatusCode, routing::post};
use hallpass::{
    Algorithm, Clock, Issuer, KeyUse, Lifetimes, Minter, SigningKey, SigningKeys, Subject, SystemClock,
};

#[derive(serde::Deserialize)]
struct Credentials {
    username: String,
    password: String,
}

/// Answers with the token.
async fn log_in(State(issuer): State<Issuer>, Form(given): Form<Credentials>) -> Result<String, StatusCode> {
    // Check the password here, in your own user database.
    if given.username != "alice" || given.password != "wonderland" {
        return Err(StatusCode::UNAUTHORIZED);
    }
    let subject = Subject::new(given.username).map_err(|_| StatusCode::UNAUTHORIZED)?;
    let token =
        issuer.start(subject, (), SystemClock.now()).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(token.as_str().to_owned())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("usage: login_service FILE [PORT]")?;
    let port = std::env::args().nth(2).unwrap_or("8703".into());
    let keys = SigningKeys::new(SigningKey::generate(KeyUse::Session, Algorithm::EdDsa)?, [])?;
    let issuer = Issuer::with(keys, Minter::new(Lifetimes::default()).audience(Some("store".into())))?;
    std::fs::write(file, issuer.key_set().to_cose())?;
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, Router::new().route("/login", post(log_in)).with_state(issuer)).await?)
}
