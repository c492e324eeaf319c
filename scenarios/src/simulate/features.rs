//! What a drawn program can be about.

use uapi::call::Call;

/// Something that a run switches on or off.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Feature {
    /// Memory is mapped and unmapped.
    Mappings,
    /// Hardware page tables beside the first ones, and their invalidation.
    PageTables,
    /// vIOMMUs and vDEVICEs.
    Viommus,
    /// Virtual device IDs as v1 and v2 of the series set them.
    VdevIds,
    /// Fault queues and event queues with their files.
    Events,
    /// HW queues.
    HwQueues,
    /// mmap(2) of the iommufd file.
    Mmap,
    /// Drivers attach and detach.
    Attaching,
    /// Drivers bind and unbind, the bus unplugs.
    Hotplug,
    /// The mock driver's own objects and checks.
    Mock,
    /// Accesses, as VFIO makes them for an emulated device.
    Accesses,
    /// PASIDs of a mock device.
    Pasids,
    /// IOMMU_DESTROY.
    Destroy,
    /// Questions that change nothing.
    Queries,
    /// The mapping process changes.
    Process,
    /// A process that exits: the file is closed under the others.
    Exit,
    /// A second file.
    TwoFiles,
    /// Devices share groups.
    Groups,
    /// A device sits behind another IOMMU.
    TwoIommus,
    /// A device has addresses of its own, where nothing may be mapped for it.
    Reserved,
    /// Ids that were freed, are guessed, or are of another type.
    WrongIds,
    /// User memory that cannot be written, sizes that are wrong.
    BadMemory,
    /// Optional arguments that are not what they are by default: flags and types that nobody knows, words
    /// that are reserved, lengths that do not fit.
    OddArguments,
    /// A driver with a bug that the kernel warns about: it forgets to detach before it unbinds, or its
    /// vDEVICE is too small.
    DriverBugs,
    /// A failing point fails.
    Faults,
    /// An allocation sleeps for longer than a timer.
    Stalls,
    /// The calls of the CPUs meet at one object and those around it.
    Contention,
    /// Much is taken down.
    Teardown,
    /// More than three CPUs.
    ManyCpus,
}

/// All of them, in the order in which they are drawn.
pub const FEATURES: &[Feature] = &[
    Feature::Mappings,
    Feature::PageTables,
    Feature::Viommus,
    Feature::VdevIds,
    Feature::Events,
    Feature::HwQueues,
    Feature::Mmap,
    Feature::Attaching,
    Feature::Hotplug,
    Feature::Mock,
    Feature::Accesses,
    Feature::Pasids,
    Feature::Destroy,
    Feature::Queries,
    Feature::Process,
    Feature::Exit,
    Feature::TwoFiles,
    Feature::Groups,
    Feature::TwoIommus,
    Feature::Reserved,
    Feature::WrongIds,
    Feature::BadMemory,
    Feature::OddArguments,
    Feature::DriverBugs,
    Feature::Faults,
    Feature::Stalls,
    Feature::Contention,
    Feature::Teardown,
    Feature::ManyCpus,
];

