//! The registers of the command queue, the GERROR handshake and the command errors.
//!
//! Source: Arm IHI 0070 G.b 6.3 and 7.1; `arm-smmu-v3.h`.

use serde::{Deserialize, Serialize};

use crate::features::{Config, Feature, Features};
use crate::ring::{Index, RingSize, LOG2_MAX};

/// A register of Non-secure page 0 that the command queue needs, by its offset.
#[allow(missing_docs, non_camel_case_types)] // the names are the text's
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(u16)]
pub enum Register {
    IDR0 = 0x00,
    IDR1 = 0x04,
    IDR3 = 0x0c,
    CR0 = 0x20,
    CR0ACK = 0x24,
    CR1 = 0x28,
    GERROR = 0x60,
    GERRORN = 0x64,
    CMDQ_BASE = 0x90,
    CMDQ_PROD = 0x98,
    CMDQ_CONS = 0x9c,
}

/// CR0.SMMUEN.
pub const CR0_SMMUEN: u32 = 1 << 0;
/// CR0.PRIQEN.
pub const CR0_PRIQEN: u32 = 1 << 1;
/// CR0.EVENTQEN.
pub const CR0_EVENTQEN: u32 = 1 << 2;
/// CR0.CMDQEN.
pub const CR0_CMDQEN: u32 = 1 << 3;
/// The bits of CR0 that exist here.
pub const CR0_MASK: u32 = CR0_SMMUEN | CR0_PRIQEN | CR0_EVENTQEN | CR0_CMDQEN;

/// GERROR.CMDQ_ERR: the command queue has stopped.
pub const GERROR_CMDQ_ERR: u32 = 1 << 0;
/// GERROR.EVENTQ_ABT_ERR.
pub const GERROR_EVENTQ_ABT: u32 = 1 << 2;
/// GERROR.PRIQ_ABT_ERR.
pub const GERROR_PRIQ_ABT: u32 = 1 << 3;
/// GERROR.MSI_CMDQ_ABT_ERR: the MSI of a CMD_SYNC was aborted.
pub const GERROR_MSI_CMDQ_ABT: u32 = 1 << 4;
/// GERROR.MSI_EVENTQ_ABT_ERR.
pub const GERROR_MSI_EVENTQ_ABT: u32 = 1 << 5;
/// GERROR.MSI_PRIQ_ABT_ERR.
pub const GERROR_MSI_PRIQ_ABT: u32 = 1 << 6;
/// GERROR.MSI_GERROR_ABT_ERR.
pub const GERROR_MSI_GERROR_ABT: u32 = 1 << 7;
/// GERROR.SFM_ERR: service failure mode.
pub const GERROR_SFM: u32 = 1 << 8;
/// The bits of GERROR that exist.
pub const GERROR_MASK: u32 = 0x1fd;

/// CMDQ_BASE.RA: a hint.
pub const CMDQ_BASE_RA: u64 = 1 << 62;
/// CMDQ_BASE.ADDR.
pub const CMDQ_BASE_ADDR: u64 = 0x000f_ffff_ffff_ffe0;
/// CMDQ_BASE.LOG2SIZE.
pub const CMDQ_BASE_LOG2SIZE: u64 = 0x1f;
/// CMDQ_PROD.WR and CMDQ_CONS.RD.
pub const INDEX_MASK: u32 = 0x000f_ffff;
/// Lowest bit of CMDQ_CONS.ERR, which is seven bits wide.
pub const CONS_ERR_SHIFT: u32 = 24;

/// Why the command queue stopped: CMDQ_CONS.ERR.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[repr(u8)]
pub enum Cerror {
    /// Never together with GERROR.CMDQ_ERR.
    #[default]
    None = 0,
    /// CERROR_ILL: CONS is at the bad command.
    Ill = 1,
    /// CERROR_ABT: CONS is at the command that could not be fetched.
    Abt = 2,
    /// CERROR_ATC_INV_SYNC: CONS is at the CMD_SYNC that found ATC_INVs which timed out.
    AtcInvSync = 3,
}

impl Cerror {
    /// The code in a value of CMDQ_CONS; an error gives the code that has no meaning here.
    pub const fn of(cons: u32) -> Result<Cerror, u8> {
        match (cons >> CONS_ERR_SHIFT & 0x7f) as u8 {
            0 => Ok(Cerror::None),
            1 => Ok(Cerror::Ill),
            2 => Ok(Cerror::Abt),
            3 => Ok(Cerror::AtcInvSync),
            other => Err(other),
        }
    }
}

