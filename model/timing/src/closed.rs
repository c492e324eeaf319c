//! Closed forms: what the model must give where the answer can be written down.

use crate::line::{Agent, Distances, SMMU};
use crate::profile::Profile;
use crate::{Completion, Ps};

/// Time of a list of `batch` TLBIs and a SYNC on an SMMU that never lacks work: the first line is
/// fetched and decoded, TLBIs start one after the other, the last one has to finish, the gate and
/// its MSI follow.
pub fn saturated_list(profile: &Profile, batch: u32, completion: Completion) -> Ps {
    let s = &profile.smmu;
    let msi = if completion == Completion::Msi { s.msi_write_ns } else { 0 };
    let fixed = s.fetch_ns + s.decode_ns + (s.tlbi_latency_ns - s.tlbi_issue_ns) + s.sync_ns + msi;
    Profile::ps(fixed + u64::from(batch) * s.tlbi_issue_ns)
}

/// TLBIs per second of invalidations of `commands` TLBIs in lists of at most `batch`, each with
/// its SYNC, on an SMMU that never lacks work.
pub fn saturated_rate(profile: &Profile, commands: u32, batch: u32) -> u64 {
    let (full, rest) = (commands / batch, commands % batch);
    let mut time = u64::from(full) * saturated_list(profile, batch, Completion::Msi);
    if rest != 0 {
        time += saturated_list(profile, rest, Completion::Msi);
    }
    (u128::from(commands) * 1_000_000_000_000 / u128::from(time)) as u64
}

/// Batch size with half of the highest rate: where the fixed cost equals the commands' own.
pub fn half_rate_batch(profile: &Profile) -> u64 {
    saturated_list(profile, 0, Completion::Msi) / Profile::ps(profile.smmu.tlbi_issue_ns)
}

/// A SYNC into an empty ring: from the end of the write of PROD until its CPU knows.
pub fn sync_alone(profile: &Profile, completion: Completion) -> Ps {
    let s = &profile.smmu;
    let device = s.prod_visible_ns + s.fetch_ns + s.decode_ns + s.sync_ns;
    Profile::ps(match completion {
        Completion::Msi => device + s.msi_write_ns + s.msi_pull_ns,
        Completion::Cons => device + profile.cpu.mmio_read_ns,
        Completion::Sev => device + s.event_ns + profile.cpu.mmio_read_ns,
    })
}

/// Mean time between two ends with fetch_add, one TLBI and a SYNC each, on a saturated SMMU: each
/// list's line comes from the cache of the CPU that wrote it, and the MSI takes it from there
/// again, so the way between the SMMU and that CPU counts twice.
pub fn saturated_gap(profile: &Profile, cpus: u32) -> Ps {
    let distances = Distances::new(profile);
    let ways: Ps = (0..cpus as Agent).map(|cpu| distances.surcharge(cpu, SMMU)).sum();
    saturated_list(profile, 1, Completion::Msi) + 2 * ways / u64::from(cpus.max(1))
}

/// CPU time of a list of `commands` and a SYNC on a CPU that nobody disturbs, from the first look
/// at the llq word to the end of the write of PROD.
///
/// With MSIs, a list that begins in the line where the last one ended finds that one in its own
/// cache, since the CPU polled it; over many lists, so much of a line is new as the list has
/// entries. Otherwise the SMMU had it last.
pub fn insert_alone(profile: &Profile, commands: u32, completion: Completion) -> Ps {
    let (l, c) = (&profile.line, &profile.cpu);
    let entries = u64::from(commands) + 1;
    // The llq word and its cmpxchg, the lock, the valid map and owner_prod, then the llq word and
    // the valid map again.
    let hits = 7 * l.hit_ns;
    let quarters = if completion == Completion::Msi { entries.min(4) } else { 4 };
    let line_ps = (quarters * l.die_ns + (4 - quarters) * l.hit_ns) * crate::NS / 4;
    Profile::ps(hits + entries * c.entry_ns + c.wmb_ns + c.mmio_write_ns) + line_ps
}

/// From the end of the SYNC to the end of the call: the lock is read, CONS stored, the lock given
/// back.
pub fn unlock_alone(profile: &Profile) -> Ps {
    Profile::ps(3 * profile.line.hit_ns)
}

/// One list of `commands` TLBIs and a SYNC into an empty ring, the whole call.
pub fn list_alone(profile: &Profile, commands: u32, completion: Completion) -> Ps {
    let s = &profile.smmu;
    let tlbis = match commands {
        0 => 0,
        n => s.tlbi_latency_ns + u64::from(n - 1) * s.tlbi_issue_ns,
    };
    insert_alone(profile, commands, completion)
        + sync_alone(profile, completion)
        + Profile::ps(tlbis)
        + unlock_alone(profile)
}

/// A trapped invalidation of `commands` TLBIs in ioctls of at most `batch` commands: one exit, and
/// for each ioctl its entry, copy, conversion and list.
pub fn trapped_alone(profile: &Profile, commands: u32, batch: u32) -> Ps {
    let g = &profile.guest;
    let each = 16 * g.copy_ps_per_byte + Profile::ps(g.copy_item_ns + g.convert_ns);
    let list = |n: u32| {
        let ioctl = Profile::ps(g.ioctl_ns) + u64::from(n) * each;
        ioctl + list_alone(profile, n, Completion::Msi)
    };
    let (full, rest) = (commands / batch, commands % batch);
    let mut time = Profile::ps(g.exit_ns) + u64::from(full) * list(batch);
    if rest != 0 {
        time += list(rest);
    }
    time
}
