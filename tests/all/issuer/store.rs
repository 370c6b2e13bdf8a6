//! The contract of [`Store`] for every engine: call [`conformance`] with a
//! function that opens one. The tests below it are for SQLite only.
#![expect(clippy::panic, clippy::unwrap_used, reason = "also in the helpers of tests")]

use crate::support::store::StoreExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hallpass::issuer::ledger::{Outcome, Presented, RenewalRefusal, RenewalRequest, Row};
use hallpass::issuer::store::*;
use hallpass::revocation::{Entry, Position};
use hallpass::{KeyId, Lifetimes, Profile, SessionId, Subject, SubjectHash, UnixTime};

const T0: u64 = 1_790_000_000;
const KEY: KeyId = KeyId::from_bytes([1; 8]);
const HOUR: u64 = 3600;

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_secs(T0 + seconds).unwrap()
}

fn alice() -> Subject {
    Subject::new("alice").unwrap()
}

fn bob() -> Subject {
    Subject::new("bob").unwrap()
}

fn id(n: u8) -> SessionId {
    SessionId::from_bytes([n; 16])
}

fn record(n: u8, subject: &Subject, started: UnixTime) -> SessionRecord {
    SessionRecord {
        id: id(n),
        subject: subject.clone(),
        parent: None,
        replaces: None,
        audience: Some("shop".to_owned()),
        address: Some("192.0.2.1".to_owned()),
        user_agent: Some("curl".to_owned()),
        started,
        auth_time: started,
        last_renewal: started,
        ends: started.saturating_add(Duration::from_hours(12)),
        row: Row {
            generation: 0,
            issued: started,
            expires: started.saturating_add(Duration::from_mins(15)),
            renewable_until: started.saturating_add(Duration::from_mins(15)),
            key_id: KEY,
            carried: [7; 32],
            seen_at: None,
            repeated_at: None,
            profile: Profile::Standard,
        },
        password_version: None,
    }
}

/// Returns a renewal request for a token of `session`.
fn request(session: &SessionRecord, generation: u64, issued: UnixTime, now: UnixTime) -> RenewalRequest {
    RenewalRequest {
        session_id: session.id,
        subject: session.subject.as_str().into(),
        started: session.started,
        presented: Presented {
            generation,
            issued,
            expires: issued.saturating_add(Duration::from_mins(15)).min(session.ends),
            ends: session.ends,
            key_id: KEY,
            carried: [7; 32],
        },
        lifetimes: Lifetimes::default().into(),
        newest_key: KEY,
        available_keys: Arc::new([KEY]),
        address: Some("192.0.2.9".into()),
        now,
    }
}

fn user(name: &str) -> NewUser {
    NewUser {
        name: Subject::new(name).unwrap(),
        password_hash: "$argon2id$1".to_owned(),
        role: Role::User,
        claims: Some(serde_json::json!({"plan": "gold", "n": [1, 2]})),
    }
}

fn event(kind: &str) -> AuditEvent {
    AuditEvent { kind: kind.to_owned(), subject: Some("alice".to_owned()), ..AuditEvent::default() }
}

fn revoked_by(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Refused(RenewalRefusal::Revoked { by }) => by.as_str(),
        other => panic!("{other:?}"),
    }
}

/// Checks the trait's whole contract. `open` opens an empty store and returns a
/// guard that keeps its files.
async fn conformance<S: Store, G, F: AsyncFn() -> (S, G)>(open: F) {
    users(&open().await.0).await;
    sessions(&open().await.0).await;
    a_log_in_is_checked_again_when_it_is_inserted(&open().await.0).await;
    children(&open().await.0).await;
    renewal(&open().await.0).await;
    revocation_of_each_kind(&open().await.0).await;
    others(&open().await.0).await;
    replaced(&open().await.0).await;
    children_of_one_audience(&open().await.0).await;
    same_second(&open().await.0).await;
    the_feed(&open().await.0).await;
    wrong_clock(&open().await.0).await;
    audit_trail(&open().await.0).await;
    expiry(&open().await.0).await;
    a_refused_operation_leaves_the_others_alone(open().await.0).await;
    a_renewal_racing_a_revocation(open().await.0).await;
}

