//! Which entries does each invalidation take away, and which must survive it?
//!
//! Source: Arm IHI 0070 G.b 4.3 to 4.5; reference/smmuv3.md 2.3 to 2.6.

use smmuv3::caches::{tlbi_hits, Caches, Context, Tables, Walk};
use smmuv3::field::{self, Field};
use smmuv3::{AtcEntry, Command, Config, ConfigEntry, Feature, Op, Stage, TlbEntry};

fn fields(op: Op, values: &[(Field, u64)]) -> Command {
    values.iter().fold(Command::new(op), |c, (f, v)| c.with(*f, *v).expect("it fits"))
}

fn entry(stage: Stage, vmid: u16, asid: u16, global: bool, address: u64, log2: u8) -> TlbEntry {
    let level = match log2 {
        12 => 3,
        21 => 2,
        _ => 1,
    };
    let walk = Walk { output: 0, log2, level, global };
    TlbEntry { context: Context { stage, vmid, asid }, address, walk, leaf: true }
}

/// An invalidation, and the letters of the entries that go.
type Case = (Op, &'static [(Field, u64)], &'static str);

/// The population, by one letter each.
fn population() -> Vec<(char, TlbEntry)> {
    let table = TlbEntry { leaf: false, ..entry(Stage::NhS1S2, 1, 1, false, 0x20_0000, 21) };
    vec![
        // Stage 1, VMID 1: ASID 1, ASID 2, global, a block, a table descriptor.
        ('a', entry(Stage::NhS1S2, 1, 1, false, 0x20_1000, 12)),
        ('b', entry(Stage::NhS1S2, 1, 2, false, 0x20_1000, 12)),
        ('g', entry(Stage::NhS1, 1, 2, true, 0x20_1000, 12)),
        ('k', entry(Stage::NhS1S2, 1, 1, false, 0x20_0000, 21)),
        ('t', table),
        ('n', entry(Stage::NhS1S2, 1, 1, false, 0x40_0000, 12)),
        // VMID 2.
        ('v', entry(Stage::NhS1S2, 2, 1, false, 0x20_1000, 12)),
        // Stage 2 only.
        ('s', entry(Stage::S2, 1, 0, false, 0x20_1000, 12)),
        ('z', entry(Stage::S2, 2, 0, false, 0x20_1000, 12)),
        // The hypervisor's.
        ('e', entry(Stage::El2, 0, 1, false, 0x20_1000, 12)),
        ('f', entry(Stage::El2, 0, 2, true, 0x20_1000, 12)),
    ]
}

/// The letters of what goes.
fn goes(command: &Command, config: &Config) -> String {
    let hit = |(_, e): &(char, TlbEntry)| tlbi_hits(command, e, &config.features);
    population().iter().filter(|e| hit(e)).map(|(c, _)| *c).collect()
}

