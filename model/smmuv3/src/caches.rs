//! The caches that an invalidation is about: TLB, configuration caches, and the translation caches
//! of the endpoints (ATC).
//!
//! An invalidation takes away exactly what the text says it must, nothing more: so that a test sees
//! whether a stale entry can survive. A lookup that misses asks [`Tables`], which is what memory
//! holds now.
//!
//! Source: Arm IHI 0070 G.b 3.9, 4.3 to 4.5; reference/smmuv3.md sections 2.3 to 2.6.

use serde::{Deserialize, Serialize};

use crate::command::{self, Class, Command, Op};
use crate::features::{Feature, Features};
use crate::field::{self, Field};

/// Which translations an entry holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Stage {
    /// Non-secure EL1: virtual to intermediate or, without stage 2, to physical.
    NhS1,
    /// Non-secure EL1: virtual to physical through both stages.
    NhS1S2,
    /// Intermediate to physical.
    S2,
    /// A context of the hypervisor.
    El2,
}

/// Who translates: what STE and CD say of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Context {
    /// Stages.
    pub stage: Stage,
    /// Virtual machine.
    pub vmid: u16,
    /// Address space.
    pub asid: u16,
}

/// What a table walk finds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Walk {
    /// First output address of the block or page.
    pub output: u64,
    /// Log2 of the bytes it maps.
    pub log2: u8,
    /// Level of the leaf.
    pub level: u8,
    /// Valid in every address space.
    pub global: bool,
}

/// What memory holds: stream table, context descriptors and translation tables.
pub trait Tables {
    /// The context of a stream, or of one substream.
    fn context(&self, sid: u32, ssid: Option<u32>) -> Option<Context>;
    /// The walk for an address.
    fn walk(&self, context: Context, address: u64) -> Option<Walk>;
}

/// One entry of the TLB.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct TlbEntry {
    /// Stages, VMID, ASID. Fields that the stage does not use are zero.
    pub context: Context,
    /// First input address.
    pub address: u64,
    /// The translation; of a table descriptor, the next table.
    pub walk: Walk,
    /// Whether this is the last level; otherwise a walk cache holds a table descriptor.
    pub leaf: bool,
}

/// One entry of the configuration caches.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum ConfigEntry {
    /// A stream table entry.
    Ste {
        /// StreamID.
        sid: u32,
    },
    /// A level-1 descriptor of the stream table, which covers these StreamIDs.
    L1Ste {
        /// First.
        first: u32,
        /// Last.
        last: u32,
    },
    /// A context descriptor.
    Cd {
        /// StreamID.
        sid: u32,
        /// SubstreamID, 0 for a stream without.
        ssid: u32,
        /// What it says, together with the STE that it was read through.
        context: Context,
    },
    /// A level-1 descriptor of a CD table.
    L1Cd {
        /// StreamID.
        sid: u32,
        /// First SubstreamID.
        first: u32,
        /// Last.
        last: u32,
    },
}

/// One entry of an endpoint's translation cache.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct AtcEntry {
    /// The endpoint.
    pub sid: u32,
    /// PASID, if the request had one.
    pub ssid: Option<u32>,
    /// First address.
    pub address: u64,
    /// Log2 of the bytes it covers.
    pub log2: u8,
    /// The translation that the endpoint uses.
    pub output: u64,
}

/// A transaction of a client that has its translation and is not finished.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Transaction {
    /// Given by [`Caches::begin`].
    pub id: u32,
    /// What it uses.
    pub entry: TlbEntry,
    /// Whether that has been invalidated since.
    pub invalidated: bool,
}

/// All caches of one SMMU and of the endpoints behind it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Caches {
    /// TLB and walk caches.
    pub tlb: Vec<TlbEntry>,
    /// Configuration caches.
    pub config: Vec<ConfigEntry>,
    /// The endpoints' caches.
    pub atc: Vec<AtcEntry>,
    /// Transactions under way.
    pub transactions: Vec<Transaction>,
    next_transaction: u32,
}

/// Which TLB entries an opcode reaches; whether ASID, VMID and address are compared follows from
/// the fields that the opcode has.
const REACH: &[(Op, &[Stage])] = &[
    (Op::TLBI_NH_ALL, &[Stage::NhS1, Stage::NhS1S2]),
    (Op::TLBI_NH_ASID, &[Stage::NhS1, Stage::NhS1S2]),
    (Op::TLBI_NH_VA, &[Stage::NhS1, Stage::NhS1S2]),
    (Op::TLBI_NH_VAA, &[Stage::NhS1, Stage::NhS1S2]),
    (Op::TLBI_EL2_ALL, &[Stage::El2]),
    (Op::TLBI_EL2_ASID, &[Stage::El2]),
    (Op::TLBI_EL2_VA, &[Stage::El2]),
    (Op::TLBI_EL2_VAA, &[Stage::El2]),
    (Op::TLBI_S12_VMALL, &[Stage::NhS1, Stage::NhS1S2, Stage::S2]),
    // Not the combined entries: they need NH_ALL or NH_VAA beside it.
    (Op::TLBI_S2_IPA, &[Stage::S2]),
    (Op::TLBI_NSNH_ALL, &[Stage::NhS1, Stage::NhS1S2, Stage::S2]),
];

