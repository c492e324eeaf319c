//! Does every encoding of section 2 survive the way into a ring entry and back, and does every
//! other one give CERROR_ILL?
//!
//! Source: Arm IHI 0070 G.b 4.1 to 4.7; reference/smmuv3.md section 2.

use proptest::prelude::*;
use smmuv3::command::{
    atc_span, block, decode, range_chunks, ste_range, tlb_span, words_of, Cs, Illegal, OPCODES,
};
use smmuv3::field::{self, Field};
use smmuv3::{Command, Config, Edition, Feature, Features, Op, Res0};

/// Every feature that a command or field of section 2 needs, so that every row is legal.
fn everything() -> Config {
    let features = [
        Feature::Ds,
        Feature::D128,
        Feature::SecureQueue,
        Feature::Mpam,
        Feature::Dpt,
        Feature::RevisionHa,
    ];
    let all = features.into_iter().fold(Config::FULL.features, Features::with);
    Config::FULL.with_features(all)
}

fn lax(config: Config) -> Config {
    Config { res0: Res0::Lax, ..config }
}

/// Where the fields stand, written down a second time: (opcodes, name, word, high, low).
#[rustfmt::skip]
const LAYOUT: &[(&[u8], &str, u8, u8, u8)] = &[
    (&[0x01, 0x02, 0x05, 0x40, 0x41], "SSV", 0, 11, 11),
    (&[0x01, 0x02, 0x05, 0x40, 0x41], "SubstreamID", 0, 31, 12),
    (&[0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x40, 0x41, 0x44, 0x45], "StreamID", 0, 63, 32),
    (&[0x02], "Size", 1, 4, 0),
    (&[0x02, 0x12, 0x13, 0x1a, 0x22, 0x23, 0x40, 0x52, 0x53], "Address", 1, 63, 12),
    (&[0x03, 0x05, 0x12, 0x13, 0x1a, 0x22, 0x23, 0x2a, 0x52, 0x53, 0x5a], "Leaf", 1, 0, 0),
    (&[0x04], "Range", 1, 4, 0),
    (&[0x12, 0x13, 0x1a, 0x22, 0x23, 0x2a, 0x52, 0x53, 0x5a], "NUM", 0, 16, 12),
    (&[0x12, 0x13, 0x1a, 0x22, 0x23, 0x2a, 0x52, 0x53, 0x5a], "SCALE", 0, 25, 20),
    (&[0x12, 0x13, 0x1a, 0x22, 0x23, 0x2a, 0x52, 0x53, 0x5a], "TTL128", 1, 7, 7),
    (&[0x12, 0x13, 0x1a, 0x22, 0x23, 0x2a, 0x52, 0x53, 0x5a], "TTL", 1, 9, 8),
    (&[0x12, 0x13, 0x1a, 0x22, 0x23, 0x2a, 0x52, 0x53, 0x5a], "TG", 1, 11, 10),
    (&[0x10, 0x11, 0x12, 0x13, 0x28, 0x2a, 0x58, 0x5a], "VMID", 0, 47, 32),
    (&[0x11, 0x12, 0x21, 0x22, 0x51, 0x52], "ASID", 0, 63, 48),
    (&[0x2a, 0x5a], "Address", 1, 55, 12),
    (&[0x40], "Global", 0, 9, 9),
    (&[0x40], "Size", 1, 5, 0),
    (&[0x41], "PRGIndex", 1, 8, 0),
    (&[0x41], "Resp", 1, 13, 12),
    (&[0x44], "Resp", 0, 13, 12),
    (&[0x44], "STAG", 1, 15, 0),
    (&[0x46], "CS", 0, 13, 12),
    (&[0x46], "MSH", 0, 23, 22),
    (&[0x46], "MSIAttr", 0, 27, 24),
    (&[0x46], "MSIData", 0, 63, 32),
    (&[0x46], "MSIAddress", 1, 55, 2),
];

