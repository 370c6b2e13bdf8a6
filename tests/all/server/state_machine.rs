//! Issuer, edges and clock against a simple model of them: random operations,
//! and after each the real verdicts compared with the model's.
//!
//! The model has no rows, cut-offs or tables. A session is revoked if it existed
//! when something that covers it was revoked. An edge knows of that once it has
//! received as many revocations.
//!
//! `HALLPASS_STATE_CASES` says how many histories to try.
#![expect(clippy::panic, clippy::unwrap_used, reason = "also in the helpers of tests")]

use crate::support::ledger::renew;
use crate::support::store::{StoreExt as _, StoreLedger};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use hallpass::issuer::store::{Changes, SessionRecord, SqliteStore, Store, StoreError, Target};
use hallpass::issuer::{RenewError, Renewal};
use hallpass::revocation::feed::{NewFeed, SessionKey};
use hallpass::revocation::{Entry, Feed, FeedKeys};
use hallpass::{
    Algorithm, IssuedToken, KeySet, KeyUse, LifetimeSettings, Lifetimes, LiveKeys, Minter, NewSession,
    Reason, RevocationList, SigningKey, SigningKeys, StalePolicy, Subject, UnixTime, UnverifiedToken,
    Verifier,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

const T0: u64 = 1_790_000_000;
const MAX_AGE: u64 = 120;
const IDLE: u64 = 250;
const RENEW_AFTER: u64 = 60;
const GRACE: u64 = 20;
const ABSOLUTE: u64 = 600;
/// The issuer's leeway.
const LEEWAY: u64 = 5;
/// How long a feed may be received.
const IN_TRANSIT: u64 = 150;
/// An edge's leeway for the feed signer's clock.
const FEED_LEEWAY: u64 = 5;
/// The clock never is further back than this from where it once was. Together
/// with skew and leeway less than the minute for which revocations outlive what
/// they revoke.
const FURTHEST_BACK: u64 = 20;

/// Clock against the issuer's, leeway, and staleness bound, in seconds.
const EDGES: [(i64, u64, u64); 3] = [(0, 0, 30), (3, 5, 90), (-4, 30, 240)];
const SUBJECTS: [&str; 3] = ["alice", "bob", "carol"];

/// Sessions and feeds are counted from the newest, modulo how many there are.
#[derive(Clone, Debug)]
enum Op {
    Start {
        subject: usize,
    },
    /// Renews with the session's newest token or an older one.
    Renew {
        session: usize,
        back: usize,
    },
    /// A log-in again, in the place of a session; perhaps of one that another
    /// log-in has replaced already.
    StepUp(usize),
    /// The clean-up that ends what was replaced a grace ago.
    EndReplaced,
    /// By a token of any session of a log-in.
    LogOut(usize),
    RevokeSession(usize),
    RevokeSubject(usize),
    RevokeAll,
    /// A successor signs first.
    RevokeKey(usize),
    Rotate,
    Advance(u64),
    StepBack(u64),
    /// The issuer signs what an edge needs, or a snapshot.
    Publish {
        follows: Option<usize>,
    },
    /// Delivers any published feed to an edge, however late and
    /// however often.
    Deliver {
        edge: usize,
        back: usize,
    },
    /// Delivers the next feed at once.
    Sync(usize),
    Cut(usize),
    Mend(usize),
    /// The store and the lists forget what has ended.
    Forget,
    RestartIssuer,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let n = prop_oneof![6 => Just(0_usize), 3 => Just(1), 2 => 2..6_usize, 1 => 0..40_usize];
    let edge = 0..EDGES.len();
    let back = prop_oneof![5 => Just(0_usize), 4 => Just(1), 1 => Just(2), 1 => 3..5_usize];
    // Prefers times at the exact second of a limit.
    let seconds = prop_oneof![
        9 => 0..4_u64,
        5 => GRACE - 1..=GRACE + 1,
        9 => RENEW_AFTER - 1..=RENEW_AFTER + 6,
        2 => MAX_AGE - 5..=MAX_AGE + 10,
        2 => IDLE - 5..=IDLE + 10,
        1 => ABSOLUTE - 5..=ABSOLUTE + 10,
    ];
    let op = prop_oneof![
        10 => (0..SUBJECTS.len()).prop_map(|subject| Op::Start { subject }),
        60 => (n.clone(), back).prop_map(|(session, back)| Op::Renew { session, back }),
        8 => n.clone().prop_map(Op::StepUp),
        4 => Just(Op::EndReplaced),
        3 => n.clone().prop_map(Op::LogOut),
        2 => n.clone().prop_map(Op::RevokeSession),
        2 => (0..SUBJECTS.len()).prop_map(Op::RevokeSubject),
        1 => Just(Op::RevokeAll),
        1 => n.prop_map(Op::RevokeKey),
        1 => Just(Op::Rotate),
        30 => seconds.prop_map(Op::Advance),
        5 => (1..=FURTHEST_BACK).prop_map(Op::StepBack),
        6 => proptest::option::of(edge.clone()).prop_map(|follows| Op::Publish { follows }),
        10 => (edge.clone(), 0..6_usize).prop_map(|(edge, back)| Op::Deliver { edge, back }),
        24 => edge.clone().prop_map(Op::Sync),
        2 => edge.clone().prop_map(Op::Cut),
        4 => edge.prop_map(Op::Mend),
        1 => Just(Op::Forget),
        1 => Just(Op::RestartIssuer),
    ];
    proptest::collection::vec(op, 1..200)
}

// ---- the model ----

/// A token as its bearer sees it.
struct Token {
    text: String,
    session: usize,
    generation: u64,
    issued: u64,
    expires: u64,
    key: usize,
}

struct Session {
    subject: usize,
    /// The log-in that it came of, by the first session of it.
    log_in: usize,
    /// When it ends, if another session replaced it.
    replaced: Option<u64>,
    ends: u64,
    /// Its tokens, oldest first.
    tokens: Vec<usize>,
    /// When the newest first came back.
    seen: Option<u64>,
    /// When the newest was last given out again, if it was due soon.
    repeated: Option<u64>,
    /// Which revocation covers it.
    revoked: Option<u64>,
}

#[derive(Clone, Copy)]
struct Sent {
    sequence: u64,
    /// `None`: a snapshot.
    base: Option<u64>,
    issued: u64,
    /// How many session keys there were.
    keys: usize,
}

#[derive(Default)]
struct Known {
    /// The number of revocations it knows; `None` before the first feed.
    sequence: Option<u64>,
    /// The time as of which that is complete.
    as_of: u64,
    keys: usize,
    cut: bool,
}

impl Known {
    /// Returns whether the edge applies a feed, by its own clock.
    fn takes(&self, feed: Sent, now: u64) -> bool {
        let in_time = feed.issued <= now + FEED_LEEWAY && now < feed.issued + IN_TRANSIT + FEED_LEEWAY;
        let forward = self.sequence.is_none_or(|known| {
            feed.sequence > known || (feed.sequence == known && feed.issued >= self.as_of)
        });
        let follows = feed.base.is_none() || feed.base == self.sequence;
        in_time && forward && follows
    }
}

/// The expected outcome of a renewal.
#[derive(Debug, PartialEq)]
enum Due {
    Refused(Reason),
    Theft,
    Itself,
    Successor,
    /// The newest, byte for byte.
    Again,
    /// The newest is unusable: another of its generation is made.
    Remade,
}

#[derive(Default)]
struct Model {
    now: u64,
    tokens: Vec<Token>,
    sessions: Vec<Session>,
    /// For each key which revocation covers it.
    keys: Vec<Option<u64>>,
    sent: Vec<Sent>,
    edges: [Known; EDGES.len()],
}

impl Model {
    fn newest_key(&self) -> usize {
        (0..self.keys.len()).rfind(|&key| self.keys[key].is_none()).unwrap()
    }

    /// The keys that are not revoked, newest first.
    fn usable_keys(&self) -> Vec<usize> {
        (0..self.keys.len()).rev().filter(|&key| self.keys[key].is_none()).collect()
    }

    fn edge_now(&self, edge: usize) -> u64 {
        self.now.checked_add_signed(EDGES[edge].0).unwrap()
    }

    /// The expected verdict of an edge on a token.
    fn verdict(&self, edge: usize, token: &Token) -> Result<(), Reason> {
        let (_, leeway, bound) = EDGES[edge];
        let (known, now) = (&self.edges[edge], self.edge_now(edge));
        let session = &self.sessions[token.session];
        let heard = |revocation: Option<u64>| revocation.is_some_and(|at| Some(at) <= known.sequence);
        let refused = [
            (token.key >= known.keys, Reason::UnknownKey),
            (token.issued > now + leeway, Reason::NotYetValid),
            (now >= session.ends + leeway, Reason::SessionEnded),
            (now >= token.expires + leeway, Reason::Expired),
            (known.sequence.is_none() || now > known.as_of + bound, Reason::RevocationsStale),
            (heard(session.revoked) || heard(self.keys[token.key]), Reason::Revoked),
        ];
        refused.into_iter().find(|(is_so, _)| *is_so).map_or(Ok(()), |(_, reason)| Err(reason))
    }

    /// The expected outcome at the issuer.
    fn due(&self, token: &Token) -> Due {
        let (now, session) = (self.now, &self.sessions[token.session]);
        let newest = &self.tokens[*session.tokens.last().unwrap()];
        let behind = newest.generation - token.generation;
        if session.revoked.is_some() || self.keys[token.key].is_some() {
            return Due::Refused(Reason::Revoked);
        }
        if now >= session.ends + LEEWAY {
            return Due::Refused(Reason::SessionEnded);
        }
        if now >= (newest.issued + IDLE).min(session.ends) + LEEWAY {
            return Due::Refused(Reason::Expired);
        }
        if token.issued > now + LEEWAY {
            return Due::Refused(Reason::NotYetValid);
        }
        let in_use = session.seen.is_some_and(|seen| now > seen + GRACE);
        let made_before = behind == 0 && token.issued < newest.issued;
        let both_under_way = made_before && session.repeated.is_some_and(|at| newest.issued <= at + GRACE);
        if behind >= 2 || (in_use && (behind == 1 || (made_before && !both_under_way))) {
            return Due::Theft;
        }
        let can_be_made = now.max(newest.issued) < session.ends;
        let expired = now >= newest.expires;
        if behind == 1 || made_before {
            return match (self.keys[newest.key].is_none() && !expired, can_be_made) {
                (true, _) => Due::Again,
                (false, true) => Due::Remade,
                (false, false) => Due::Refused(Reason::SessionEnded),
            };
        }
        let is_due = expired || (token.expires < session.ends && now >= token.issued + RENEW_AFTER);
        let just_repeated = session.repeated.is_some_and(|at| now < at + GRACE);
        match (is_due && can_be_made, just_repeated) {
            (true, false) => Due::Successor,
            (true, true) if expired => Due::Remade,
            _ if is_due && !can_be_made && now >= token.expires + LEEWAY => {
                Due::Refused(Reason::SessionEnded)
            }
            _ => Due::Itself,
        }
    }

    fn first_token(&self, session: usize) -> &str {
        &self.tokens[self.sessions[session].tokens[0]].text
    }

    /// Whether it is the only session of its log-in.
    fn is_alone(&self, session: usize) -> bool {
        let log_in = self.sessions[session].log_in;
        self.sessions.iter().filter(|other| other.log_in == log_in).count() == 1
    }

    fn revoke(&mut self, sequence: u64, covers: impl Fn(&Session) -> bool) {
        for session in self.sessions.iter_mut().filter(|session| covers(session)) {
            session.revoked = session.revoked.or(Some(sequence));
        }
    }
}

// ---- the real thing ----

struct Edge {
    list: RevocationList,
    keys: LiveKeys,
    verifier: Verifier,
}

impl Edge {
    fn new((_, leeway, bound): (i64, u64, u64)) -> Self {
        let (list, keys) = (RevocationList::new(), LiveKeys::awaiting());
        let verifier = Verifier::builder(keys.clone())
            .leeway(Duration::from_secs(leeway))
            .revocations(list.clone())
            .stale_policy(StalePolicy::RefuseAfter(Duration::from_secs(bound)))
            .build()
            .unwrap();
        Self { list, keys, verifier }
    }
}

struct World {
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
    store: Option<std::sync::Arc<SqliteStore>>,
    minter: Minter,
    feed_key: SigningKey,
    feed_keys: FeedKeys,
    keys: Vec<SigningKey>,
    /// Their public halves, as the issuer knows them.
    public: Option<KeySet>,
    edges: [Edge; EDGES.len()],
    feeds: Vec<Vec<u8>>,
    /// The latest time the clock has shown.
    furthest: u64,
    model: Model,
    steps: usize,
}

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_secs(seconds).unwrap()
}