fn last_of(address: u64, log2: u8) -> u64 {
    if log2 >= 64 {
        u64::MAX
    } else {
        address | ((1u64 << log2) - 1)
    }
}

/// Whether a TLBI reaches this entry.
pub fn tlbi_hits(command: &Command, entry: &TlbEntry, features: &Features) -> bool {
    let Some((_, stages)) = REACH.iter().find(|(op, _)| *op == command.op()) else {
        return false;
    };
    if !stages.contains(&entry.context.stage) {
        return false;
    }
    let same = |field: Field, own: u16| command.get(field).is_none_or(|v| v == u64::from(own));
    // VMIDs do not exist without stage 2.
    if features.has(Feature::S2p) && !same(field::VMID, entry.context.vmid) {
        return false;
    }
    let Some(span) = command::tlb_span(command, features) else {
        // By address space: entries that belong to every one stay.
        let by_asid = command.get(field::ASID).is_some();
        return !by_asid || (!entry.walk.global && same(field::ASID, entry.context.asid));
    };
    if !entry.walk.global && !same(field::ASID, entry.context.asid) {
        return false;
    }
    if command.get(field::LEAF) == Some(1) && !entry.leaf {
        return false;
    }
    // A level hint says that only leaves of this level need to go; table descriptors on the way
    // go whatever it says.
    let hinted_away = entry.leaf && span.level.is_some_and(|level| level != entry.walk.level);
    let last = last_of(entry.address, entry.walk.log2);
    let end = u128::from(span.from) + span.len;
    !hinted_away && u128::from(entry.address) < end && span.from <= last
}

/// Whether a range of 2^`log2` bytes from `first` on covers `address`.
fn covers(first: u64, log2: u8, address: u64) -> bool {
    first <= address && address <= last_of(first, log2)
}

fn atc_hits(command: &Command, entry: &AtcEntry) -> bool {
    let value = |field| command.get(field).unwrap_or(0);
    let Some((first, last)) = command::atc_span(command) else { return false };
    let with_pasid = value(field::SSV) == 1;
    let pasid = match entry.ssid {
        None => !with_pasid,
        // GLOBAL means something only together with SSV.
        Some(ssid) => {
            with_pasid && (value(field::GLOBAL) == 1 || value(field::SSID) == u64::from(ssid))
        }
    };
    value(field::SID) == u64::from(entry.sid)
        && pasid
        && entry.address <= last
        && first <= last_of(entry.address, entry.log2)
}

fn cfgi_hits(command: &Command, entry: &ConfigEntry) -> bool {
    let value = |field| command.get(field).unwrap_or(0) as u32;
    let (sid, ssid, leaf) = (value(field::SID), value(field::SSID), value(field::LEAF) == 1);
    let streams = |range: (u32, u32), tables: bool| match *entry {
        // CDs were read through an STE and go with it.
        ConfigEntry::Ste { sid } | ConfigEntry::Cd { sid, .. } | ConfigEntry::L1Cd { sid, .. } => {
            range.0 <= sid && sid <= range.1
        }
        ConfigEntry::L1Ste { first, last } => tables && first <= range.1 && range.0 <= last,
    };
    match command.op() {
        Op::CFGI_STE => streams((sid, sid), !leaf),
        Op::CFGI_STE_RANGE => command::ste_range(command).is_some_and(|r| streams(r, true)),
        Op::CFGI_CD => match *entry {
            ConfigEntry::Cd { sid: s, ssid: ss, .. } => s == sid && ss == ssid,
            ConfigEntry::L1Cd { sid: s, first, last } => {
                !leaf && s == sid && first <= ssid && ssid <= last
            }
            _ => false,
        },
        Op::CFGI_CD_ALL => match *entry {
            ConfigEntry::Cd { sid: s, .. } | ConfigEntry::L1Cd { sid: s, .. } => s == sid,
            _ => false,
        },
        _ => false,
    }
}

impl Caches {
    /// Empty caches.
    pub fn new() -> Caches {
        Caches::default()
    }

