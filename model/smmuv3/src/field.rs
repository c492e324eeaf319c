//! Fields: runs of bits of a command word or of a register, one constant each.
//!
//! Source: `arm-smmu-v3.h` (the `CMDQ_*` masks) and Arm IHI 0070 G.b chapter 4.

use crate::features::{Edition, Feature, Features};

/// What the value of a field counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// A number that begins at the field's lowest bit.
    Number,
    /// An address: its bits stand at their own places, the bits below the field are zero.
    Address,
}

/// A run of bits of one of the two 64-bit words of a command, or of a register (word 0).
///
/// Two fields are compared for each look-up in a command, in the order below: what differs most
/// comes first, the texts last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Field {
    /// Lowest bit.
    pub low: u8,
    /// 0 for bits 63:0 of the command, 1 for bits 127:64.
    pub word: u8,
    /// Highest bit.
    pub high: u8,
    /// Highest bit in the older text, which the driver's header follows.
    pub older_high: u8,
    /// How the value is counted.
    pub unit: Unit,
    /// Without this feature the field is RES0.
    pub needs: Option<Feature>,
    /// The text's name.
    pub name: &'static str,
    /// Section of Arm IHI 0070 G.b.
    pub section: &'static str,
}

/// A value that does not fit into its field.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FieldError {
    /// The command has no such field.
    #[error("{op} has no field {field}; its fields are listed in command::OPCODES")]
    Absent {
        /// Name of the command.
        op: &'static str,
        /// Name of the field.
        field: &'static str,
    },
    /// Too large, or an address with bits below the field.
    #[error("{value:#x} does not fit into {field}: the bits that it can hold are {mask:#x}")]
    TooWide {
        /// Name of the field.
        field: &'static str,
        /// The value.
        value: u64,
        /// What fits.
        mask: u64,
    },
}

impl Field {
    const fn new(name: &'static str, word: u8, high: u8, low: u8, section: &'static str) -> Field {
        let unit = Unit::Number;
        Field { name, word, high, older_high: high, low, unit, needs: None, section }
    }

    const fn address(self) -> Field {
        Field { unit: Unit::Address, ..self }
    }

    const fn older_high(self, older_high: u8) -> Field {
        Field { older_high, ..self }
    }

    const fn needs(self, feature: Feature) -> Field {
        Field { needs: Some(feature), ..self }
    }

    /// The bits of the word that the field has in its newest text.
    pub const fn mask(&self) -> u64 {
        mask(self.high, self.low)
    }

    /// The bits that an implementation of this edition with these features looks at.
    pub const fn mask_in(&self, edition: Edition, features: &Features) -> u64 {
        if let Some(feature) = self.needs {
            if !features.has(feature) {
                return 0;
            }
        }
        match edition {
            Edition::Older => mask(self.older_high, self.low),
            Edition::Newer => self.mask(),
        }
    }

    /// The value in these words.
    pub const fn get(&self, words: [u64; 2]) -> u64 {
        let bits = words[self.word as usize] & self.mask();
        match self.unit {
            Unit::Number => bits >> self.low,
            Unit::Address => bits,
        }
    }

    /// The largest value; of an address, all bits that it can have.
    pub const fn max(&self) -> u64 {
        match self.unit {
            Unit::Number => self.mask() >> self.low,
            Unit::Address => self.mask(),
        }
    }

    /// Puts a value into the words.
    pub fn put(&self, words: &mut [u64; 2], value: u64) -> Result<(), FieldError> {
        let bits = match self.unit {
            Unit::Number => value << self.low,
            Unit::Address => value,
        };
        if value & !self.max() != 0 {
            return Err(FieldError::TooWide { field: self.name, value, mask: self.max() });
        }
        let word = &mut words[usize::from(self.word)];
        *word = *word & !self.mask() | bits;
        Ok(())
    }
}

const fn mask(high: u8, low: u8) -> u64 {
    (u64::MAX >> (63 - high)) & (u64::MAX << low)
}

