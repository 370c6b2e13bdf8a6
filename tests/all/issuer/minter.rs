//! The tokens that the issuer makes, and those that it refuses to make.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hallpass::{
    Algorithm, ConfigError, IssuedToken, KeySet, KeyUse, LifetimeSettings, Lifetimes, Minter, NewSession,
    Session, SigningKey, Subject, UnixTime, Verifier,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::support::raw::NOW;

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_secs(seconds).unwrap()
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[3; 32], KeyUse::Session, Algorithm::EdDsa).unwrap()
}

fn start<C: Serialize>(
    minter: &Minter,
    claims: &C,
    change: impl FnOnce(&mut NewSession<'_, C>),
) -> Result<IssuedToken, ConfigError> {
    let subject = Subject::new("alice").unwrap();
    let mut new = NewSession {
        subject: &subject,
        claims,
        started: at(NOW),
        auth_time: at(NOW),
        ends: None,
        amr: &[],
        bound_to: None,
    };
    change(&mut new);
    minter.start(&key(), &new, at(NOW))
}

fn minter() -> Minter {
    Minter::new(Lifetimes::default())
}

fn verify<C>(token: &str, now: u64) -> Session<C> {
    let keys = KeySet::new([key().verifying_key().clone()]).unwrap();
    Verifier::builder(keys).without_revocations().build().unwrap().verify(token, at(now)).unwrap()
}

#[test]
fn what_is_issued_is_what_verifies() {
    let issued = start(&minter(), &(), |_| {}).unwrap();
    let session: Session = verify(issued.as_str(), NOW);
    assert_eq!(serde_json::to_value(&session).unwrap(), serde_json::to_value(issued.session()).unwrap());
    assert_eq!((session.issued_at(), session.expires_at()), (at(NOW), at(NOW + 900)));
    assert_eq!((session.started_at(), session.ends_at()), (at(NOW), at(NOW + 43_200)));
    assert_eq!((session.generation(), session.auth_time(), session.bound_to()), (0, at(NOW), None));
    assert_eq!(session.key_id(), key().id());
    assert!(!format!("{issued:?}").contains(&issued.as_str()[..10]));
}

/// CVE-2020-5205: no client input goes into an id.
#[test]
fn every_session_and_token_has_an_id_of_its_own() {
    let issued: Vec<_> = (0..500).map(|_| start(&minter(), &(), |_| {}).unwrap()).collect();
    let sessions: BTreeSet<_> = issued.iter().map(|token| token.session().id()).collect();
    let tokens: BTreeSet<_> = issued.iter().map(|token| *token.session().token_id().as_bytes()).collect();
    assert_eq!((sessions.len(), tokens.len()), (500, 500));
    assert!(sessions.iter().all(|id| !tokens.contains(id.as_bytes())));
}

#[test]
fn times_are_held_to_the_session() {
    // A given end is used, limited by the absolute lifetime.
    let ends = |ends: u64| start(&minter(), &(), |new| new.ends = Some(at(ends)));
    let session = |token: IssuedToken| (token.session().expires_at(), token.session().ends_at());
    assert_eq!(session(ends(NOW + 100).unwrap()), (at(NOW + 100), at(NOW + 100)));
    assert_eq!(session(ends(NOW + 99_999).unwrap()), (at(NOW + 900), at(NOW + 43_200)));
    // A session that ends before it starts is refused.
    for end in [0, NOW - 1, NOW] {
        assert!(matches!(ends(end), Err(ConfigError::Claims(_))), "{end}");
    }
    // After a revocation in this second, a session starts a second later.
    let later = start(&minter(), &(), |new| new.started = at(NOW + 1)).unwrap();
    assert_eq!((later.session().started_at(), later.session().issued_at()), (at(NOW + 1), at(NOW + 1)));
    // An authentication time in the future is refused.
    assert!(matches!(start(&minter(), &(), |new| new.auth_time = at(NOW + 1)), Err(ConfigError::Claims(_))));
    // The last representable second leaves no time for a session.
    let new = |started| start(&minter(), &(), |new| new.started = started);
    assert!(matches!(new(UnixTime::MAX), Err(ConfigError::Claims(_))));
}

#[test]
fn a_feed_key_signs_no_token() {
    let feed = SigningKey::from_seed(&[3; 32], KeyUse::Feed, Algorithm::EdDsa).unwrap();
    let subject = Subject::new("alice").unwrap();
    let new = NewSession {
        subject: &subject,
        claims: &(),
        started: at(NOW),
        auth_time: at(NOW),
        ends: None,
        amr: &[],
        bound_to: None,
    };
    let error = minter().start(&feed, &new, at(NOW)).unwrap_err();
    assert!(
        matches!(error, ConfigError::KeyUse { found: KeyUse::Feed, wanted: KeyUse::Session, .. }),
        "{error}"
    );
}

#[test]
fn a_token_too_long_is_refused_at_log_in_with_room_for_renewal() {
    let of = |length: usize, limit: usize| {
        start(&minter().max_characters(limit).unwrap(), &"x".repeat(length), |_| {})
    };
    let longest = (0..1536).rev().find(|length| of(*length, 1536).is_ok()).unwrap();
    let issued = of(longest, 1536).unwrap();
    assert!((1520..=1536).contains(&issued.as_str().len()), "{}", issued.as_str().len());
    // Four bytes stay free, because a renewal may grow the generation by that
    // much.
    let Err(ConfigError::TokenTooLong { characters, limit }) = of(longest + 1, 1536) else { panic!() };
    assert_eq!(limit, 1536);
    assert!((1537..=1540).contains(&characters), "{characters}");
    assert!(issued.as_str().len() + 5 <= 1536, "{}", issued.as_str().len());
    // The default is 1,536.
    assert!(start(&minter(), &"x".repeat(longest + 1), |_| {}).is_err());
    assert!(of(2800, 4000).is_ok());
    assert!(matches!(minter().max_characters(4001), Err(ConfigError::Builder(_))));
    assert!(matches!(of(1 << 20, 4000), Err(ConfigError::TokenTooLong { .. })));
    // Names count towards the limit too.
    let minter = minter().audience(Some("a".repeat(2000).into()));
    assert!(matches!(start(&minter, &(), |_| {}), Err(ConfigError::TokenTooLong { .. })));
}

#[test]
fn a_bound_session_asks_for_its_proof() {
    let issued = start(&minter(), &(), |new| new.bound_to = Some([9; 32])).unwrap();
    assert_eq!(issued.session().bound_to(), Some(&[9; 32]));
    let keys = KeySet::new([key().verifying_key().clone()]).unwrap();
    let verifier = Verifier::builder(keys).without_revocations().build().unwrap();
    let refused = verifier.verify::<()>(issued.as_str(), at(NOW)).unwrap_err();
    assert_eq!(refused.reason(), hallpass::Reason::ProofRequired);
}

#[test]
fn subjects_and_ids_are_held_to_their_form() {
    for bad in ["", "a\nb", "a\r", "\u{0}", "a\u{7f}", "a\u{85}", &"a".repeat(256)] {
        assert!(matches!(Subject::new(bad), Err(hallpass::SubjectError)), "{bad:?}");
    }
    for good in ["a", "alice@example.org", "阿里斯", "with space", &"a".repeat(255)] {
        assert_eq!(Subject::new(good).unwrap().as_str(), good);
    }
    let id: hallpass::SessionId = "00112233445566778899aabbccddeeff".parse().unwrap();
    assert_eq!(id.to_string(), "00112233445566778899aabbccddeeff");
    for bad in [
        "",
        "00",
        "00112233445566778899AABBCCDDEEFF",
        "00112233445566778899aabbccddeefg",
        " 0112233445566778899aabbccddeeff",
        "00112233445566778899aabbccddeeff0",
    ] {
        assert!(
            bad.parse::<hallpass::SessionId>()
                .is_err_and(|error| error.to_string().contains("32 lowercase hex digits")),
            "{bad:?}"
        );
    }
    assert!("é".repeat(8).parse::<hallpass::KeyId>().is_err());
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Claims {
    role: String,
    limit: Option<f64>,
    #[serde(flatten)]
    more: BTreeMap<String, i64>,
}

proptest! {
    /// Application claims are unchanged after a round trip, in any order.
    #[test]
    fn application_claims_survive(
        role in ".{0,20}",
        limit in proptest::option::of(-1e300_f64..1e300),
        more in proptest::collection::btree_map("x.{0,6}", any::<i64>(), 0..8),
    ) {
        let claims = Claims { role, limit, more };
        let issued = start(&minter(), &claims, |_| {}).unwrap();
        prop_assert_eq!(verify::<Claims>(issued.as_str(), NOW).claims().unwrap(), claims);
    }

    /// For any lifetimes and any clock, no token outlives its limits.
    #[test]
    fn nothing_is_issued_past_its_end(
        idle in 1_u64..100_000, more in 0_u64..100_000, ends in proptest::option::of(0_u64..300_000),
        now in 0..253_402_300_799_u64, ahead in 0_u64..3,
    ) {
        let lifetimes = Lifetimes::new(LifetimeSettings {
            token_max_age: Some(Duration::from_secs(idle)),
            absolute_lifetime: Duration::from_secs(idle + more),
            ..LifetimeSettings::default()
        }).unwrap();
        let subject = Subject::new("a").unwrap();
        let started = at(now).saturating_add(Duration::from_secs(ahead));
        let new = NewSession {
            subject: &subject, claims: &(), started, auth_time: at(now),
            ends: ends.map(|ends| at(now).saturating_add(Duration::from_secs(ends))), amr: &[], bound_to: None,
        };
        if let Ok(issued) = Minter::new(lifetimes).start(&key(), &new, at(now)) {
            let session = issued.session();
            prop_assert!(session.issued_at() < session.expires_at());
            prop_assert!(session.expires_at() <= session.ends_at());
            prop_assert!(session.ends_at().since(session.started_at()) <= lifetimes.absolute_lifetime());
            prop_assert!(session.expires_at().since(session.issued_at()) <= lifetimes.token_max_age());
            let again: Session = verify(issued.as_str(), session.issued_at().as_secs());
            prop_assert_eq!(again.id(), session.id());
        }
    }
}
