//! An edge that follows its issuer: it gets revocations and new keys from the
//! signed feed, and renews cookies. Only for that it calls the issuer, once for
//! each token, while it serves the request. Start from this example.
//!
//! `hallpass key export --dir keys --use feed > feed-keys.cbor`, then
//! `cargo run --example edge_live --features axum,sync -- http://127.0.0.1:8700 feed-keys.cbor`

use std::time::Duration;

use axum::{Router, routing::get};
use hallpass::revocation::{FeedKeys, sync::FeedClient};
use hallpass::{RenewClient, Session, SessionLayer, StalePolicy, Verifier};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let usage = "usage: edge_live ISSUER FEED_KEYS [PORT [STALE_AFTER_SECONDS]]";
    let mut args = std::env::args().skip(1);
    let (issuer, trusted) = (args.next().ok_or(usage)?, std::fs::read(args.next().ok_or(usage)?)?);
    let (port, stale) = (args.next().unwrap_or("8704".into()), args.next().unwrap_or("900".into()));

    let client = FeedClient::builder(issuer.as_str()).trust(FeedKeys::from_bytes(&trusted)?).build()?;
    let verifier = Verifier::builder(client.keys().clone())
        .audience("store")
        .revocations(client.list().clone())
        .stale_policy(StalePolicy::RefuseAfter(Duration::from_secs(stale.parse()?)))
        .build()?;
    let renewal = RenewClient::builder(issuer, verifier.clone()).build()?;
    let list = client.list().clone();
    tokio::spawn(client.run());

    let app = Router::new()
        .route("/", get(|session: Session| async move { format!("hello {}\n", session.subject()) }))
        .layer(SessionLayer::new(verifier).renewing(renewal))
        // Outside the layer: the age of this edge's revocation list.
        .route("/as-of", get(async move || list.as_of().map_or_else(String::new, |at| at.to_string())));
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
