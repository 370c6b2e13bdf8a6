use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const ENDS: UnixTime = at(5_000);

const fn at(seconds: u64) -> UnixTime {
    UnixTime::saturating_from_secs(seconds)
}

fn sid(i: u128) -> SessionId {
    SessionId::from_bytes(i.to_be_bytes())
}

fn kid(i: u8) -> KeyId {
    KeyId::from_bytes([i; 8])
}

fn pos(epoch: u64, sequence: u64) -> Position {
    Position { epoch, sequence }
}

fn session(i: u128) -> Entry {
    Entry::Session { sid: sid(i), ends: ENDS }
}

fn subject(name: &str, up_to: u64) -> Entry {
    Entry::Subject { hash: SubjectHash::of(name), up_to: at(up_to), ends: ENDS }
}

fn list_of(entries: impl IntoIterator<Item = Entry>) -> RevocationList {
    let list = RevocationList::new();
    list.apply_snapshot(pos(1, 1), at(100), entries).unwrap();
    list
}

fn sorted(list: &RevocationList) -> Vec<Entry> {
    let mut entries: Vec<_> = list.snapshot().entries().collect();
    entries.sort();
    entries
}

#[test]
fn a_new_list_revokes_nothing_and_knows_nothing() {
    let list = RevocationList::new();
    assert_eq!(list.check(&sid(1), "alice", kid(1), at(0)), None);
    assert_eq!((list.as_of(), list.position(), list.len()), (None, None, 0));
    assert!(list.is_empty() && list.snapshot().is_empty());
}

#[test]
fn a_session_entry_revokes_that_session_alone() {
    let list = list_of([session(1)]);
    assert_eq!(list.check(&sid(1), "alice", kid(1), at(9)), Some(RevokedBy::Session));
    assert_eq!(list.check(&sid(2), "alice", kid(1), at(9)), None);
}

#[test]
fn a_subject_entry_revokes_what_started_up_to_its_second() {
    let list = list_of([subject("alice", 1000), subject("bob", 2000)]);
    let check = |subject, started| list.check(&sid(1), subject, kid(1), at(started));
    assert_eq!(check("alice", 1000), Some(RevokedBy::Subject));
    assert_eq!(check("alice", 1001), None);
    assert_eq!(check("bob", 2000), Some(RevokedBy::Subject));
    assert_eq!(check("bob", 2001), None);
    assert_eq!(check("carol", 0), None);
}

#[test]
fn an_all_entry_revokes_what_started_up_to_its_second() {
    let list = list_of([Entry::All { up_to: at(1000), ends: ENDS }]);
    assert_eq!(list.check(&sid(1), "alice", kid(1), at(1000)), Some(RevokedBy::All));
    assert_eq!(list.check(&sid(1), "alice", kid(1), at(1001)), None);
}

#[test]
fn a_key_entry_revokes_what_it_signed_whenever_that_started() {
    let list = list_of([Entry::Key { kid: kid(1), ends: ENDS }]);
    assert_eq!(list.check(&sid(1), "alice", kid(1), UnixTime::MAX), Some(RevokedBy::Key));
    assert_eq!(list.check(&sid(1), "alice", kid(2), at(0)), None);
}

#[test]
fn of_several_entries_the_widest_is_named() {
    let list = RevocationList::new();
    let check = || list.check(&sid(1), "alice", kid(1), at(9)).map(RevokedBy::as_str);
    list.insert(session(1));
    assert_eq!(check(), Some("session"));
    list.insert(subject("alice", 9));
    assert_eq!(check(), Some("subject"));
    list.insert(Entry::Key { kid: kid(1), ends: ENDS });
    assert_eq!(check(), Some("key"));
    list.insert(Entry::All { up_to: at(9), ends: ENDS });
    assert_eq!(check(), Some("all"));
    assert_eq!(list.len(), 4);
    assert_eq!(list.position(), None);
}

#[test]
fn an_older_entry_of_the_same_thing_takes_nothing_back() {
    let list = RevocationList::new();
    for (up_to, ends) in [(1000, 5000), (500, 9000), (10, 20)] {
        let (up_to, ends) = (at(up_to), at(ends));
        list.insert(Entry::Subject { hash: SubjectHash::of("alice"), up_to, ends });
        list.insert(Entry::All { up_to, ends });
        list.insert(Entry::Key { kid: kid(1), ends });
        list.insert(Entry::Session { sid: sid(1), ends });
    }
    let (up_to, ends) = (at(1000), at(9000));
    assert_eq!(
        sorted(&list),
        [
            Entry::Session { sid: sid(1), ends },
            Entry::Subject { hash: SubjectHash::of("alice"), up_to, ends },
            Entry::Key { kid: kid(1), ends },
            Entry::All { up_to, ends },
        ]
    );
}

