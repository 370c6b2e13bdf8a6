use super::*;
use proptest::prelude::*;

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// One whole item of any depth, and nothing after it.
fn read(bytes: &[u8]) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(bytes);
    let item = reader.item(64, Extended::Allowed)?;
    reader.finish()?;
    Ok(item)
}

/// RFC 8949 appendix A, the examples that are in deterministic encoding.
const DETERMINISTIC: &str = "
    00 01 0a 17 1818 1819 1864 1903e8 1a000f4240 1b000000e8d4a51000 1bffffffffffffffff
    c249010000000000000000 3bffffffffffffffff c349010000000000000000 20 29 3863 3903e7
    f90000 f98000 f93c00 fb3ff199999999999a f93e00 f97bff fa47c35000 fa7f7fffff
    fb7e37e43c8800759c f90001 f90400 f9c400 fbc010666666666666 f97c00 f97e00 f9fc00
    f4 f5 f6 f7 f0 f8ff
    c074323031332d30332d32315432303a30343a30305a c11a514b67b0 c1fb41d452d9ec200000
    d74401020304 d818456449455446 d82076687474703a2f2f7777772e6578616d706c652e636f6d
    40 4401020304 60 6161 6449455446 62225c 62c3bc 63e6b0b4 64f0908591
    80 83010203 8301820203820405 98190102030405060708090a0b0c0d0e0f101112131415161718181819
    a0 a201020304 a26161016162820203 826161a161626163 a56161614161626142616361436164614461656145";

/// The others of appendix A: right as CBOR, but each has a shorter or definite form.
const OTHER_SPELLINGS: &[(&str, Malformed)] = &[
    ("fa7f800000", Malformed::NotShortest),
    ("fa7fc00000", Malformed::NotShortest),
    ("faff800000", Malformed::NotShortest),
    ("fb7ff0000000000000", Malformed::NotShortest),
    ("fb7ff8000000000000", Malformed::NotShortest),
    ("fbfff0000000000000", Malformed::NotShortest),
    ("5f42010243030405ff", Malformed::IndefiniteLength),
    ("7f657374726561646d696e67ff", Malformed::IndefiniteLength),
    ("9fff", Malformed::IndefiniteLength),
    ("9f018202039f0405ffff", Malformed::IndefiniteLength),
    ("9f01820203820405ff", Malformed::IndefiniteLength),
    ("83018202039f0405ff", Malformed::IndefiniteLength),
    ("83019f0203ff820405", Malformed::IndefiniteLength),
    ("9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff", Malformed::IndefiniteLength),
    ("bf61610161629f0203ffff", Malformed::IndefiniteLength),
    ("826161bf61626163ff", Malformed::IndefiniteLength),
    ("bf6346756ef563416d7421ff", Malformed::IndefiniteLength),
];

/// RFC 8949 appendix F: what is not well-formed, subkind by subkind.
const NOT_WELL_FORMED: &[(&str, &str, Malformed)] = &[
    (
        "the input ends in a head",
        "18 19 1a 1b 1901 1a0102 1b01020304050607 38 58 78 98 9a01ff00 b8 d8 f8 f900 fa0000 fb000000",
        Malformed::Truncated,
    ),
    (
        "strings with too little data",
        "41 61 5affffffff00 5bffffffffffffffff010203 7affffffff00 7b7fffffffffffffff010203",
        Malformed::Truncated,
    ),
    ("arrays and maps with too few items", "81 818181818181818181 8200 a1 a20102 a100", Malformed::Truncated),
    ("a map with a key twice, which shows before its end", "a2000000", Malformed::DuplicateKey),
    ("a tag without its item", "c0", Malformed::Truncated),
    (
        "indefinite lengths without a break, which aren't read that far",
        "5f4100 7f6100 9f 9f0102 bf bf01020102 819f 9f8000 9f9f9f9f9fffffffff 9f819f819f9fffffff",
        Malformed::IndefiniteLength,
    ),
    (
        "reserved additional information",
        "1c 1d 1e 3c 3d 3e 5c 5d 5e 7c 7d 7e 9c 9d 9e bc bd be dc dd de fc fd fe",
        Malformed::NotWellFormed,
    ),
    ("simple values in two bytes", "f800 f801 f814 f817 f818 f81f", Malformed::NotWellFormed),
    (
        "wrong chunks in strings of indefinite length, which aren't read that far",
        "5f00ff 5f21ff 5f6100ff 5f80ff 5fa0ff 5fc000ff 5fe0ff 7f4100ff 5f5f4100ffff 7f7f6100ffff",
        Malformed::IndefiniteLength,
    ),
    ("a break out of place", "ff 81ff 8200ff a1ff a1ff00 a100ff a20000ff", Malformed::NotWellFormed),
    (
        "a break in something indefinite",
        "9f81ff 9f829f819f9fffffffff bf00ff bf000000ff",
        Malformed::IndefiniteLength,
    ),
    ("numbers and tags of indefinite length", "1f 3f df", Malformed::NotWellFormed),
];

