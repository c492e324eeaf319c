//! Do index and wrap bit say the same as counters that never wrap, for every ring size?
//!
//! Source: Arm IHI 0070 G.b 3.5.1, 6.3; reference/smmuv3.md 1.1 and 1.4.

use proptest::prelude::*;
use smmuv3::registers::{
    cmdqs, idr1, Base, Gerror, Registers, CR0_CMDQEN, GERROR_CMDQ_ERR, GERROR_MASK, GERROR_SFM,
};
use smmuv3::ring::LOG2_MAX;
use smmuv3::{Cerror, Config, Feature, Features, Index, Misuse, Register, RingSize};

fn size(n: u8) -> RingSize {
    RingSize::try_from(n).expect("n is at most 19")
}

#[test]
fn sizes() {
    assert_eq!(size(0).entries(), 1);
    assert_eq!(LOG2_MAX.entries(), 524_288);
    let e = RingSize::try_from(20).expect_err("20 bits of index do not exist");
    assert_eq!(e.to_string(), "a ring of 2^20 entries does not exist; the largest is 2^19");
    assert!(serde_json::from_str::<RingSize>("20").is_err());
    assert_eq!(serde_json::from_str::<RingSize>("19").expect("it exists"), LOG2_MAX);
}

#[test]
fn every_pair_of_small_rings() {
    for n in 0..=5u8 {
        let ring = size(n);
        let entries = u64::from(ring.entries());
        let (mut legal, mut pairs) = (0, 0);
        for prod in 0..2 * entries {
            for cons in 0..2 * entries {
                pairs += 1;
                // Counters that give this pair, if any do: P - C between 0 and the size.
                let used = (prod + 2 * entries - cons) % (2 * entries);
                let (p, c) = (ring.at(prod), ring.at(cons));
                match ring.occupancy(p, c) {
                    Ok(found) => {
                        legal += 1;
                        assert!(used <= entries);
                        assert_eq!(u64::from(found), used);
                        assert_eq!(ring.space(p, c).map(u64::from), Ok(entries - used));
                        assert_eq!(ring.is_empty(p, c), used == 0);
                        assert_eq!(ring.is_full(p, c), used == entries);
                    }
                    Err(_) => assert!(used > entries, "{n}: {prod} {cons}"),
                }
            }
        }
        assert_eq!(pairs, 4 * entries * entries);
        assert_eq!(legal, 2 * entries * (entries + 1));
    }
}

#[test]
fn in_a_ring_of_one_entry_bit_0_is_the_wrap_bit() {
    let ring = size(0);
    let (zero, one) = (ring.at(0), ring.at(1));
    assert_eq!((ring.slot(one), ring.wrap(one)), (0, true));
    assert!(ring.is_full(one, zero) && ring.is_full(zero, one));
    assert!(ring.is_empty(one, one));
    assert_eq!(ring.add(one, 1), zero);
}

/// So many cases; what fails is printed and written nowhere.
fn cases(n: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(n) }
}

proptest! {
    #![proptest_config(cases(512))]

    #[test]
    fn a_walk_with_counters_that_never_wrap(
        n in 0..=19u8,
        start in 0..1u64 << 40,
        moves in prop::collection::vec((any::<bool>(), 0..1u32 << 20), 1..64),
    ) {
        let ring = size(n);
        let entries = u64::from(ring.entries());
        let (mut produced, mut consumed) = (start, start);
        let (mut prod, mut cons) = (ring.at(start), ring.at(start));
        for (produce, by) in moves {
            let used = produced - consumed;
            let by = u64::from(by) % (1 + if produce { entries - used } else { used });
            if produce {
                produced += by;
                prod = ring.add(prod, by as u32);
            } else {
                consumed += by;
                cons = ring.add(cons, by as u32);
            }
            let used = produced - consumed;
            prop_assert_eq!(ring.occupancy(prod, cons).map(u64::from), Ok(used));
            prop_assert_eq!(ring.is_full(prod, cons), used == entries);
            prop_assert_eq!(ring.is_empty(prod, cons), used == 0);
            prop_assert_eq!(u64::from(ring.slot(prod)), produced % entries);
            prop_assert_eq!(ring.wrap(cons), consumed / entries % 2 == 1);
            prop_assert_eq!(prod, ring.at(produced));
            prop_assert!(u64::from(prod.bits()) < 2 * entries);
            // Bits above the wrap bit do not count.
            prop_assert_eq!(ring.index(prod.bits() | !(2 * ring.entries() - 1)), prod);
        }
    }

    #[test]
    fn cmdq_base_is_aligned(register in any::<u64>(), max in 0..=19u8) {
        let base = Base::of(register, size(max));
        let log2 = (register & 0x1f) as u8;
        prop_assert_eq!(base.size, size(log2.min(max)));
        let align = (16 * u64::from(base.size.entries())).max(32);
        prop_assert_eq!(base.address % align, 0);
        prop_assert!(base.address < 1 << 52);
        prop_assert_eq!(register & 0x000f_ffff_ffff_ffff & !(align - 1), base.address);
        prop_assert_eq!(Base::of(base.register(), size(max)), base);
    }

    #[test]
    fn gerror_is_a_toggle(steps in prop::collection::vec((any::<bool>(), any::<u32>()), 1..40)) {
        // The oracle is the set of active errors; the registers only ever toggle.
        let (mut gerror, mut active) = (Gerror::default(), 0u32);
        for (raise, bits) in steps {
            let (g, n) = (gerror.gerror(), gerror.gerrorn());
            if raise {
                let new = gerror.raise(bits);
                prop_assert_eq!(new, bits & GERROR_MASK & !active);
                prop_assert_eq!(gerror.gerror(), g ^ new);
                prop_assert_eq!(gerror.gerrorn(), n);
                active |= new;
            } else {
                // Software copies some of the active bits over.
                let bits = bits & active;
                prop_assert_eq!(gerror.acknowledge(n ^ bits), Ok(bits));
                prop_assert_eq!(gerror.gerror(), g);
                active &= !bits;
            }
            prop_assert_eq!(gerror.active(), active);
        }
    }
}

