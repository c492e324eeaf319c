//! The machine: what its parts cost.
//!
//! A profile is a TOML file of `scenarios/profiles/`; each key is documented here with where its
//! default is from. [V] is published, [D] derived from published numbers, [A] assumed: see
//! `scenarios/profiles/README.md` for the two or three that are worth measuring on a new machine.

use crate::{Ps, CPUS_MAX, NS};
use serde::{Deserialize, Serialize};

/// A machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What the machine is called.
    pub name: String,
    /// Where the numbers are from.
    pub source: String,
    /// Where CPUs and SMMU are.
    pub topology: Topology,
    /// Cache lines.
    pub line: LineCosts,
    /// A CPU.
    pub cpu: CpuCosts,
    /// The SMMU.
    pub smmu: SmmuCosts,
    /// The way out of a guest.
    pub guest: GuestCosts,
    /// The command queue.
    pub queue: QueueSize,
}

/// Where CPUs and SMMU are. CPUs are used in order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// CPUs that share a die.
    pub cpus_per_die: u32,
    /// Dies that share a socket.
    pub dies_per_socket: u32,
    /// Sockets.
    pub sockets: u32,
    /// The die of the SMMU, from 0.
    pub smmu_die: u32,
}

/// Moving a cache line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineCosts {
    /// An atomic on a line that the CPU has already.
    pub hit_ns: u64,
    /// From another CPU of the same die.
    pub die_ns: u64,
    /// From another die of the same socket.
    pub socket_ns: u64,
    /// From the other socket.
    pub remote_ns: u64,
    /// Chance, in a thousand, that a CPU repeats a failed cmpxchg before a line that others wait
    /// for is taken away from it.
    pub retry_wins_permille: u32,
}

/// What a CPU pays.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuCosts {
    /// Writing one command of 16 bytes.
    pub entry_ns: u64,
    /// `dma_wmb()`.
    pub wmb_ns: u64,
    /// Writing PROD.
    pub mmio_write_ns: u64,
    /// Reading CONS.
    pub mmio_read_ns: u64,
    /// Work of one invalidation outside of the queue; for the tables of John Garry, the map and
    /// unmap of a page.
    pub work_ns: u64,
}

/// What the SMMU pays.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmmuCosts {
    /// From the end of the write of PROD until the SMMU acts on it.
    pub prod_visible_ns: u64,
    /// Fetching a line of the ring (4 commands).
    pub fetch_ns: u64,
    /// Lines that are fetched ahead.
    pub fetch_ahead_lines: u32,
    /// Decoding one command.
    pub decode_ns: u64,
    /// Between the starts of two TLBIs.
    pub tlbi_issue_ns: u64,
    /// From the start of a TLBI until all TLBs have answered.
    pub tlbi_latency_ns: u64,
    /// TLBIs under way at the same time.
    pub tlbi_depth: u32,
    /// The SYNC gate, once everything before it is complete.
    pub sync_ns: u64,
    /// Writing the MSI of a SYNC; holds the gate.
    pub msi_write_ns: u64,
    /// Until the polling CPU has the line that the MSI was written to.
    pub msi_pull_ns: u64,
    /// Until a CPU in WFE wakes up.
    pub event_ns: u64,
    /// ATC_INV there and back.
    pub atc_round_trip_ns: u64,
    /// ATC_INVs under way at the same time.
    pub atc_in_flight: u32,
}

/// The way out of a guest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestCosts {
    /// A VM exit for a write to the trapped PROD, there and back, with what the VMM does about it.
    pub exit_ns: u64,
    /// Entry of the ioctl, the object's get and put.
    pub ioctl_ns: u64,
    /// The bulk copy, per byte.
    pub copy_ps_per_byte: u64,
    /// The copy of each item that follows it.
    pub copy_item_ns: u64,
    /// Converting one command.
    pub convert_ns: u64,
    /// Looking up a vSID (ATC_INV and CFGI_CD).
    pub vsid_ns: u64,
}

