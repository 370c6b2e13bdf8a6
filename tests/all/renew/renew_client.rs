//! An edge renews: once per token, without ever making a request fail.
#![expect(clippy::unwrap_used, reason = "also in the helpers of tests")]

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use hallpass::renew::{RenewClientBuilder, Renewed, Successor};
use hallpass::{
    Algorithm, Clock, Issuer, KeyUse, Lifetimes, RenewClient, RenewError, Session, SigningKey, Subject,
    SystemClock, UnixTime, Verifier,
};
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tokio::sync::{Barrier, watch};

use crate::support::{Home, bearer};

/// Longer than any answer over loopback takes.
const AGES: Duration = Duration::from_secs(60);

/// A clock that tests set.
#[derive(Clone)]
pub(crate) struct SetClock(Arc<AtomicU64>);

impl Clock for SetClock {
    fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.0.load(SeqCst)).unwrap()
    }
}

impl SetClock {
    /// Another clock, set apart from this one.
    pub(crate) fn ahead(&self, secs: u64) -> Self {
        Self(Arc::new(AtomicU64::new(self.0.load(SeqCst) + secs)))
    }

    pub(crate) fn advance(&self, secs: u64) {
        self.0.fetch_add(secs, SeqCst);
    }
}

/// A real issuer behind a `/renew` that counts, can be slow and can fail.
pub(crate) struct Stand {
    pub(crate) issuer: Issuer,
    pub(crate) clock: SetClock,
    pub(crate) url: String,
    /// What was asked, and for whom.
    asked: Mutex<Vec<(String, Option<String>)>>,
    /// Answers wait while this is closed.
    open: watch::Sender<bool>,
    fails: AtomicUsize,
    /// The token that is answered, instead of the successor.
    instead: Mutex<Option<String>>,
}

impl Stand {
    pub(crate) async fn new() -> Arc<Self> {
        let key = SigningKey::generate(KeyUse::Session, Algorithm::EdDsa).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stand = Arc::new(Self {
            issuer: Issuer::new(key, Lifetimes::default()).unwrap(),
            // The sessions' own clock is the machine's.
            clock: SetClock(Arc::new(AtomicU64::new(SystemClock.now().as_secs()))),
            url: format!("http://{}", listener.local_addr().unwrap()),
            asked: Mutex::default(),
            open: watch::channel(true).0,
            fails: AtomicUsize::new(0),
            instead: Mutex::default(),
        });
        let routes = Router::new().route("/renew", post(Self::renew)).with_state(Arc::clone(&stand));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        stand
    }

    async fn renew(State(stand): State<Arc<Self>>, headers: HeaderMap) -> Response {
        let header = |name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let token = header("authorization").unwrap().strip_prefix("Bearer ").unwrap().to_owned();
        stand.asked.lock().unwrap().push((token.clone(), header("x-forwarded-for")));
        stand.open.subscribe().wait_for(|open| *open).await.unwrap();
        let instead = stand.instead.lock().unwrap().clone();
        if let Some(token) = instead {
            return Json(json!({ "token": token })).into_response();
        }
        match stand.fails.load(SeqCst) {
            0 => {}
            1 => return Json(json!({ "token": "nonsense" })).into_response(),
            2 => return Json(json!({ "token": stand.start("mallory") })).into_response(),
            3 => return "x".repeat(100_000).into_response(),
            status => return StatusCode::from_u16(status.try_into().unwrap()).unwrap().into_response(),
        }
        match stand.issuer.renew(&token, stand.clock.now()) {
            Ok(renewal) => {
                let text = renewal.token.as_str();
                Json(json!({ "renewed": renewal.renewed, "session": renewal.token.session(), "token": text }))
                    .into_response()
            }
            Err(_) => StatusCode::UNAUTHORIZED.into_response(),
        }
    }

    pub(crate) fn start(&self, subject: &str) -> String {
        let token = self.issuer.start(Subject::new(subject).unwrap(), (), self.clock.now()).unwrap();
        token.as_str().to_owned()
    }