async fn users<S: Store>(store: &S) {
    store.add_user(user("alice"), at(0)).await.unwrap();
    store.add_user(NewUser { role: Role::Operator, claims: None, ..user("bob") }, at(1)).await.unwrap();
    assert!(matches!(store.add_user(user("alice"), at(2)).await, Err(StoreError::UserExists(_))));

    let found = store.find_user("alice").await.unwrap().unwrap();
    assert_eq!((found.password_hash.as_str(), found.password_version), ("$argon2id$1", 0));
    assert_eq!(found.claims, user("alice").claims);
    assert_eq!((found.role, found.disabled, found.created), (Role::User, false, at(0)));
    assert!(store.find_user("Alice").await.unwrap().is_none(), "names are exact");
    let names: Vec<_> = store.list_users().await.unwrap().into_iter().map(|u| u.name.to_string()).collect();
    assert_eq!(names, ["alice", "bob"]);

    let changed = store.set_password(&alice(), "$argon2id$2".to_owned(), at(10)).await.unwrap();
    assert_eq!(changed.added, 1, "a new password revokes");
    let found = store.find_user("alice").await.unwrap().unwrap();
    assert_eq!((found.password_hash.as_str(), found.password_version), ("$argon2id$2", 1));
    assert_eq!(found.password_changed, at(10));

    assert!(store.rehash_password(&alice(), 1, "$argon2id$3".to_owned()).await.unwrap());
    assert!(!store.rehash_password(&alice(), 0, "$argon2id$4".to_owned()).await.unwrap(), "an old password");
    let found = store.find_user("alice").await.unwrap().unwrap();
    assert_eq!((found.password_hash.as_str(), found.password_version), ("$argon2id$3", 1));

    assert_eq!(store.disable_user(&alice(), at(20)).await.unwrap().added, 1);
    assert!(store.find_user("alice").await.unwrap().unwrap().disabled);
    store.enable_user(&alice()).await.unwrap();
    assert!(!store.find_user("alice").await.unwrap().unwrap().disabled);

    let nobody = Subject::new("nobody").unwrap();
    assert!(matches!(store.disable_user(&nobody, at(0)).await, Err(StoreError::NoUser(_))));
    assert!(matches!(store.enable_user(&nobody).await, Err(StoreError::NoUser(_))));
    assert!(matches!(store.set_password(&nobody, String::new(), at(0)).await, Err(StoreError::NoUser(_))));
    assert_eq!(store.position().await.unwrap().sequence, 2, "what failed revoked nothing");
}

async fn sessions<S: Store>(store: &S) {
    let first = record(1, &alice(), at(0));
    let second =
        SessionRecord { audience: None, address: None, user_agent: None, ..record(2, &alice(), at(5)) };
    store.insert(first.clone(), Some(event("session_created")), at(0)).await.unwrap();
    store.insert(second.clone(), None, at(5)).await.unwrap();
    store.insert(record(3, &bob(), at(5)), None, at(5)).await.unwrap();
    assert!(matches!(
        store.insert(first.clone(), Some(event("again")), at(6)).await,
        Err(StoreError::SessionExists)
    ));
    assert_eq!(store.audit(None, 10).await.unwrap().len(), 1, "with the session or not at all");

    assert_eq!(store.find_session(id(1)).await.unwrap(), Some(first.clone()));
    assert_eq!(store.find_session(id(2)).await.unwrap(), Some(second.clone()));
    assert_eq!(store.find_session(id(9)).await.unwrap(), None);
    assert_eq!(store.live_sessions(&alice(), at(6)).await.unwrap(), [second.clone(), first.clone()]);
    assert_eq!(store.count_live_sessions(&alice(), at(6)).await.unwrap(), 2);

    // The first session's token expires at 900, the second's at 905.
    assert_eq!(store.live_sessions(&alice(), at(900)).await.unwrap(), std::slice::from_ref(&second));
    store.revoke(Target::Session { id: id(2), ends: None }, None, at(10)).await.unwrap();
    assert_eq!(store.live_sessions(&alice(), at(10)).await.unwrap(), [first]);
    assert_eq!(store.find_session(id(2)).await.unwrap(), Some(second), "still to be looked at");
}

async fn a_log_in_is_checked_again_when_it_is_inserted<S: Store>(store: &S) {
    store.add_user(user("alice"), at(0)).await.unwrap();
    let with = |n, version| SessionRecord { password_version: version, ..record(n, &alice(), at(100)) };
    store.insert(with(1, Some(0)), None, at(100)).await.unwrap();

    // The password is changed after the check and before the session is inserted.
    store.set_password(&alice(), "$2".to_owned(), at(50)).await.unwrap();
    let late = SessionRecord { started: at(101), auth_time: at(101), ..with(2, Some(0)) };
    assert!(matches!(store.insert(late, None, at(101)).await, Err(StoreError::UserChanged)));
    let good = SessionRecord { started: at(101), ..with(3, Some(1)) };
    store.insert(good, None, at(101)).await.unwrap();

    store.disable_user(&alice(), at(102)).await.unwrap();
    let disabled = SessionRecord { started: at(103), ..with(4, Some(1)) };
    assert!(matches!(store.insert(disabled, None, at(103)).await, Err(StoreError::UserChanged)));
    // An unknown user may start a session with another credential, but not with a
    // password.
    store.insert(record(5, &bob(), at(0)), None, at(0)).await.unwrap();
    let unknown = SessionRecord { password_version: Some(0), ..record(6, &bob(), at(0)) };
    assert!(matches!(store.insert(unknown, None, at(0)).await, Err(StoreError::UserChanged)));
}

