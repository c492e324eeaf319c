//! What a drawn program on the command queue can be about.

/// Something that a run switches on or off.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum QueueFeature {
    /// Lists without a CMD_SYNC.
    Quiet,
    /// Batches, which are cut into lists.
    Batches,
    /// An SMMU that needs a CMD_SYNC after every list of a batch.
    Forced,
    /// Commands of all families, not only TLBI_NH_VA.
    Commands,
    /// IOMMU_HWPT_INVALIDATE of a guest.
    Guests,
    /// Commands of a guest that it may not issue.
    StrangeCommands,
    /// Arrays with something wrong around them.
    BadArrays,
    /// A physical SMMU that does not have everything.
    Lacking,
    /// Commands that the SMMU does not execute.
    Illegal,
    /// Fetches that are aborted.
    Aborts,
    /// Endpoints that do not answer in time.
    AtcTimeouts,
    /// The SMMU stops for good.
    Dead,
    /// CMD_SYNCs that raise an MSI.
    Msi,
    /// Indexes that do not begin at 0.
    Laps,
    /// Long lists on a small ring.
    FullRing,
    /// Rings that nobody fills.
    LargeRing,
    /// The SMMU is switched off and on.
    Power,
    /// Queues beside the main one.
    Queues,
    /// Tasks that move to other processors.
    Migration,
    /// A CMD_SYNC that stands in the ring before anybody runs.
    Published,
    /// Erratum T264-SMMU-3.
    Erratum,
    /// Nobody who waits for the shared lock is to be overtaken often.
    Overtaking,
    /// More than three producers.
    ManyCpus,
}

/// All of them, in the order in which they are drawn.
pub const QUEUE_FEATURES: &[QueueFeature] = &[
    QueueFeature::Quiet,
    QueueFeature::Batches,
    QueueFeature::Forced,
    QueueFeature::Commands,
    QueueFeature::Guests,
    QueueFeature::StrangeCommands,
    QueueFeature::BadArrays,
    QueueFeature::Lacking,
    QueueFeature::Illegal,
    QueueFeature::Aborts,
    QueueFeature::AtcTimeouts,
    QueueFeature::Dead,
    QueueFeature::Msi,
    QueueFeature::Laps,
    QueueFeature::FullRing,
    QueueFeature::LargeRing,
    QueueFeature::Power,
    QueueFeature::Queues,
    QueueFeature::Migration,
    QueueFeature::Published,
    QueueFeature::Erratum,
    QueueFeature::Overtaking,
    QueueFeature::ManyCpus,
];

impl QueueFeature {
    /// Its name in output.
    pub fn name(self) -> &'static str {
        match self {
            QueueFeature::Quiet => "quiet lists",
            QueueFeature::Batches => "batches",
            QueueFeature::Forced => "forced CMD_SYNCs",
            QueueFeature::Commands => "all commands",
            QueueFeature::Guests => "guests",
            QueueFeature::StrangeCommands => "strange commands of guests",
            QueueFeature::BadArrays => "bad arrays",
            QueueFeature::Lacking => "an SMMU that lacks something",
            QueueFeature::Illegal => "illegal commands",
            QueueFeature::Aborts => "aborted fetches",
            QueueFeature::AtcTimeouts => "ATC time-outs",
            QueueFeature::Dead => "a dead SMMU",
            QueueFeature::Msi => "MSIs",
            QueueFeature::Laps => "laps",
            QueueFeature::FullRing => "a full ring",
            QueueFeature::LargeRing => "a large ring",
            QueueFeature::Power => "power",
            QueueFeature::Queues => "more queues",
            QueueFeature::Migration => "migration",
            QueueFeature::Published => "a published list",
            QueueFeature::Erratum => "T264-SMMU-3",
            QueueFeature::Overtaking => "overtaking",
            QueueFeature::ManyCpus => "many CPUs",
        }
    }

    /// It is on in so many of so many runs.
    pub(super) fn chance(self) -> (usize, usize) {
        match self {
            QueueFeature::Queues => (3, 4),
            QueueFeature::Quiet | QueueFeature::Batches | QueueFeature::Power => (1, 2),
            QueueFeature::FullRing | QueueFeature::Laps | QueueFeature::Migration => (2, 5),
            QueueFeature::Msi | QueueFeature::Commands | QueueFeature::Guests => (1, 3),
            QueueFeature::StrangeCommands => (1, 2),
            QueueFeature::Forced | QueueFeature::BadArrays | QueueFeature::Lacking => (1, 3),
            QueueFeature::Published => (1, 5),
            QueueFeature::LargeRing | QueueFeature::Illegal => (1, 6),
            QueueFeature::Aborts | QueueFeature::AtcTimeouts | QueueFeature::ManyCpus => (1, 6),
            QueueFeature::Dead | QueueFeature::Overtaking => (1, 8),
            // Of a text without the workaround every program shows it.
            QueueFeature::Erratum => (1, 64),
        }
    }

    /// A feature without which it is nothing.
    pub(super) fn needs(self) -> Option<QueueFeature> {
        Some(match self {
            QueueFeature::Forced => QueueFeature::Batches,
            QueueFeature::StrangeCommands | QueueFeature::BadArrays | QueueFeature::Lacking => {
                QueueFeature::Guests
            }
            QueueFeature::Migration => QueueFeature::Queues,
            _ => return None,
        })
    }

    /// A feature that it does not go with.
    pub(super) fn excludes(self) -> Option<QueueFeature> {
        Some(match self {
            QueueFeature::LargeRing => QueueFeature::FullRing,
            // A driver that could not suspend does not resume.
            QueueFeature::Power => QueueFeature::Dead,
            // It is published in the main queue.
            QueueFeature::Published => QueueFeature::Queues,
            _ => return None,
        })
    }
}