#[test]
fn rfc_8949_appendix_a() {
    let mut read_whole = 0;
    for hex in DETERMINISTIC.split_whitespace() {
        let bytes = unhex(hex);
        assert_eq!(read(&bytes), Ok(bytes.as_slice()), "{hex}");
        read_whole += 1;
    }
    assert_eq!(read_whole, 64);
    for (hex, kind) in OTHER_SPELLINGS {
        assert_eq!(read(&unhex(hex)), Err(*kind), "{hex}");
    }
}

#[test]
fn rfc_8949_appendix_f() {
    for (what, list, kind) in NOT_WELL_FORMED {
        for hex in list.split_whitespace() {
            assert_eq!(read(&unhex(hex)), Err(*kind), "{what}: {hex}");
        }
    }
}

/// RFC 8949 §5.3.1 and §4.2.1: valid CBOR, but not deterministic.
#[test]
fn map_keys_are_sorted_and_unique() {
    assert_eq!(read(&unhex("a2010002 00")), Ok(&unhex("a201000200")[..]));
    assert_eq!(read(&unhex("a2020001 00")), Err(Malformed::UnsortedKeys));
    assert_eq!(read(&unhex("a2010001 00")), Err(Malformed::DuplicateKey));
    // The order of the examples in §4.2.1.
    let sorted = unhex("a8 0a00 186400 2000 617a00 62616100 811864 00 8120 00 f4 00");
    assert_eq!(read(&sorted), Ok(sorted.as_slice()));
    // §4.2.3, length first.
    assert_eq!(read(&unhex("a3 0a00 2000 186400")), Err(Malformed::UnsortedKeys));
}

#[test]
fn neither_floats_nor_tags_in_registered_claims() {
    for hex in ["f93c00", "c100", "81f93c00", "81c100", "a1f93c0000", "a100c100"] {
        let bytes = unhex(hex);
        assert_eq!(Reader::new(&bytes).item(4, Extended::Refused), Err(Malformed::ClaimType), "{hex}");
        assert!(Reader::new(&bytes).item(4, Extended::Allowed).is_ok(), "{hex}");
    }
}

#[test]
fn depth_counts_arrays_maps_and_tags() {
    for one in ["81", "a100", "c1", "a1"] {
        let nest = |levels: usize| {
            unhex(&format!(
                "{}{}",
                one.repeat(levels),
                if one == "a1" { "0000".repeat(levels) } else { "00".to_owned() }
            ))
        };
        assert!(Reader::new(&nest(3)).item(3, Extended::Allowed).is_ok(), "{one}");
        assert_eq!(Reader::new(&nest(4)).item(3, Extended::Allowed), Err(Malformed::TooDeep), "{one}");
    }
    assert_eq!(Reader::new(&[0]).item(0, Extended::Allowed), Ok(&[0][..]));
    assert_eq!(Reader::new(&[0x80]).item(0, Extended::Allowed), Err(Malformed::TooDeep));
}