/// A write that the text does not allow in this state. The register keeps its value: what an
/// implementation does is CONSTRAINED UNPREDICTABLE or nothing, and a driver that depends on it is
/// wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error, Serialize, Deserialize)]
pub enum Misuse {
    /// The register is read-only.
    #[error("{0:?} is read-only")]
    ReadOnly(Register),
    /// CMDQ_BASE and CMDQ_CONS may change only while CR0.CMDQEN and its acknowledgement are 0.
    #[error("{0:?} may be written only while CR0.CMDQEN and CR0ACK.CMDQEN are 0")]
    QueueEnabled(Register),
    /// PROD and CONS in no state of a ring.
    #[error("PROD {prod:#x} with CONS {cons:#x} is no state of the ring")]
    IllegalIndexes {
        /// The PROD that was to be written.
        prod: u32,
        /// CONS.RD.
        cons: u32,
    },
    /// PROD moved backwards although no command error is active (4.1.5).
    #[error("PROD moves back from {from:#x} to {to:#x} without an active command error")]
    ProdBackwards {
        /// Old value.
        from: u32,
        /// New value.
        to: u32,
    },
    /// GERRORN differs from GERROR in a bit that was not active: it would raise an error itself.
    #[error("GERRORN toggles {0:#x}, which was not active")]
    NotActive(u32),
    /// CR0 was written before the last write was acknowledged.
    #[error("CR0 is written before CR0ACK shows the last write")]
    NotAcknowledged,
}

/// The pair GERROR and GERRORN. A bit is active when the two differ in it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Gerror {
    gerror: u32,
    gerrorn: u32,
}

impl Gerror {
    /// GERROR.
    pub const fn gerror(&self) -> u32 {
        self.gerror
    }

    /// GERRORN.
    pub const fn gerrorn(&self) -> u32 {
        self.gerrorn
    }

    /// The errors that software has not acknowledged.
    pub const fn active(&self) -> u32 {
        (self.gerror ^ self.gerrorn) & GERROR_MASK
    }

    /// The SMMU raises these errors. Says which were not active before: raising an active error
    /// changes nothing.
    pub fn raise(&mut self, bits: u32) -> u32 {
        let new = bits & GERROR_MASK & !self.active();
        self.gerror ^= new;
        new
    }

    /// Software writes GERRORN. Says which errors it acknowledged.
    pub fn acknowledge(&mut self, gerrorn: u32) -> Result<u32, Misuse> {
        let toggled = (gerrorn ^ self.gerrorn) & GERROR_MASK;
        let inactive = toggled & !self.active();
        if inactive != 0 {
            return Err(Misuse::NotActive(inactive));
        }
        self.gerrorn ^= toggled;
        Ok(toggled)
    }
}

/// What CMDQ_BASE says on an implementation: where the ring is and how large it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Base {
    /// Address of slot 0, aligned to the larger of 32 bytes and the ring.
    pub address: u64,
    /// Size of the ring.
    pub size: RingSize,
}

impl Base {
    /// Reads the register: LOG2SIZE beyond IDR1.CMDQS counts as CMDQS, and the bits of ADDR below
    /// the alignment are taken as zero.
    pub fn of(register: u64, cmdqs: RingSize) -> Base {
        let size = Base::size_of(register, cmdqs);
        let align = (u64::from(size.entries()) * 16).max(32);
        Base { address: register & CMDQ_BASE_ADDR & !(align - 1), size }
    }

    /// Only the size.
    #[inline]
    pub fn size_of(register: u64, cmdqs: RingSize) -> RingSize {
        let log2 = (register & CMDQ_BASE_LOG2SIZE) as u8;
        RingSize::try_from(log2).unwrap_or(LOG2_MAX).min(cmdqs)
    }

    /// The register that says this.
    pub fn register(&self) -> u64 {
        self.address & CMDQ_BASE_ADDR | u64::from(self.size.log2())
    }

    /// Address of a slot.
    pub fn slot(&self, slot: u32) -> u64 {
        self.address + 16 * u64::from(slot)
    }
}

/// IDR1 of a configuration; the fields of other queues read as zero.
pub fn idr1(config: &Config) -> u32 {
    u32::from(config.cmdqs.log2()) << 21
}

/// A configuration's command queue size from IDR1.
pub fn cmdqs(idr1: u32) -> RingSize {
    RingSize::try_from((idr1 >> 21 & 0x1f) as u8).unwrap_or(LOG2_MAX)
}