#[test]
fn entries_are_kept_through_the_sixtieth_second_past_their_end() {
    let every_kind = [
        session(1),
        subject("alice", 9),
        Entry::Key { kid: kid(1), ends: ENDS },
        Entry::All { up_to: at(9), ends: ENDS },
    ];
    for entry in every_kind {
        let list = list_of([entry]);
        list.expire(at(5_060));
        assert!(list.check(&sid(1), "alice", kid(1), at(9)).is_some(), "{entry:?}");
        list.expire(at(5_061));
        assert_eq!(list.check(&sid(1), "alice", kid(1), at(9)), None, "{entry:?}");
        assert!(list.is_empty(), "{entry:?}");
        assert_eq!((list.position(), list.as_of()), (Some(pos(1, 1)), Some(at(100))));
    }
}

#[test]
fn expiry_drops_what_is_due_from_parts_that_keep_something() {
    let ends = |i: u128| at(if i.is_multiple_of(3) { 5_000 } else { 5_001 });
    let n = 9_000;
    let list = list_of((0..n).map(|i| Entry::Session { sid: sid(i), ends: ends(i) }));
    list.expire(at(5_060));
    assert_eq!(list.len(), 9_000);
    list.expire(at(5_061));
    assert_eq!(list.len(), 6_000);
    for i in 0..n {
        let is_revoked = list.check(&sid(i), "alice", kid(1), at(9)).is_some();
        assert_eq!(is_revoked, i % 3 != 0, "{i}");
    }
    list.expire(at(5_062));
    assert!(list.is_empty());
}

#[test]
fn an_entry_at_the_end_of_time_is_kept() {
    let list = list_of([Entry::Session { sid: sid(1), ends: UnixTime::MAX }]);
    list.expire(UnixTime::MAX);
    assert_eq!(list.len(), 1);
}

#[test]
fn a_clock_that_steps_back_revives_nothing_and_drops_nothing() {
    let list = list_of([session(1)]);
    list.expire(at(0));
    assert_eq!(list.len(), 1);
}

#[test]
fn a_snapshot_replaces_and_a_delta_adds() {
    let list = list_of([session(1), session(2)]);
    list.apply_delta(1, pos(1, 2), at(110), [session(3)]).unwrap();
    assert_eq!(sorted(&list), [session(1), session(2), session(3)]);
    assert_eq!((list.position(), list.as_of()), (Some(pos(1, 2)), Some(at(110))));
    list.apply_snapshot(pos(1, 5), at(120), [session(4)]).unwrap();
    assert_eq!(sorted(&list), [session(4)]);
    assert_eq!((list.position(), list.as_of()), (Some(pos(1, 5)), Some(at(120))));
}

#[test]
fn nothing_goes_backwards() {
    let list = list_of([session(1)]);
    list.apply_snapshot(pos(3, 7), at(200), [session(1)]).unwrap();
    let current = pos(3, 7);
    for offered in [pos(3, 6), pos(2, 8), pos(0, u64::MAX)] {
        let refused = Err(OutOfOrder::Backwards { current, offered });
        assert_eq!(list.apply_snapshot(offered, at(300), []), refused);
        assert_eq!(list.apply_delta(7, offered, at(300), []), refused);
        assert_eq!(list.apply_delta(offered.sequence, offered, at(300), []), refused);
    }
    assert_eq!((list.position(), list.as_of(), list.len()), (Some(current), Some(at(200)), 1));
}

#[test]
fn a_delta_from_elsewhere_is_a_gap() {
    let gap = |current, base| Err(OutOfOrder::Gap { current, base });
    let empty = RevocationList::new();
    assert_eq!(empty.apply_delta(0, pos(0, 1), at(1), [session(1)]), gap(None, pos(0, 0)));
    assert!(empty.is_empty());

    let list = list_of([]);
    let current = Some(pos(1, 1));
    assert_eq!(list.apply_delta(2, pos(1, 3), at(200), [session(1)]), gap(current, pos(1, 2)));
    assert_eq!(list.apply_delta(0, pos(1, 3), at(200), [session(1)]), gap(current, pos(1, 0)));
    // A higher epoch begins with a snapshot, though the sequence would fit.
    assert_eq!(list.apply_delta(1, pos(2, 2), at(200), [session(1)]), gap(current, pos(2, 1)));
    assert_eq!((list.position(), list.as_of(), list.len()), (current, Some(at(100)), 0));
    list.apply_snapshot(pos(2, 0), at(200), [session(1)]).unwrap();
    assert_eq!(list.position(), Some(pos(2, 0)));
}