#[test]
fn the_rows_have_the_fields_of_the_text() {
    let mut expected = Vec::new();
    for (ops, name, word, high, low) in LAYOUT {
        expected.extend(ops.iter().map(|op| (*op, *name, *word, *high, *low)));
    }
    let mut found: Vec<(u8, &str, u8, u8, u8)> = OPCODES
        .iter()
        .flat_map(|row| row.fields.iter().map(|f| (row.op as u8, f.name, f.word, f.high, f.low)))
        .collect();
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
    // Fields of one command do not overlap each other, the opcode or SSec.
    for row in OPCODES {
        let mut taken = [field::OPCODE.mask() | field::SSEC.mask(), 0];
        for f in row.fields {
            assert_eq!(taken[usize::from(f.word)] & f.mask(), 0, "{} {}", row.name, f.name);
            taken[usize::from(f.word)] |= f.mask();
        }
    }
}

#[test]
fn the_opcode_map() {
    let legal: Vec<u8> = (0..=255).filter(|bits| Op::from_bits(*bits).is_some()).collect();
    let named: Vec<u8> = OPCODES.iter().map(|row| row.op as u8).collect();
    assert_eq!(legal, named);
    assert!(named.windows(2).all(|w| w[0] < w[1]), "Op::row() searches a sorted table");
    assert!(OPCODES.iter().all(|row| row.op.row().op == row.op));
    for bits in 0..=255u8 {
        let given = decode([bits.into(), 0], &everything());
        match Op::from_bits(bits) {
            None => assert_eq!(given, Err(Illegal::Reserved(bits))),
            Some(op) => assert_eq!(given, Ok(Command::new(op))),
        }
    }
    // To an SMMU without a Secure world and without options, 22 of the 256 mean something.
    let plain = (0..=255u64).filter(|bits| decode([*bits, 0], &Config::FULL).is_ok()).count();
    assert_eq!((named.len(), plain), (37, 22));
}

#[test]
fn a_missing_feature_makes_its_commands_illegal() {
    let mut seen = 0;
    for row in OPCODES {
        for need in row.needs {
            seen += 1;
            let without = everything().features.without(*need);
            let given = decode([row.op as u64, 0], &everything().with_features(without));
            assert_eq!(given, Err(Illegal::Unsupported(row.op, *need)));
        }
    }
    assert_eq!(seen, 27);
}

#[test]
fn ssec_is_illegal_on_the_non_secure_queue() {
    for row in OPCODES {
        for config in [everything(), lax(everything())] {
            let words = [row.op as u64 | 1 << 10, 0];
            assert_eq!(decode(words, &config), Err(Illegal::Ssec), "{}", row.name);
        }
    }
}

#[test]
fn res0_bits_are_checked_or_ignored() {
    let (mut checked, mut ignored) = (0, 0);
    for row in OPCODES {
        let plain = Command::new(row.op);
        for bit in (0..128u32).filter(|b| *b >= 8 && *b != 10) {
            let (word, mask) = ((bit / 64) as usize, 1u64 << (bit % 64));
            let of_a_field =
                row.fields.iter().any(|f| usize::from(f.word) == word && f.mask() & mask != 0);
            if of_a_field {
                continue;
            }
            let mut words = plain.words();
            words[word] |= mask;
            let strict = decode(words, &everything());
            assert_eq!(strict, Err(Illegal::Res0 { word: word as u8, bits: mask }));
            checked += 1;
            assert_eq!(decode(words, &lax(everything())), Ok(plain));
            ignored += 1;
        }
    }
    // Of the 120 bits above the opcode, SSec is checked elsewhere.
    let in_fields = |(ops, _, _, high, low): &(&[u8], &str, u8, u8, u8)| {
        ops.len() * usize::from(high - low + 1)
    };
    let res0 = 119 * OPCODES.len() - LAYOUT.iter().map(in_fields).sum::<usize>();
    assert_eq!((checked, ignored), (res0, res0));
}