/// The writable state of the command queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Registers {
    /// CR0 as written.
    pub cr0: u32,
    /// CR0 as in effect.
    pub cr0ack: u32,
    /// CR1: attributes of the SMMU's accesses to queues and tables.
    pub cr1: u32,
    /// The error handshake.
    pub gerror: Gerror,
    /// CMDQ_BASE as written.
    pub base: u64,
    /// CMDQ_PROD.WR.
    pub prod: Index,
    /// CMDQ_CONS.RD.
    pub cons: Index,
    /// CMDQ_CONS.ERR.
    pub err: Cerror,
}

impl Registers {
    /// After reset.
    pub fn new() -> Registers {
        let (prod, cons) = (Index::default(), Index::default());
        let (gerror, err) = (Gerror::default(), Cerror::None);
        Registers { cr0: 0, cr0ack: 0, cr1: 0, gerror, base: 0, prod, cons, err }
    }

    /// CMDQ_CONS as a driver reads it.
    pub fn cmdq_cons(&self) -> u32 {
        self.cons.bits() | (self.err as u32) << CONS_ERR_SHIFT
    }

    /// Whether a command error waits for its acknowledgement.
    pub fn cmdq_err(&self) -> bool {
        self.gerror.active() & GERROR_CMDQ_ERR != 0
    }

    /// The register as a driver reads it.
    pub fn read(&self, register: Register, config: &Config) -> u64 {
        let features: &Features = &config.features;
        match register {
            Register::IDR0 => features.idr0().into(),
            Register::IDR1 => idr1(config).into(),
            Register::IDR3 => features.idr3().into(),
            Register::CR0 => self.cr0.into(),
            Register::CR0ACK => self.cr0ack.into(),
            Register::CR1 => self.cr1.into(),
            Register::GERROR => self.gerror.gerror().into(),
            Register::GERRORN => self.gerror.gerrorn().into(),
            Register::CMDQ_BASE => self.base,
            Register::CMDQ_PROD => self.prod.bits().into(),
            Register::CMDQ_CONS => self.cmdq_cons().into(),
        }
    }

    /// A driver's write. What it means for the queue is [`crate::Device`]'s business.
    pub fn write(&mut self, register: Register, value: u64, config: &Config) -> Result<(), Misuse> {
        let low = (value & 0xffff_ffff) as u32;
        let ring = Base::size_of(self.base, config.cmdqs);
        let enabled = (self.cr0 | self.cr0ack) & CR0_CMDQEN != 0;
        match register {
            Register::IDR0 | Register::IDR1 | Register::IDR3 => Err(Misuse::ReadOnly(register)),
            Register::CR0ACK | Register::GERROR => Err(Misuse::ReadOnly(register)),
            Register::CMDQ_BASE | Register::CMDQ_CONS if enabled => {
                Err(Misuse::QueueEnabled(register))
            }
            Register::CR0 if self.cr0 != self.cr0ack => Err(Misuse::NotAcknowledged),
            Register::CR0 => {
                self.cr0 = low & CR0_MASK;
                Ok(())
            }
            Register::CR1 => {
                self.cr1 = low;
                Ok(())
            }
            Register::GERRORN => self.gerror.acknowledge(low).map(|_| ()),
            Register::CMDQ_BASE => {
                self.base = value & (CMDQ_BASE_RA | CMDQ_BASE_ADDR | CMDQ_BASE_LOG2SIZE);
                Ok(())
            }
            Register::CMDQ_CONS => {
                self.cons = ring.index(low & INDEX_MASK);
                Ok(())
            }
            Register::CMDQ_PROD => self.write_prod(ring.index(low & INDEX_MASK), ring, enabled),
        }
    }

    /// PROD moves forward, never past a full ring; back only while a command error is active, and
    /// then not behind CONS. While the queue is off, any value may be set up.
    fn write_prod(&mut self, to: Index, ring: RingSize, enabled: bool) -> Result<(), Misuse> {
        if enabled {
            let illegal = Misuse::IllegalIndexes { prod: to.bits(), cons: self.cons.bits() };
            let new = ring.occupancy(to, self.cons).map_err(|_| illegal)?;
            let old = ring.occupancy(self.prod, self.cons).map_err(|_| illegal)?;
            if new < old && !self.cmdq_err() {
                let (from, to) = (self.prod.bits(), to.bits());
                return Err(Misuse::ProdBackwards { from, to });
            }
        }
        self.prod = to;
        Ok(())
    }
}

impl Default for Registers {
    fn default() -> Registers {
        Registers::new()
    }
}

/// Whether an event is sent when the ring stops being full: only with IDR0.SEV (4.1.2).
pub fn sends_not_full(config: &Config) -> bool {
    config.features.has(Feature::Sev)
}