#[test]
fn as_of_grows_within_an_epoch() {
    let list = list_of([session(1)]);
    // A second signature of the same list.
    list.apply_snapshot(pos(1, 1), at(110), [session(1)]).unwrap();
    assert_eq!(list.as_of(), Some(at(110)));
    list.apply_snapshot(pos(1, 1), at(105), [session(1)]).unwrap();
    assert_eq!(list.as_of(), Some(at(110)));
    list.apply_delta(1, pos(1, 1), at(120), []).unwrap();
    assert_eq!(list.as_of(), Some(at(120)));
    list.apply_delta(1, pos(1, 2), at(50), [session(2)]).unwrap();
    assert_eq!((list.as_of(), list.len()), (Some(at(120)), 2));
    // A backup restored on a machine whose clock is behind.
    list.apply_snapshot(pos(2, 0), at(80), []).unwrap();
    assert_eq!(list.as_of(), Some(at(80)));
}

#[test]
fn a_table_of_many_shards_finds_all_it_holds_and_nothing_else() {
    // Sequential ids, as an operator might type them: the keyed hash has to
    // spread them.
    let n = 40_000;
    let list = list_of((0..n).map(session));
    for (sequence, size) in (1..).zip([1, 2, 100, 5_000]) {
        let entries = (n + size..n + 2 * size).map(session);
        list.apply_delta(sequence, pos(1, sequence + 1), at(200), entries).unwrap();
    }
    // 1: n+1; 2: n+2, n+3; 100: n+100..n+200; 5000: n+5000..n+10000
    let added = 1 + 2 + 100 + 5_000;
    assert_eq!(list.len(), usize::try_from(n + added).unwrap());
    let is_in = |i: u128| i < n + 4 && i != n || (100..200).contains(&(i.wrapping_sub(n)));
    for i in 0..n + 5_000 {
        assert_eq!(list.check(&sid(i), "a", kid(1), at(9)).is_some(), is_in(i), "{i}");
    }
    assert!((n + 5_000..n + 10_000).all(|i| list.check(&sid(i), "a", kid(1), at(9)).is_some()));
    let longest = list.0.current.load().sessions.longest_bucket();
    assert!(longest < 48, "a bucket of {longest}");
}

#[test]
fn a_reader_never_frees_a_list() {
    let list = list_of((0..1000).map(session));
    let held = list.snapshot();
    list.apply_snapshot(pos(1, 2), at(200), []).unwrap();
    assert_eq!(lock(&list.0.writer).len(), 1);
    assert_eq!((held.len(), held.position()), (1000, Some(pos(1, 1))));
    drop(held);
    assert_eq!(lock(&list.0.writer).len(), 1, "the reader's was not the last reference");
    list.expire(at(0));
    assert_eq!(lock(&list.0.writer).len(), 0);
}

#[test]
fn a_change_is_announced_until_the_subscription_is_dropped() {
    let list = RevocationList::new();
    let heard = Arc::new(AtomicUsize::new(0));
    let subscription = list.on_change({
        let (heard, list) = (Arc::clone(&heard), list.clone());
        // It sees the change, and no lock is held.
        move || {
            assert!(list.check(&sid(1), "alice", kid(1), at(9)).is_some());
            drop(list.on_change(|| ()));
            list.expire(at(0));
            heard.fetch_add(1, SeqCst);
        }
    });
    list.insert(session(1));
    assert_eq!(heard.load(SeqCst), 1);
    list.apply_snapshot(pos(1, 1), at(1), [session(1)]).unwrap();
    assert_eq!(heard.load(SeqCst), 2);
    list.apply_delta(1, pos(1, 2), at(1), [session(2)]).unwrap();
    assert_eq!(heard.load(SeqCst), 3);
    // Changes that revoke nothing new are not announced.
    list.apply_snapshot(pos(1, 2), at(2), [session(1)]).unwrap();
    list.apply_delta(2, pos(1, 3), at(3), []).unwrap();
    list.apply_delta(0, pos(1, 4), at(3), [session(4)]).unwrap_err();
    list.expire(at(1));
    assert_eq!(heard.load(SeqCst), 3);
    drop(subscription);
    list.insert(session(5));
    assert_eq!(heard.load(SeqCst), 3);
    assert!(lock(&list.0.subscribers).is_empty());
}