/// Disk behaviour is not tested here, and it would take most of the time.
fn in_memory_if_possible() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn subject(which: usize) -> Subject {
    Subject::new(SUBJECTS[which]).unwrap()
}

fn signing_key(n: usize) -> SigningKey {
    let seed = [u8::try_from(n + 1).unwrap(); 32];
    SigningKey::from_seed(&seed, KeyUse::Session, Algorithm::EdDsa).unwrap()
}

fn lifetimes() -> Lifetimes {
    Lifetimes::new(LifetimeSettings {
        token_max_age: Some(Duration::from_secs(MAX_AGE)),
        idle_timeout: Some(Duration::from_secs(IDLE)),
        renew_after: Some(Duration::from_secs(RENEW_AFTER)),
        absolute_lifetime: Duration::from_secs(ABSOLUTE),
        leeway: Duration::from_secs(LEEWAY),
        renewal_grace: Some(Duration::from_secs(GRACE)),
    })
    .unwrap()
}

/// Counts the cases that occurred, to show that the model was exercised.
type Tally = BTreeMap<String, u64>;

fn count(tally: &mut Tally, what: impl std::fmt::Debug) {
    *tally.entry(format!("{what:?}")).or_default() += 1;
}

impl World {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let feed_key = SigningKey::from_seed(&[250; 32], KeyUse::Feed, Algorithm::EdDsa).unwrap();
        let feed_keys = FeedKeys::new([feed_key.verifying_key().clone()]).unwrap();
        let mut world = Self {
            runtime,
            folder: in_memory_if_possible(),
            store: None,
            minter: Minter::new(lifetimes()),
            feed_key,
            feed_keys: feed_keys.with_leeway(Duration::from_secs(FEED_LEEWAY)),
            keys: Vec::new(),
            public: None,
            edges: EDGES.map(Edge::new),
            feeds: Vec::new(),
            furthest: T0,
            model: Model { now: T0, ..Model::default() },
            steps: 0,
        };
        world.restart();
        world.rotate();
        world
    }

    fn now(&self) -> UnixTime {
        at(self.model.now)
    }

    fn store(&self) -> &std::sync::Arc<SqliteStore> {
        self.store.as_ref().unwrap()
    }

    fn restart(&mut self) {
        if let Some(store) = self.store.take() {
            let store = std::sync::Arc::into_inner(store).unwrap();
            self.runtime.block_on(store.close());
        }
        let store = self.runtime.block_on(SqliteStore::open(&self.folder.path().join("data"))).unwrap();
        self.store = Some(std::sync::Arc::new(store));
    }

    fn rotate(&mut self) {
        let key = signing_key(self.keys.len());
        let known = self.public.iter().flat_map(KeySet::iter).cloned();
        self.public = Some(KeySet::new(known.chain([key.verifying_key().clone()])).unwrap());
        self.keys.push(key);
        self.model.keys.push(None);
    }

    fn signing_keys(&self) -> SigningKeys {
        let mut usable = self.model.usable_keys().into_iter().map(|key| self.keys[key].clone());
        SigningKeys::new(usable.next().unwrap(), usable).unwrap()
    }

    fn sequence(&self) -> u64 {
        self.runtime.block_on(self.store().position()).unwrap().sequence
    }

    fn add_token(&mut self, token: &IssuedToken, session: usize) {
        let facts = token.session();
        let key = self.keys.iter().position(|key| key.id() == facts.key_id()).unwrap();
        self.model.sessions[session].tokens.push(self.model.tokens.len());
        self.model.tokens.push(Token {
            text: token.as_str().to_owned(),
            session,
            generation: facts.generation(),
            issued: facts.issued_at().as_secs(),
            expires: facts.expires_at().as_secs(),
            key,
        });
    }

    /// Starts a session as the login service does; a step-up replaces another one.
    fn start(&mut self, who: usize, replaces: Option<usize>, tally: &mut Tally) {
        let (now, subject) = (self.now(), subject(who));
        let started = self.runtime.block_on(self.store().earliest_start(&subject, now)).unwrap();
        assert!(started >= now);
        let new = NewSession {
            subject: &subject,
            claims: &(),
            started,
            auth_time: now,
            ends: replaces.map(|old| at(self.model.sessions[old].ends)),
            amr: &[],
            bound_to: None,
        };
        let token = self.minter.start(&self.keys[self.model.newest_key()], &new, now);
        let Ok(token) = token else {
            // A step-up at the very end of its session.
            assert!(replaces.is_some_and(|old| self.model.sessions[old].ends <= started.as_secs()));
            return;
        };
        let mut record = SessionRecord::new(token.session(), self.minter.lifetimes()).unwrap();
        let until = self.model.now + GRACE;
        record.replaces = replaces.map(|old| (id(self.model.first_token(old)), at(until)));
        match self.runtime.block_on(self.store().insert(record, None, now)) {
            Ok(()) => {}
            Err(StoreError::ParentOver) => {
                let old = &self.model.sessions[replaces.unwrap()];
                assert!(old.revoked.is_some() || old.ends <= self.furthest.max(self.model.now));
                return;
            }
            Err(error) => panic!("{error}"),
        }
        if let Some(old) = replaces {
            count(
                tally,
                if self.model.sessions[old].replaced.is_some() { "replaced twice" } else { "replaced" },
            );
            let replaced = &mut self.model.sessions[old].replaced;
            *replaced = replaced.or(Some(until));
        }
        let log_in = replaces.map_or(self.model.sessions.len(), |old| self.model.sessions[old].log_in);
        self.model.sessions.push(Session {
            subject: who,
            log_in,
            replaced: None,
            ends: token.session().ends_at().as_secs(),
            tokens: Vec::new(),
            seen: None,
            repeated: None,
            revoked: None,
        });
        self.add_token(&token, self.model.sessions.len() - 1);
    }

    fn renew(&mut self, session: usize, back: usize, tally: &mut Tally) {
        let (now, clock) = (self.now(), self.model.now);
        let tokens = &self.model.sessions[session].tokens;
        let presented = tokens[tokens.len() - 1 - back.min(tokens.len() - 1)];
        let newest = *tokens.last().unwrap();
        let due = self.model.due(&self.model.tokens[presented]);
        let text = self.model.tokens[presented].text.clone();

        let verified =
            UnverifiedToken::decode(&text).unwrap().verify(self.public.as_ref().unwrap(), now).unwrap();
        let ledger = StoreLedger(std::sync::Arc::clone(self.store()));
        let keys = self.signing_keys();
        let renewal = renew(&ledger, &text, verified, &keys, self.minter.lifetimes(), now);
        let renewal = self.runtime.block_on(renewal);
        drop(ledger);
        count(tally, &due);

        let model = &mut self.model;
        let (old, row) = (&model.tokens[presented], &mut model.sessions[session]);
        let next = match renewal {
            Err(RenewError::Refused(why)) => {
                // What has ended may have been forgotten, and its revocation.
                let ended = clock >= row.ends + LEEWAY && due == Due::Refused(Reason::Revoked);
                let forgotten = ended && why.reason() == Reason::SessionEnded;
                assert!(forgotten || due == Due::Refused(why.reason()), "{why}, though {due:?}");
                return;
            }
            Err(RenewError::Reuse { .. }) => {
                assert_eq!(due, Due::Theft);
                let sequence = self.sequence();
                self.model.sessions[session].revoked = Some(sequence);
                self.adopt(sequence, self.model.sessions[session].log_in);
                return;
            }
            Err(other) => panic!("{other}"),
            Ok(Renewal { renewed: false, token, .. }) => {
                assert_eq!(due, Due::Itself);
                assert_eq!(token.as_str(), text);
                if presented == newest {
                    row.seen = row.seen.or(Some(clock));
                }
                return;
            }
            Ok(Renewal { renewed: true, token, .. }) => token,
        };
        let facts = next.session();
        let (made, generation) = (facts.issued_at().as_secs(), facts.generation());
        assert_eq!((facts.ends_at().as_secs(), facts.started_at()), (row.ends, started(&text)));
        match due {
            Due::Again => {
                assert_eq!(next.as_str(), model.tokens[newest].text, "another token for one renewal");
                if clock + GRACE > model.tokens[newest].issued + RENEW_AFTER {
                    row.repeated = row.repeated.max(Some(clock));
                }
                return;
            }
            Due::Successor => {
                assert_eq!((generation, made), (old.generation + 1, clock.max(old.issued)));
                row.repeated = None;
            }
            Due::Remade => {
                let newest = &model.tokens[newest];
                assert_eq!((generation, made), (newest.generation, clock.max(newest.issued)));
            }
            other => panic!("renewed, though {other:?}"),
        }
        assert_eq!(facts.expires_at().as_secs(), row.ends.min(made + MAX_AGE));
        assert_eq!(next.renewable_until().as_secs(), row.ends.min(made + IDLE));
        row.seen = None;
        assert_eq!(facts.key_id(), self.keys[self.model.newest_key()].id());
        self.add_token(&next, session);
    }

    fn revoke(&mut self, target: Target, covers: impl Fn(&Session) -> bool) {
        let revoked = self.runtime.block_on(self.store().revoke(target, None, self.now())).unwrap();
        self.model.revoke(revoked.position.sequence, covers);
    }

    /// Takes over from the store which others of a log-in ended with one of them:
    /// at a theft and by an operator, those that hang on it.
    fn adopt(&mut self, sequence: u64, log_in: usize) {
        let entries = self.runtime.block_on(self.store().snapshot()).unwrap().entries;
        for session in 0..self.model.sessions.len() {
            let sid = id(self.model.first_token(session));
            let is_in =
                entries.iter().any(|entry| matches!(entry, Entry::Session { sid: of, .. } if *of == sid));
            let one = &mut self.model.sessions[session];
            if one.log_in == log_in && is_in {
                one.revoked = one.revoked.or(Some(sequence));
            }
        }
    }

    /// Replaced sessions end after the grace, and no others do.
    fn end_replaced(&mut self) {
        let ended = self.runtime.block_on(self.store().end_replaced(self.now())).unwrap();
        let (now, sequence) = (self.model.now, self.sequence());
        let due = |session: &Session| session.replaced.is_some_and(|at| at <= now);
        let alive = self
            .model
            .sessions
            .iter()
            .any(|session| due(session) && session.revoked.is_none() && now < session.ends);
        assert!(!alive || ended.is_some(), "a replaced session lives on");
        self.model.revoke(sequence, due);
    }

    fn log_out(&mut self, session: usize) {
        let log_in = self.model.sessions[session].log_in;
        let target = Target::Family { id: id(self.model.first_token(session)), ends: None };
        self.revoke(target, |other| other.log_in == log_in);
    }

    fn revoke_key(&mut self, key: usize) {
        if key == self.model.newest_key() {
            self.rotate();
        }
        self.revoke(Target::Key(self.keys[key].id()), |_| false);
        let sequence = self.sequence();
        self.model.keys[key] = self.model.keys[key].or(Some(sequence));
    }

    fn publish(&mut self, follows: Option<usize>) {
        let known = follows.and_then(|edge| self.edges[edge].list.position());
        let changes: Changes = match known {
            Some(after) => self.runtime.block_on(self.store().revocations_after(after)),
            None => self.runtime.block_on(self.store().snapshot()),
        }
        .unwrap();
        let keys: Vec<_> =
            self.keys.iter().map(|key| SessionKey::new(key.verifying_key().clone(), at(T0))).collect();
        let new = NewFeed {
            position: changes.position,
            base: changes.base,
            issued_at: self.now(),
            expires_at: at(self.model.now + IN_TRANSIT),
            session_keys: &keys,
            lifetimes: None,
        };
        let parts = new.sign(&self.feed_key, changes.entries).unwrap();
        self.feeds.push(parts.concat());
        let (base, sequence, issued) = (changes.base, changes.position.sequence, self.model.now);
        self.model.sent.push(Sent { sequence, base, issued, keys: keys.len() });
    }

    fn deliver(&mut self, edge: usize, back: usize, tally: &mut Tally) {
        if self.feeds.is_empty() || self.model.edges[edge].cut {
            return;
        }
        let which = self.feeds.len() - 1 - back % self.feeds.len();
        let now = self.model.edge_now(edge);
        let (real, feed) = (&self.edges[edge], self.model.sent[which]);
        let applied = Feed::from_bytes(&self.feed_keys, &self.feeds[which], at(now))
            .and_then(|feed| feed.apply(&real.list, &real.keys, at(now)));
        let known = &mut self.model.edges[edge];
        assert_eq!(applied.is_ok(), known.takes(feed, now), "{applied:?}");
        match applied {
            Ok(()) => {
                known.sequence = Some(feed.sequence);
                known.as_of = known.as_of.max(feed.issued);
                known.keys = feed.keys;
                count(tally, "feed applied");
            }
            Err(_) => count(tally, "feed refused"),
        }
    }

    fn forget(&mut self) {
        let audit_age = Duration::from_hours(1);
        self.runtime.block_on(self.store().expire(audit_age, 1000, self.now())).unwrap();
        for (n, edge) in self.edges.iter().enumerate() {
            edge.list.expire(at(self.model.edge_now(n)));
        }
    }

    fn step(&mut self, op: &Op, tally: &mut Tally) {
        let sessions = self.model.sessions.len();
        match *op {
            Op::Start { subject } => self.start(subject, None, tally),
            Op::Rotate => self.rotate(),
            Op::Advance(seconds) => self.model.now += seconds,
            Op::StepBack(seconds) => {
                self.model.now = (self.model.now - seconds).max(self.furthest - FURTHEST_BACK);
            }
            Op::Publish { follows } => self.publish(follows),
            Op::Deliver { edge, back } => self.deliver(edge, back, tally),
            Op::Sync(edge) => {
                self.publish(Some(edge));
                self.deliver(edge, 0, tally);
            }
            Op::Cut(edge) => self.model.edges[edge].cut = true,
            Op::Mend(edge) => self.model.edges[edge].cut = false,
            Op::Forget => self.forget(),
            Op::RestartIssuer => self.restart(),
            Op::EndReplaced => self.end_replaced(),
            Op::RevokeKey(key) => self.revoke_key(key % self.keys.len()),
            Op::RevokeSubject(who) => {
                self.revoke(Target::Subject(subject(who)), |session| session.subject == who);
            }
            Op::RevokeAll => self.revoke(Target::All, |_| true),
            // The rest needs a session.
            _ if sessions == 0 => {}
            Op::Renew { session, back } => self.renew(sessions - 1 - session % sessions, back, tally),
            Op::StepUp(session) => {
                let old = sessions - 1 - session % sessions;
                self.start(self.model.sessions[old].subject, Some(old), tally);
            }
            Op::LogOut(session) => self.log_out(sessions - 1 - session % sessions),
            Op::RevokeSession(session) => {
                let session = sessions - 1 - session % sessions;
                if !self.model.is_alone(session) {
                    return self.step(&Op::LogOut(session), tally);
                }
                let id = id(self.model.first_token(session));
                self.revoke(Target::Session { id, ends: None }, |_| false);
                let sequence = self.sequence();
                let revoked = &mut self.model.sessions[session].revoked;
                *revoked = revoked.or(Some(sequence));
            }
        }
        self.furthest = self.furthest.max(self.model.now);
        self.steps += 1;
        self.compare(1, tally);
    }

    /// Asks each edge about the newest token, and `more` others.
    fn compare(&self, more: usize, tally: &mut Tally) {
        let (model, all) = (&self.model, self.model.tokens.len());
        let others = (0..more).map(|n| (self.steps * more + n) % all.max(1));
        let asked: Vec<&Token> =
            all.checked_sub(1).into_iter().chain(others).filter_map(|n| model.tokens.get(n)).collect();
        let texts: Vec<&str> = asked.iter().map(|token| token.text.as_str()).collect();
        for (n, edge) in self.edges.iter().enumerate() {
            let now = at(model.edge_now(n));
            let known = &model.edges[n];
            assert_eq!(edge.list.position().map(|at| at.sequence), known.sequence);
            assert_eq!(edge.list.as_of(), known.sequence.map(|_| at(known.as_of)));
            let verdicts = edge.verifier.verify_many::<()>(&texts, now);
            for (token, verdict) in asked.iter().zip(verdicts) {
                let verdict = verdict.map(drop).map_err(|why| why.reason());
                let expected = model.verdict(n, token);
                assert_eq!(
                    verdict, expected,
                    "edge {n} at {now}, token of session {} and generation {}",
                    token.session, token.generation
                );
                count(tally, verdict);
            }
        }
    }
}

