//! Calls, drawn over the names that exist.

use super::drivers::pasids_agree;
use super::features::{Feature, ALWAYS};
use super::names::{Driven, Kind, Name, Names};
use super::{Row, MISSING_ONE_IN};
use crate::step::default_operand;
use races::seed::Draws;
use std::collections::BTreeSet;
use uapi::call::{
    signature, Arg, ArgKind, Call, ACCESS_CREATE_NEEDS_PIN_PAGES, ACCESS_RW_WRITE, ACCESS_SYZ,
    AUTO, HWPT_ALLOC_DIRTY_TRACKING, HWPT_ALLOC_NEST_PARENT, HWPT_ALLOC_PASID, HWPT_FAULT_ID_VALID,
    IOAS_MAP_READABLE, IOAS_MAP_WRITEABLE,
};
use uapi::outcome::Place;
use uapi::program::{Entry, Operand, Pdev, Program, Step, Sym};
use uapi::step::Cpu;

/// `SELFTEST` of a `data_type`.
const DATA_SELFTEST: u64 = AUTO - 1;
/// Where the mock domains' aperture begins, and where HW queues have their memory.
const QUEUE_IOVA: u64 = 0x100_0000;
/// The area around that memory.
const QUEUE_LENGTH: u64 = 0x8000;
/// Where a device may have addresses of its own: within and behind that area.
pub(super) const RESERVED: &[u64] = &[0x100_4000, 0x100_8000];
/// Virtual device IDs: few, so that they meet, and one of them more often than the other.
const VIRT_IDS: &[u64] = &[0x99, 0x99, 0x99, 0x98];
/// What is offered to mmap(2) first, and next.
const OFFSETS: &[u64] = &[0, 0, 0x1000];
/// PASIDs: few, so that they meet.
const PASIDS: &[u64] = &[100, 100, 100, 200];
/// A flag that no call has.
const ODD_FLAG: u64 = 1 << 20;
/// What optional numbers are, seldom: none is a type, a length or an address that fits.
const ODD_NUMBERS: &[u64] = &[1, 3, 0x40];
/// Calls that meet nobody and are drawn again.
const ELSEWHERE_MAX: usize = 8;
/// Draws of a call before something that is always possible is made instead.
const TRIES: usize = 24;

/// A call with default arguments: without those that have none, zeros.
pub(super) fn plain(call: Call) -> Step {
    let args = signature(call).args.iter().map(|arg| match arg.default {
        Some(default) => default_operand(arg.kind, default),
        None => Operand::Num(0),
    });
    Step { args: args.collect(), ..Step::new(call) }
}

/// Whether an IOMMU_HWPT_ALLOC asks for a nested one.
pub(super) fn is_nested(step: &Step) -> bool {
    step.args.get(3) == Some(&Operand::Num(DATA_SELFTEST))
}

/// Draws calls.
pub(super) struct Maker<'a> {
    pub draws: Draws,
    pub names: Names,
    row: &'a Row,
    features: &'a BTreeSet<Feature>,
    syms: Vec<String>,
    /// The CPU whose call is drawn; `None`: there are none yet.
    cpu: Option<usize>,
    /// What is mapped comes behind it: below the aperture, where no domain takes it, or within.
    base: u64,
    /// A CPU names an id that is free or another's: what it meets depends on the ids that others
    /// hold for a moment.
    pub guesses: bool,
    /// What the calls of the CPUs are to meet at; empty: they are drawn over everything.
    hot: BTreeSet<Sym>,
    /// What calls before the CPUs named: other objects need it.
    needed: BTreeSet<Sym>,
    /// Weights before the CPUs begin, and on them.
    weights: [Vec<(usize, Call)>; 2],
    /// A device, and the page table that the setup has made for it: the CPU that drives the device attaches it.
    left_to_attach: Option<(Sym, Sym)>,
    /// Of a program of few kinds of calls: what the CPUs make as long as there is something to make it with.
    few: Vec<(usize, Call)>,
}