    /// A command takes effect.
    pub fn apply(&mut self, command: &Command, features: &Features) {
        match command.op().row().class {
            Class::Tlbi => {
                self.tlb.retain(|entry| !tlbi_hits(command, entry, features));
                for transaction in &mut self.transactions {
                    transaction.invalidated |= tlbi_hits(command, &transaction.entry, features);
                }
            }
            Class::Cfgi => self.config.retain(|entry| !cfgi_hits(command, entry)),
            Class::Atc => self.atc.retain(|entry| !atc_hits(command, entry)),
            Class::Prefetch | Class::Response | Class::Sync | Class::Dpti => {}
        }
    }

    /// Whether a transaction still uses what has been invalidated: a SYNC waits for it.
    pub fn must_drain(&self) -> bool {
        self.transactions.iter().any(|t| t.invalidated)
    }

    fn context(&mut self, sid: u32, ssid: Option<u32>, tables: &dyn Tables) -> Option<Context> {
        let own = ssid.unwrap_or(0);
        let cached = self.config.iter().find_map(|entry| match *entry {
            ConfigEntry::Cd { sid: s, ssid, context } if s == sid && ssid == own => Some(context),
            _ => None,
        });
        cached.or_else(|| {
            let context = tables.context(sid, ssid)?;
            if !self.config.contains(&ConfigEntry::Ste { sid }) {
                self.config.push(ConfigEntry::Ste { sid });
            }
            self.config.push(ConfigEntry::Cd { sid, ssid: own, context });
            Some(context)
        })
    }

    /// The entry that translates this address for this stream: a cached one if there is one, be
    /// it stale or not; otherwise what the tables say, which is cached.
    pub fn lookup(
        &mut self,
        sid: u32,
        ssid: Option<u32>,
        address: u64,
        tables: &dyn Tables,
    ) -> Option<TlbEntry> {
        let context = self.context(sid, ssid, tables)?;
        let hit = self.tlb.iter().find(|entry| {
            let own = entry.context;
            let same_space = entry.walk.global || own.asid == context.asid;
            let same_vm = own.stage == context.stage && own.vmid == context.vmid;
            entry.leaf && same_vm && same_space && covers(entry.address, entry.walk.log2, address)
        });
        hit.copied().or_else(|| {
            let walk = tables.walk(context, address)?;
            let first = address - (address & (last_of(0, walk.log2)));
            let entry = TlbEntry { context, address: first, walk, leaf: true };
            self.tlb.push(entry);
            Some(entry)
        })
    }

    /// Where a DMA to this address goes.
    pub fn translate(
        &mut self,
        sid: u32,
        ssid: Option<u32>,
        address: u64,
        tables: &dyn Tables,
    ) -> Option<u64> {
        let entry = self.lookup(sid, ssid, address, tables)?;
        Some(entry.walk.output + (address - entry.address))
    }

    /// Where an endpoint with ATS sends a DMA: by its own cache, which it fills with a translation
    /// request to the SMMU. The answer may come from a TLB entry that is stale, which is why the
    /// ATC_INV has to be issued after the TLBI is complete.
    pub fn ats_translate(
        &mut self,
        sid: u32,
        ssid: Option<u32>,
        address: u64,
        tables: &dyn Tables,
    ) -> Option<u64> {
        let hit = self.atc.iter().find(|entry| {
            let own = entry.sid == sid && entry.ssid == ssid;
            own && covers(entry.address, entry.log2, address)
        });
        let entry = match hit {
            Some(entry) => *entry,
            None => {
                let TlbEntry { address, walk, .. } = self.lookup(sid, ssid, address, tables)?;
                let (log2, output) = (walk.log2, walk.output);
                let entry = AtcEntry { sid, ssid, address, log2, output };
                self.atc.push(entry);
                entry
            }
        };
        Some(entry.output + (address - entry.address))
    }

    /// A transaction gets its translation and is under way until [`Caches::end`].
    pub fn begin(
        &mut self,
        sid: u32,
        ssid: Option<u32>,
        address: u64,
        tables: &dyn Tables,
    ) -> Option<u32> {
        let entry = self.lookup(sid, ssid, address, tables)?;
        let id = self.next_transaction;
        self.next_transaction += 1;
        self.transactions.push(Transaction { id, entry, invalidated: false });
        Some(id)
    }

    /// The transaction is finished. False if there is none of this number.
    pub fn end(&mut self, id: u32) -> bool {
        let before = self.transactions.len();
        self.transactions.retain(|t| t.id != id);
        self.transactions.len() < before
    }

    /// Leaf entries of the TLB that say something else than the tables do now.
    pub fn stale<'a>(&'a self, tables: &'a dyn Tables) -> impl Iterator<Item = &'a TlbEntry> {
        let leaves = self.tlb.iter().filter(|entry| entry.leaf);
        leaves.filter(|entry| tables.walk(entry.context, entry.address) != Some(entry.walk))
    }
}