#[test]
fn readers_see_all_of_a_feed_or_none() {
    const ENTRIES: u64 = 200;
    const FEEDS: u64 = 600;
    let whole = |version: u64| {
        (0..ENTRIES)
            .map(move |i| Entry::Session { sid: sid(u128::from(version * ENTRIES + i)), ends: at(version) })
            // In every version, so never to be found missing.
            .chain([session(u128::MAX), subject("mallory", version)])
    };
    let list = RevocationList::new();
    list.apply_snapshot(pos(1, 1), at(1), whole(1)).unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut newest = 0;
                while newest < FEEDS {
                    let lower = list.as_of().unwrap();
                    let check = |s: &str, i| list.check(&sid(i), s, kid(1), lower);
                    assert_eq!(check("alice", u128::MAX), Some(RevokedBy::Session));
                    assert_eq!(check("mallory", 0), Some(RevokedBy::Subject));

                    let seen = list.snapshot();
                    let version = seen.position().unwrap().sequence;
                    assert!(version >= newest, "went back");
                    newest = version;
                    assert!(seen.as_of() >= Some(lower) && seen.as_of() == Some(at(version)));
                    let mut entries: Vec<_> = seen.entries().collect();
                    let mut expected: Vec<_> = whole(version).collect();
                    entries.sort();
                    expected.sort();
                    assert_eq!(entries, expected);
                }
            });
        }
        for version in 2..=FEEDS {
            list.apply_snapshot(pos(1, version), at(version), whole(version)).unwrap();
        }
    });
}

#[test]
fn of_writers_with_the_same_delta_one_applies_it() {
    let list = list_of([]);
    let applied = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for base in 1..500 {
                    let feed = [session(base.into())];
                    if list.apply_delta(base, pos(1, base + 1), at(base), feed).is_ok() {
                        applied.fetch_add(1, SeqCst);
                    }
                }
            });
        }
    });
    // Somebody was always the first, and everybody tried all of them in order.
    assert_eq!(applied.load(SeqCst), 499);
    assert_eq!((list.len(), list.position()), (499, Some(pos(1, 500))));
}

#[test]
fn debug_output_names_no_session() {
    let list = list_of([session(0xdead_beef)]);
    let text = format!("{list:?} {:?} {:?}", session(0xdead_beef), SubjectHash::of("alice"));
    assert!(text.contains("len: 1") && !text.contains("deadbeef"), "{text}");
}

/// The expected behaviour in its simplest form: a `Vec` searched from end
/// to end.
#[derive(Default)]
struct Model {
    entries: Vec<Entry>,
    position: Option<Position>,
    as_of: Option<UnixTime>,
}

impl Model {
    fn add(&mut self, entry: Entry) {
        use Entry::{All, Key, Session, Subject};
        for old in &mut self.entries {
            match (old, entry) {
                (Session { sid: a, ends }, Session { sid: b, ends: new }) if *a == b => {
                    *ends = new.max(*ends);
                }
                (Key { kid: a, ends }, Key { kid: b, ends: new }) if *a == b => {
                    *ends = new.max(*ends);
                }
                (Subject { hash: a, up_to, ends }, Subject { hash: b, up_to: new_up_to, ends: new })
                    if *a == b =>
                {
                    (*up_to, *ends) = (new_up_to.max(*up_to), new.max(*ends));
                }
                (All { up_to, ends }, All { up_to: new_up_to, ends: new }) => {
                    (*up_to, *ends) = (new_up_to.max(*up_to), new.max(*ends));
                }
                _ => continue,
            }
            return;
        }
        self.entries.push(entry);
    }

    fn is_revoked(&self, who: &Probe) -> bool {
        self.entries.iter().any(|entry| match entry {
            Entry::Session { sid: revoked, .. } => *revoked == sid(who.sid),
            Entry::Subject { hash, up_to, .. } => {
                *hash == SubjectHash::of(&who.subject) && at(who.started) <= *up_to
            }
            Entry::Key { kid: revoked, .. } => *revoked == kid(who.kid),
            Entry::All { up_to, .. } => at(who.started) <= *up_to,
        })
    }

    fn follow(&mut self, position: Position, as_of: UnixTime) {
        if self.position.is_none_or(|old| old.epoch != position.epoch) {
            self.as_of = None;
        }
        self.as_of = self.as_of.max(Some(as_of));
        self.position = Some(position);
    }