#[test]
fn the_older_edition_has_narrower_fields() {
    let older = Config { edition: Edition::Older, ..everything() };
    let wide = |op, f: Field, value| Command::new(op).with(f, value).expect("it fits").words();
    let ipa = wide(Op::TLBI_S2_IPA, field::IPA, 1 << 52);
    let scale = wide(Op::TLBI_NH_VA, field::SCALE, 32);
    let msi = wide(Op::SYNC, field::SYNC_MSIADDR, 1 << 52);
    for (words, word) in [(ipa, 1), (msi, 1)] {
        assert!(decode(words, &everything()).is_ok());
        assert_eq!(decode(words, &older), Err(Illegal::Res0 { word, bits: 1 << 52 }));
        assert_eq!(decode(words, &lax(older)).map(|c| c.words()[1]), Ok(0));
    }
    assert_eq!(decode(scale, &older), Err(Illegal::Res0 { word: 0, bits: 1 << 25 }));
}

#[test]
fn reserved_values_are_illegal() {
    let with = |op, f: Field, value| Command::new(op).with(f, value).expect("it fits").words();
    for config in [everything(), lax(everything())] {
        for value in 0..4 {
            let of = |op, f, bad: fn(u64) -> Illegal| {
                let given = decode(with(op, f, value), &config).map(|_| ());
                assert_eq!(given, if value == 3 { Err(bad(3)) } else { Ok(()) });
            };
            of(Op::SYNC, field::SYNC_CS, Illegal::CompletionSignal);
            of(Op::PRI_RESP, field::PRI_RESP, Illegal::Response);
            of(Op::RESUME, field::RESUME_RESP, Illegal::Response);
        }
        for size in 0..64 {
            let given = decode(with(Op::ATC_INV, field::ATC_SIZE, size), &config).map(|_| ());
            let strict = config.res0 == Res0::Strict;
            let bad = size > 52 && strict;
            assert_eq!(given, if bad { Err(Illegal::AtcSize(size)) } else { Ok(()) });
        }
    }
}

#[test]
fn range_fields_by_the_rules_of_4_4_1() {
    let no_ds = everything().with_features(everything().features.without(Feature::Ds));
    let (mut legal, mut all) = (0, 0);
    for tg in 0..4u64 {
        for ttl in 0..4u64 {
            for scale in 0..64u64 {
                for num in [0u64, 1, 31] {
                    all += 1;
                    let words = Command::new(Op::TLBI_NH_VA)
                        .with(field::TG, tg)
                        .and_then(|c| c.with(field::TTL, ttl))
                        .and_then(|c| c.with(field::SCALE, scale))
                        .and_then(|c| c.with(field::NUM, num))
                        .expect("all of them fit")
                        .words();
                    let given = decode(words, &no_ds).map(|_| ());
                    let zero = (num, scale, ttl) == (0, 0, 0);
                    let expected = match (tg, zero) {
                        (0, true) => Ok(()),
                        (0, false) => {
                            assert!(matches!(given, Err(Illegal::Res0 { .. })), "{words:x?}");
                            assert_eq!(decode(words, &lax(no_ds)).map(|_| ()), Ok(()));
                            continue;
                        }
                        (_, true) => Err(Illegal::EmptyRange),
                        (2, _) if ttl == 1 => Err(Illegal::Ttl1Of16k),
                        _ if scale > 31 => Err(Illegal::Scale(scale)),
                        _ => Ok(()),
                    };
                    assert_eq!(given, expected, "{words:x?}");
                    legal += usize::from(given.is_ok());
                    let with_ds = decode(words, &everything()).map(|_| ());
                    let expected = match expected {
                        Err(Illegal::Ttl1Of16k | Illegal::Scale(_)) if scale <= 39 => Ok(()),
                        Err(Illegal::Ttl1Of16k) => Err(Illegal::Scale(scale)),
                        other => other,
                    };
                    assert_eq!(with_ds, expected, "{words:x?}");
                }
            }
        }
    }
    assert_eq!((legal, all), (1054, 3072));
    // Without range invalidation there are no such fields.
    let no_ril = everything().with_features(everything().features.without(Feature::Ril));
    let words = Command::new(Op::TLBI_NH_VA).with(field::TG, 1).expect("it fits").words();
    assert_eq!(decode(words, &no_ril), Err(Illegal::Res0 { word: 1, bits: 1 << 10 }));
    assert_eq!(decode(words, &lax(no_ril)), Ok(Command::new(Op::TLBI_NH_VA)));
}