/// Bits 7:0 of every command.
pub const OPCODE: Field = Field::new("Opcode", 0, 7, 0, "4.1.1");
/// Secure stream. On the Non-secure queue it must be 0.
pub const SSEC: Field = Field::new("SSec", 0, 10, 10, "4.1.6");
/// The SubstreamID is valid.
pub const SSV: Field = Field::new("SSV", 0, 11, 11, "4.1.1");
/// SubstreamID: a PASID.
pub const SSID: Field = Field::new("SubstreamID", 0, 31, 12, "4.1.1");
/// StreamID.
pub const SID: Field = Field::new("StreamID", 0, 63, 32, "4.1.1");

/// Size of the region to prefetch for.
pub const PREFETCH_SIZE: Field = Field::new("Size", 1, 4, 0, "4.2.2");
/// Address to prefetch for.
pub const PREFETCH_ADDR: Field = Field::new("Address", 1, 63, 12, "4.2.2").address();

/// 1: only the last level; 0: table descriptors on the way as well.
pub const LEAF: Field = Field::new("Leaf", 1, 0, 0, "4.3.1");
/// Log2 of the number of StreamIDs, minus one.
pub const STE_RANGE: Field = Field::new("Range", 1, 4, 0, "4.3.2");

/// One less than the number of units of a range.
pub const NUM: Field = Field::new("NUM", 0, 16, 12, "4.4.1").needs(Feature::Ril);
/// Log2 of the granules in a unit of a range. The older text has five bits.
pub const SCALE: Field = Field::new("SCALE", 0, 25, 20, "4.4.1").older_high(24).needs(Feature::Ril);
/// Virtual machine.
pub const VMID: Field = Field::new("VMID", 0, 47, 32, "4.4");
/// Address space.
pub const ASID: Field = Field::new("ASID", 0, 63, 48, "4.4");
/// 128-bit descriptors.
pub const TTL128: Field = Field::new("TTL128", 1, 7, 7, "4.4.1").needs(Feature::D128);
/// Level of the leaf, a hint.
pub const TTL: Field = Field::new("TTL", 1, 9, 8, "4.4.1").needs(Feature::Ril);
/// Granule of a range; 0 for no range.
pub const TG: Field = Field::new("TG", 1, 11, 10, "4.4.1").needs(Feature::Ril);
/// Virtual address.
pub const VA: Field = Field::new("Address", 1, 63, 12, "4.4").address();
/// Intermediate physical address. The older text has 40 bits.
pub const IPA: Field = Field::new("Address", 1, 55, 12, "4.4").older_high(51).address();

/// Every SubstreamID.
pub const GLOBAL: Field = Field::new("Global", 0, 9, 9, "4.5.1");
/// Log2 of the number of 4 KiB pages.
pub const ATC_SIZE: Field = Field::new("Size", 1, 5, 0, "4.5.1");
/// Address in the endpoint's cache.
pub const ATC_ADDR: Field = Field::new("Address", 1, 63, 12, "4.5.1").address();

/// Page request group.
pub const PRI_GRPID: Field = Field::new("PRGIndex", 1, 8, 0, "4.5.2");
/// 0 Response Failure, 1 Invalid Request, 2 Success. The driver names them DENY, FAIL, SUCC.
pub const PRI_RESP: Field = Field::new("Resp", 1, 13, 12, "4.5.2");
/// 0 terminate, 1 retry, 2 abort.
pub const RESUME_RESP: Field = Field::new("Resp", 0, 13, 12, "4.6.1");
/// The stalled transaction.
pub const RESUME_STAG: Field = Field::new("STAG", 1, 15, 0, "4.6.1");

/// Completion signal: 0 none, 1 interrupt or MSI, 2 event (SEV).
pub const SYNC_CS: Field = Field::new("CS", 0, 13, 12, "4.7.3");
/// Shareability of the MSI write.
pub const SYNC_MSH: Field = Field::new("MSH", 0, 23, 22, "4.7.3");
/// Memory attributes of the MSI write.
pub const SYNC_MSIATTR: Field = Field::new("MSIAttr", 0, 27, 24, "4.7.3");
/// What the MSI writes.
pub const SYNC_MSIDATA: Field = Field::new("MSIData", 0, 63, 32, "4.7.3");
/// Where the MSI writes. The older text has bits 51:2.
pub const SYNC_MSIADDR: Field =
    Field::new("MSIAddress", 1, 55, 2, "4.7.3").older_high(51).address();
