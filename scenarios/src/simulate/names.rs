//! The names that exist while a program is drawn: what each stands for, in which file, and what the
//! driver of each physical device has done with it.

use uapi::call::{Call, HWPT_ALLOC_NEST_PARENT, HWPT_ALLOC_PASID};
use uapi::program::{Operand, Pdev, Step, Sym};

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Ioas,
    /// A paging HWPT that is no nesting parent.
    Paging,
    Parent,
    Nested,
    Viommu,
    Vdevice,
    Faults,
    Vevents,
    HwQueue,
    /// The mock driver's own object around a device.
    Mock,
    /// A device that the mock driver has bound.
    MockDevice,
    /// A device that a driver has bound: its physical device.
    Device(usize),
    /// An iommufd file.
    File,
    /// The file of an event queue.
    QueueFile,
    /// A file of memfd_create().
    Memfd,
    /// A file of a dma-buf.
    Dmabuf,
    /// What an access has pinned.
    Pin,
    /// The file of an access.
    AccessFile,
    Mapping,
}

/// A name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Name {
    pub sym: Sym,
    pub kind: Kind,
    /// The CPU that binds it; `None`: it is there before the CPUs begin.
    pub cpu: Option<usize>,
    /// The file that its id belongs to.
    pub file: Operand,
    /// The object was destroyed: the id is free, or somebody else's.
    pub gone: bool,
    /// A page table that was allocated for PASIDs.
    pub for_pasids: bool,
}

/// What a driver has done with its device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Driven {
    pub bound: Option<Sym>,
    pub attached: bool,
    /// What it is attached to, or was.
    pub page_table: Option<Sym>,
    /// The IOMMU group of the device.
    pub group: u32,
    /// It was attached when the CPUs began, and was not detached since.
    pub attached_before: bool,
    pub unplugged: bool,
    /// The CPU that makes the calls of this driver.
    pub owner: usize,
}

/// Everything that exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Names {
    pub all: Vec<Name>,
    pub driven: Vec<Driven>,
    /// Files that some call closes, and its CPU: a second close would meet another file, and so may the
    /// later calls of that CPU.
    pub closed: Vec<(Option<usize>, Operand)>,
    /// Objects that a CPU destroys: for its own later calls the id is free, or somebody else's.
    pub destroyed: Vec<(usize, Sym)>,
}

impl Names {
    /// What these steps make.
    pub fn of(steps: &[Step], pdevs: &[Pdev]) -> Names {
        let driven = pdevs.iter().map(|p| Driven { group: p.group, ..Driven::default() }).collect();
        let mut names =
            Names { all: Vec::new(), driven, closed: Vec::new(), destroyed: Vec::new() };
        for step in steps {
            names.made(step, None);
        }
        names
    }

    /// A step that succeeds. Before the CPUs begin, what is destroyed is gone; on a CPU it is what
    /// the others may still meet.
    pub fn made(&mut self, step: &Step, cpu: Option<usize>) {
        let before = cpu.is_none();
        let first = step.args.first();
        match (step.call, first) {
            (Call::Destroy, Some(Operand::Sym(sym))) if before => {
                for name in self.all.iter_mut().filter(|name| name.sym == *sym) {
                    name.gone = true;
                }
            }
            (Call::Destroy, Some(Operand::Sym(sym))) => {
                self.destroyed.extend(cpu.map(|cpu| (cpu, *sym)));
            }
            (Call::Close, Some(file)) => {
                self.closed.push((cpu, file.clone()));
                for name in self.all.iter_mut().filter(|name| before && name.file == *file) {
                    name.gone = true;
                }
            }
            (Call::Munmap, Some(Operand::Sym(sym))) => self.all.retain(|name| name.sym != *sym),
            (Call::Bind, Some(Operand::Num(pdev))) => {
                if let Some(driven) = self.driven.get_mut(*pdev as usize) {
                    driven.bound = step.binds.first().copied();
                    driven.attached = false;
                }
            }
            (Call::Unplug, Some(Operand::Num(pdev))) => {
                if let Some(driven) = self.driven.get_mut(*pdev as usize) {
                    driven.unplugged = true;
                }
            }
            (Call::Replace, Some(Operand::Sym(sym))) => {
                for driven in self.driven.iter_mut().filter(|d| d.bound == Some(*sym)) {
                    driven.page_table = page_table(step);
                }
            }
            (Call::Attach | Call::Detach | Call::Unbind, Some(Operand::Sym(sym))) => {
                for driven in self.driven.iter_mut().filter(|d| d.bound == Some(*sym)) {
                    driven.attached = step.call == Call::Attach;
                    driven.attached_before = false;
                    driven.page_table = page_table(step).or(driven.page_table);
                    if step.call == Call::Unbind {
                        driven.bound = None;
                    }
                }
                for name in self.all.iter_mut().filter(|name| name.sym == *sym) {
                    name.gone |= before && step.call == Call::Unbind;
                }
            }
            _ => {}
        }
        let for_pasids = step.call == Call::HwptAlloc && num(step, 2) & HWPT_ALLOC_PASID != 0;
        for (sym, kind) in step.binds.iter().zip(kinds(step)) {
            // A file is not in a file.
            let file = match kind {
                Kind::File => Operand::Num(0),
                _ => step.file.clone(),
            };
            self.all.push(Name { sym: *sym, kind: *kind, cpu, file, gone: false, for_pasids });
        }
    }

