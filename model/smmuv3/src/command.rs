//! Commands: one row per opcode, and the two directions between values and the 16 bytes.
//!
//! A [`Command`] is the two words of a ring entry whose opcode is known. [`decode`] says what an
//! implementation makes of any two words: a command, or CERROR_ILL with the reason.
//!
//! Source: Arm IHI 0070 G.b 4.1 to 4.7 and the driver's `arm-smmu-v3.h`; reference/smmuv3.md
//! section 2.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::features::{Config, Edition, Feature, Features, Res0};
use crate::field::{self, Field, FieldError};

/// What a command is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Class {
    /// A hint.
    Prefetch,
    /// Configuration caches.
    Cfgi,
    /// TLBs.
    Tlbi,
    /// The translation cache of an endpoint.
    Atc,
    /// An answer to a page request or to a stalled transaction.
    Response,
    /// CMD_SYNC.
    Sync,
    /// Permission tables.
    Dpti,
}

/// One opcode.
#[derive(Debug)]
pub struct Opcode {
    /// Bits 7:0.
    pub op: Op,
    /// Name in the text.
    pub name: &'static str,
    /// What it is about.
    pub class: Class,
    /// Without one of these features the command is illegal.
    pub needs: &'static [Feature],
    /// Its fields beside the opcode.
    pub fields: &'static [Field],
    /// Section of Arm IHI 0070 G.b.
    pub section: &'static str,
}

macro_rules! opcodes {
    ($($code:literal $op:ident $class:ident [$($feature:ident)*] $section:literal
       [$($field:ident)*];)*) => {
        /// An opcode of the map. The names are the text's, without `CMD_`.
        #[allow(non_camel_case_types, missing_docs)] // the row of each says what it is
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[derive(Serialize, Deserialize)]
        #[repr(u8)]
        pub enum Op { $($op = $code),* }

        /// Every opcode that the text gives a meaning, in ascending order.
        pub const OPCODES: &[Opcode] = &[$(Opcode {
            op: Op::$op,
            name: stringify!($op),
            class: Class::$class,
            needs: &[$(Feature::$feature),*],
            fields: &[$(field::$field),*],
            section: $section,
        }),*];

        impl Op {
            /// The opcode of these bits, if the text gives them a meaning.
            pub const fn from_bits(bits: u8) -> Option<Op> {
                match bits {
                    $($code => Some(Op::$op),)*
                    _ => None,
                }
            }
        }
    };
}

