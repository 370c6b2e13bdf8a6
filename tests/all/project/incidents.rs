//! Incidents in other projects that concern no single part of the program;
//! `docs/security-requirements.md` has the whole list.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use hallpass::revocation::feed::{self, NewFeed, SessionKey};
use hallpass::revocation::{Entry, FeedKeys, Position, RevocationList};
use hallpass::*;

use crate::support::raw;

const START: UnixTime = UnixTime::saturating_from_secs(1_800_000_000);
const SECOND: Duration = Duration::from_secs(1);

struct World {
    key: SigningKey,
    minter: Minter,
    list: RevocationList,
}

impl World {
    fn new() -> Self {
        Self {
            key: SigningKey::from_seed(&[7; 32], KeyUse::Session, Algorithm::EdDsa).unwrap(),
            minter: Minter::new(Lifetimes::default()).audience(Some("shop".into())),
            list: RevocationList::new(),
        }
    }

    fn verifier(&self, leeway: Duration) -> Verifier {
        Verifier::builder(KeySet::new([self.key.verifying_key().clone()]).unwrap())
            .audience("shop")
            .leeway(leeway)
            .revocations(self.list.clone())
            .stale_policy(StalePolicy::NeverStale)
            .build()
            .unwrap()
    }

    fn log_in(&self) -> IssuedToken {
        let subject = Subject::new("alice").unwrap();
        let new = NewSession {
            subject: &subject,
            claims: &(),
            started: START,
            auth_time: START,
            ends: None,
            amr: &[],
            bound_to: None,
        };
        self.minter.start(&self.key, &new, START).unwrap()
    }

    fn revoke(&self, session: &Session) {
        self.list.insert(Entry::Session { sid: session.id(), ends: session.ends_at() });
    }
}

fn refusal<T>(result: Result<T, Rejection>) -> Option<Reason> {
    result.err().map(|rejection| rejection.reason())
}

/// OWASP/CheatSheetSeries#2242: a deny-list keyed on the token's bytes lets the
/// same token through in another spelling.
#[test]
fn a_respelled_or_renewed_token_of_a_revoked_session_stays_revoked() {
    let world = World::new();
    let token = world.log_in();
    let verifier = world.verifier(SECOND);
    assert!(verifier.verify::<()>(token.as_str(), START).is_ok());
    world.revoke(token.session());

    let bytes = raw::unbase64url(token.as_str());
    let mut tag_in_two_bytes = vec![0xd8, 0x12];
    tag_in_two_bytes.extend_from_slice(&bytes[1..]);
    let text = token.as_str();
    let spellings = [
        text.to_owned(),
        format!("{text}="),
        format!(" {text}"),
        format!("{text}\n"),
        STANDARD.encode(&bytes),
        STANDARD_NO_PAD.encode(&bytes),
        URL_SAFE.encode(&bytes),
        raw::base64url(&tag_in_two_bytes),
        raw::base64url(&bytes[1..]),
    ];
    for spelling in spellings {
        assert!(verifier.verify::<()>(&spelling, START).is_err(), "{spelling}");
    }
    // Other bytes of the same session, signed by the right key.
    let issuer =
        Issuer::with(SigningKeys::new(world.key.clone(), []).unwrap(), world.minter.clone()).unwrap();
    let first = issuer.start(Subject::new("alice").unwrap(), (), START).unwrap();
    let later = START.saturating_add(Duration::from_mins(10));
    let renewed = issuer.renew(first.as_str(), later).unwrap().token;
    assert_ne!(renewed.as_str(), first.as_str());
    assert!(verifier.verify::<()>(renewed.as_str(), later).is_ok());
    world.revoke(first.session());
    assert_eq!(refusal(verifier.verify::<()>(renewed.as_str(), later)), Some(Reason::Revoked));
}

/// saiya/dsps#54: the deny-list forgot an entry at exp, and the token was
/// accepted until exp plus leeway.
#[test]
fn an_entry_is_not_forgotten_while_any_leeway_accepts_the_session() {
    let mut world = World::new();
    // A token that lives to the session's very end, as the last renewed one does.
    let lifetime = LifetimeSettings::default().absolute_lifetime;
    let lifetimes = LifetimeSettings { token_max_age: Some(lifetime), ..LifetimeSettings::default() };
    world.minter = Minter::new(Lifetimes::new(lifetimes).unwrap()).audience(Some("shop".into()));
    let last = world.log_in();
    let ends = last.session().ends_at();
    assert_eq!(last.session().expires_at(), ends);
    world.revoke(last.session());
    let shortly = ends.saturating_sub(Duration::from_mins(1));

    let verifier = world.verifier(Duration::from_mins(1));
    let mut now = shortly;
    while now < ends.saturating_add(Duration::from_mins(3)) {
        world.list.expire(now);
        assert!(verifier.verify::<()>(last.as_str(), now).is_err(), "accepted at {now}");
        now = now.saturating_add(SECOND);
    }
    assert!(world.list.is_empty(), "and in the end it is forgotten");
}