    /// A token of alice that is due.
    pub(crate) fn due(&self) -> String {
        let token = self.start("alice");
        self.clock.advance(460);
        token
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// For whom, each time.
    pub(crate) fn asked_for(&self) -> Vec<Option<String>> {
        self.asked.lock().unwrap().iter().map(|(_, client)| client.clone()).collect()
    }

    pub(crate) fn open(&self, open: bool) {
        self.open.send_replace(open);
    }

    /// Answers with this status from now on; 0 restores normal answers.
    pub(crate) fn fail(&self, status: usize) {
        self.fails.store(status, SeqCst);
    }

    pub(crate) fn verifier(&self) -> Verifier {
        let keys = self.issuer.key_set().clone();
        Verifier::builder(keys).without_revocations().build().unwrap().with_clock(self.clock.clone())
    }

    pub(crate) fn builder(&self) -> RenewClientBuilder {
        RenewClient::builder(&self.url, self.verifier()).clock(self.clock.clone())
    }

    fn client(&self) -> RenewClient {
        self.builder().patience(AGES).timeout(AGES).build().unwrap()
    }

    fn session(&self, token: &str) -> Session {
        self.verifier().verify(token, self.clock.now()).unwrap()
    }

    /// As a request with this token.
    async fn request(&self, client: &RenewClient, token: &str) -> Successor {
        client.successor(token, &self.session(token), None).await
    }

    /// Waits until the issuer was asked so often; never more than that.
    pub(crate) async fn until_asked(&self, times: usize) {
        while self.asked() < times {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(self.asked(), times);
    }
}

/// Waits for what happens in the background.
async fn settled(client: &RenewClient) {
    loop {
        let counts = client.counts();
        if counts.asked == counts.renewed + counts.not_due + counts.refused + counts.failed {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn renewed(successor: Successor) -> Renewed {
    match successor {
        Successor::Renewed(renewed) => renewed,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_wait_the_issuer_is_asked_once() {
    let stand = Stand::new().await;
    let (client, token) = (stand.client(), stand.due());
    stand.open(false);
    let barrier = Arc::new(Barrier::new(201));
    let requests: Vec<_> = (0..200)
        .map(|_| {
            let (stand, client, token) = (Arc::clone(&stand), client.clone(), token.clone());
            let barrier = Arc::clone(&barrier);
            tokio::spawn(async move {
                barrier.wait().await;
                let session = stand.session(&token);
                let begun = client.begin(&token, &session, None);
                barrier.wait().await;
                let hallpass::renew::Begun::Waiting(waiting) = begun else { panic!("{begun:?}") };
                renewed(waiting.wait().await).as_str().to_owned()
            })
        })
        .collect();
    barrier.wait().await;
    // All of them wait for an answer by now.
    barrier.wait().await;
    stand.open(true);
    let mut tokens = std::collections::HashSet::new();
    for request in requests {
        tokens.insert(request.await.unwrap());
    }
    assert_eq!((tokens.len(), stand.asked()), (1, 1));
    // Later requests with the old token get the successor from memory.
    assert!(tokens.contains(renewed(stand.request(&client, &token).await).as_str()));
    assert_eq!(stand.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_of_a_young_token_nor_of_one_that_ends_with_its_session() {
    let stand = Stand::new().await;
    let client = stand.client();
    let token = stand.start("alice");
    stand.clock.advance(449);
    assert!(matches!(stand.request(&client, &token).await, Successor::NotDue));
    assert_eq!(stand.asked(), 0);
    // Renewed every seven minutes and a half, for twelve hours.
    let mut token = token;
    let mut answers = 0;
    loop {
        stand.clock.advance(450);
        answers += 1;
        let session = stand.session(&token);
        if session.expires_at() == session.ends_at() {
            break;
        }
        let next = renewed(stand.request(&client, &token).await);
        assert_eq!(next.session().generation(), session.generation() + 1);
        token = next.as_str().to_owned();
        assert!(matches!(stand.request(&client, &token).await, Successor::NotDue));
        settled(&client).await;
    }
    assert!(answers > 90, "{answers}");
    let asked = stand.asked();
    assert!(matches!(stand.request(&client, &token).await, Successor::NotDue));
    assert_eq!(stand.asked(), asked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_serves_the_next_request() {
    let stand = Stand::new().await;
    let client = stand.builder().patience(Duration::from_millis(20)).timeout(AGES).build().unwrap();
    let token = stand.due();
    stand.open(false);
    for _ in 0..3 {
        assert!(matches!(stand.request(&client, &token).await, Successor::Late));
    }
    stand.until_asked(1).await;
    stand.open(true);
    settled(&client).await;
    let next = renewed(stand.request(&client, &token).await);
    assert_eq!(next.session().generation(), 1);
    assert_eq!(stand.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_given_up_does_not_take_the_renewal_with_it() {
    let stand = Stand::new().await;
    let (client, token) = (stand.client(), stand.due());
    stand.open(false);
    let session = stand.session(&token);
    let first = {
        let (client, token) = (client.clone(), token.clone());
        tokio::spawn(async move { client.successor(&token, &session, None).await })
    };
    stand.until_asked(1).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    stand.open(true);
    renewed(stand.request(&client, &token).await);
    assert_eq!(stand.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_tokens_first_use_is_told_once_and_makes_the_old_one_evidence() {
    let stand = Stand::new().await;
    let (client, old) = (stand.client(), stand.due());
    let new = renewed(stand.request(&client, &old).await).as_str().to_owned();
    stand.clock.advance(61);
    // Nobody has used the new one: the answer may have been lost, and comes again.
    assert_eq!(renewed(stand.request(&client, &old).await).as_str(), new);
    assert_eq!(stand.asked(), 2);
    for _ in 0..50 {
        assert!(matches!(stand.request(&client, &new).await, Successor::NotDue));
    }
    settled(&client).await;
    assert!(matches!(stand.request(&client, &new).await, Successor::NotDue));
    assert_eq!(stand.asked.lock().unwrap().iter().filter(|(token, _)| *token == new).count(), 1);
    assert_eq!(client.counts().not_due, 1);
    // At once the old one is still answered, from memory: tabs race.
    assert_eq!(renewed(stand.request(&client, &old).await).as_str(), new);
    assert_eq!(stand.asked(), 3);
    // After the grace period the old token counts as stolen, as at the issuer.
    stand.clock.advance(61);
    assert!(matches!(stand.request(&client, &old).await, Successor::Refused));
    let error = stand.issuer.renew(&new, stand.clock.now()).unwrap_err();
    assert!(matches!(error, RenewError::Refused(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_remembered_and_serves_the_request() {
    let stand = Stand::new().await;
    let (client, token) = (stand.client(), stand.due());
    stand.issuer.log_out(&token, stand.clock.now()).unwrap();
    for _ in 0..10 {
        assert!(matches!(stand.request(&client, &token).await, Successor::Refused));
    }
    assert_eq!(stand.asked(), 1);
    // Only this token is affected; others are still renewed.
    renewed(stand.request(&client, &stand.due()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_issuer_finds_too_early_is_asked_again_later_and_seldom() {
    let stand = Stand::new().await;
    let client = stand.builder().renew_after(Duration::from_secs(10)).patience(AGES).build().unwrap();
    let token = stand.start("alice");
    let mut renewals = 0;
    for _ in 0..890 {
        stand.clock.advance(1);
        renewals += usize::from(matches!(stand.request(&client, &token).await, Successor::Renewed(_)));
        if renewals == 1 {
            break;
        }
    }
    assert_eq!(renewals, 1);
    // At 10, 455 (half of the rest): the second is late enough.
    assert_eq!(stand.asked(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_fails_is_left_alone_for_a_while() {
    let stand = Stand::new().await;
    for fails in [500, 503, 302, 3] {
        let slow = stand.builder().back_off(AGES, AGES).patience(AGES).build().unwrap();
        stand.fail(fails);
        let before = stand.asked();
        for _ in 0..20 {
            let token = stand.due();
            assert!(matches!(stand.request(&slow, &token).await, Successor::Unavailable));
        }
        assert_eq!(stand.asked(), before + 1, "{fails}");
        // Another client waits for less, and is back as soon as the issuer is.
        let quick = stand.builder().back_off(Duration::from_millis(1), Duration::from_millis(1));
        let (quick, token) = (quick.patience(AGES).build().unwrap(), stand.due());
        assert!(matches!(stand.request(&quick, &token).await, Successor::Unavailable));
        stand.fail(0);
        loop {
            match stand.request(&quick, &token).await {
                Successor::Renewed(_) => break,
                Successor::Unavailable => tokio::time::sleep(Duration::from_millis(1)).await,
                other => panic!("{other:?}"),
            }
        }
    }
    // No issuer at this address.
    let nowhere = RenewClient::builder("http://127.0.0.1:9", stand.verifier()).clock(stand.clock.clone());
    let (nowhere, token) = (nowhere.patience(AGES).build().unwrap(), stand.due());
    assert!(matches!(stand.request(&nowhere, &token).await, Successor::Unavailable));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_never_answers_is_given_up() {
    let stand = Stand::new().await;
    let client = stand.builder().timeout(Duration::from_millis(50)).patience(AGES).build().unwrap();
    stand.open(false);
    assert!(matches!(stand.request(&client, &stand.due()).await, Successor::Unavailable));
    assert_eq!(client.counts().failed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_that_failed_is_made_up_for() {
    let stand = Stand::new().await;
    let client = stand.builder().patience(AGES).back_off(Duration::from_millis(1), Duration::from_millis(1));
    let client = client.build().unwrap();
    let new = renewed(stand.request(&client, &stand.due()).await).as_str().to_owned();
    stand.fail(500);
    assert!(matches!(stand.request(&client, &new).await, Successor::NotDue));
    settled(&client).await;
    assert_eq!(client.counts().failed, 1);
    stand.fail(0);
    while client.counts().not_due == 0 {
        assert!(matches!(stand.request(&client, &new).await, Successor::NotDue));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_is_none_is_not_handed_on() {
    let stand = Stand::new().await;
    for fails in [1, 2] {
        let (client, token) = (stand.client(), stand.due());
        stand.fail(fails);
        for _ in 0..3 {
            assert!(matches!(stand.request(&client, &token).await, Successor::Unavailable));
        }
        // Other tokens are still renewed.
        stand.fail(0);
        renewed(stand.request(&client, &stand.due()).await);
        assert_eq!((client.counts().asked, client.counts().failed), (2, 1));
    }
}

/// The same user's token, genuine and of a later generation, but of a session
/// on another device.
#[tokio::test(flavor = "multi_thread")]
async fn a_successor_of_another_session_is_not_handed_on() {
    let stand = Stand::new().await;
    let (client, token, other) = (stand.client(), stand.start("alice"), stand.start("alice"));
    stand.clock.advance(460);
    let other = stand.issuer.renew(&other, stand.clock.now()).unwrap();
    assert!(other.renewed);
    *stand.instead.lock().unwrap() = Some(other.token.as_str().to_owned());
    assert!(matches!(stand.request(&client, &token).await, Successor::Unavailable));
    assert_eq!((client.counts().renewed, client.counts().failed), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_issuer_is_told_who_asks() {
    let stand = Stand::new().await;
    let (client, token) = (stand.client(), stand.due());
    let session = stand.session(&token);
    renewed(client.successor(&token, &session, Some("2001:db8::7".parse().unwrap())).await);
    assert_eq!(*stand.asked.lock().unwrap(), [(token, Some("2001:db8::7".to_owned()))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_and_what_was_forgotten_is_asked_again() {
    let stand = Stand::new().await;
    let client = stand.builder().capacity(1000).patience(AGES).build().unwrap();
    let tokens: Vec<_> = (0..3000).map(|_| stand.start("alice")).collect();
    stand.clock.advance(460);
    let first = renewed(stand.request(&client, &tokens[0]).await).as_str().to_owned();
    for token in &tokens {
        renewed(stand.request(&client, token).await);
    }
    assert_eq!(stand.asked(), tokens.len());
    assert_eq!(renewed(stand.request(&client, &tokens[0]).await).as_str(), first);
    assert_eq!(stand.asked(), tokens.len() + 1);
}

#[test]
fn tokens_go_nowhere_in_the_clear() {
    let verifier = || {
        let key = SigningKey::generate(KeyUse::Session, Algorithm::EdDsa).unwrap();
        let keys = hallpass::KeySet::new([key.verifying_key().clone()]).unwrap();
        Verifier::builder(keys).without_revocations().build().unwrap()
    };
    for (url, fine) in [
        ("https://login.example", true),
        ("https://login.example/.hallpass/", true),
        ("http://localhost:8700", true),
        ("http://[::1]:8700", true),
        ("http://login.example", false),
        ("http://localhost.example", false),
        ("ftp://login.example", false),
        ("login.example", false),
        ("https://login.example/?a", false),
    ] {
        assert_eq!(RenewClient::builder(url, verifier()).build().is_ok(), fine, "{url}");
    }
    assert!(RenewClient::builder("http://login.example", verifier()).over_plain_http().build().is_ok());
    assert!(RenewClient::builder("https://login.example", verifier()).capacity(999).build().is_err());
}

/// The same against `hallpass serve`.
#[tokio::test(flavor = "multi_thread")]
async fn the_login_service_renews_for_an_edge() {
    let home = Home::new();
    let config = home.write(
        "c.toml",
        "base_path = \"/.hallpass\"\ntrusted_proxies = [\"127.0.0.1\"]\n[lifetimes]\nidle_timeout = \"60s\"\nrenew_after = \"2s\"\nrenewal_grace = \"1s\"\n",
    );
    let serve = home.serve(&["--config", config.to_str().unwrap()]);
    let old = bearer(&serve.url).await;
    let keys = crate::support::ok(&["key", "export", "--dir", &home.path("keys")], b"");
    let keys = hallpass::KeySet::from_bytes(&keys).unwrap();
    let verifier = Verifier::builder(keys).without_revocations().build().unwrap();
    let client = RenewClient::builder(&serve.url, verifier.clone()).patience(AGES);
    let client = client.renew_after(Duration::from_secs(3)).build().unwrap();
    let session: Session = verifier.verify(&old, SystemClock.now()).unwrap();
    let address = Some("192.0.2.7".parse().unwrap());
    let next = loop {
        match client.successor(&old, &session, address).await {
            Successor::Renewed(next) => break next,
            Successor::NotDue => tokio::time::sleep(Duration::from_millis(200)).await,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((next.session().id(), next.session().generation()), (session.id(), 1));
    assert_eq!(client.counts().asked, 1);
    // The log comes by a pipe.
    let told = |line: &str| line.contains("session_renewed") && line.contains("192.0.2.7");
    while !serve.log().lines().any(told) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Seen in use at the edge: so the issuer knows of it, and the old one is
    // evidence of theft from then on.
    assert!(matches!(client.successor(next.as_str(), next.session(), None).await, Successor::NotDue));
    settled(&client).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let renew = |token: &str| crate::support::client().post(serve.at("/renew")).bearer_auth(token).send();
    assert_eq!(renew(&old).await.unwrap().status(), StatusCode::UNAUTHORIZED);
    while !serve.log().contains("authn_token_reuse") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