async fn children<S: Store>(store: &S) {
    let child_of = |n, parent, started| SessionRecord {
        parent: Some(id(parent)),
        ends: at(12 * HOUR),
        ..record(n, &alice(), started)
    };
    store.insert(record(1, &alice(), at(0)), None, at(0)).await.unwrap();
    store.insert(child_of(2, 1, at(10)), None, at(10)).await.unwrap();
    store.insert(child_of(3, 2, at(20)), None, at(20)).await.unwrap();
    let longer = SessionRecord { ends: at(12 * HOUR + 1), ..child_of(4, 1, at(30)) };
    assert!(matches!(store.insert(longer, None, at(30)).await, Err(StoreError::ParentOver)));
    assert!(matches!(store.insert(child_of(4, 9, at(30)), None, at(30)).await, Err(StoreError::ParentOver)));

    let revoked = store.revoke(Target::Session { id: id(1), ends: None }, None, at(40)).await.unwrap();
    assert_eq!(revoked.added, 3, "with its child and its grandchild");
    for n in 1..=3 {
        let session = store.find_session(id(n)).await.unwrap().unwrap();
        let outcome = store.renew(request(&session, 0, session.started, at(41))).await.unwrap();
        assert_eq!(revoked_by(outcome), "session");
    }
    assert!(matches!(store.insert(child_of(4, 1, at(50)), None, at(50)).await, Err(StoreError::ParentOver)));

    // Starting from a child: ends the sessions of one log-in, and no others.
    for (n, parent) in [(10, None), (11, Some(10)), (12, Some(11)), (13, Some(10)), (14, None)] {
        let member = SessionRecord { parent: parent.map(id), ..record(n, &alice(), at(60)) };
        store.insert(member, None, at(60)).await.unwrap();
    }
    let ended = store.revoke(Target::Family { id: id(12), ends: None }, None, at(61)).await.unwrap();
    assert_eq!(ended.added, 4);
    let other = store.find_session(id(14)).await.unwrap().unwrap();
    assert!(matches!(
        store.renew(request(&other, 0, other.started, at(62))).await.unwrap(),
        Outcome::Keep(_)
    ));
    let alone = store.revoke(Target::Family { id: id(15), ends: None }, None, at(63)).await.unwrap();
    assert_eq!(alone.added, 1, "one that the store does not know");
}

async fn renewal<S: Store>(store: &S) {
    let session = record(1, &alice(), at(0));
    store.insert(session.clone(), None, at(0)).await.unwrap();
    let renew = |generation, issued, now| store.renew(request(&session, generation, at(issued), at(now)));

    assert!(matches!(renew(0, 0, 449).await.unwrap(), Outcome::Keep(_)), "not due");
    let Outcome::Successor(first) = renew(0, 0, 450).await.unwrap() else { panic!("due") };
    assert_eq!((first.generation, first.issued, first.expires), (1, at(450), at(1350)));
    // A repeated request minutes later gets the same answer.
    assert_eq!(renew(0, 0, 800).await.unwrap(), Outcome::Successor(first));
    assert_eq!(store.find_session(id(1)).await.unwrap().unwrap().row, first);
    assert!(matches!(renew(1, 450, 800).await.unwrap(), Outcome::Keep(_)));
    let Outcome::Successor(again) = renew(0, 0, 860).await.unwrap() else { panic!("within the grace") };
    assert_eq!((again.generation, again.issued, again.expires), (1, at(450), at(1350)));
    assert_eq!(renew(0, 0, 861).await.unwrap(), Outcome::Refused(RenewalRefusal::Reuse));
    assert_eq!(revoked_by(renew(1, 450, 862).await.unwrap()), "session");
    assert_eq!(revoked_by(renew(0, 0, 862).await.unwrap()), "session");
    assert_eq!(store.position().await.unwrap().sequence, 1);

    let trail = store.audit(None, 10).await.unwrap();
    assert_eq!(trail.len(), 1);
    assert_eq!(trail[0].event.kind, "authn_token_reuse");
    assert_eq!(trail[0].event.session, Some(id(1).short_hash()));
    assert_eq!(trail[0].event.address.as_deref(), Some("192.0.2.9"));

    let stranger = record(2, &alice(), at(0));
    let unknown = store.renew(request(&stranger, 0, at(0), at(10))).await.unwrap();
    assert_eq!(unknown, Outcome::Refused(RenewalRefusal::Unknown));
    store.insert(stranger.clone(), None, at(0)).await.unwrap();
    assert!(matches!(store.renew(request(&stranger, 0, at(0), at(10))).await.unwrap(), Outcome::Keep(_)));
}

