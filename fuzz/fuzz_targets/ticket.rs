//! Only a good ticket is redeemed, once, and only at its path. Inputs are
//! damaged tickets, other paths, and any bytes.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use hallpass::{
    Algorithm, KeySet, KeyUse, Lifetimes, Minter, NewSession, NonceCache, Reason, SigningKey, Subject,
    TicketVerifier, UnixTime, Verifier,
};
use hallpass_fuzz::{NOW, base64url, unbase64url};
use libfuzzer_sys::fuzz_target;

fn now() -> UnixTime {
    UnixTime::saturating_from_secs(NOW)
}

/// A verifier; a session token; tickets for any path, and for one.
struct Good {
    verifier: Verifier,
    token: Vec<u8>,
    tickets: [Vec<u8>; 2],
}

static GOOD: LazyLock<Good> = LazyLock::new(|| {
    let key = SigningKey::generate(KeyUse::Session, Algorithm::EdDsa).expect("randomness");
    let subject = Subject::new("alice").expect("a subject");
    let minter = Minter::new(Lifetimes::default()).audience(Some("store".into()));
    let new = NewSession {
        subject: &subject,
        claims: &(),
        started: now(),
        auth_time: now(),
        ends: None,
        amr: &[],
        bound_to: None,
    };
    let token = minter.start(&key, &new, now()).expect("a token");
    let bytes = |text: &str| unbase64url(text.as_bytes()).expect("base64url");
    let tickets = [None, Some("/ws")].map(|path| {
        let minute = Duration::from_secs(60);
        let ticket = minter.ticket(&key, token.session(), "store", minute, path, now());
        bytes(ticket.expect("a ticket").as_str())
    });
    let keys = KeySet::new([key.verifying_key().clone()]).expect("a key set");
    let verifier = Verifier::builder(keys).audience("store").without_revocations().build();
    Good { verifier: verifier.expect("a verifier"), token: bytes(token.as_str()), tickets }
});

fuzz_target!(|data: &[u8]| {
    let Good { verifier, token, tickets } = &*GOOD;
    let start = now().saturating_sub(Duration::from_secs(100));
    let redeemer = TicketVerifier::new(verifier.clone(), NonceCache::new(start));
    let redeem = |text: &[u8], path: &str| redeemer.redeem::<()>(text, path, now()).map(drop);

    // As a ticket of its own; as a session token with a change; as a path.
    assert!(redeem(data, "/ws").is_err());
    assert!(redeem(base64url(data).as_bytes(), "/ws").is_err());
    let text = String::from_utf8_lossy(data);
    let verdict = redeem(base64url(&tickets[1]).as_bytes(), &text);
    assert_eq!(verdict.is_ok(), text == "/ws");

    let Some((which, changes)) = data.split_first() else { return };
    let mut changed = [&tickets[0], &tickets[1], token][usize::from(*which) % 3].clone();
    for change in changes.chunks_exact(2).take(20) {
        let at = usize::from(change[0]) % changed.len();
        changed[at] = change[1];
    }
    let good = *tickets == [changed.clone(), tickets[1].clone()]
        || *tickets == [tickets[0].clone(), changed.clone()] && text != "/ws";
    let changed = base64url(&changed);
    assert_eq!(redeem(changed.as_bytes(), "/ws").is_ok(), good);
    if good {
        assert_eq!(redeem(changed.as_bytes(), "/ws").map_err(|why| why.reason()), Err(Reason::Replayed));
    }
});
