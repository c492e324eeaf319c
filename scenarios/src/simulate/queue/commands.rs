//! Commands, as the driver and guests make them.

use races::seed::Draws;
use uapi::queue::{Vsmmu, Without};

/// SSec: on a Non-secure queue every command with it is illegal.
pub const SSEC: u64 = 1 << 10;

/// Opcodes that nobody has given a meaning.
const RESERVED: &[u64] = &[0x00, 0x0f, 0x7f, 0xff];

/// Commands that the driver issues together. A list of [`uapi::queue::Request::Issue`] is of one:
/// whether it is repeated, and which queue it goes to, is decided by its first command. (The driver's
/// own lists have one command, or are those of a batch.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// TLBI_NH_VA and TLBI_NH_ASID, which a guest's VCMDQ executes.
    Own,
    /// Other TLBIs, and CFGIs.
    Config,
    /// ATC_INV.
    Atc,
    /// What invalidates nothing.
    Others,
}

/// The family of a command that exists.
pub fn family([word0, _]: [u64; 2]) -> Option<Family> {
    Some(match word0 & 0xff {
        0x11 | 0x12 => Family::Own,
        0x03..=0x06 | 0x10 | 0x13 | 0x20..=0x23 | 0x28 | 0x2a | 0x30 => Family::Config,
        0x40 => Family::Atc,
        0x01 | 0x02 | 0x41 | 0x44 | 0x45 => Family::Others,
        _ => return None,
    })
}

/// TLBI_NH_VA of a page.
pub fn tlbi(page: u64) -> [u64; 2] {
    [0x12, page << 12]
}

/// ATC_INV of everything of one stream.
pub fn atc_inv(sid: u64) -> [u64; 2] {
    [0x40 | sid << 32, 52]
}

/// A command of the host.
pub fn of_host(draws: &mut Draws, family: Family) -> [u64; 2] {
    let (page, asid) = (draws.below(16) as u64, 1 + draws.below(3) as u64);
    let sid = 0x40 + draws.below(3) as u64;
    let from: &[[u64; 2]] = match family {
        Family::Own => &[tlbi(page), tlbi(page), [0x11 | asid << 48, 0]],
        Family::Config => &[
            [0x03 | sid << 32, 1],
            // CFGI_ALL
            [0x04, 31],
            [0x05 | sid << 32, 1],
            [0x06 | sid << 32, 0],
            [0x10 | asid << 32, 0],
            [0x13 | asid << 32, page << 12],
            [0x22, page << 12],
            [0x28 | asid << 32, 0],
            [0x30, 0],
        ],
        Family::Atc => &[atc_inv(sid), [0x40 | sid << 32, page << 12 | 3]],
        Family::Others => {
            &[[0x01 | sid << 32, 0], [0x41 | sid << 32, page | 2 << 12], [0x44 | sid << 32, page]]
        }
    };
    draws.pick(from).copied().unwrap_or(tlbi(page))
}

/// A command of a reserved opcode.
pub fn reserved(draws: &mut Draws) -> [u64; 2] {
    [draws.pick(RESERVED).copied().unwrap_or(0xff), 0]
}

/// A command that a guest may issue.
pub fn of_guest(draws: &mut Draws, vsmmu: &Vsmmu) -> [u64; 2] {
    let vsid = draws.pick(&vsmmu.vdevs).map_or(0, |(vsid, _)| u64::from(*vsid));
    let (page, asid) = (draws.below(16) as u64, 1 + draws.below(3) as u64);
    let streams: &[[u64; 2]] = &[atc_inv(vsid), [0x05 | vsid << 32, 1], [0x06 | vsid << 32, 0]];
    let others: &[[u64; 2]] = &[
        // The VMID of a guest's command is overwritten, whatever it is.
        [0x12 | asid << 48 | 3 << 32, page << 12],
        [0x13, page << 12 | 1],
        [0x11 | asid << 48, 0],
        [0x10, 0],
        [0x30, 0],
    ];
    match draws.below(5) {
        0 | 1 => tlbi(page),
        2 => draws.pick(others).copied().unwrap_or(tlbi(page)),
        _ if vsmmu.without.contains(&Without::Ats) => [0x05 | vsid << 32, 1],
        _ => draws.pick(streams).copied().unwrap_or(tlbi(page)),
    }
}

/// A command that a guest may not issue, or only on some SMMUs.
pub fn strange(draws: &mut Draws, vsmmu: &Vsmmu) -> [u64; 2] {
    let vsid = draws.pick(&vsmmu.vdevs).map_or(0, |(vsid, _)| u64::from(*vsid));
    let unknown = 0x200 + draws.below(2) as u64;
    let page = draws.below(16) as u64;
    match draws.below(8) {
        // No such vDEVICE.
        0 => atc_inv(unknown),
        1 => [0x05 | unknown << 32, 1],
        // Its own CMD_SYNC, with and without an MSI.
        2 => [0x46 | (draws.below(4) as u64) << 12, 0],
        3 => reserved(draws),
        // What belongs to the host.
        4 => {
            draws.pick(&[[0x03, 1], [0x04, 31], [0x28, 0], [0x41, 0]]).copied().unwrap_or([0x03, 1])
        }
        // Bits that must be 0.
        5 => [0x12 | SSEC, page << 12],
        6 => {
            let odd = [[0x10, 1 << 12], [0x12 | 1 << 8, page << 12], [0x06 | vsid << 32, 1 << 20]];
            draws.pick(&odd).copied().unwrap_or(odd[0])
        }
        // What not every SMMU has: wide ASIDs, ranges, SubstreamIDs, ATS.
        _ => {
            let num = draws.below(4) as u64;
            // 39 is the most that addresses need.
            let scale = draws.pick(&[0, 1, 3, 39, 40, 63]).copied().unwrap_or(0);
            let some = [
                [0x12 | 0x1ff << 48, page << 12],
                [0x12 | num << 12 | scale << 20, page << 12 | 1 << 10],
                [0x05 | vsid << 32 | 1 << 11 | 5 << 12, 1],
                [0x40 | vsid << 32 | 1 << 9, 52],
                atc_inv(vsid),
            ];
            draws.pick(&some).copied().unwrap_or(some[0])
        }
    }
}
