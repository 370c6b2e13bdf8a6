//! The smallest edge: verifies sessions with the public keys in a file.
//!
//! `hallpass key export --dir keys > public.cbor`, then
//! `cargo run --example edge --features axum -- public.cbor`

use axum::{Router, routing::get};
use hallpass::{KeySet, Session, SessionLayer, Verifier};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("usage: edge FILE [PORT]")?;
    let port = std::env::args().nth(2).unwrap_or("8702".into());
    let keys = KeySet::from_bytes(&std::fs::read(file)?)?;
    let verifier = Verifier::builder(keys).audience("store").without_revocations().build()?;
    let app = Router::new()
        .route("/", get(|session: Session| async move { format!("hello {}\n", session.subject()) }))
        .layer(SessionLayer::new(verifier));
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