    /// Applies the step and returns whether it was allowed.
    fn step(&mut self, step: &Step) -> bool {
        match step.clone() {
            Step::Snapshot { position, as_of, entries } => {
                if self.position > Some(position) {
                    return false;
                }
                if self.position != Some(position) {
                    self.entries.clear();
                    for entry in entries {
                        self.add(entry);
                    }
                }
                self.follow(position, as_of);
            }
            Step::Delta { base, position, as_of, entries } => {
                let from = Some(pos(position.epoch, base));
                if self.position != from || Some(position) < self.position {
                    return false;
                }
                for entry in entries {
                    self.add(entry);
                }
                self.follow(position, as_of);
            }
            Step::Insert(entry) => self.add(entry),
            Step::Expire(now) => {
                self.entries.retain(|entry| entry.ends().as_secs() + 60 >= now.as_secs());
            }
        }
        true
    }
}

#[derive(Clone, Debug)]
enum Step {
    Snapshot { position: Position, as_of: UnixTime, entries: Vec<Entry> },
    Delta { base: u64, position: Position, as_of: UnixTime, entries: Vec<Entry> },
    Insert(Entry),
    Expire(UnixTime),
}

impl Step {
    fn apply(&self, list: &RevocationList) -> bool {
        match self.clone() {
            Self::Snapshot { position, as_of, entries } => {
                list.apply_snapshot(position, as_of, entries).is_ok()
            }
            Self::Delta { base, position, as_of, entries } => {
                list.apply_delta(base, position, as_of, entries).is_ok()
            }
            Self::Insert(entry) => {
                list.insert(entry);
                true
            }
            Self::Expire(now) => {
                list.expire(now);
                true
            }
        }
    }
}

#[derive(Clone, Debug)]
struct Probe {
    sid: u128,
    subject: String,
    kid: u8,
    started: u64,
}

// Small ranges, so that values collide.
fn some_time() -> impl Strategy<Value = UnixTime> {
    (0_u64..200).prop_map(at)
}

fn some_subject() -> impl Strategy<Value = String> {
    (0..5).prop_map(|i| format!("subject {i}"))
}

fn some_entry() -> impl Strategy<Value = Entry> {
    prop_oneof![
        12 => (0_u128..60, some_time())
            .prop_map(|(i, ends)| Entry::Session { sid: sid(i), ends }),
        4 => (some_subject(), some_time(), some_time()).prop_map(|(name, up_to, ends)| {
            Entry::Subject { hash: SubjectHash::of(&name), up_to, ends }
        }),
        1 => (0_u8..8, some_time()).prop_map(|(i, ends)| Entry::Key { kid: kid(i), ends }),
        1 => (some_time(), some_time()).prop_map(|(up_to, ends)| Entry::All { up_to, ends }),
    ]
}

fn some_position() -> impl Strategy<Value = Position> {
    (prop_oneof![9 => Just(1_u64), 1 => 0_u64..3], 0_u64..8).prop_map(|(e, s)| pos(e, s))
}

fn some_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (some_position(), some_time(), vec(some_entry(), 0..40))
            .prop_map(|(position, as_of, entries)| Step::Snapshot { position, as_of, entries }),
        6 => (0_u64..8, some_position(), some_time(), vec(some_entry(), 0..6)).prop_map(
            |(base, position, as_of, entries)| Step::Delta { base, position, as_of, entries }
        ),
        3 => some_entry().prop_map(Step::Insert),
        2 => (60_u64..262).prop_map(|now| Step::Expire(at(now))),
    ]
}

fn some_probe() -> impl Strategy<Value = Probe> {
    (0_u128..70, some_subject(), 0_u8..10, 0_u64..201).prop_map(|(sid, subject, kid, started)| Probe {
        sid,
        subject,
        kid,
        started,
    })
}

proptest! {
    #[test]
    fn it_answers_like_a_plain_vec(
        steps in vec(some_step(), 1..30),
        probes in vec(some_probe(), 60),
    ) {
        let list = RevocationList::new();
        let mut model = Model::default();
        for mut step in steps {
            // Nearly every delta of chance would be a gap: let half of them fit.
            if let (Step::Delta { base, position, .. }, Some(at)) = (&mut step, model.position)
                && *base % 2 == 0
            {
                (position.epoch, *base) = (at.epoch, at.sequence);
            }
            prop_assert_eq!(step.apply(&list), model.step(&step), "{:?}", step);
            prop_assert_eq!(list.position(), model.position);
            prop_assert_eq!(list.as_of(), model.as_of);
            model.entries.sort();
            prop_assert_eq!(&sorted(&list), &model.entries);
            prop_assert_eq!(list.len(), model.entries.len());
            for who in &probes {
                let answer = list.check(&sid(who.sid), &who.subject, kid(who.kid), at(who.started));
                prop_assert_eq!(answer.is_some(), model.is_revoked(who), "{:?}", who);
            }
        }
    }
}
