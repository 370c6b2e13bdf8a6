//! However an event stream is split, the same events result, and then the same
//! error. Each event is a line of the stream.
#![no_main]

use hallpass::fuzzing::events;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // The first byte is the length of the pieces.
    let Some((cut, stream)) = data.split_first() else { return };
    let whole = events(&[stream]);
    let bytes: Vec<_> = stream.chunks(1).collect();
    assert_eq!(events(&bytes), whole);
    let chunks: Vec<_> = stream.chunks(usize::from(*cut).max(1)).collect();
    assert_eq!(events(&chunks), whole);
    let (head, tail) = stream.split_at(usize::from(*cut).min(stream.len()));
    assert_eq!(events(&[head, b"", tail]), whole);

    let mut lines = stream.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(b"data"));
    for event in &whole.0 {
        let is_data = |line: &[u8]| {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let value = line.strip_prefix(b":").unwrap_or(line);
            value.strip_prefix(b" ").unwrap_or(value) == event.as_bytes()
        };
        assert!(lines.any(is_data), "{event:?} is no line of data, or out of order");
    }
});