/// CVE-2023-48309: a token for one purpose was accepted for another.
#[test]
fn no_signed_artefact_is_taken_for_another() {
    let world = World::new();
    let token = world.log_in();
    let ticket =
        world.minter.ticket(&world.key, token.session(), "shop", Duration::from_secs(30), None, START);
    let ticket = ticket.unwrap();
    let feed_key = SigningKey::from_seed(&[8; 32], KeyUse::Feed, Algorithm::EdDsa).unwrap();
    let session_keys = [SessionKey::new(world.key.verifying_key().clone(), START)];
    let feed = NewFeed {
        position: Position { epoch: 1, sequence: 1 },
        base: None,
        issued_at: START,
        expires_at: START.saturating_add(Duration::from_mins(5)),
        session_keys: &session_keys,
        lifetimes: None,
    };
    let part = feed.sign(&feed_key, []).unwrap().remove(0);
    let part_text = feed::part_to_text(&part);
    let proof = concat!("eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2In0", ".e30.", "AAAA");

    let verifier = world.verifier(SECOND);
    let tickets = TicketVerifier::new(verifier.clone(), NonceCache::new(START.saturating_sub(SECOND * 10)));
    let feeds = FeedKeys::new([feed_key.verifying_key().clone()]).unwrap();
    for (name, text, is_token, is_ticket, is_feed) in [
        ("token", token.as_str(), true, false, false),
        ("ticket", ticket.as_str(), false, true, false),
        ("feed", part_text.as_str(), false, false, true),
        ("proof", proof, false, false, false),
    ] {
        let as_token = verifier.verify::<()>(text, START);
        assert_eq!(as_token.is_ok(), is_token, "{name} as a token: {as_token:?}");
        let as_ticket = tickets.redeem::<()>(text, "/", START);
        assert_eq!(as_ticket.is_ok(), is_ticket, "{name} as a ticket: {as_ticket:?}");
        let bytes = feed::part_from_text(text).unwrap_or_default();
        assert_eq!(feeds.verify_part(&bytes, START).is_ok(), is_feed, "{name} as a feed");
    }
    // They are refused for their type, not for an unknown key.
    assert_eq!(refusal(verifier.verify::<()>(ticket.as_str(), START)), Some(Reason::WrongType));
    assert_eq!(refusal(tickets.redeem::<()>(token.as_str(), "/", START)), Some(Reason::WrongType));
    assert_eq!(refusal(verifier.verify::<()>(&part_text, START)), Some(Reason::WrongType));
}

/// RUSTSEC-2022-0055: a route that read a body without a limit.
#[cfg(feature = "server")]
#[tokio::test(flavor = "multi_thread")]
async fn no_route_reads_an_endless_body() {
    use crate::support::{Home, bearer, client};

    let home = Home::new();
    let operator = "o".repeat(40);
    let serve =
        home.serve_with(&["--admin-listen", "127.0.0.1:0"], &[("HALLPASS_OPERATOR_TOKEN", &operator)]);
    let token = bearer(&serve.url).await;
    let admin = serve.admin.clone().unwrap();
    let large = format!("{{\"username\":\"{}\"}}", "a".repeat(1 << 20));
    for (url, credential) in [
        (serve.at("/login"), None),
        (serve.at("/reauthenticate"), Some(&token)),
        (serve.at("/sessions/revoke-others"), Some(&token)),
        (serve.at("/sessions"), Some(&token)),
        (serve.at("/account/end"), Some(&token)),
        (serve.at("/account/end-others"), Some(&token)),
        (format!("{admin}/admin/revoke"), Some(&operator)),
    ] {
        for kind in ["application/json", "application/x-www-form-urlencoded"] {
            let mut request = client().post(&url).header("content-type", kind).body(large.clone());
            if let Some(credential) = credential {
                request = request.bearer_auth(credential);
            }
            // It may also be told before it has sent everything.
            let Ok(answer) = request.send().await else { continue };
            let status = answer.status().as_u16();
            assert!(matches!(status, 413 | 415 | 422), "{url} with {kind}: {status}");
        }
    }
    assert!(client().get(serve.at("/healthz")).send().await.unwrap().status().is_success());
}