    /// What the driver of a bound device has done.
    pub fn driver(&self, device: Sym) -> Option<&Driven> {
        self.driven.iter().find(|d| d.bound == Some(device))
    }

    /// What another device of its group is attached to.
    pub fn page_table_of_group(&self, device: Sym) -> Option<Sym> {
        let group = self.driver(device)?.group;
        let of_group = |d: &&Driven| d.group == group && d.bound != Some(device) && d.attached;
        self.driven.iter().find(of_group)?.page_table
    }

    /// The names of these kinds that still stand for what they were made for. A CPU knows its own
    /// and those that were there before.
    pub fn live(&self, cpu: Option<usize>, wanted: impl Fn(Kind) -> bool) -> Vec<Name> {
        let knows = |name: &&Name| name.cpu.is_none() || name.cpu == cpu;
        let live = |name: &&Name| !name.gone && wanted(name.kind);
        self.all.iter().filter(knows).filter(live).cloned().collect()
    }
}

/// What an attach or a replace names.
fn page_table(step: &Step) -> Option<Sym> {
    match step.args.get(1) {
        Some(Operand::Sym(sym)) => Some(*sym),
        _ => None,
    }
}

/// An argument that is a number.
fn num(step: &Step, at: usize) -> u64 {
    match step.args.get(at) {
        Some(Operand::Num(n)) => *n,
        _ => 0,
    }
}

/// What the names that a step binds stand for.
fn kinds(step: &Step) -> &'static [Kind] {
    const DEVICES: [[Kind; 1]; 8] = [
        [Kind::Device(0)],
        [Kind::Device(1)],
        [Kind::Device(2)],
        [Kind::Device(3)],
        [Kind::Device(4)],
        [Kind::Device(5)],
        [Kind::Device(6)],
        [Kind::Device(7)],
    ];
    match step.call {
        Call::Open => &[Kind::File],
        Call::IoasAlloc => &[Kind::Ioas],
        Call::HwptAlloc if super::calls::is_nested(step) => &[Kind::Nested],
        Call::HwptAlloc if num(step, 2) & HWPT_ALLOC_NEST_PARENT != 0 => &[Kind::Parent],
        Call::HwptAlloc => &[Kind::Paging],
        Call::ViommuAlloc => &[Kind::Viommu],
        Call::VdeviceAlloc => &[Kind::Vdevice],
        Call::FaultAlloc => &[Kind::Faults, Kind::QueueFile],
        Call::VeventqAlloc => &[Kind::Vevents, Kind::QueueFile],
        Call::HwQueueAlloc => &[Kind::HwQueue],
        Call::CreateAccess => &[Kind::AccessFile],
        Call::MemfdCreate => &[Kind::Memfd],
        Call::DmabufGet => &[Kind::Dmabuf],
        Call::AccessPages => &[Kind::Pin],
        Call::Mmap => &[Kind::Mapping],
        Call::Bind => DEVICES.get(num(step, 0) as usize).map_or(&[], |kind| kind.as_slice()),
        Call::MockDomain => &[Kind::Mock, Kind::Paging, Kind::MockDevice],
        _ => &[],
    }
}