#[test]
fn the_words_that_linux_writes() {
    // CS = SEV; and an MSI into the slot at 0x8000_0040, inner shareable, attributes 0xf.
    assert_eq!(Command::sync(Cs::Sev).words(), [0x2046, 0]);
    let msi = Command::sync(Cs::Irq)
        .with(field::SYNC_MSH, 3)
        .and_then(|c| c.with(field::SYNC_MSIATTR, 0xf))
        .and_then(|c| c.with(field::SYNC_MSIADDR, 0x8000_0040))
        .expect("all of them fit");
    assert_eq!(msi.words(), [0x0fc0_1046, 0x8000_0040]);
    let va = Command::new(Op::TLBI_NH_VA)
        .with(field::ASID, 0x12)
        .and_then(|c| c.with(field::VMID, 0x34))
        .and_then(|c| c.with(field::LEAF, 1))
        .and_then(|c| c.with(field::VA, 0xffff_0000_1234_5000))
        .expect("all of them fit");
    assert_eq!(va.words(), [0x0012_0034_0000_0012, 0xffff_0000_1234_5001]);
    assert_eq!(
        va.to_string(),
        "CMD_TLBI_NH_VA VMID=0x34 ASID=0x12 Leaf=0x1 \
                                Address=0xffff000012345000"
    );
    assert_eq!(va.bytes()[..2], [0x12, 0]);
    let json = serde_json::to_string(&va).expect("a command is data");
    assert_eq!(serde_json::from_str::<Command>(&json).expect("it was one"), va);
    assert!(serde_json::from_str::<Command>("[255,0]").is_err());
}

#[test]
fn a_value_that_does_not_fit_is_an_error_that_says_so() {
    let wide = Command::new(Op::TLBI_NH_ALL).with(field::VMID, 0x1_0000).expect_err("17 bits");
    assert!(wide.to_string().contains("0x10000 does not fit into VMID"), "{wide}");
    let low = Command::new(Op::TLBI_NH_VA).with(field::VA, 0x1001).expect_err("not a page");
    assert!(low.to_string().contains("Address"), "{low}");
    let absent = Command::new(Op::SYNC).with(field::VMID, 1).expect_err("no such field");
    assert!(absent.to_string().contains("SYNC has no field VMID"), "{absent}");
}

#[test]
fn spans() {
    let features = everything().features;
    let va = |num, scale, tg, ttl, address| {
        Command::new(Op::TLBI_NH_VA)
            .with(field::NUM, num)
            .and_then(|c| c.with(field::SCALE, scale))
            .and_then(|c| c.with(field::TG, tg))
            .and_then(|c| c.with(field::TTL, ttl))
            .and_then(|c| c.with(field::VA, address))
            .expect("all of them fit")
    };
    let span = |c: &Command| tlb_span(c, &features).map(|s| (s.from, s.len, s.level));
    assert_eq!(span(&va(0, 0, 0, 0, 0x5000)), Some((0x5000, 1, None)));
    assert_eq!(span(&va(2, 4, 1, 0, 0x5000)), Some((0x5000, 3 * 16 * 4096, None)));
    assert_eq!(span(&va(2, 4, 2, 3, 0x8000)), Some((0x8000, 3 * 16 * 16384, Some(3))));
    assert_eq!(span(&va(0, 1, 3, 3, 0x10000)), Some((0x10000, 2 * 65536, Some(3))));
    // The greatest one has 32 · 2^39 granules: more than 64 bits.
    assert_eq!(span(&va(31, 39, 3, 0, 0)), Some((0, 1 << 60, None)));
    // The table of hints: address bits that must be zero.
    let table = [(1, 1, 30), (1, 2, 21), (1, 3, 12), (2, 1, 36), (2, 2, 25), (2, 3, 14)];
    for (tg, ttl, log2) in table.into_iter().chain([(3, 1, 42), (3, 2, 29), (3, 3, 16)]) {
        assert_eq!(block(10 + 2 * tg as u8, ttl as u8), 1 << log2);
        let good = va(0, 1, tg, ttl, 1 << log2);
        assert_eq!(span(&good).map(|s| s.2), Some(Some(ttl as u8)));
        if log2 > 12 {
            let odd = va(0, 1, tg, ttl, 1 << (log2 - 1));
            assert_eq!(span(&odd).map(|s| s.2), Some(None), "no hint");
        }
    }
    let atc = |size, address| {
        let c = Command::new(Op::ATC_INV).with(field::ATC_SIZE, size);
        atc_span(&c.and_then(|c| c.with(field::ATC_ADDR, address)).expect("both fit"))
    };
    assert_eq!(atc(0, 0x7000), Some((0x7000, 0x7fff)));
    assert_eq!(atc(3, 0x9000), Some((0x8000, 0xffff)));
    assert_eq!(atc(51, 1 << 63), Some((1 << 63, u64::MAX)));
    assert_eq!(atc(52, 0x7000), Some((0, u64::MAX)));
    let ste = |range, sid| {
        let c = Command::new(Op::CFGI_STE_RANGE).with(field::STE_RANGE, range);
        ste_range(&c.and_then(|c| c.with(field::SID, sid)).expect("both fit"))
    };
    assert_eq!(ste(0, 5), Some((4, 5)));
    assert_eq!(ste(3, 0x25), Some((0x20, 0x2f)));
    assert_eq!(ste(31, 5), Some((0, u32::MAX)));
}