async fn revocation_of_each_kind<S: Store>(store: &S) {
    for (n, who) in [(1, alice()), (2, alice()), (3, bob())] {
        store.insert(record(n, &who, at(u64::from(n))), None, at(u64::from(n))).await.unwrap();
    }
    let renew = async |n: u8| {
        let session = store.find_session(id(n)).await.unwrap().unwrap();
        store.renew(request(&session, 0, session.started, at(20))).await.unwrap()
    };
    // Renew once first, so that any cache holds them.
    for n in 1..=3 {
        assert!(matches!(renew(n).await, Outcome::Keep(_)));
    }
    let one = Target::Session { id: id(1), ends: None };
    let revoked = store.revoke(one.clone(), Some(event("log_out")), at(10)).await.unwrap();
    assert_eq!((revoked.added, revoked.position.sequence), (1, 1));
    let again = store.revoke(one, Some(event("log_out")), at(11)).await.unwrap();
    assert_eq!((again.added, again.position.sequence), (0, 1), "nothing to add");
    assert_eq!(store.audit(None, 9).await.unwrap().len(), 1);
    assert_eq!(revoked_by(renew(1).await), "session");
    assert!(matches!(renew(2).await, Outcome::Keep(_)));

    assert_eq!(store.revoke(Target::Subject(alice()), None, at(12)).await.unwrap().added, 1);
    assert_eq!(store.revoke(Target::Subject(alice()), None, at(12)).await.unwrap().added, 0);
    let covered = store.revoke(Target::Session { id: id(2), ends: None }, None, at(12)).await.unwrap();
    assert_eq!(covered.added, 0, "its subject is revoked");
    assert_eq!(revoked_by(renew(2).await), "subject");
    assert!(matches!(renew(3).await, Outcome::Keep(_)));
    assert_eq!(store.count_live_sessions(&alice(), at(13)).await.unwrap(), 0);

    assert_eq!(store.revoke(Target::All, None, at(13)).await.unwrap().added, 1);
    assert_eq!(store.revoke(Target::All, None, at(13)).await.unwrap().added, 0);
    assert_eq!(revoked_by(renew(3).await), "all");
    assert_eq!(store.earliest_start(&bob(), at(5)).await.unwrap(), at(14));

    store.insert(record(4, &bob(), at(14)), None, at(14)).await.unwrap();
    assert!(matches!(renew(4).await, Outcome::Keep(_)));
    assert_eq!(store.revoke(Target::Key(KEY), None, at(15)).await.unwrap().added, 1);
    assert_eq!(store.revoke(Target::Key(KEY), None, at(15)).await.unwrap().added, 0);
    assert_eq!(revoked_by(renew(4).await), "key");
    assert_eq!(store.revoked_keys().await.unwrap(), [KEY]);

    let ends = at(12 * HOUR + 3);
    let entries = store.snapshot().await.unwrap().entries;
    assert_eq!(
        entries,
        [
            Entry::Session { sid: id(1), ends: at(12 * HOUR + 1) },
            Entry::Subject { hash: SubjectHash::of("alice"), up_to: at(12), ends },
            Entry::All { up_to: at(13), ends },
            Entry::Key { kid: KEY, ends: UnixTime::MAX },
        ]
    );
}

async fn others<S: Store>(store: &S) {
    for (n, parent) in [(1, None), (2, Some(1)), (3, Some(1)), (4, None), (5, Some(4))] {
        let session =
            SessionRecord { parent: parent.map(id), ends: at(HOUR), ..record(n, &alice(), at(u64::from(n))) };
        store.insert(session, None, at(u64::from(n))).await.unwrap();
    }
    store.insert(record(6, &bob(), at(6)), None, at(6)).await.unwrap();
    let target = Target::OtherSessions { subject: alice(), except: id(2) };
    assert_eq!(store.revoke(target.clone(), None, at(10)).await.unwrap().added, 2);
    let live: Vec<_> = store.live_sessions(&alice(), at(10)).await.unwrap().iter().map(|s| s.id).collect();
    assert_eq!(live, [id(3), id(2), id(1)], "the log-in that it hangs on stays");
    assert_eq!(store.count_live_sessions(&bob(), at(10)).await.unwrap(), 1);
    assert_eq!(store.revoke(target, None, at(11)).await.unwrap().added, 0);
}