// The fields of commands that need something which is not modelled (a Secure queue, MPAM, a device
// permission table, revision H.a) are not listed: on an implementation without it they are illegal
// whatever they hold.
opcodes! {
    0x01 PREFETCH_CONFIG Prefetch [] "4.2.1" [SSV SSID SID];
    0x02 PREFETCH_ADDR Prefetch [] "4.2.2" [SSV SSID SID PREFETCH_SIZE PREFETCH_ADDR];
    0x03 CFGI_STE Cfgi [] "4.3.1" [SID LEAF];
    0x04 CFGI_STE_RANGE Cfgi [] "4.3.2" [SID STE_RANGE];
    0x05 CFGI_CD Cfgi [] "4.3.3" [SSV SSID SID LEAF];
    0x06 CFGI_CD_ALL Cfgi [] "4.3.4" [SID];
    0x07 CFGI_VMS_PIDM Cfgi [Mpam] "4.3.5" [];
    0x08 CFGI_CIT Cfgi [RevisionHa] "H.a" [];
    0x09 CFGI_VSTT Cfgi [RevisionHa] "H.a" [];
    0x0a CFGI_VSTT_ALL Cfgi [RevisionHa] "H.a" [];
    0x10 TLBI_NH_ALL Tlbi [S1p] "4.4.2" [VMID];
    0x11 TLBI_NH_ASID Tlbi [S1p] "4.4.2" [VMID ASID];
    0x12 TLBI_NH_VA Tlbi [S1p] "4.4.2" [NUM SCALE VMID ASID LEAF TTL128 TTL TG VA];
    0x13 TLBI_NH_VAA Tlbi [S1p] "4.4.2" [NUM SCALE VMID LEAF TTL128 TTL TG VA];
    0x18 TLBI_EL3_ALL Tlbi [SecureQueue] "4.4.3" [];
    0x1a TLBI_EL3_VA Tlbi [SecureQueue] "4.4.3" [NUM SCALE LEAF TTL128 TTL TG VA];
    0x20 TLBI_EL2_ALL Tlbi [Hyp] "4.4.4" [];
    0x21 TLBI_EL2_ASID Tlbi [Hyp] "4.4.4" [ASID];
    0x22 TLBI_EL2_VA Tlbi [Hyp] "4.4.4" [NUM SCALE ASID LEAF TTL128 TTL TG VA];
    0x23 TLBI_EL2_VAA Tlbi [Hyp] "4.4.4" [NUM SCALE LEAF TTL128 TTL TG VA];
    0x28 TLBI_S12_VMALL Tlbi [S2p] "4.4.5" [VMID];
    0x2a TLBI_S2_IPA Tlbi [S2p] "4.4.5" [NUM SCALE VMID LEAF TTL128 TTL TG IPA];
    0x30 TLBI_NSNH_ALL Tlbi [] "4.4.6" [];
    0x40 ATC_INV Atc [Ats] "4.5.1" [GLOBAL SSV SSID SID ATC_SIZE ATC_ADDR];
    0x41 PRI_RESP Response [Pri] "4.5.2" [SSV SSID SID PRI_GRPID PRI_RESP];
    0x44 RESUME Response [] "4.6.1" [RESUME_RESP SID RESUME_STAG];
    0x45 STALL_TERM Response [] "4.6.2" [SID];
    0x46 SYNC Sync [] "4.7.3"
        [SYNC_CS SYNC_MSH SYNC_MSIATTR SYNC_MSIDATA SYNC_MSIADDR];
    0x50 TLBI_S_EL2_ALL Tlbi [SecureQueue] "4.4.7" [];
    0x51 TLBI_S_EL2_ASID Tlbi [SecureQueue] "4.4.7" [ASID];
    0x52 TLBI_S_EL2_VA Tlbi [SecureQueue] "4.4.7" [NUM SCALE ASID LEAF TTL128 TTL TG VA];
    0x53 TLBI_S_EL2_VAA Tlbi [SecureQueue] "4.4.7" [NUM SCALE LEAF TTL128 TTL TG VA];
    0x58 TLBI_S_S12_VMALL Tlbi [SecureQueue] "4.4.7" [VMID];
    0x5a TLBI_S_S2_IPA Tlbi [SecureQueue] "4.4.7" [NUM SCALE VMID LEAF TTL128 TTL TG IPA];
    0x60 TLBI_SNH_ALL Tlbi [SecureQueue] "4.4.7" [];
    0x70 DPTI_ALL Dpti [Dpt] "4.8" [];
    0x73 DPTI_PA Dpti [Dpt] "4.8" [];
}

/// CFGI_ALL is CFGI_STE_RANGE with this range.
pub const CFGI_ALL_RANGE: u64 = 31;

/// ATC_INV of this size is the whole address space; more "may be" illegal.
pub const ATC_SIZE_ALL: u64 = 52;

/// SYNC's completion signals.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Cs {
    /// Only CONS moves.
    None = 0,
    /// An MSI, or the wired interrupt.
    Irq = 1,
    /// An event.
    Sev = 2,
}