#[test]
fn an_inactive_error_cannot_be_acknowledged() {
    let mut gerror = Gerror::default();
    assert_eq!(gerror.raise(GERROR_CMDQ_ERR), GERROR_CMDQ_ERR);
    let wrong = GERROR_CMDQ_ERR | GERROR_SFM;
    assert_eq!(gerror.acknowledge(wrong), Err(Misuse::NotActive(GERROR_SFM)));
    assert_eq!(gerror.active(), GERROR_CMDQ_ERR, "nothing was taken");
    assert_eq!(gerror.acknowledge(GERROR_CMDQ_ERR), Ok(GERROR_CMDQ_ERR));
    // The second one toggles back to 0.
    assert_eq!(gerror.raise(GERROR_CMDQ_ERR), GERROR_CMDQ_ERR);
    assert_eq!((gerror.gerror(), gerror.gerrorn()), (0, 1));
    assert_eq!(gerror.acknowledge(0), Ok(GERROR_CMDQ_ERR));
    // Bits 1 and 9 do not exist.
    assert_eq!(gerror.raise(1 << 1 | 1 << 9), 0);
}

#[test]
fn cons_carries_the_error() {
    let registers = Registers { err: Cerror::AtcInvSync, cons: size(4).at(17), ..Registers::new() };
    assert_eq!(registers.cmdq_cons(), 0x0300_0011);
    assert_eq!(Cerror::of(0x0300_0011), Ok(Cerror::AtcInvSync));
    assert_eq!(Cerror::of(0x8100_0000), Ok(Cerror::Ill), "bit 31 is not part of ERR");
    assert_eq!(Cerror::of(0x0400_0000), Err(4));
}

#[test]
fn identification_registers() {
    let config = Config { cmdqs: size(8), ..Config::FULL };
    assert_eq!(cmdqs(idr1(&config)), size(8));
    assert_eq!(cmdqs(31 << 21), LOG2_MAX);
    let registers = Registers::new();
    let idr0 = registers.read(Register::IDR0, &config);
    // S2P, S1P, COHACC, HYP, ATS, ASID16, MSI, SEV, PRI, VMID16.
    assert_eq!(idr0, 0x0005_7613);
    assert_eq!(registers.read(Register::IDR3, &config), 1 << 10);
    let again = Features::from_id_registers(idr0 as u32, 1 << 10);
    assert_eq!(again, config.features);
    assert!(!again.has(Feature::Ds));
}

#[test]
fn what_a_driver_may_not_write() {
    let config = Config { cmdqs: size(2), ..Config::FULL };
    let mut r = Registers::new();
    for read_only in [Register::IDR0, Register::CR0ACK, Register::GERROR] {
        assert_eq!(r.write(read_only, 1, &config), Err(Misuse::ReadOnly(read_only)));
    }
    r.write(Register::CMDQ_BASE, 0x1002, &config).expect("the queue is off");
    r.write(Register::CMDQ_PROD, 5, &config).expect("the queue is off");
    r.write(Register::CMDQ_CONS, 5, &config).expect("the queue is off");
    r.write(Register::CR0, CR0_CMDQEN.into(), &config).expect("nothing is pending");
    let pending = r.write(Register::CR0, 0, &config);
    assert_eq!(pending, Err(Misuse::NotAcknowledged));
    r.cr0ack = r.cr0;
    for guarded in [Register::CMDQ_BASE, Register::CMDQ_CONS] {
        assert_eq!(r.write(guarded, 0, &config), Err(Misuse::QueueEnabled(guarded)));
    }
    // A ring of 4 at 5: up to 9, which is 1 in the next lap; 10 is too far.
    r.write(Register::CMDQ_PROD, 1, &config).expect("full is legal");
    let far = r.write(Register::CMDQ_PROD, 2, &config);
    assert_eq!(far, Err(Misuse::IllegalIndexes { prod: 2, cons: 5 }));
    let back = r.write(Register::CMDQ_PROD, 7, &config);
    assert_eq!(back, Err(Misuse::ProdBackwards { from: 1, to: 7 }));
    // The one exception: an active command error, and not behind CONS.
    r.gerror.raise(GERROR_CMDQ_ERR);
    r.write(Register::CMDQ_PROD, 7, &config).expect("an error is active");
    r.write(Register::CMDQ_PROD, 5, &config).expect("an error is active");
    let behind = r.write(Register::CMDQ_PROD, 4, &config);
    assert_eq!(behind, Err(Misuse::IllegalIndexes { prod: 4, cons: 5 }));
    assert_eq!(r.prod, size(2).at(5));
    assert_eq!(Index::default(), size(2).at(8));
    assert_eq!(r.read(Register::CMDQ_BASE, &config), 0x1002);
}