/// The command queue.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueSize {
    /// Entries of the ring, a power of two.
    pub entries: u32,
}

/// What is wrong with a value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadValue {
    /// The key, with its table: `topology.sockets`.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: String,
}

/// Fewest entries of a ring: Linux refuses 64 and fewer, since one full batch and its SYNC have
/// to fit. Source: `arm_smmu_device_hw_probe()`, arm-smmu-v3.c.
pub const ENTRIES_MIN: u32 = 128;

/// Most entries of a ring: LOG2SIZE is at most 19. Source: Arm IHI 0070 G.b, section 3.5.1.
pub const ENTRIES_MAX: u32 = 1 << 19;

/// Longest of any single cost.
const COST_NS_MAX: u64 = 1_000_000_000;

/// Whether a ring of this size can be.
///
/// # Errors
///
/// If it cannot, what is wrong with it.
pub fn check_entries(entries: u64) -> Result<u32, (String, String)> {
    let help = format!("a power of two from {ENTRIES_MIN} to {ENTRIES_MAX}, such as 256 or 65536");
    let (min, max) = (u64::from(ENTRIES_MIN), u64::from(ENTRIES_MAX));
    let message = match entries {
        n if n < min => format!(
            "a ring of {n} entries is too small: Linux refuses 64 and fewer, a full batch and its \
             SYNC have to fit"
        ),
        n if n > max => format!("a ring of {n} entries is too large: LOG2SIZE is at most 19"),
        n if !n.is_power_of_two() => format!("a ring of {n} entries is no power of two"),
        n => return Ok(n as u32),
    };
    Err((message, help))
}

impl Profile {
    /// The Kunpeng 920 of John Garry's tables: `scenarios/profiles/kunpeng-920.toml`, which a test
    /// compares with this.
    pub fn kunpeng_920() -> Profile {
        Profile {
            name: "kunpeng-920".into(),
            source: "reports/cost-model.md says which numbers are published, derived, assumed"
                .into(),
            topology: Topology { cpus_per_die: 24, dies_per_socket: 2, sockets: 2, smmu_die: 0 },
            line: LineCosts {
                hit_ns: 5,
                die_ns: 68,
                socket_ns: 159,
                remote_ns: 305,
                retry_wins_permille: 120,
            },
            cpu: CpuCosts {
                entry_ns: 8,
                wmb_ns: 20,
                mmio_write_ns: 100,
                mmio_read_ns: 70,
                work_ns: 1_068,
            },
            smmu: SmmuCosts {
                prod_visible_ns: 30,
                fetch_ns: 50,
                fetch_ahead_lines: 4,
                decode_ns: 5,
                tlbi_issue_ns: 20,
                tlbi_latency_ns: 100,
                tlbi_depth: 16,
                sync_ns: 35,
                msi_write_ns: 130,
                msi_pull_ns: 30,
                event_ns: 30,
                atc_round_trip_ns: 1_500,
                atc_in_flight: 32,
            },
            guest: GuestCosts {
                exit_ns: 2_000,
                ioctl_ns: 500,
                copy_ps_per_byte: 300,
                copy_item_ns: 15,
                convert_ns: 10,
                vsid_ns: 40,
            },
            queue: QueueSize { entries: 65_536 },
        }
    }

    /// CPUs of the machine.
    pub fn cpus(&self) -> u32 {
        let t = &self.topology;
        t.cpus_per_die.saturating_mul(t.dies_per_socket).saturating_mul(t.sockets)
    }