/// A session that a reauthentication replaced is revoked at the given time. Its
/// children move to the new session.
async fn replaced<S: Store>(store: &S) {
    store.insert(record(1, &alice(), at(1)), None, at(1)).await.unwrap();
    let ends = at(HOUR);
    let child = SessionRecord { parent: Some(id(1)), ends, ..record(2, &alice(), at(2)) };
    store.insert(child, None, at(2)).await.unwrap();
    let new = SessionRecord { replaces: Some((id(1), at(60))), ..record(3, &alice(), at(3)) };
    store.insert(new, None, at(3)).await.unwrap();
    assert_eq!(store.end_replaced(at(59)).await.unwrap(), None);
    assert_eq!(store.end_replaced(at(60)).await.unwrap().unwrap().added, 1);
    assert_eq!(store.end_replaced(at(60)).await.unwrap(), None);
    let live = async || -> Vec<_> {
        store.live_sessions(&alice(), at(60)).await.unwrap().iter().map(|session| session.id).collect()
    };
    assert_eq!(live().await, [id(3), id(2)]);
    store.revoke(Target::Session { id: id(3), ends: None }, None, at(61)).await.unwrap();
    assert_eq!(live().await, []);

    // Until then, a log-out with either ends both and their children.
    for (old, shown) in [(10, 10), (20, 21)] {
        store.insert(record(old, &alice(), at(62)), None, at(62)).await.unwrap();
        let child = SessionRecord { parent: Some(id(old)), ends, ..record(old + 2, &alice(), at(62)) };
        store.insert(child, None, at(62)).await.unwrap();
        let replaces = Some((id(old), at(600)));
        let new = SessionRecord { replaces, ..record(old + 1, &alice(), at(63)) };
        store.insert(new, None, at(63)).await.unwrap();
        assert_eq!(live().await.len(), 3);
        store.revoke(Target::Family { id: id(shown), ends: None }, None, at(64)).await.unwrap();
        assert_eq!(live().await, []);
    }
    // A session that ended during the password check is not replaced.
    let again = SessionRecord { replaces: Some((id(10), at(600))), ..record(30, &alice(), at(65)) };
    let refused = store.insert(again, None, at(65)).await;
    assert!(matches!(refused, Err(StoreError::ParentOver)), "{refused:?}");
    assert_eq!(live().await, []);
}

/// Hops need no log-in, so they have their own bound: a host has one cookie.
async fn children_of_one_audience<S: Store>(store: &S) {
    store.insert(record(1, &alice(), at(1)), None, at(1)).await.unwrap();
    for n in 2..12 {
        let child = |n, audience: &str| SessionRecord {
            parent: Some(id(1)),
            audience: Some(audience.to_owned()),
            ends: at(HOUR),
            ..record(n, &alice(), at(u64::from(n)))
        };
        store.insert(child(n, "b"), None, at(u64::from(n))).await.unwrap();
        if n == 5 {
            store.insert(child(100, "c"), None, at(5)).await.unwrap();
        }
    }
    let mut live: Vec<_> =
        store.live_sessions(&alice(), at(20)).await.unwrap().iter().map(|session| session.id).collect();
    live.sort();
    assert_eq!(live, [id(1), id(8), id(9), id(10), id(11), id(100)]);
}

/// Revoke, log in and revoke again, all in the same second.
async fn same_second<S: Store>(store: &S) {
    let now = at(100);
    for (n, target) in
        [Target::Subject(alice()), Target::All, Target::Subject(alice())].into_iter().enumerate()
    {
        let started = store.earliest_start(&alice(), now).await.unwrap();
        let n = u8::try_from(n).unwrap() + 1;
        store.insert(record(n, &alice(), started), None, now).await.unwrap();
        assert_eq!(store.revoke(target, None, now).await.unwrap().added, 1);
        let stale = store.insert(record(50 + n, &alice(), started), None, now).await;
        let Err(StoreError::StartRevoked { earliest }) = stale else { panic!("{stale:?}") };
        assert_eq!(earliest, store.earliest_start(&alice(), now).await.unwrap());
        assert_eq!(store.live_sessions(&alice(), now).await.unwrap(), []);
    }
    let started = store.earliest_start(&alice(), now).await.unwrap();
    assert_eq!(started, at(103));
    store.insert(record(9, &alice(), started), None, now).await.unwrap();
    assert_eq!(store.count_live_sessions(&alice(), now).await.unwrap(), 1);
}