impl Feature {
    /// Its name in output.
    pub fn name(self) -> &'static str {
        match self {
            Feature::Mappings => "mappings",
            Feature::PageTables => "page tables",
            Feature::Viommus => "vIOMMUs",
            Feature::VdevIds => "vdev_ids",
            Feature::Events => "events",
            Feature::HwQueues => "HW queues",
            Feature::Mmap => "mmap",
            Feature::Attaching => "attaching",
            Feature::Hotplug => "hot-plug",
            Feature::Mock => "the mock driver",
            Feature::Accesses => "accesses",
            Feature::Pasids => "PASIDs",
            Feature::Destroy => "destroy",
            Feature::Queries => "queries",
            Feature::Process => "change of process",
            Feature::Exit => "exit",
            Feature::TwoFiles => "two files",
            Feature::Groups => "shared groups",
            Feature::TwoIommus => "two IOMMUs",
            Feature::Reserved => "reserved ranges",
            Feature::WrongIds => "wrong ids",
            Feature::BadMemory => "bad user memory",
            Feature::OddArguments => "odd arguments",
            Feature::DriverBugs => "a driver with a bug",
            Feature::Faults => "a fault",
            Feature::Stalls => "a stall",
            Feature::Contention => "contention",
            Feature::Teardown => "teardown",
            Feature::ManyCpus => "many CPUs",
        }
    }

    /// It is on in so many of so many runs.
    pub(super) fn chance(self) -> (usize, usize) {
        match self {
            Feature::Contention => (3, 4),
            Feature::Viommus
            | Feature::PageTables
            | Feature::Destroy
            | Feature::Attaching
            | Feature::Hotplug
            | Feature::Events => (1, 2),
            Feature::Faults => (2, 5),
            Feature::WrongIds | Feature::Groups => (1, 3),
            Feature::TwoFiles | Feature::BadMemory => (1, 5),
            Feature::ManyCpus | Feature::Stalls => (1, 6),
            Feature::TwoIommus | Feature::Reserved | Feature::OddArguments => (1, 8),
            Feature::DriverBugs => (1, 16),
            _ => (1, 4),
        }
    }

    /// The call that makes the first object of its kind: most setups make it, so that the calls of
    /// the CPUs find one.
    pub(super) fn first(self) -> Option<Call> {
        Some(match self {
            Feature::Mappings => Call::IoasMap,
            Feature::PageTables => Call::HwptAlloc,
            Feature::Viommus => Call::VdeviceAlloc,
            Feature::HwQueues => Call::HwQueueAlloc,
            Feature::Mmap => Call::Mmap,
            Feature::Attaching => Call::Attach,
            Feature::Mock => Call::MockDomain,
            Feature::Accesses => Call::CreateAccess,
            _ => return None,
        })
    }

    /// Calls that it brings, with their weights: before the CPUs begin, and on them.
    pub(super) fn calls(self) -> &'static [(usize, usize, Call)] {
        match self {
            Feature::Mappings => &[
                (2, 2, Call::IoasMap),
                (1, 2, Call::IoasUnmap),
                (1, 1, Call::IoasAlloc),
                (0, 1, Call::IoasIovaRanges),
            ],
            Feature::PageTables => &[(4, 3, Call::HwptAlloc), (0, 2, Call::HwptInvalidate)],
            Feature::Viommus => &[
                (2, 1, Call::ViommuAlloc),
                (6, 4, Call::VdeviceAlloc),
                (2, 2, Call::HwptAlloc),
                (0, 2, Call::HwptInvalidate),
            ],
            Feature::VdevIds => &[
                (2, 2, Call::ViommuSetVdevId),
                (0, 3, Call::ViommuUnsetVdevId),
                (0, 3, Call::HwptInvalidate),
            ],
            Feature::Events => &[
                (2, 1, Call::FaultAlloc),
                (4, 2, Call::VeventqAlloc),
                (1, 2, Call::TriggerVevent),
                (1, 2, Call::TriggerIopf),
                (0, 1, Call::Interrupt),
                (0, 2, Call::Read),
                (0, 2, Call::ReadPgfault),
                (0, 1, Call::Write),
                (0, 1, Call::Poll),
                (0, 2, Call::Close),
            ],
            Feature::HwQueues => &[(4, 4, Call::HwQueueAlloc), (1, 1, Call::IoasMap)],
            Feature::Mmap => &[(2, 4, Call::Mmap), (1, 2, Call::Munmap), (1, 3, Call::ViommuAlloc)],
            Feature::Attaching => {
                &[(5, 2, Call::Attach), (0, 2, Call::Replace), (0, 2, Call::Detach)]
            }
            Feature::Hotplug => &[(2, 2, Call::Bind), (1, 4, Call::Unbind), (1, 2, Call::Unplug)],
            Feature::Mock => &[
                (3, 1, Call::MockDomain),
                (1, 1, Call::MockDomainReplace),
                (0, 1, Call::CheckCache),
                (0, 1, Call::CheckIotlb),
            ],
            Feature::Accesses => &[
                (4, 1, Call::CreateAccess),
                (1, 3, Call::AccessReplaceIoas),
                (0, 3, Call::AccessRw),
                (1, 3, Call::AccessPages),
                (0, 1, Call::DestroyAccessPages),
                (1, 2, Call::IoasMap),
                (0, 2, Call::IoasUnmap),
                (1, 1, Call::IoasAlloc),
                (0, 1, Call::Close),
            ],
            // What a mock device needs before it takes the first one: `Maker::way_to_a_pasid`.
            Feature::Pasids => &[
                (1, 3, Call::PasidAttach),
                (0, 3, Call::PasidReplace),
                (0, 3, Call::PasidDetach),
                (2, 1, Call::HwptAlloc),
                (0, 2, Call::MockDomainReplace),
                (0, 1, Call::TriggerIopf),
            ],
            Feature::Destroy => &[(1, 8, Call::Destroy)],
            Feature::Queries => &[
                (0, 1, Call::GetHwInfo),
                (0, 1, Call::IoasIovaRanges),
                (0, 1, Call::Poll),
                (0, 1, Call::CheckIotlb),
                (0, 1, Call::CheckCache),
            ],
            Feature::Process => &[
                (1, 1, Call::MemfdCreate),
                (1, 1, Call::DmabufGet),
                (0, 2, Call::DmabufRevoke),
                (1, 2, Call::IoasMapFile),
                (0, 2, Call::IoasChangeProcess),
            ],
            Feature::Exit => &[(0, 3, Call::Close)],
            Feature::TwoFiles => &[(0, 1, Call::Open), (1, 1, Call::IoasAlloc)],
            Feature::Teardown => &[
                (0, 8, Call::Destroy),
                (0, 6, Call::Unbind),
                (0, 4, Call::Detach),
                (0, 2, Call::Munmap),
            ],
            _ => &[],
        }
    }
}

/// What a program has to be about if nothing else was drawn.
pub(super) const ALWAYS: &[(usize, usize, Call)] =
    &[(1, 1, Call::IoasAlloc), (1, 1, Call::HwptAlloc), (0, 1, Call::Destroy)];