impl<'a> Maker<'a> {
    pub fn new(
        mut draws: Draws,
        row: &'a Row,
        features: &'a BTreeSet<Feature>,
        pdevs: &[Pdev],
    ) -> Maker<'a> {
        let calls = || ALWAYS.iter().chain(features.iter().flat_map(|f| f.calls()));
        let weights =
            [calls().map(|c| (c.0, c.2)).collect(), calls().map(|c| (c.1, c.2)).collect()];
        let names = Names::of(&[], pdevs);
        let within = draws.one_in(2) || features.contains(&Feature::HwQueues);
        Maker {
            needed: BTreeSet::new(),
            base: if within { QUEUE_IOVA } else { 0 },
            draws,
            names,
            row,
            features,
            syms: Vec::new(),
            cpu: None,
            guesses: false,
            hot: BTreeSet::new(),
            weights,
            left_to_attach: None,
            few: Vec::new(),
        }
    }

    /// The CPUs make few kinds of calls.
    pub fn of_few_kinds(&mut self) {
        let mut left = self.weights[1].clone();
        let most = 2 + self.draws.below(3);
        while self.few.len() < most {
            let Some(call) = self.draws.weighted(&left) else { break };
            left.retain(|(_, other)| *other != call);
            self.few.push((1, call));
        }
    }

    pub fn syms(&self) -> &[String] {
        &self.syms
    }

    fn on(&self, feature: Feature) -> bool {
        self.features.contains(&feature)
    }

    /// The objects that the features of the run need.
    pub fn first_objects(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.on(Feature::TwoFiles) {
            steps.push(self.bound(plain(Call::Open), &["file"]));
        }
        steps.extend(self.try_call(Call::IoasAlloc));
        steps.extend(self.try_call(Call::Bind));
        if !self.draws.one_in(3) {
            steps.extend(self.try_call(Call::Bind));
        }
        if self.on(Feature::HwQueues) {
            steps.extend(self.try_call(Call::IoasMap));
        }
        let nests = [Feature::Viommus, Feature::VdevIds, Feature::HwQueues, Feature::Mmap];
        if nests.iter().any(|f| self.on(*f)) {
            steps.extend(self.parent());
            steps.extend(self.try_call(Call::ViommuAlloc));
        } else if self.on(Feature::PageTables) {
            steps.extend(self.parent());
        }
        if self.on(Feature::Events) {
            steps.extend(self.way_of_events());
        }
        if self.on(Feature::VdevIds) {
            match self.draws.one_in(2) {
                true => steps.extend(self.way_to_a_vdev_id()),
                false => steps.extend(self.try_call(Call::ViommuSetVdevId)),
            }
        }
        for call in self.features.iter().filter_map(|f| f.first()) {
            if !self.draws.one_in(4) {
                steps.extend(self.try_call(call));
            }
        }
        if self.on(Feature::Pasids) {
            steps.extend(self.way_to_a_pasid());
        }
        // A group that one device is attached in is one of the other's, too.
        if self.on(Feature::Groups) && self.on(Feature::Attaching) {
            steps.extend(self.try_call(Call::Attach));
        }
        steps
    }

    /// What an event needs on its way from a device to user space. Calls drawn one by one make it
    /// in one of thousands of programs.
    fn way_of_events(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        let way = self.draws.below(3);
        if way == 0 {
            return steps;
        }
        if self.one(|k| k == Kind::Viommu).is_none() {
            steps.extend(self.parent());
            steps.extend(self.try_call(Call::ViommuAlloc));
        }
        let device = self.one(|k| matches!(k, Kind::Device(_)));
        let (Some(device), Some(viommu)) = (device, self.one(|k| k == Kind::Viommu)) else {
            return steps;
        };
        // Since 6.15 a device is attached to a vIOMMU's page table only if it has a vDEVICE there.
        if self.row.has(Call::VdeviceAlloc) {
            let step = self.with_ids(plain(Call::VdeviceAlloc), &[viommu.clone(), device.clone()]);
            steps.push(self.bound(with(step, 2, Operand::Num(VIRT_IDS[0])), &["vdev"]));
        }
        let mut flags = 0;
        let mut faults = None;
        if way == 1 {
            steps.extend(self.try_call(Call::FaultAlloc));
            faults = self.one(|k| k == Kind::Faults);
            flags = if faults.is_some() { HWPT_FAULT_ID_VALID } else { 0 };
        } else {
            steps.extend(self.try_call(Call::VeventqAlloc));
        }
        let step = self.with_ids(plain(Call::HwptAlloc), &[device.clone(), viommu]);
        let step = with(with(step, 2, Operand::Num(flags)), 3, Operand::Num(DATA_SELFTEST));
        let step = match faults {
            Some(faults) => with(step, 5, Operand::Sym(faults.sym)),
            None => step,
        };
        steps.push(self.bound(step, &["nested"]));
        // Seldom a CPU has to attach it.
        if let Some(nested) = self.names.all.last().cloned() {
            if self.draws.one_in(4) {
                self.left_to_attach = Some((device.sym, nested.sym));
            } else {
                let step = self.with_ids(plain(Call::Attach), &[device, nested]);
                self.names.made(&step, None);
                steps.push(step);
            }
        }
        // Some may be on their way already, and more than the queue holds.
        for _ in 0..self.draws.below(4) {
            let trigger = if way == 1 { Call::TriggerIopf } else { Call::TriggerVevent };
            steps.extend(self.try_call(trigger));
        }
        steps
    }

    /// What a PASID needs: a mock device that is itself attached to a page table for PASIDs, and another
    /// one to move to. Seldom the CPUs have to attach it.
    fn way_to_a_pasid(&mut self) -> Vec<Step> {
        let mut steps: Vec<Step> = self.try_call(Call::MockDomain).into_iter().collect();
        let (mock, device) = (self.last(|k| k == Kind::Mock), self.last(|k| k == Kind::MockDevice));
        let (Some(mock), Some(device)) = (mock, device) else { return steps };
        let ioas = self.names.live(None, |k| k == Kind::Ioas).into_iter();
        let Some(ioas) = ioas.rev().find(|ioas| ioas.file == mock.file) else { return steps };
        for _ in 0..2 {
            let step = self.with_ids(plain(Call::HwptAlloc), &[device.clone(), ioas.clone()]);
            let step = with(step, 2, Operand::Num(HWPT_ALLOC_PASID));
            steps.push(self.bound(step, &["hwpt"]));
        }
        let hwpts = self.names.live(None, |k| k == Kind::Paging);
        let hwpts: Vec<Name> = hwpts.into_iter().filter(|name| name.for_pasids).collect();
        let Some(hwpt) = self.draws.pick(&hwpts).cloned() else { return steps };
        steps.push(self.with_ids(plain(Call::MockDomainReplace), &[mock.clone(), hwpt]));
        for pasid in [100, 200] {
            let hwpt = self.draws.pick(&hwpts).cloned().filter(|_| !self.draws.one_in(3));
            if let Some(hwpt) = hwpt {
                let step = with(plain(Call::PasidAttach), 1, Operand::Num(pasid));
                let step = self.with_id(step, 2, &hwpt);
                steps.push(with(step, 0, Operand::Sym(mock.sym)));
            }
        }
        steps
    }

    /// What a virtual device ID needs in v1 and v2 of the series: a device that is attached to a
    /// page table of the vIOMMU.
    fn way_to_a_vdev_id(&mut self) -> Vec<Step> {
        let device = self.one(|k| matches!(k, Kind::Device(_)));
        let (Some(device), Some(viommu)) = (device, self.one(|k| k == Kind::Viommu)) else {
            return Vec::new();
        };
        let step = self.with_ids(plain(Call::HwptAlloc), &[device.clone(), viommu.clone()]);
        let nested = self.bound(with(step, 3, Operand::Num(DATA_SELFTEST)), &["nested"]);
        let mut steps = vec![nested];
        if let Some(nested) = self.names.all.last().cloned() {
            let step = self.with_ids(plain(Call::Attach), &[device.clone(), nested]);
            self.names.made(&step, None);
            steps.push(step);
        }
        let step = self.with_ids(plain(Call::ViommuSetVdevId), &[viommu, device]);
        steps.push(with(step, 2, Operand::Num(VIRT_IDS[0])));
        steps
    }

    /// Says which CPU makes the calls of which driver, and what they are to meet at.
    pub fn share_out(&mut self, cpus: usize, setup: &[Step]) {
        // What only a virtual ID of v1 and v2 names is not busy.
        let holds = |step: &&Step| step.call != Call::ViommuSetVdevId;
        self.needed = setup.iter().filter(holds).flat_map(named).collect();
        if self.on(Feature::Contention) {
            self.hot = self.meeting_place(setup);
        }
        // In turn more often than by chance: what two drivers do meets on two CPUs only.
        let first = (!self.draws.one_in(3)).then(|| self.draws.below(cpus));
        for at in 0..self.names.driven.len() {
            self.names.driven[at].attached_before = self.names.driven[at].attached;
            self.names.driven[at].owner = match first {
                Some(first) => (first + at) % cpus,
                None => self.draws.below(cpus),
            };
        }
    }

    /// An object, and some of those that it needs or that need it.
    fn meeting_place(&mut self, setup: &[Step]) -> BTreeSet<Sym> {
        let Some(centre) = self.one(|_| true) else { return BTreeSet::new() };
        let mut place = BTreeSet::from([centre.sym]);
        for step in setup {
            let needs: Vec<Sym> = named(step).collect();
            let beside = match (step.binds.contains(&centre.sym), needs.contains(&centre.sym)) {
                (true, _) => needs,
                (_, true) => step.binds.clone(),
                _ => continue,
            };
            for sym in beside {
                if self.draws.one_in(2) {
                    place.insert(sym);
                }
            }
        }
        place
    }

    /// Whether a call is about what the CPUs are to meet at.
    fn meets(&self, step: &Step) -> bool {
        // What these meet has no name: offsets of a file, the group of a device.
        if matches!(step.call, Call::Mmap | Call::Bind | Call::Unplug) {
            return true;
        }
        let hot = |operand: &Operand| matches!(operand, Operand::Sym(s) if self.hot.contains(s));
        self.hot.is_empty()
            || step.args.iter().chain([&step.file]).any(hot)
            || self.is_of_a_hot_group(step)
    }

    /// Whether a driver's call changes a group of which a device is hot.
    fn is_of_a_hot_group(&self, step: &Step) -> bool {
        let Some(Operand::Sym(device)) = step.args.first() else { return false };
        let changes = matches!(step.call, Call::Attach | Call::Replace | Call::Detach);
        let Some(group) = self.names.driver(*device).map(|d| d.group) else { return false };
        let of_group = self.names.driven.iter().filter(|d| d.group == group);
        changes && of_group.filter_map(|d| d.bound).any(|sym| self.hot.contains(&sym))
    }

    /// One call: of this CPU, or before there are any, behind those that the program has.
    pub fn call(&mut self, cpu: Option<usize>, program: &Program) -> Step {
        self.cpu = cpu;
        if let Some(step) = self.attach_what_is_left() {
            return step;
        }
        let place = cpu.map_or(Place::Setup, |cpu| Place::Cpu(cpu as Cpu));
        let weights = self.weights[usize::from(cpu.is_some())].clone();
        let few = self.few.clone();
        let mut elsewhere = 0;
        for attempt in 0..TRIES {
            let is_few = cpu.is_some() && !few.is_empty() && attempt < TRIES / 2;
            let from = if is_few { &few } else { &weights };
            let Some(call) = self.draws.weighted(from) else { break };
            if !self.row.has(call) && !self.draws.one_in(MISSING_ONE_IN) {
                continue;
            }
            let opens = signature(call).outs.iter().any(|out| out.kind == ArgKind::File);
            if opens && cpu.is_some() && self.on(Feature::Exit) {
                // It would get the number of the file that is closed, and whoever still used that
                // would meet it: so for every kind of file, and no business of iommufd's.
                continue;
            }
            let (names, syms, guesses) = (self.names.clone(), self.syms.len(), self.guesses);
            let Some(step) = self.try_call(call) else { continue };
            let agrees = pasids_agree(program, Some((place, &step)));
            if agrees && (elsewhere == ELSEWHERE_MAX || self.meets(&step)) {
                return step;
            }
            elsewhere += usize::from(agrees);
            (self.names, self.guesses) = (names, guesses);
            self.syms.truncate(syms);
        }
        self.bound(plain(Call::IoasAlloc), &["ioas"])
    }

    /// The attach that the setup left to whoever drives the device, if it still can be made.
    fn attach_what_is_left(&mut self) -> Option<Step> {
        let (device, nested) = self.left_to_attach?;
        let driver = self.names.driver(device)?;
        if self.cpu != Some(driver.owner) || driver.attached {
            return None;
        }
        self.left_to_attach = None;
        let live = self.names.live(self.cpu, |_| true);
        let name = |sym| live.iter().find(|name| name.sym == sym).cloned();
        let (device, nested) = (name(device)?, name(nested)?);
        let step = with(plain(Call::Attach), 0, Operand::Sym(device.sym));
        let step = self.with_page_table(step, &nested);
        self.names.made(&step, self.cpu);
        Some(step)
    }

    /// The call, if there is something that it can be made with.
    fn try_call(&mut self, call: Call) -> Option<Step> {
        let step = plain(call);
        let mut step = match call {
            Call::Open => self.bound(step, &["file"]),
            Call::IoasAlloc => {
                let file = self.file();
                self.bound(Step { file, ..step }, &["ioas"])
            }
            Call::FaultAlloc => {
                let file = self.file();
                self.bound(Step { file, ..step }, &["fault", "f"])
            }
            Call::IoasChangeProcess => Step { file: self.file(), ..step },
            Call::Close => self.close(step)?,
            Call::Bind | Call::Unplug => self.of_pdev(step)?,
            Call::Unbind | Call::Attach | Call::Replace | Call::Detach | Call::Interrupt => {
                self.of_driver(step)?
            }
            Call::Read | Call::ReadPgfault | Call::Poll => {
                let file = self.one(|kind| kind == Kind::QueueFile)?;
                with(step, 0, Operand::Sym(file.sym))
            }
            Call::Write => {
                let file = self.one(|kind| kind == Kind::QueueFile)?;
                let cookie = Operand::Num(1 + self.draws.below(2) as u64);
                with(with(step, 0, Operand::Sym(file.sym)), 1, cookie)
            }
            Call::Munmap => {
                let mapping = self.one(|kind| kind == Kind::Mapping)?;
                with(step, 0, Operand::Sym(mapping.sym))
            }
            Call::Mmap => {
                // Of another length than what is offered: seldom, to see that.
                let length = if self.draws.one_in(6) { 0x2000 } else { 0x1000 };
                let offset = *self.draws.pick(OFFSETS)?;
                let step = with(step, 0, Operand::Num(offset));
                self.bound(with(step, 1, Operand::Num(length)), &["m"])
            }
            Call::IoasMap | Call::IoasUnmap => self.of_ioas(step)?,
            Call::HwptAlloc => self.hwpt_alloc(step)?,
            Call::MockDomain => {
                let pt = self.one(|k| matches!(k, Kind::Ioas | Kind::Paging | Kind::Parent))?;
                let step = self.with_id(step, 0, &pt);
                self.bound(step, &["mock", "mhwpt", "mdev"])
            }
            _ => self.of_object(step)?,
        };
        self.options(&mut step);
        // The number of a file that this CPU has closed is anybody's who opens one.
        let is_closed = |file: &Operand| {
            self.names.closed.iter().any(|(cpu, closed)| *cpu == self.cpu && closed == file)
        };
        let first = step.args.first().filter(|_| self.cpu.is_some());
        self.guesses |= first.into_iter().chain([&step.file]).any(is_closed);
        match call {
            // What binds names was noted when it was bound.
            _ if !step.binds.is_empty() => {}
            _ => self.names.made(&step, self.cpu),
        }
        Some(step)
    }

    /// Calls whose first argument is the object that they are about.
    fn of_object(&mut self, step: Step) -> Option<Step> {
        let is_device = |k: Kind| matches!(k, Kind::Device(_) | Kind::MockDevice);
        match step.call {
            Call::Destroy => {
                let is_id = |k: Kind| {
                    !is_file(k) && !matches!(k, Kind::Mapping | Kind::MockDevice | Kind::Pin)
                };
                let mut object = self.one(is_id)?;
                // What others need answers -EBUSY: less often than by chance.
                if self.needed.contains(&object.sym) && !self.draws.one_in(3) {
                    object = self.one(is_id)?;
                }
                // A bound device cannot be destroyed: seldom, to see that.
                if is_device(object.kind) && !self.draws.one_in(8) {
                    return None;
                }
                Some(self.with_id(step, 0, &object))
            }
            Call::GetHwInfo => {
                let device = self.one(is_device)?;
                Some(self.with_id(step, 0, &device))
            }
            Call::HwptInvalidate => {
                let object = self.one(|k| matches!(k, Kind::Nested | Kind::Viommu))?;
                let vdev_id = *self.draws.pick(VIRT_IDS)? as u32;
                let flags = u32::from(self.draws.one_in(3));
                let entry = Entry { flags, vdev_id, cache_id: 1, tail: 0 };
                let step = self.with_id(step, 0, &object);
                Some(with(step, 1, Operand::Entries(vec![entry])))
            }
            Call::ViommuAlloc => {
                let (device, parent) = (self.one(is_device)?, self.one(|k| k == Kind::Parent)?);
                let step = self.with_ids(step, &[device, parent]);
                let data_len = if self.on(Feature::Mmap) && !self.draws.one_in(3) { 24 } else { 0 };
                Some(self.bound(with(step, 4, Operand::Num(data_len)), &["viommu"]))
            }
            Call::VdeviceAlloc | Call::ViommuSetVdevId | Call::ViommuUnsetVdevId => {
                let (viommu, device) = (self.one(|k| k == Kind::Viommu)?, self.one(is_device)?);
                let step = self.with_ids(step, &[viommu, device]);
                let virt_id = Operand::Num(*self.draws.pick(VIRT_IDS)?);
                let step = with(step, 2, virt_id);
                Some(match step.call {
                    Call::VdeviceAlloc => self.bound(step, &["vdev"]),
                    _ => step,
                })
            }
            Call::VeventqAlloc => {
                let viommu = self.one(|k| k == Kind::Viommu)?;
                let step = self.with_id(step, 0, &viommu);
                let depth = Operand::Num(1 + self.draws.below(2) as u64);
                Some(self.bound(with(step, 2, depth), &["q", "f"]))
            }
            Call::HwQueueAlloc => {
                let viommu = self.one(|k| k == Kind::Viommu)?;
                let step = self.with_id(step, 0, &viommu);
                let index = Operand::Num(self.draws.below(2) as u64);
                Some(self.bound(with(step, 2, index), &["hwq"]))
            }
            Call::TriggerVevent => {
                let (viommu, device) = (self.one(|k| k == Kind::Viommu)?, self.one(is_device)?);
                Some(self.with_ids(step, &[viommu, device]))
            }
            Call::TriggerIopf => {
                let device = self.one(is_device)?;
                Some(self.with_ids(step, &[device]))
            }
            Call::IoasIovaRanges => {
                let ioas = self.one(|k| k == Kind::Ioas)?;
                let step = self.with_id(step, 0, &ioas);
                // Room for none: what user space asks first, to see how many there are.
                let room = u64::from(!self.draws.one_in(4));
                Some(with(step, 1, Operand::Num(room)))
            }
            Call::CreateAccess => {
                let ioas = self.one(|k| k == Kind::Ioas)?;
                let step = self.with_id(step, 0, &ioas);
                let flags = if self.draws.one_in(2) { ACCESS_CREATE_NEEDS_PIN_PAGES } else { 0 };
                Some(self.bound(with(step, 1, Operand::Num(flags)), &["access"]))
            }
            Call::AccessPages => {
                let access = self.one(|k| k == Kind::AccessFile)?;
                let step = with(step, 0, Operand::Sym(access.sym));
                let flags = if self.draws.one_in(2) { ACCESS_SYZ } else { 0 };
                // From the first area on, or where the areas are.
                let iova = if flags != 0 { 0 } else { self.base + 0x1000 };
                let step = with(with(step, 1, Operand::Num(iova)), 2, Operand::Num(0x1000));
                let step = Step { file: access.file, ..with(step, 3, Operand::Num(flags)) };
                Some(self.bound(step, &["pin"]))
            }
            Call::DestroyAccessPages => {
                let access = self.one(|k| k == Kind::AccessFile)?;
                let pin = self.one(|k| k == Kind::Pin)?;
                let step = with(step, 0, Operand::Sym(access.sym));
                Some(Step { file: access.file, ..with(step, 1, Operand::Sym(pin.sym)) })
            }
            Call::MemfdCreate => Some(self.bound(step, &["memfd"])),
            Call::DmabufGet => Some(self.bound(step, &["dmabuf"])),
            Call::DmabufRevoke => {
                let dmabuf = self.one(|k| k == Kind::Dmabuf)?;
                Some(with(step, 0, Operand::Sym(dmabuf.sym)))
            }
            Call::IoasMapFile => {
                let ioas = self.one(|k| k == Kind::Ioas)?;
                let memfd = self.one(|k| matches!(k, Kind::Memfd | Kind::Dmabuf))?;
                let step = with(self.with_id(step, 0, &ioas), 1, Operand::Sym(memfd.sym));
                let (iova, length) = self.area()?;
                Some(with(with(step, 2, Operand::Num(length)), 3, Operand::Num(iova)))
            }
            Call::AccessReplaceIoas => {
                let access = self.one(|k| k == Kind::AccessFile)?;
                let ioas = self.one(|k| k == Kind::Ioas)?;
                let step = self.with_id(step, 1, &ioas);
                Some(with(step, 0, Operand::Sym(access.sym)))
            }
            Call::AccessRw => {
                let access = self.one(|k| k == Kind::AccessFile)?;
                let step = with(step, 0, Operand::Sym(access.sym));
                let (write, syz) = (ACCESS_RW_WRITE, ACCESS_SYZ);
                let flags =
                    self.draws.weighted(&[(4, 0), (2, write), (1, syz), (1, write | syz)])?;
                // From the first area on, or where the areas are.
                let iova = if flags & syz != 0 { 0 } else { self.base + 0x1000 };
                let step = with(with(step, 1, Operand::Num(iova)), 2, Operand::Num(8));
                Some(Step { file: access.file, ..with(step, 3, Operand::Num(flags)) })
            }
            Call::MockDomainReplace => {
                let mock = self.one(|k| k == Kind::Mock)?;
                let pt = self.one(|k| matches!(k, Kind::Ioas | Kind::Paging | Kind::Parent))?;
                Some(self.with_ids(step, &[mock, pt]))
            }
            Call::PasidAttach => {
                // Of a mock device that was there before: its id is its own.
                let mocks = self.names.live(None, |k| k == Kind::Mock);
                let mock = self.draws.pick(&mocks)?.clone();
                let pt = self.page_table_for_pasids()?;
                let pasid = Operand::Num(*self.draws.pick(PASIDS)?);
                let step = self.with_id(with(step, 1, pasid), 2, &pt);
                Some(Step { file: mock.file, ..with(step, 0, Operand::Sym(mock.sym)) })
            }
            Call::PasidReplace | Call::PasidDetach => {
                let mock = self.one(|k| k == Kind::Mock)?;
                let pasid = Operand::Num(*self.draws.pick(PASIDS)?);
                let step = with(step, 1, pasid);
                if step.call == Call::PasidDetach {
                    return Some(Step { file: mock.file, ..with(step, 0, Operand::Sym(mock.sym)) });
                }
                let pt = self.page_table_for_pasids()?;
                let step = self.with_id(step, 2, &pt);
                Some(self.with_id(step, 0, &mock))
            }
            Call::CheckCache => {
                let device = self.one(is_device)?;
                let step = self.with_id(step, 0, &device);
                Some(with(step, 1, Operand::Num(1)))
            }
            Call::CheckIotlb => {
                let nested = self.one(|k| k == Kind::Nested)?;
                Some(self.with_id(step, 0, &nested))
            }
            _ => None,
        }
    }

    /// What is mapped, or not any more: few areas, so that they meet. Its IOVA and length.
    fn area(&mut self) -> Option<(u64, u64)> {
        let areas: &[(u64, u64)] = match self.on(Feature::HwQueues) {
            true => &[(0, QUEUE_LENGTH)],
            false => &[(0x1000, 0x1000), (0x1000, 0x2000), (0x4000, 0x1000)],
        };
        let (behind, length) = *self.draws.pick(areas)?;
        Some((self.base + behind, length))
    }

    fn of_ioas(&mut self, step: Step) -> Option<Step> {
        let ioas = self.one(|k| k == Kind::Ioas)?;
        let step = self.with_id(step, 0, &ioas);
        let (iova, length) = self.area()?;
        if step.call == Call::IoasMap {
            let mut step = with(with(step, 1, Operand::Num(length)), 2, Operand::Num(iova));
            // NULL: without a domain it is whoever pins it that finds nothing there.
            if self.on(Feature::BadMemory) && self.draws.one_in(3) {
                step = with(step, 3, Operand::Num(0));
            }
            // Half a page: no domain takes it, nor an access that pins.
            if self.on(Feature::Accesses) && self.draws.one_in(6) {
                step = with(step, 1, Operand::Num(0x800));
            }
            let anywhere = !self.on(Feature::HwQueues) && self.draws.one_in(4);
            let flags = IOAS_MAP_WRITEABLE | IOAS_MAP_READABLE;
            return Some(if anywhere {
                with(with(step, 4, Operand::Num(flags)), 2, Operand::Num(0))
            } else {
                step
            });
        }
        let (iova, length) = if self.draws.one_in(3) { (0, u64::MAX) } else { (iova, length) };
        Some(with(with(step, 1, Operand::Num(iova)), 2, Operand::Num(length)))
    }

    /// A nesting parent, which much depends on.
    fn parent(&mut self) -> Option<Step> {
        let device = self.one(|k| matches!(k, Kind::Device(_)))?;
        let ioas = self.one(|k| k == Kind::Ioas)?;
        let step = self.with_ids(plain(Call::HwptAlloc), &[device, ioas]);
        let step = with(step, 2, Operand::Num(HWPT_ALLOC_NEST_PARENT));
        Some(self.bound(step, &["hwpt"]))
    }

    fn hwpt_alloc(&mut self, step: Step) -> Option<Step> {
        let device = self.one(|k| matches!(k, Kind::Device(_) | Kind::MockDevice))?;
        let pt = self.one(|k| matches!(k, Kind::Ioas | Kind::Parent | Kind::Viommu))?;
        let step = self.with_ids(step, &[device, pt.clone()]);
        if pt.kind == Kind::Ioas {
            let flags = [(6, 0), (6, HWPT_ALLOC_NEST_PARENT), (1, HWPT_ALLOC_DIRTY_TRACKING)];
            let flags = self.draws.weighted(&flags)? | self.for_pasids();
            let step = with(step, 2, Operand::Num(flags));
            // Data of a type that the driver does not know.
            let step = match self.on(Feature::OddArguments) && self.draws.one_in(3) {
                true => with(with(step, 3, Operand::Num(1)), 4, Operand::Num(8)),
                false => step,
            };
            return Some(self.bound(step, &["hwpt"]));
        }
        let mut step = with(step, 3, Operand::Num(DATA_SELFTEST));
        let mut flags = self.for_pasids();
        if let (true, Some(faults)) = (self.draws.one_in(2), self.one(|k| k == Kind::Faults)) {
            flags |= HWPT_FAULT_ID_VALID;
            step = with(step, 5, Operand::Sym(faults.sym));
        }
        Some(self.bound(with(step, 2, Operand::Num(flags)), &["nested"]))
    }

    /// The flag of a page table for PASIDs, in every second one of a program that is about them.
    fn for_pasids(&mut self) -> u64 {
        match self.on(Feature::Pasids) && self.draws.one_in(2) {
            true => HWPT_ALLOC_PASID,
            false => 0,
        }
    }

    /// What a PASID is attached to: seldom something that is not for that.
    fn page_table_for_pasids(&mut self) -> Option<Name> {
        let is_one = |k| matches!(k, Kind::Ioas | Kind::Paging | Kind::Parent | Kind::Nested);
        let all = self.names.live(self.cpu, is_one);
        let good: Vec<Name> = all.iter().filter(|name| name.for_pasids).cloned().collect();
        match self.draws.one_in(6) {
            true => self.draws.pick(&all).cloned(),
            false => self.draws.pick(&good).cloned(),
        }
    }

    /// A file is closed once: a second close would meet whatever got its number.
    fn close(&mut self, step: Step) -> Option<Step> {
        let mut files: Vec<Operand> = Vec::new();
        for (feature, kind) in [
            (Feature::Events, Kind::QueueFile),
            (Feature::Accesses, Kind::AccessFile),
            (Feature::Process, Kind::Memfd),
            (Feature::Process, Kind::Dmabuf),
        ] {
            if self.on(feature) {
                let named = self.names.live(self.cpu, |k| k == kind);
                files.extend(named.iter().map(|name| Operand::Sym(name.sym)));
            }
        }
        if self.on(Feature::Exit) {
            files.push(Operand::Num(0));
            let more = self.names.live(self.cpu, |k| k == Kind::File);
            files.extend(more.iter().map(|name| Operand::Sym(name.sym)));
        }
        files.retain(|file| !self.names.closed.iter().any(|(_, closed)| closed == file));
        let file = self.draws.pick(&files)?.clone();
        Some(with(step, 0, file))
    }

    /// bind and unplug: what happens to a physical device.
    fn of_pdev(&mut self, step: Step) -> Option<Step> {
        let cpu = self.cpu;
        let unplug = step.call == Call::Unplug;
        let can: Vec<usize> = (0..self.names.driven.len())
            .filter(|at| {
                let Driven { bound, unplugged, owner, .. } = self.names.driven[*at];
                // The bus lets a device go when no driver has it any more.
                bound.is_none() && !unplugged && cpu.is_none_or(|cpu| cpu == owner)
            })
            .collect();
        // Before the CPUs begin the first one is as good as any other.
        let pdev = match cpu {
            None => *can.first()?,
            Some(_) => *self.draws.pick(&can)?,
        };
        let step = with(step, 0, Operand::Num(pdev as u64));
        if unplug {
            return Some(step);
        }
        let file = self.file();
        Some(self.bound(Step { file, ..step }, &["dev"]))
    }

    /// What a driver does with a device that it has bound.
    fn of_driver(&mut self, step: Step) -> Option<Step> {
        let cpu = self.cpu;
        let attached = match step.call {
            Call::Attach => Some(false),
            Call::Replace | Call::Detach => Some(true),
            _ => None,
        };
        let can: Vec<Sym> = self
            .names
            .driven
            .iter()
            .filter(|d| cpu.is_none_or(|cpu| cpu == d.owner))
            .filter(|d| attached.is_none_or(|attached| attached == d.attached))
            // An attach of a CPU may fail, and then there is nothing to replace.
            .filter(|d| step.call != Call::Replace || d.attached_before)
            .filter_map(|d| d.bound)
            .collect();
        let device = *self.draws.pick(&can)?;
        let step = with(step, 0, Operand::Sym(device));
        let bug = self.on(Feature::DriverBugs) && cpu.is_some();
        if bug && step.call == Call::Unbind && self.draws.one_in(2) {
            return Some(with(step, 1, Operand::Num(0)));
        }
        if !matches!(step.call, Call::Attach | Call::Replace) {
            return Some(step);
        }
        let pt = self.page_table(step.call, device)?;
        Some(self.with_page_table(step, &pt))
    }

    /// Names the page table of an attach or a replace. A driver's call goes to the file that its device is
    /// bound to.
    fn with_page_table(&mut self, step: Step, pt: &Name) -> Step {
        let file = step.file.clone();
        Step { file, ..self.with_id(step, 1, pt) }
    }

    /// What a driver attaches a device to: what its group is attached to, since nothing else is taken; and
    /// seldom what it is attached to already.
    fn page_table(&mut self, call: Call, device: Sym) -> Option<Name> {
        let is_one = |k| matches!(k, Kind::Ioas | Kind::Paging | Kind::Parent | Kind::Nested);
        if let (Call::Attach, Some(sym)) = (call, self.names.page_table_of_group(device)) {
            let same = self.names.live(self.cpu, is_one).into_iter().find(|n| n.sym == sym);
            if same.is_some() && !self.draws.one_in(4) {
                return same;
            }
        }
        // A nested one may have a fault queue: the first attach has a handle then, which may find no memory.
        let nested = match self.on(Feature::Events) && self.draws.one_in(3) {
            true => self.one(|k| k == Kind::Nested),
            false => None,
        };
        let pt = nested.or_else(|| self.one(is_one))?;
        let now = self.names.driver(device).and_then(|d| d.page_table);
        match call == Call::Replace && now == Some(pt.sym) {
            true => self.one(is_one),
            false => Some(pt),
        }
    }

    /// A name of these kinds.
    fn one(&mut self, wanted: impl Fn(Kind) -> bool) -> Option<Name> {
        let names = self.names.live(self.cpu, wanted);
        self.draws.pick(&names).cloned()
    }

    /// The newest name of these kinds.
    fn last(&self, wanted: impl Fn(Kind) -> bool) -> Option<Name> {
        self.names.live(self.cpu, wanted).pop()
    }

    fn file(&mut self) -> Operand {
        let files = self.names.live(self.cpu, |k| k == Kind::File);
        match self.draws.one_in(3) {
            true => self.draws.pick(&files).map_or(Operand::Num(0), |f| Operand::Sym(f.sym)),
            false => Operand::Num(0),
        }
    }

    /// The object as an argument, and its file as that of the call. Seldom another id.
    fn with_id(&mut self, step: Step, at: usize, name: &Name) -> Step {
        let id = match self.on(Feature::WrongIds) && self.draws.one_in(5) {
            true => self.wrong_id(),
            false => Operand::Sym(name.sym),
        };
        // A freed id is anybody's who allocates, also of one who will give it back.
        self.guesses |= self
            .names
            .destroyed
            .iter()
            .any(|(cpu, sym)| Some(*cpu) == self.cpu && id == Operand::Sym(*sym));
        Step { file: name.file.clone(), ..with(step, at, id) }
    }

    /// The first arguments.
    fn with_ids(&mut self, mut step: Step, names: &[Name]) -> Step {
        for (at, name) in names.iter().enumerate().rev() {
            step = self.with_id(step, at, name);
        }
        step
    }

    /// An id that was freed, one of another type, or the next one.
    fn wrong_id(&mut self) -> Operand {
        let is_id = |k: Kind| !is_file(k) && !matches!(k, Kind::Mapping | Kind::Pin);
        self.guesses |= self.cpu.is_some();
        let gone: Vec<Sym> = self
            .names
            .all
            .iter()
            .filter(|n| n.gone && n.cpu.is_none() && is_id(n.kind))
            .map(|n| n.sym)
            .collect();
        if let (Some(sym), true) = (self.draws.pick(&gone).copied(), self.draws.one_in(2)) {
            return Operand::Sym(sym);
        }
        let any = self.names.live(self.cpu, is_id);
        match self.draws.below(2) {
            0 => self.draws.pick(&any).map_or(Operand::Num(1), |name| Operand::Sym(name.sym)),
            // What an allocation on another CPU will be given.
            _ => Operand::Num((any.len() + 1 + self.draws.below(2)) as u64),
        }
    }

    /// User memory and sizes that are wrong, an allocation that sleeps.
    fn options(&mut self, step: &mut Step) {
        let is_ioctl = signature(step.call).name.starts_with("IOMMU_");
        let is_of_queue = matches!(step.call, Call::Read | Call::ReadPgfault | Call::Write);
        // Ioctls, too, whose answer cannot be copied out.
        let is_test_op =
            matches!(step.call, Call::MockDomain | Call::MockDomainReplace | Call::CreateAccess);
        if is_test_op && self.on(Feature::BadMemory) && self.draws.one_in(4) {
            step.read_only = true;
        }
        if self.on(Feature::BadMemory) && (is_ioctl || is_of_queue) && self.draws.one_in(3) {
            match self.draws.below(4) {
                _ if is_of_queue => step.bad_pointer = true,
                0 => step.bad_pointer = true,
                1 => step.usize_ = Some([4, 200][self.draws.below(2)]),
                _ => step.read_only = true,
            }
        }
        if self.on(Feature::OddArguments) && is_ioctl && self.draws.one_in(3) {
            self.odd_argument(step);
        }
        if self.on(Feature::Stalls) && self.draws.one_in(3) {
            step.stall_s = Some(61);
        }
    }

    /// Another value for an optional argument that is a number or flags.
    fn odd_argument(&mut self, step: &mut Step) {
        let is_optional =
            |arg: &Arg| arg.default.is_some() && matches!(arg.kind, ArgKind::Num | ArgKind::Flags);
        let args = signature(step.call).args.iter().enumerate();
        let optional: Vec<(usize, ArgKind)> =
            args.filter(|(_, arg)| is_optional(arg)).map(|(at, arg)| (at, arg.kind)).collect();
        let Some((at, kind)) = self.draws.pick(&optional).copied() else { return };
        let value = match kind {
            // One bit more, of which no row knows anything.
            ArgKind::Flags => match step.args.get(at) {
                Some(Operand::Num(flags)) => flags | ODD_FLAG,
                _ => return,
            },
            _ => self.draws.pick(ODD_NUMBERS).copied().unwrap_or(1),
        };
        *step = with(step.clone(), at, Operand::Num(value));
    }

    /// Names what the call gives out.
    fn bound(&mut self, mut step: Step, stems: &[&str]) -> Step {
        for stem in stems {
            let sym = self.syms.len() as Sym;
            let numbered = |s: &&String| {
                s.strip_prefix(stem).is_some_and(|n| n.chars().all(|c| c.is_ascii_digit()))
            };
            let number = self.syms.iter().filter(numbered).count();
            self.syms.push(format!("{stem}{number}"));
            step.binds.push(sym);
        }
        self.names.made(&step, self.cpu);
        step
    }
}

/// The names that a call is made with.
fn named(step: &Step) -> impl Iterator<Item = Sym> + '_ {
    step.args.iter().filter_map(|arg| match arg {
        Operand::Sym(sym) => Some(*sym),
        _ => None,
    })
}

fn is_file(kind: Kind) -> bool {
    matches!(kind, Kind::File | Kind::QueueFile | Kind::AccessFile | Kind::Memfd | Kind::Dmabuf)
}

/// The step with one argument.
fn with(mut step: Step, at: usize, operand: Operand) -> Step {
    if let Some(arg) = step.args.get_mut(at) {
        *arg = operand;
    }
    step
}
