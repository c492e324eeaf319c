//! What an implementation has, and what the text lets it choose.
//!
//! Source: Arm IHI 0070 G.b 6.3.1 to 6.3.6 (SMMU_IDR0, IDR1, IDR3) and 4.1.5.

use serde::{Deserialize, Serialize};

use crate::ring::{RingSize, LOG2_MAX};

/// A feature that a command, a field or an effect depends on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Feature {
    /// Stage 2 translation, IDR0.S2P.
    S2p,
    /// Stage 1 translation, IDR0.S1P.
    S1p,
    /// Coherent table walks and queue accesses, IDR0.COHACC.
    Cohacc,
    /// EL2 contexts, IDR0.HYP.
    Hyp,
    /// Address translation service, IDR0.ATS.
    Ats,
    /// 16-bit ASIDs, IDR0.ASID16.
    Asid16,
    /// Message-signalled interrupts, IDR0.MSI.
    Msi,
    /// Events that wake WFE, IDR0.SEV.
    Sev,
    /// Page requests, IDR0.PRI.
    Pri,
    /// 16-bit VMIDs, IDR0.VMID16.
    Vmid16,
    /// Range invalidation, IDR3.RIL.
    Ril,
    /// 52-bit addresses with small granules (DS).
    Ds,
    /// 128-bit descriptors.
    D128,
    /// The Secure command queue. The queue modelled here is the Non-secure one, so a command that
    /// needs it is illegal.
    SecureQueue,
    /// MPAM partitions (CFGI_VMS_PIDM).
    Mpam,
    /// A device permission table (DPTI_*).
    Dpt,
    /// Commands that only revision H.a has (CFGI_CIT, CFGI_VSTT*).
    RevisionHa,
}

/// The features of IDR0, by bit.
pub const IDR0: &[(u8, Feature)] = &[
    (0, Feature::S2p),
    (1, Feature::S1p),
    (4, Feature::Cohacc),
    (9, Feature::Hyp),
    (10, Feature::Ats),
    (12, Feature::Asid16),
    (13, Feature::Msi),
    (14, Feature::Sev),
    (16, Feature::Pri),
    (18, Feature::Vmid16),
];

/// The features of IDR3, by bit.
pub const IDR3: &[(u8, Feature)] = &[(10, Feature::Ril)];

/// A set of features.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Features(u32);

impl Features {
    /// None of them.
    pub const NONE: Features = Features(0);

    /// Exactly these.
    pub const fn of(list: &[Feature]) -> Features {
        let mut bits = 0;
        let mut i = 0;
        while i < list.len() {
            bits |= 1 << list[i] as u32;
            i += 1;
        }
        Features(bits)
    }

    /// What a driver reads from the identification registers. What they do not tell here (`Ds`,
    /// `D128` and the features without which a command does not exist) is absent.
    pub fn from_id_registers(idr0: u32, idr3: u32) -> Features {
        let set = |register: u32, bits: &[(u8, Feature)]| {
            bits.iter().filter(|(bit, _)| register >> bit & 1 == 1).fold(Features::NONE, with)
        };
        fn with(features: Features, (_, feature): &(u8, Feature)) -> Features {
            features.with(*feature)
        }
        Features(set(idr0, IDR0).0 | set(idr3, IDR3).0)
    }

    /// IDR0 as a driver reads it.
    pub fn idr0(&self) -> u32 {
        IDR0.iter().filter(|(_, f)| self.has(*f)).fold(0, |bits, (bit, _)| bits | 1 << bit)
    }

    /// IDR3 as a driver reads it.
    pub fn idr3(&self) -> u32 {
        IDR3.iter().filter(|(_, f)| self.has(*f)).fold(0, |bits, (bit, _)| bits | 1 << bit)
    }

    /// With this one as well.
    pub const fn with(self, feature: Feature) -> Features {
        Features(self.0 | 1 << feature as u32)
    }

    /// Without this one.
    pub const fn without(self, feature: Feature) -> Features {
        Features(self.0 & !(1 << feature as u32))
    }

    /// Whether all of these are there.
    pub const fn have_all(&self, features: Features) -> bool {
        features.0 & !self.0 == 0
    }

    /// Whether it is there.
    pub const fn has(&self, feature: Feature) -> bool {
        self.0 >> feature as u32 & 1 == 1
    }
}

/// Two widths of SCALE, IPA and MSIAddress exist.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Edition {
    /// SCALE 24:20, IPA 51:12, MSIAddress 51:2: older revisions and the driver's header.
    Older,
    /// SCALE 25:20, IPA 55:12, MSIAddress 55:2.
    Newer,
}

/// What an implementation does with bits that should be zero (4.1.5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Res0 {
    /// It raises CERROR_ILL.
    Strict,
    /// It ignores them.
    Lax,
}

/// One implementation: its features and its choices.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Config {
    /// What it has.
    pub features: Features,
    /// Largest command queue, IDR1.CMDQS.
    pub cmdqs: RingSize,
    /// Widths of three fields.
    pub edition: Edition,
    /// RES0 bits, and values that "may be" illegal.
    pub res0: Res0,
    /// How many commands it may fetch ahead of the one at CONS; at least 1.
    pub fetch_ahead: u8,
    /// How many commands may have been consumed and not be complete; at least 1.
    pub in_flight: u8,
}

impl Config {
    /// A server's SMMUv3 with everything that the command queue of section 2 can use.
    pub const FULL: Config = Config {
        features: Features::of(&[
            Feature::S1p,
            Feature::S2p,
            Feature::Cohacc,
            Feature::Hyp,
            Feature::Ats,
            Feature::Asid16,
            Feature::Msi,
            Feature::Sev,
            Feature::Pri,
            Feature::Vmid16,
            Feature::Ril,
        ]),
        cmdqs: LOG2_MAX,
        edition: Edition::Newer,
        res0: Res0::Strict,
        fetch_ahead: 4,
        in_flight: 8,
    };

    /// The same with these features.
    pub const fn with_features(self, features: Features) -> Config {
        Config { features, ..self }
    }
}