fn any_command() -> impl Strategy<Value = (Op, Vec<u64>)> {
    (0..OPCODES.len()).prop_flat_map(|row| {
        let row = &OPCODES[row];
        let values = prop::collection::vec(any::<u64>(), row.fields.len());
        (Just(row.op), values)
    })
}

/// So many cases; what fails is printed and written nowhere.
fn cases(n: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(n) }
}

proptest! {
    #![proptest_config(cases(4096))]

    #[test]
    fn round_trip((op, values) in any_command()) {
        let row = op.row();
        let mut command = Command::new(op);
        for (f, value) in row.fields.iter().zip(&values) {
            command = command.with(*f, value & f.max()).expect("it is masked");
        }
        for (f, value) in row.fields.iter().zip(&values) {
            prop_assert_eq!(command.get(*f), Some(value & f.max()));
        }
        prop_assert_eq!(words_of(command.bytes()), command.words());
        prop_assert_eq!(Command::try_from(command.words()), Ok(command));
        // Every field set to something: either legal and unchanged, or a reserved value.
        match decode(command.words(), &everything()) {
            Ok(decoded) => prop_assert_eq!(decoded, command),
            Err(Illegal::Reserved(_) | Illegal::Unsupported(..) | Illegal::Ssec) => {
                prop_assert!(false, "{command} has a legal opcode");
            }
            Err(_) => {}
        }
    }

    #[test]
    fn every_two_words_decode_to_something(words in any::<[u64; 2]>(), bits in 0..=255u64) {
        let words = [words[0] & !0xff | bits, words[1]];
        if let Ok(command) = decode(words, &everything()) {
            prop_assert_eq!(command.words(), words, "strict: nothing was dropped");
        }
        if let Ok(command) = decode(words, &lax(everything())) {
            let again = decode(command.words(), &lax(everything()));
            prop_assert_eq!(again, Ok(command));
        }
    }

    #[test]
    fn ranges_cover_the_pages_exactly(pages in 1..1u64 << 40) {
        let chunks: Vec<(u64, u64)> = range_chunks(pages).collect();
        let sum: u64 = chunks.iter().map(|(units, scale)| units << scale).sum();
        prop_assert_eq!(sum, pages);
        prop_assert!(chunks.iter().all(|(units, _)| (1..=31).contains(units)));
        prop_assert!(chunks.windows(2).all(|w| w[0].1 < w[1].1));
        if pages.is_power_of_two() {
            prop_assert_eq!(chunks.len(), 1);
        }
    }
}

#[test]
fn the_fields_of_a_range_stand_together() {
    let of_range = [field::NUM, field::SCALE, field::TTL, field::TG];
    for row in OPCODES {
        let there = of_range.iter().filter(|f| row.fields.contains(f)).count();
        assert!(there == 0 || there == of_range.len(), "{}", row.name);
        assert!(std::ptr::eq(row.op.row(), row), "{}", row.name);
    }
}