    /// Every value that cannot be.
    pub fn problems(&self) -> Vec<BadValue> {
        let mut found = Vec::new();
        let mut bad =
            |key, message: String, help: String| found.push(BadValue { key, message, help });
        let t = &self.topology;
        for (key, n) in [
            ("topology.cpus_per_die", t.cpus_per_die),
            ("topology.dies_per_socket", t.dies_per_socket),
            ("topology.sockets", t.sockets),
        ] {
            if n == 0 || n > CPUS_MAX {
                bad(key, format!("{n} of them is no machine"), format!("from 1 to {CPUS_MAX}"));
            }
        }
        let dies = u64::from(t.dies_per_socket) * u64::from(t.sockets);
        if dies > u64::from(CPUS_MAX) {
            let message = format!("{dies} dies are more than the model has CPUs");
            bad("topology.sockets", message, format!("at most {CPUS_MAX} dies"));
        } else if u64::from(t.smmu_die) >= dies {
            let message = format!("there is no die {}", t.smmu_die);
            bad("topology.smmu_die", message, format!("dies count from 0; there are {dies}"));
        }
        let l = &self.line;
        if l.retry_wins_permille > 1_000 {
            let message = format!("{} in a thousand is no chance", l.retry_wins_permille);
            bad("line.retry_wins_permille", message, "from 0 to 1000".into());
        }
        for (key, near, far) in [
            ("line.die_ns", l.hit_ns, l.die_ns),
            ("line.socket_ns", l.die_ns, l.socket_ns),
            ("line.remote_ns", l.socket_ns, l.remote_ns),
        ] {
            if far < near {
                let message = format!("a longer way that costs less ({far} ns after {near} ns)");
                bad(key, message, "hit_ns <= die_ns <= socket_ns <= remote_ns".into());
            }
        }
        let (s, g, c) = (&self.smmu, &self.guest, &self.cpu);
        for (key, n) in [
            ("smmu.fetch_ahead_lines", s.fetch_ahead_lines),
            ("smmu.tlbi_depth", s.tlbi_depth),
            ("smmu.atc_in_flight", s.atc_in_flight),
        ] {
            if n == 0 || n > 64 {
                bad(key, format!("a depth of {n} cannot be"), "from 1 to 64".into());
            }
        }
        for (key, ns, least) in [
            ("line.hit_ns", l.hit_ns, 0),
            ("line.die_ns", l.die_ns, 0),
            ("line.socket_ns", l.socket_ns, 0),
            ("line.remote_ns", l.remote_ns, 0),
            ("cpu.entry_ns", c.entry_ns, 0),
            ("cpu.wmb_ns", c.wmb_ns, 0),
            ("cpu.mmio_write_ns", c.mmio_write_ns, 0),
            // A poll that takes no time would never let virtual time pass.
            ("cpu.mmio_read_ns", c.mmio_read_ns, 1),
            ("cpu.work_ns", c.work_ns, 0),
            ("smmu.prod_visible_ns", s.prod_visible_ns, 0),
            ("smmu.fetch_ns", s.fetch_ns, 0),
            ("smmu.decode_ns", s.decode_ns, 0),
            ("smmu.tlbi_issue_ns", s.tlbi_issue_ns, 0),
            ("smmu.tlbi_latency_ns", s.tlbi_latency_ns, 0),
            ("smmu.sync_ns", s.sync_ns, 1),
            ("smmu.msi_write_ns", s.msi_write_ns, 0),
            ("smmu.msi_pull_ns", s.msi_pull_ns, 0),
            ("smmu.event_ns", s.event_ns, 0),
            ("smmu.atc_round_trip_ns", s.atc_round_trip_ns, 0),
            ("guest.exit_ns", g.exit_ns, 0),
            ("guest.ioctl_ns", g.ioctl_ns, 0),
            ("guest.copy_ps_per_byte", g.copy_ps_per_byte, 0),
            ("guest.copy_item_ns", g.copy_item_ns, 0),
            ("guest.convert_ns", g.convert_ns, 0),
            ("guest.vsid_ns", g.vsid_ns, 0),
        ] {
            if ns < least || ns > COST_NS_MAX {
                let help = format!("from {least} to {COST_NS_MAX}");
                bad(key, format!("a cost of {ns} cannot be"), help);
            }
        }
        if let Err((message, help)) = check_entries(self.queue.entries.into()) {
            bad("queue.entries", message, help);
        }
        found
    }

    /// A cost of the profile as virtual time.
    pub(crate) const fn ps(ns: u64) -> Ps {
        ns * NS
    }
}