async fn the_feed<S: Store>(store: &S) {
    let watch = store.watch();
    let start = store.position().await.unwrap();
    assert_eq!((start.sequence, *watch.borrow()), (0, start));
    for n in 1..=5 {
        let target = Target::Session { id: id(n), ends: Some(at(HOUR)) };
        let revoked = store.revoke(target, None, at(0)).await.unwrap();
        assert_eq!(revoked.position, Position { sequence: u64::from(n), ..start }, "without gaps");
        assert_eq!(*watch.borrow(), revoked.position, "told before the answer");
    }
    let changes = store.revocations_after(Position { sequence: 3, ..start }).await.unwrap();
    assert_eq!((changes.base, changes.position.sequence, changes.entries.len()), (Some(3), 5, 2));
    let none = store.revocations_after(changes.position).await.unwrap();
    assert_eq!((none.base, none.entries.len()), (Some(5), 0));
    for stranger in [
        Position { sequence: 6, ..start },
        Position { epoch: start.epoch + 1, sequence: 3 },
        Position { epoch: start.epoch - 1, sequence: 3 },
    ] {
        let all = store.revocations_after(stranger).await.unwrap();
        assert_eq!((all.base, all.entries.len()), (None, 5), "{stranger:?}");
    }
    assert_eq!(store.snapshot().await.unwrap().entries.len(), 5);

    // A later entry for the same subject replaces the earlier one.
    store.revoke(Target::Subject(alice()), None, at(1)).await.unwrap();
    store.revoke(Target::Subject(alice()), None, at(2)).await.unwrap();
    let changes = store.revocations_after(Position { sequence: 5, ..start }).await.unwrap();
    assert_eq!((changes.position.sequence, changes.entries.len()), (7, 1));

    let long = Duration::from_hours(12);
    let epoch = store.bump_epoch(long, at(0)).await.unwrap();
    assert!(epoch > changes.position && epoch.epoch > start.epoch);
    let later = store.bump_epoch(long, at(0)).await.unwrap();
    assert!(later.epoch > epoch.epoch, "also in the same second");
    assert_eq!(*watch.borrow(), later);
    let far = UnixTime::from_secs(9_000_000_000).unwrap();
    assert_eq!(store.bump_epoch(long, far).await.unwrap().epoch, far.as_secs());
}

/// A session started by a clock that was a day ahead.
async fn wrong_clock<S: Store>(store: &S) {
    let day = 24 * HOUR;
    store.insert(record(1, &alice(), at(day)), None, at(day)).await.unwrap();
    store.insert(record(2, &alice(), at(0)), None, at(0)).await.unwrap();
    let revoked = store.revoke(Target::Subject(alice()), None, at(10)).await.unwrap();
    assert_eq!(revoked.added, 2);
    assert_eq!(store.live_sessions(&alice(), at(10)).await.unwrap(), []);
    assert_eq!(store.earliest_start(&alice(), at(10)).await.unwrap(), at(11), "not a day from now");
    assert_eq!(store.revoke(Target::Subject(alice()), None, at(10)).await.unwrap().added, 0);
    assert_eq!(store.revoke(Target::All, None, at(10)).await.unwrap().added, 1);
}

async fn audit_trail<S: Store>(store: &S) {
    for n in 0..5 {
        let mut event = event(&format!("kind{n}"));
        event.detail = Some(serde_json::json!({"n": n}));
        store.append_audit(event, at(n)).await.unwrap();
    }
    let newest = store.audit(None, 2).await.unwrap();
    assert_eq!(newest.iter().map(|r| r.event.kind.as_str()).collect::<Vec<_>>(), ["kind4", "kind3"]);
    assert_eq!((newest[0].at, newest[0].event.detail.clone()), (at(4), Some(serde_json::json!({"n": 4}))));
    let older = store.audit(Some(newest[1].id), 9).await.unwrap();
    assert_eq!(older.iter().map(|r| r.event.kind.as_str()).collect::<Vec<_>>(), ["kind2", "kind1", "kind0"]);
}

async fn expiry<S: Store>(store: &S) {
    let long = Duration::from_hours(30);
    for n in 1..=5 {
        let session = SessionRecord { ends: at(HOUR), ..record(n, &alice(), at(0)) };
        store.insert(session, Some(event("session_created")), at(0)).await.unwrap();
        store.revoke(Target::Session { id: id(n), ends: None }, None, at(0)).await.unwrap();
    }
    store.insert(record(6, &alice(), at(0)), None, at(0)).await.unwrap();
    // "kept ends + 60 s": in that second it is still there.
    assert_eq!(store.expire(long, 100, at(HOUR + 60)).await.unwrap(), Expired::default());
    let first = store.expire(long, 2, at(HOUR + 61)).await.unwrap();
    assert_eq!(first, Expired { sessions: 2, revocations: 2, audit: 0 });
    assert!(first.more(2));
    let mut rest = Expired::default();
    loop {
        let batch = store.expire(long, 2, at(HOUR + 61)).await.unwrap();
        rest.sessions += batch.sessions;
        rest.revocations += batch.revocations;
        if !batch.more(2) {
            break;
        }
    }
    assert_eq!((rest.sessions, rest.revocations), (3, 3));
    assert!(store.find_session(id(6)).await.unwrap().is_some());
    assert_eq!(store.snapshot().await.unwrap().entries, []);
    assert_eq!(store.position().await.unwrap().sequence, 5, "the numbers go on");
    let audit = store.expire(Duration::from_hours(1), 3, at(HOUR + 61)).await.unwrap();
    assert_eq!(audit.audit, 3);
    assert_eq!(store.audit(None, 9).await.unwrap().len(), 2);
    // A session that has ended needs no revocation.
    let over = Target::Session { id: id(1), ends: Some(at(HOUR)) };
    assert_eq!(store.revoke(over, None, at(HOUR + 61)).await.unwrap().added, 0);
}