#[test]
fn tlb_invalidations_take_what_they_must_and_nothing_else() {
    const P: u64 = 0x20_1000;
    const V: (Field, u64) = (field::VMID, 1);
    const A: (Field, u64) = (field::ASID, 1);
    const AT: (Field, u64) = (field::VA, P);
    const LEAF: (Field, u64) = (field::LEAF, 1);
    let cases: &[Case] = &[
        (Op::TLBI_NH_ALL, &[V], "abgktn"),
        (Op::TLBI_NH_ASID, &[V, A], "aktn"),
        (Op::TLBI_NH_VA, &[V, A, AT], "agkt"),
        (Op::TLBI_NH_VA, &[V, A, AT, LEAF], "agk"),
        (Op::TLBI_NH_VAA, &[V, AT], "abgkt"),
        (Op::TLBI_NH_VAA, &[V, (field::VA, 0x40_0000)], "n"),
        (Op::TLBI_EL2_ALL, &[], "ef"),
        (Op::TLBI_EL2_ASID, &[A], "e"),
        (Op::TLBI_EL2_VA, &[A, AT], "ef"),
        (Op::TLBI_EL2_VAA, &[AT], "ef"),
        (Op::TLBI_S12_VMALL, &[V], "abgktns"),
        // The combined entries stay: pair it with NH_ALL or NH_VAA.
        (Op::TLBI_S2_IPA, &[V, (field::IPA, P)], "s"),
        (Op::TLBI_NSNH_ALL, &[], "abgktnvsz"),
        (Op::TLBI_EL3_ALL, &[], ""),
        (Op::CFGI_STE_RANGE, &[(field::STE_RANGE, 31)], ""),
        (Op::SYNC, &[], ""),
        // Ranges: 512 pages from 0x200000 reach neither 0x400000 nor VMID 2.
        (Op::TLBI_NH_VAA, &[V, (field::TG, 1), (field::SCALE, 9), (field::VA, 0x20_0000)], "abgkt"),
        (
            Op::TLBI_NH_VAA,
            &[V, (field::TG, 1), (field::SCALE, 9), (field::NUM, 1), (field::VA, 0x20_0000)],
            "abgktn",
        ),
        // With a hint only leaves of that level have to go, and tables.
        (
            Op::TLBI_NH_VAA,
            &[V, (field::TG, 1), (field::SCALE, 9), (field::TTL, 2), (field::VA, 0x20_0000)],
            "kt",
        ),
        (Op::TLBI_NH_VAA, &[V, (field::TG, 1), (field::TTL, 3), LEAF, (field::VA, P)], "abg"),
    ];
    for (op, values, expected) in cases {
        let command = fields(*op, values);
        assert_eq!(goes(&command, &Config::FULL), *expected, "{command}");
    }
    // Without stage 2 there are no VMIDs.
    let s1 = Config::FULL.with_features(Config::FULL.features.without(Feature::S2p));
    assert_eq!(goes(&fields(Op::TLBI_NH_ALL, &[(field::VMID, 7)]), &s1), "abgktnv");
    // Without ranges the fields of a range are no fields.
    let no_ril = Config::FULL.with_features(Config::FULL.features.without(Feature::Ril));
    let range = fields(Op::TLBI_NH_VAA, &[V, (field::TG, 1), (field::SCALE, 12), AT]);
    assert_eq!(goes(&range, &no_ril), "abgkt");
}

#[test]
fn configuration_invalidations() {
    let context = Context { stage: Stage::NhS1S2, vmid: 1, asid: 1 };
    let cd = |sid, ssid| ConfigEntry::Cd { sid, ssid, context };
    let population = [
        ('1', ConfigEntry::Ste { sid: 1 }),
        ('2', ConfigEntry::Ste { sid: 2 }),
        ('L', ConfigEntry::L1Ste { first: 0, last: 255 }),
        ('c', cd(1, 0)),
        ('d', cd(1, 3)),
        ('e', cd(2, 0)),
        ('T', ConfigEntry::L1Cd { sid: 1, first: 0, last: 1023 }),
    ];
    const SID: (Field, u64) = (field::SID, 1);
    const LEAF: (Field, u64) = (field::LEAF, 1);
    let cases: &[Case] = &[
        (Op::CFGI_STE, &[SID], "1LcdT"),
        (Op::CFGI_STE, &[SID, LEAF], "1cdT"),
        (Op::CFGI_STE_RANGE, &[SID, (field::STE_RANGE, 0)], "1LcdT"),
        (Op::CFGI_STE_RANGE, &[SID, (field::STE_RANGE, 1)], "12LcdeT"),
        (Op::CFGI_STE_RANGE, &[(field::STE_RANGE, 31)], "12LcdeT"),
        (Op::CFGI_CD, &[SID, (field::SSID, 3)], "dT"),
        (Op::CFGI_CD, &[SID, (field::SSID, 3), LEAF], "d"),
        (Op::CFGI_CD_ALL, &[SID], "cdT"),
        (Op::TLBI_NSNH_ALL, &[], ""),
    ];
    for (op, values, expected) in cases {
        let command = fields(*op, values);
        let mut caches = Caches::new();
        caches.config = population.iter().map(|(_, e)| *e).collect();
        caches.apply(&command, &Config::FULL.features);
        let gone = population.iter().filter(|(_, e)| !caches.config.contains(e));
        assert_eq!(gone.map(|(c, _)| *c).collect::<String>(), *expected, "{command}");
    }
}