fn id(token: &str) -> hallpass::SessionId {
    inside(token, "session_id").parse().unwrap()
}

fn started(token: &str) -> UnixTime {
    UnixTime::parse_rfc3339(&inside(token, "started_at")).unwrap()
}

fn inside(token: &str, what: &str) -> String {
    hallpass::danger::inspect(token).unwrap().json["session"][what].as_str().unwrap().to_owned()
}

#[test]
fn issuer_edges_and_clock_do_as_the_model_does() {
    let cases = std::env::var("HALLPASS_STATE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(32);
    let failure_persistence = FileFailurePersistence::SourceParallel("proptest-regressions");
    let config = Config {
        cases,
        failure_persistence: Some(Box::new(failure_persistence)),
        source_file: Some(file!()),
        max_shrink_iters: 2000,
        ..Config::default()
    };
    let tally = RefCell::new(Tally::new());
    let outcome = TestRunner::new(config).run(&ops(), |ops| {
        let mut world = World::new();
        for op in &ops {
            world.step(op, &mut tally.borrow_mut());
        }
        world.compare(world.model.tokens.len(), &mut tally.borrow_mut());
        Ok(())
    });
    outcome.unwrap_or_else(|why| panic!("{why}"));
    let tally = tally.into_inner();
    println!("{cases} histories: {tally:?}");
    let of = |what: &str| tally.get(what).copied().unwrap_or(0);
    let often =
        ["Ok(())", "Err(Expired)", "Err(RevocationsStale)", "Err(Revoked)", "Successor", "\"feed refused\""];
    assert!(cases < 30 || often.iter().all(|what| of(what) > 0), "{tally:?}");
    let seldom = ["Again", "Remade", "Theft", "Refused(NotYetValid)", "\"replaced twice\""];
    assert!(cases < 500 || seldom.iter().all(|what| of(what) > 0), "{tally:?}");
}