/// Every 16-bit float has one spelling, and its longer ones are refused.
#[test]
fn every_half_float_has_one_spelling() {
    for bits in 0..=u16::MAX {
        let short = [0xf9, (bits >> 8) as u8, (bits & 0xff) as u8];
        let head = Reader::new(&short).head();
        let nan = bits & 0x7c00 == 0x7c00 && bits & 0x03ff != 0;
        if nan && bits != 0x7e00 {
            assert_eq!(head, Err(Malformed::NotShortest), "{bits:04x}");
            continue;
        }
        let Ok(Head::Float(x)) = head else { panic!("{bits:04x}: {head:?}") };
        let mut writer = Writer::default();
        writer.float(x);
        assert_eq!(writer.into_vec(), short, "{bits:04x}");
        let mut long = vec![0xfb];
        long.extend_from_slice(&x.to_be_bytes());
        assert_eq!(Reader::new(&long).head(), Err(Malformed::NotShortest), "{bits:04x}");
        #[expect(clippy::cast_possible_truncation, reason = "every half is a single")]
        let single = (x as f32).to_be_bytes();
        assert_eq!(Reader::new(&[&[0xfa][..], &single].concat()).head(), Err(Malformed::NotShortest));
    }
}

proptest! {
    /// Nothing makes the reader panic, and what it accepts it accepts whole.
    #[test]
    fn any_bytes_are_an_item_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(item) = Reader::new(&bytes).item(16, Extended::Allowed) {
            prop_assert!(bytes.starts_with(item));
        }
    }

    /// A head written is the head read, in its only spelling.
    #[test]
    fn heads_round_trip(n in any::<u64>(), shift in 0_u32..64, x in any::<f64>()) {
        let n = n >> shift;
        let mut writer = Writer::default();
        writer.uint(n).nint(n).tag(n).float(x).int(n.cast_signed());
        let bytes = writer.into_vec();
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(reader.head(), Ok(Head::Uint(n)));
        prop_assert_eq!(reader.head(), Ok(Head::Nint(n)));
        prop_assert_eq!(reader.head(), Ok(Head::Tag(n)));
        let Ok(Head::Float(read)) = reader.head() else { panic!("not a float") };
        prop_assert!(read.to_bits() == x.to_bits() || read.is_nan() && x.is_nan());
        let int = match reader.head() {
            Ok(Head::Uint(n)) => i128::from(n),
            Ok(Head::Nint(n)) => -1 - i128::from(n),
            other => panic!("{other:?}"),
        };
        prop_assert_eq!(int, i128::from(n.cast_signed()));
        prop_assert_eq!(reader.finish(), Ok(()));
    }

    /// A longer argument than needed is refused for every type and width.
    #[test]
    fn longer_arguments_are_refused(major in 0_u8..7, n in 0_u64..=u64::from(u32::MAX), shift in 0_u32..32, widest in any::<bool>()) {
        let n = n >> shift;
        let (info, width) = match n {
            _ if widest => (27, 8),
            0..24 => (24, 1),
            24..0x100 => (25, 2),
            0x100..0x1_0000 => (26, 4),
            _ => (27, 8),
        };
        let mut bytes = vec![major << 5 | info];
        bytes.extend_from_slice(&n.to_be_bytes()[8 - width..]);
        prop_assert_eq!(Reader::new(&bytes).head(), Err(Malformed::NotShortest));
    }
}

#[test]
fn usual_heads_are_read_as_any_head_is() {
    let mut usual = 0;
    // Arguments around every bound between two lengths, with other bytes after.
    let arguments: Vec<u64> = [0, 23, 24, 255, 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, u64::MAX]
        .into_iter()
        .flat_map(|n| [n.saturating_sub(1), n, n.saturating_add(1)])
        .collect();
    for initial in 0..=255_u8 {
        for argument in &arguments {
            for width in 0..=8 {
                let mut bytes = vec![initial];
                bytes.extend(&argument.to_be_bytes()[8 - width..]);
                for rest in [&[][..], &[0x61, 0x62]] {
                    bytes.extend(rest);
                    let Some((head, rest)) = usual_head(&bytes) else { continue };
                    let mut reader = Reader::new(&bytes);
                    assert_eq!(reader.any_head(), Ok(head), "{bytes:02x?}");
                    assert_eq!(reader.rest, rest, "{bytes:02x?}");
                    usual += 1;
                }
            }
        }
    }
    assert!(usual > 10_000, "{usual}");
}