async fn a_refused_operation_leaves_the_others_alone<S: Store>(store: S) {
    store.add_user(user("taken"), at(0)).await.unwrap();
    let store = Arc::new(store);
    let tasks: Vec<_> = (0..90_u8)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                match n % 3 {
                    0 => store.add_user(user(&format!("user{n}")), at(0)).await.is_ok(),
                    1 => matches!(store.add_user(user("taken"), at(0)).await, Err(StoreError::UserExists(_))),
                    _ => store.revoke(Target::Session { id: id(n), ends: None }, None, at(0)).await.is_ok(),
                }
            })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap());
    }
    assert_eq!(store.list_users().await.unwrap().len(), 31);
    let changes = store.snapshot().await.unwrap();
    assert_eq!((changes.position.sequence, changes.entries.len()), (30, 30));
}

/// In either order: a revoked session is not renewed, and the entry covers the
/// token of an earlier renewal.
async fn a_renewal_racing_a_revocation<S: Store>(store: S) {
    let store = Arc::new(store);
    for round in 0..150_u8 {
        let now = at(u64::from(round) * 1000);
        let session = record(round, &alice(), now);
        store.insert(session.clone(), None, now).await.unwrap();
        let later = now.saturating_add(Duration::from_secs(500));
        let target = match round % 3 {
            0 => Target::Session { id: session.id, ends: None },
            1 => Target::Subject(alice()),
            _ => Target::All,
        };
        let renew = |store: Arc<S>, session: SessionRecord| async move {
            store.renew(request(&session, 0, session.started, later)).await.unwrap()
        };
        let before = tokio::spawn(renew(Arc::clone(&store), session.clone()));
        let revoke = {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.revoke(target, None, later).await.unwrap() })
        };
        let after = tokio::spawn(renew(Arc::clone(&store), session.clone()));
        assert_eq!(revoke.await.unwrap().added, 1);
        for outcome in [before.await.unwrap(), after.await.unwrap()] {
            assert!(matches!(
                outcome,
                Outcome::Successor(Row { generation: 1, .. })
                    | Outcome::Refused(RenewalRefusal::Revoked { .. })
            ));
        }
        // The revocation is acknowledged: no renewal succeeds after it.
        revoked_by(renew(Arc::clone(&store), session.clone()).await);
        assert_eq!(store.count_live_sessions(&alice(), later).await.unwrap(), 0);
    }
}

