//! The events that an application's `EventSink` receives from its `SessionLayer`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::routing::get;
use hallpass::event::{Event, EventKind, EventSink};
use hallpass::{
    Algorithm, Clock, Issuer, KeyUse, Lifetimes, Reason, SessionLayer, SigningKey, Subject, SystemClock,
    Verifier,
};
use http::Request;
use tower::Service;

type Verdict = Result<(), Reason>;

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<(Vec<Verdict>, Vec<Event>)>>);

impl EventSink for Heard {
    fn record(&self, event: Event) {
        self.0.lock().unwrap().1.push(event);
    }

    fn verdict(&self, verdict: Result<(), Reason>) {
        self.0.lock().unwrap().0.push(verdict);
    }
}

#[tokio::test]
async fn an_application_hears_every_verdict_of_its_layer() {
    let key = SigningKey::generate(KeyUse::Session, Algorithm::EdDsa).unwrap();
    let issuer = Issuer::new(key, Lifetimes::default()).unwrap();
    let token = issuer.start(Subject::new("alice").unwrap(), (), SystemClock.now()).unwrap();
    let verifier = Verifier::builder(issuer.key_set().clone()).without_revocations().build().unwrap();
    let heard = Heard::default();
    let layer = SessionLayer::new(verifier).events(Arc::new(heard.clone())).with_clock(SystemClock);
    let mut app: Router = Router::new().route("/", get(|| async { "hello" })).layer(layer);
    let peer = ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 40_000)));
    let good = format!("Bearer {}", token.as_str());
    let forged = format!("{}AAAA", &good[..good.len() - 4]);
    for (authorization, peer) in
        [(Some(&*good), None), (Some("Bearer x"), Some(peer)), (Some(&*forged), None), (None, Some(peer))]
    {
        let mut request = Request::new(Body::empty());
        if let Some(authorization) = authorization {
            request.headers_mut().insert("authorization", authorization.parse().unwrap());
        }
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        app.call(request).await.unwrap();
    }
    let heard = heard.0.lock().unwrap();
    // A request without a token has no verdict.
    assert_eq!(heard.0, [Ok(()), Err(Reason::Malformed), Err(Reason::BadSignature)]);
    let told: Vec<_> = heard.1.iter().map(|event| (event.kind, event.address)).collect();
    assert_eq!(
        told,
        [
            (EventKind::TokenRefused(Reason::Malformed), Some([192, 0, 2, 7].into())),
            (EventKind::TokenRefused(Reason::BadSignature), None),
        ]
    );
}