/// Why two words are CERROR_ILL.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error, Serialize, Deserialize)]
pub enum Illegal {
    /// Not in the map.
    #[error("opcode {0:#04x} is reserved")]
    Reserved(u8),
    /// The implementation has no such feature.
    #[error("{0:?} needs {1:?}, which this implementation has not")]
    Unsupported(Op, Feature),
    /// Bit 10 on the Non-secure queue (4.1.6).
    #[error("SSec is set on the Non-secure queue")]
    Ssec,
    /// Bits that should be zero, on an implementation that checks them (4.1.5).
    #[error("RES0 bits {bits:#x} of word {word} are set")]
    Res0 {
        /// 0 or 1.
        word: u8,
        /// Which of them.
        bits: u64,
    },
    /// CS = 3 of a SYNC (4.7.3).
    #[error("completion signal {0} is reserved")]
    CompletionSignal(u64),
    /// Resp = 3 of PRI_RESP or RESUME.
    #[error("response {0} is reserved")]
    Response(u64),
    /// SIZE of ATC_INV beyond the whole address space, which "may be" illegal (4.5.1).
    #[error("an ATC_INV of 2^{0} pages is larger than the address space")]
    AtcSize(u64),
    /// SCALE beyond what the addresses need (4.4.1).
    #[error("SCALE {0} is reserved")]
    Scale(u64),
    /// TG says range or hint, and NUM, SCALE and TTL are all zero (4.4.1).
    #[error("TG is not zero and NUM, SCALE and TTL are")]
    EmptyRange,
    /// TTL 1 of the 16 KiB granule without 52-bit addresses (4.4.1).
    #[error("TTL 1 of a 16 KiB granule needs DS")]
    Ttl1Of16k,
}

impl Opcode {
    /// Whether a command of it has this field. Fields of one name are one: comparing the rest, too,
    /// would cost more than decoding does.
    fn has(&self, field: Field) -> bool {
        self.fields.iter().any(|f| f.low == field.low && f.name == field.name)
    }
}

impl Op {
    /// Its row.
    #[inline]
    pub fn row(self) -> &'static Opcode {
        &OPCODES[usize::from(ROW_OF[self as usize])]
    }
}

/// The bits of the words of the opcode in this row that an implementation looks at.
#[inline]
fn known(row: usize, config: &Config) -> [u64; 2] {
    let own = usize::from(config.edition == Edition::Newer);
    let on =
        DECIDING.iter().rev().fold(0, |bits, f| bits << 1 | usize::from(config.features.has(*f)));
    KNOWN[own][on][row]
}

/// The features without which some field is RES0.
const DECIDING: [Feature; 2] = [Feature::Ril, Feature::D128];

/// [`known`] by edition, by the set of [`DECIDING`] features, and by row: asking every field
/// costs more than all other checks of a command.
static KNOWN: [[[[u64; 2]; OPCODES.len()]; 1 << DECIDING.len()]; 2] =
    [known_in(Edition::Older), known_in(Edition::Newer)];

const fn known_in(edition: Edition) -> [[[u64; 2]; OPCODES.len()]; 1 << DECIDING.len()] {
    let mut known = [[[0; 2]; OPCODES.len()]; 1 << DECIDING.len()];
    let mut set = 0;
    while set < known.len() {
        let mut features = Features::NONE;
        let mut i = 0;
        while i < DECIDING.len() {
            if set >> i & 1 == 1 {
                features = features.with(DECIDING[i]);
            }
            i += 1;
        }
        let mut row = 0;
        while row < OPCODES.len() {
            known[set][row] = known_of(&OPCODES[row], edition, &features);
            row += 1;
        }
        set += 1;
    }
    known
}

const fn known_of(row: &Opcode, edition: Edition, features: &Features) -> [u64; 2] {
    let mut known = [field::OPCODE.mask(), 0];
    let mut i = 0;
    while i < row.fields.len() {
        known[row.fields[i].word as usize] |= row.fields[i].mask_in(edition, features);
        i += 1;
    }
    known
}

/// Where the row of an opcode stands in [`OPCODES`]; [`NO_ROW`] for what is no opcode.
static ROW_OF: [u8; 256] = {
    let mut rows = [NO_ROW; 256];
    let mut at = 0;
    while at < OPCODES.len() {
        rows[OPCODES[at].op as usize] = at as u8;
        at += 1;
    }
    rows
};

/// The row of what is no opcode: there are fewer rows than this.
const NO_ROW: u8 = u8::MAX;

