use std::time::Duration;

use super::*;
use crate::outbound::Backoff;
use crate::revocation::feed::MAX_PART_TEXT;

fn events(chunks: &[&[u8]]) -> Result<Vec<String>, SyncError> {
    let (found, error) = super::events(chunks);
    error.map_or(Ok(found), Err)
}

#[test]
fn events_are_found_however_they_are_cut() {
    let stream = b": hello\n\nid: 1.5\nretry: 9\ndata: abc\n\nevent: feed\r\ndata:def\r\n\r\n\
        event: other\ndata: no\n\ndata: ghi\n\n\n\ndata: cut off";
    for size in 1..stream.len() {
        let chunks: Vec<_> = stream.chunks(size).collect();
        assert_eq!(events(&chunks).unwrap(), ["abc", "def", "ghi"], "in chunks of {size}");
    }
}

#[test]
fn what_is_no_stream_of_parts_is_refused() {
    assert!(matches!(events(&[b"data: a\ndata: b\n\n"]), Err(SyncError::Events(_))));
    assert!(matches!(events(&[b"data: \xff\n\n"]), Err(SyncError::Events(_))));
    // A line that does not end is given up at the length of the longest part.
    let longest = vec![b'A'; MAX_PART_TEXT];
    assert_eq!(events(&[b"data: ", &longest, b"\n\n"]).unwrap()[0].len(), MAX_PART_TEXT);
    assert!(matches!(events(&[b"data: ", &longest, &[b'A'; 100]]), Err(SyncError::Events(_))));
    // One that does end is refused too, however it was cut.
    let whole = [b"data: ", &longest[..], &[b'A'; 100], b"\n\n"].concat();
    assert!(matches!(events(&[&whole]), Err(SyncError::Events(_))));
}

#[test]
fn waits_double_up_to_the_longest_with_jitter() {
    let (first, longest) = (Duration::from_millis(100), Duration::from_secs(1));
    let mut backoff = Backoff::new(first, longest);
    for expected in [100, 200, 400, 800, 1000, 1000].map(Duration::from_millis) {
        let wait = backoff.next();
        assert!(expected / 2 <= wait && wait <= expected, "{wait:?} for {expected:?}");
    }
    backoff.reset();
    assert!(backoff.next() <= first);
    let waits: std::collections::BTreeSet<_> = (0..50).map(|_| Backoff::new(first, longest).next()).collect();
    assert!(waits.len() > 1, "no jitter");
    let mut extreme = Backoff::new(Duration::MAX, Duration::ZERO);
    assert!(extreme.next() <= extreme.next().max(Duration::MAX));
}

#[tokio::test(start_paused = true)]
async fn one_refresh_a_minute_however_many_ask() {
    let refresh = Refresh::default();
    let asked = |n: u32| (0..n).filter(|_| refresh.ask()).count();
    assert_eq!(asked(1000), 1);
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(asked(1000), 0);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(asked(1000), 1);
}