#[test]
fn atc_invalidations() {
    let atc = |sid, ssid, address| AtcEntry { sid, ssid, address, log2: 12, output: 0 };
    let population = [
        ('a', atc(1, None, 0x1000)),
        ('b', atc(1, None, 0x9000)),
        ('p', atc(1, Some(0), 0x1000)),
        ('q', atc(1, Some(7), 0x1000)),
        ('x', atc(2, None, 0x1000)),
    ];
    let (sid, ssv, global) = ((field::SID, 1), (field::SSV, 1), (field::GLOBAL, 1));
    let all = (field::ATC_SIZE, 52);
    let cases: &[(&[(Field, u64)], &str)] = &[
        (&[sid, (field::ATC_ADDR, 0x1000)], "a"),
        (&[sid, (field::ATC_SIZE, 3), (field::ATC_ADDR, 0x1000)], "a"),
        (&[sid, (field::ATC_SIZE, 4), (field::ATC_ADDR, 0x1000)], "ab"),
        (&[sid, all], "ab"),
        (&[sid, all, global], "ab"),
        (&[sid, all, ssv], "p"),
        (&[sid, all, ssv, (field::SSID, 7)], "q"),
        (&[sid, all, ssv, global], "pq"),
        (&[(field::SID, 2), all], "x"),
    ];
    for (values, expected) in cases {
        let command = fields(Op::ATC_INV, values);
        let mut caches = Caches::new();
        caches.atc = population.iter().map(|(_, e)| *e).collect();
        caches.apply(&command, &Config::FULL.features);
        let gone = population.iter().filter(|(_, e)| !caches.atc.contains(e));
        assert_eq!(gone.map(|(c, _)| *c).collect::<String>(), *expected, "{command}");
    }
}

/// One stream whose context and pages can change.
struct Memory {
    asid: u16,
    output: u64,
}

impl Tables for Memory {
    fn context(&self, _sid: u32, _ssid: Option<u32>) -> Option<Context> {
        Some(Context { stage: Stage::NhS1S2, vmid: 1, asid: self.asid })
    }

    fn walk(&self, context: Context, address: u64) -> Option<Walk> {
        let output = self.output + u64::from(context.asid) * 0x100_0000 + (address & !0xfff);
        Some(Walk { output, log2: 12, level: 3, global: false })
    }
}

#[test]
fn a_stale_entry_is_used_until_it_is_invalidated() {
    let features = &Config::FULL.features;
    let mut caches = Caches::new();
    let mut memory = Memory { asid: 1, output: 0xa000_0000 };
    assert_eq!(caches.translate(1, None, 0x1234, &memory), Some(0xa100_1234));
    // The page moves: the TLB does not know.
    memory.output = 0xb000_0000;
    assert_eq!(caches.translate(1, None, 0x1234, &memory), Some(0xa100_1234));
    assert_eq!(caches.stale(&memory).count(), 1);
    let page = [(field::VMID, 1), (field::ASID, 1), (field::VA, 0x1000)];
    caches.apply(&fields(Op::TLBI_NH_VA, &page), features);
    assert_eq!(caches.stale(&memory).count(), 0);
    assert_eq!(caches.translate(1, None, 0x1234, &memory), Some(0xb100_1234));
    // The stream gets another address space: the cached context does not know.
    memory.asid = 2;
    caches.apply(&fields(Op::TLBI_NSNH_ALL, &[]), features);
    assert_eq!(caches.translate(1, None, 0x1234, &memory), Some(0xb100_1234));
    caches.apply(&fields(Op::CFGI_CD, &[(field::SID, 1)]), features);
    assert_eq!(caches.translate(1, None, 0x1234, &memory), Some(0xb200_1234));
}