/// [`Opcode::needs`] as a set, by row.
static NEEDS: [Features; OPCODES.len()] = {
    let mut needs = [Features::NONE; OPCODES.len()];
    let mut row = 0;
    while row < OPCODES.len() {
        needs[row] = Features::of(OPCODES[row].needs);
        row += 1;
    }
    needs
};

/// Whether the opcodes have NUM, SCALE, TTL and TG, by row: TG stands for all of them.
static RANGES: [bool; OPCODES.len()] = {
    let mut ranges = [false; OPCODES.len()];
    let mut row = 0;
    while row < OPCODES.len() {
        let fields = OPCODES[row].fields;
        let mut i = 0;
        while i < fields.len() {
            ranges[row] |= fields[i].word == field::TG.word && fields[i].low == field::TG.low;
            i += 1;
        }
        row += 1;
    }
    ranges
};

/// A ring entry with a known opcode.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "[u64; 2]", into = "[u64; 2]")]
pub struct Command {
    op: Op,
    words: [u64; 2],
}

impl Command {
    /// The command with every field zero.
    pub const fn new(op: Op) -> Command {
        Command { op, words: [op as u64, 0] }
    }

    /// CMD_SYNC with this signal.
    pub const fn sync(cs: Cs) -> Command {
        Command { op: Op::SYNC, words: [Op::SYNC as u64 | (cs as u64) << 12, 0] }
    }

    /// The same command with this field set.
    pub fn with(mut self, field: Field, value: u64) -> Result<Command, FieldError> {
        let row = self.op.row();
        if !row.fields.contains(&field) {
            return Err(FieldError::Absent { op: row.name, field: field.name });
        }
        field.put(&mut self.words, value)?;
        Ok(self)
    }

    /// What the command is.
    pub const fn op(&self) -> Op {
        self.op
    }

    /// The two words of the ring entry.
    pub const fn words(&self) -> [u64; 2] {
        self.words
    }

    /// The 16 bytes of the ring entry, little endian.
    pub fn bytes(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.words[0].to_le_bytes());
        bytes[8..].copy_from_slice(&self.words[1].to_le_bytes());
        bytes
    }

    /// The value of this field, if the command has it.
    pub fn get(&self, field: Field) -> Option<u64> {
        self.op.row().has(field).then(|| field.get(self.words))
    }

    /// Its fields with their values.
    pub fn fields(&self) -> impl Iterator<Item = (Field, u64)> + '_ {
        self.op.row().fields.iter().map(|f| (*f, f.get(self.words)))
    }
}

/// The words of a ring entry, from its bytes.
pub fn words_of(bytes: [u8; 16]) -> [u64; 2] {
    let word = |from: usize| (0..8).fold(0, |w, i| w | u64::from(bytes[from + i]) << (8 * i));
    [word(0), word(8)]
}

impl From<Command> for [u64; 2] {
    fn from(command: Command) -> [u64; 2] {
        command.words
    }
}

impl TryFrom<[u64; 2]> for Command {
    type Error = Illegal;