async fn sqlite() -> (SqliteStore, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (SqliteStore::open(&dir.path().join("data")).await.unwrap(), dir)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sqlite_keeps_the_contract() {
    conformance(sqlite).await;
}

#[tokio::test]
async fn sqlite_keeps_what_it_acknowledged_and_reads_it_again() {
    let (store, dir) = sqlite().await;
    let data = dir.path().join("data");
    store.insert(record(1, &alice(), at(0)), None, at(0)).await.unwrap();
    let revoked = store.revoke(Target::Session { id: id(1), ends: None }, None, at(1)).await.unwrap();
    store.close().await;
    let store = SqliteStore::open(&data).await.unwrap();
    assert_eq!(store.position().await.unwrap(), revoked.position);
    assert_eq!(*store.watch().borrow(), revoked.position);
    let outcome = store.renew(request(&record(1, &alice(), at(0)), 0, at(0), at(2))).await.unwrap();
    assert_eq!(revoked_by(outcome), "session");
}

/// A crash leaves what the files hold when the answer arrives.
#[tokio::test]
async fn an_acknowledged_revocation_is_in_the_files() {
    let (store, dir) = sqlite().await;
    store.insert(record(1, &alice(), at(0)), None, at(0)).await.unwrap();
    for round in 0..20_u8 {
        let target = Target::Session { id: id(round), ends: Some(at(HOUR)) };
        let revoked = store.revoke(target, None, at(1)).await.unwrap();
        let crashed = dir.path().join(format!("crashed{round}"));
        std::fs::create_dir(&crashed).unwrap();
        for name in ["hallpass.db", "hallpass.db-wal"] {
            std::fs::copy(dir.path().join("data").join(name), crashed.join(name)).unwrap();
        }
        let found = SqliteStore::open(&crashed).await.unwrap();
        assert_eq!(found.position().await.unwrap(), revoked.position);
        assert_eq!(found.snapshot().await.unwrap().entries.len(), usize::from(round) + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_handles_on_one_file_see_each_other() {
    let (one, dir) = sqlite().await;
    let two = SqliteStore::open(&dir.path().join("data")).await.unwrap();
    let session = record(1, &alice(), at(0));
    one.insert(session.clone(), None, at(0)).await.unwrap();
    // Both handles have the row in their caches.
    let Outcome::Successor(row) = one.renew(request(&session, 0, at(0), at(500))).await.unwrap() else {
        panic!("due")
    };
    assert_eq!(two.renew(request(&session, 0, at(0), at(501))).await.unwrap(), Outcome::Successor(row));
    // The other handle is notified.
    let mut watch = two.watch();
    watch.mark_unchanged();
    let revoked = one.revoke(Target::Subject(alice()), None, at(502)).await.unwrap();
    let seen =
        tokio::time::timeout(Duration::from_secs(60), watch.wait_for(|at| *at >= revoked.position)).await;
    assert_eq!(*seen.expect("told").unwrap(), revoked.position);
    // No cache answers for a revoked session, even before the notification.
    let session = record(2, &alice(), at(503));
    one.insert(session.clone(), None, at(503)).await.unwrap();
    assert!(matches!(two.renew(request(&session, 0, at(503), at(504))).await.unwrap(), Outcome::Keep(_)));
    one.revoke(Target::Session { id: id(2), ends: None }, None, at(505)).await.unwrap();
    assert_eq!(revoked_by(two.renew(request(&session, 0, at(503), at(506))).await.unwrap()), "session");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_may_open_a_new_directory_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("a").join("b");
    let opening: Vec<_> = (0..8)
        .map(|_| {
            let data = data.clone();
            tokio::spawn(async move { SqliteStore::open(&data).await.unwrap() })
        })
        .collect();
    for (n, store) in opening.into_iter().enumerate() {
        let store = store.await.unwrap();
        store.add_user(user(&format!("user{n}")), at(0)).await.unwrap();
    }
    let store = SqliteStore::open(&data).await.unwrap();
    assert_eq!(store.list_users().await.unwrap().len(), 8);
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let (store, dir) = sqlite().await;
    store.add_user(user("alice"), at(0)).await.unwrap();
    let data = dir.path().join("data");
    assert_eq!(mode(&data), 0o700);
    let mut files = 0;
    for file in std::fs::read_dir(&data).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
        files += 1;
    }
    assert_eq!(files, 3, "with the write-ahead log and its index");
    let path = store.path().to_owned();
    store.close().await;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = SqliteStore::open(&data).await.unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
}

#[tokio::test]
async fn a_directory_of_a_newer_version_and_a_file_that_is_no_database_are_refused() {
    let (store, dir) = sqlite().await;
    let path = store.path().to_owned();
    store.close().await;
    {
        use sqlx::{ConnectOptions, Connection};
        let mut conn = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
        sqlx::query(
            "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (7, 'later', true, x'00', 0)",
        )
        .execute(&mut conn)
        .await
        .unwrap();
        conn.close().await.unwrap();
    }
    let error = SqliteStore::open(&dir.path().join("data")).await.unwrap_err().to_string();
    assert!(error.contains("newer hallpass (schema 7"), "{error}");
    std::fs::write(&path, [b'x'; 4096]).unwrap();
    let error = SqliteStore::open(&dir.path().join("data")).await.unwrap_err().to_string();
    assert!(error.contains("damaged or none"), "{error}");
}

/// Another process holds the lock during a long write.
#[tokio::test]
async fn a_locked_database_is_busy_and_nothing_worse() {
    let (first, dir) = sqlite().await;
    let path = first.path().to_owned();
    first.close().await;
    let options = SqliteOptions { busy_timeout: Duration::from_millis(50), ..SqliteOptions::default() };
    let store = SqliteStore::open_with(&dir.path().join("data"), options).await.unwrap();
    {
        use sqlx::{ConnectOptions, Connection};
        let mut conn = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
        let tx = conn.begin_with("BEGIN IMMEDIATE").await.unwrap();
        let error = store.add_user(user("alice"), at(0)).await.unwrap_err();
        assert!(error.is_busy(), "{error}");
        assert!(store.find_user("alice").await.unwrap().is_none(), "readers don't wait");
        tx.rollback().await.unwrap();
    }
    store.add_user(user("alice"), at(0)).await.unwrap();
}