    /// Looks at the opcode only; [`decode`] is what an implementation does.
    fn try_from(words: [u64; 2]) -> Result<Command, Illegal> {
        let bits = field::OPCODE.get(words) as u8;
        let op = Op::from_bits(bits).ok_or(Illegal::Reserved(bits))?;
        Ok(Command { op, words })
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CMD_{}", self.op.row().name)?;
        for (field, value) in self.fields().filter(|(_, value)| *value != 0) {
            write!(f, " {}={value:#x}", field.name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What an implementation makes of a ring entry: the command without the bits that it does not
/// look at, or CERROR_ILL.
///
/// The order of the checks is not visible to software: all of them give the same code. An encoding
/// that is illegal is so even if the command would be ignored in the state that the SMMU is in, so
/// nothing here depends on that state.
pub fn decode(words: [u64; 2], config: &Config) -> Result<Command, Illegal> {
    let bits = field::OPCODE.get(words) as u8;
    // 0x80 to 0x8f belong to the implementer; this implementation defines none.
    let row = usize::from(ROW_OF[usize::from(bits)]);
    let Some(Opcode { op, needs, .. }) = OPCODES.get(row) else {
        return Err(Illegal::Reserved(bits));
    };
    let op = *op;
    if !config.features.have_all(NEEDS[row]) {
        let missing = needs.iter().find(|f| !config.features.has(**f));
        return Err(missing.map_or(Illegal::Reserved(bits), |f| Illegal::Unsupported(op, *f)));
    }
    if field::SSEC.get(words) != 0 {
        return Err(Illegal::Ssec);
    }
    let known = known(row, config);
    if config.res0 == Res0::Strict {
        for (word, bits) in [words[0] & !known[0], words[1] & !known[1]].into_iter().enumerate() {
            if bits != 0 {
                return Err(Illegal::Res0 { word: word as u8, bits });
            }
        }
    }
    let command = Command { op, words: [words[0] & known[0], words[1] & known[1]] };
    check_values(command, RANGES[row], config)?;
    Ok(command)
}

/// Values that the text reserves, per field.
#[inline]
fn check_values(command: Command, has_range: bool, config: &Config) -> Result<(), Illegal> {
    let reserved = |field: Field, from: u64, why: fn(u64) -> Illegal| match field.get(command.words)
    {
        value if value >= from => Err(why(value)),
        _ => Ok(()),
    };
    match command.op {
        Op::SYNC => reserved(field::SYNC_CS, 3, Illegal::CompletionSignal),
        Op::PRI_RESP => reserved(field::PRI_RESP, 3, Illegal::Response),
        Op::RESUME => reserved(field::RESUME_RESP, 3, Illegal::Response),
        // A lax implementation takes it for the whole space.
        Op::ATC_INV if config.res0 == Res0::Strict => {
            reserved(field::ATC_SIZE, ATC_SIZE_ALL + 1, Illegal::AtcSize)
        }
        _ if has_range && config.features.has(Feature::Ril) => check_range(command, config),
        _ => Ok(()),
    }
}

/// NUM, SCALE, TTL and TG together (4.4.1): a command has all of them or none.
#[inline]
fn check_range(command: Command, config: &Config) -> Result<(), Illegal> {
    let value = |field: Field| field.get(command.words);
    let tg = value(field::TG);
    let (num, scale, ttl) = (value(field::NUM), value(field::SCALE), value(field::TTL));
    let strict = config.res0 == Res0::Strict;
    let ds = config.features.has(Feature::Ds);
    if tg == 0 {
        // No range and no hint: the three are RES0.
        if strict && (num, scale, ttl) != (0, 0, 0) {
            let [word0, word1] = command.words();
            let hint = word0 & (field::NUM.mask() | field::SCALE.mask());
            let (word, bits) = if hint != 0 { (0, hint) } else { (1, word1 & field::TTL.mask()) };
            return Err(Illegal::Res0 { word, bits });
        }
        return Ok(());
    }
    if (num, scale, ttl) == (0, 0, 0) {
        return Err(Illegal::EmptyRange);
    }
    if tg == 2 && ttl == 1 && !ds {
        return Err(Illegal::Ttl1Of16k);
    }
    // SCALE's upper bit belongs to DS, and 39 is the most that it can say there.
    if scale > 39 || (scale > 31 && !ds) {
        return Err(Illegal::Scale(scale));
    }
    Ok(())
}

/// The span of a TLBI by address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TlbSpan {
    /// First address.
    pub from: u64,
    /// Length in bytes; may reach past the end of the 64-bit space.
    pub len: u128,
    /// Log2 of the granule, if the command says it.
    pub granule: Option<u8>,
    /// Level of the leaf, if the command says it in a form that counts.
    pub level: Option<u8>,
}

/// What a TLBI by address covers: one address without a range, (NUM + 1) · 2^SCALE granules with
/// one (4.4.1). None for commands without an address.
pub fn tlb_span(command: &Command, features: &Features) -> Option<TlbSpan> {
    let from = command.get(field::VA).or_else(|| command.get(field::IPA))?;
    let value =
        |field: Field| command.get(field).filter(|_| features.has(Feature::Ril)).unwrap_or(0);
    let granule = match value(field::TG) {
        0 => return Some(TlbSpan { from, len: 1, granule: None, level: None }),
        tg => 10 + 2 * tg as u8,
    };
    let len = (u128::from(value(field::NUM)) + 1) << value(field::SCALE) << granule;
    // A hint whose address is not that of a block of this level is CONSTRAINED UNPREDICTABLE;
    // here it is no hint, which takes away more and never less.
    let level = Some(value(field::TTL) as u8)
        .filter(|ttl| *ttl != 0 && from & (block(granule, *ttl) - 1) == 0);
    Some(TlbSpan { from, len, granule: Some(granule), level })
}

/// Bytes that one leaf of this level maps, for granules of 2^12, 2^14 and 2^16 bytes.
pub const fn block(granule: u8, level: u8) -> u64 {
    let per_level = granule as u32 - 3;
    let levels_above_pages = 3u32.saturating_sub(level as u32);
    1 << (granule as u32 + per_level * levels_above_pages)
}

/// What an ATC_INV covers: 4096 · 2^SIZE bytes, aligned down (4.5.1). First address and the last.
pub fn atc_span(command: &Command) -> Option<(u64, u64)> {
    let size = command.get(field::ATC_SIZE)?;
    let from = command.get(field::ATC_ADDR)?;
    if size >= ATC_SIZE_ALL {
        return Some((0, u64::MAX));
    }
    let len = 4096u64 << size;
    let from = from & !(len - 1);
    Some((from, from + (len - 1)))
}

/// The StreamIDs of a CFGI_STE_RANGE: the aligned block of 2^(Range + 1) that holds SID. First and
/// last. QEMU and gem5 compute it the same way.
pub fn ste_range(command: &Command) -> Option<(u32, u32)> {
    let range = command.get(field::STE_RANGE)?;
    let sid = command.get(field::SID)?;
    let mask = (1u64 << (range + 1)) - 1;
    Some(((sid & !mask) as u32, ((sid | mask) & 0xffff_ffff) as u32))
}

/// The spans of pages that cover `pages` pages, as the driver cuts them (NUM + 1, SCALE): the
/// lowest set bit is SCALE, up to five bits from there are NUM + 1; subtract, repeat.
///
/// Source: `arm_smmu_cmdq_batch_add_range()` (`__arm_smmu_tlb_inv_range()` before v7.1).
pub fn range_chunks(mut pages: u64) -> impl Iterator<Item = (u64, u64)> {
    std::iter::from_fn(move || {
        if pages == 0 {
            return None;
        }
        let scale = u64::from(pages.trailing_zeros());
        let units = pages >> scale & 0x1f;
        pages -= units << scale;
        Some((units, scale))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_field_needs_decides_about_the_known_bits() {
        for row in OPCODES {
            let needs = row.fields.iter().filter_map(|f| f.needs);
            assert_eq!(needs.filter(|f| !DECIDING.contains(f)).count(), 0, "{}", row.name);
        }
    }

    #[test]
    fn the_tables_by_row_say_what_the_rows_say() {
        let range = [field::NUM, field::SCALE, field::TTL, field::TG];
        for (i, row) in OPCODES.iter().enumerate() {
            assert_eq!(usize::from(ROW_OF[row.op as usize]), i, "{}", row.name);
            assert_eq!(NEEDS[i], Features::of(row.needs), "{}", row.name);
            let has = range.map(|f| row.fields.contains(&f));
            assert_eq!(has, [RANGES[i]; 4], "{}: all four of a range or none", row.name);
        }
        for bits in 0..=u8::MAX {
            let known = ROW_OF[usize::from(bits)] != NO_ROW;
            assert_eq!(known, Op::from_bits(bits).is_some(), "{bits:#x}");
        }
    }
}
