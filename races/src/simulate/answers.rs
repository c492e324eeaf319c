//! What a request to the command queue may answer by itself, whatever the others do.
//!
//! Only of executions that print nothing: behind a broken invariant anything may follow.

use super::Class;
use uapi::errno::{Errno, Ret};
use uapi::outcome::{Ending, Outcome, Place, StepResult};
use uapi::queue::{
    Fault, Invalidate, Queue, Request, Vsmmu, Without, INVALIDATE_DATA_ARM_SMMUV3,
    INVALIDATE_ENTRY_LEN,
};

/// The answers of an execution that nothing in its program is a reason for.
pub(super) fn impossible(program: &Queue, outcome: &Outcome) -> Vec<Class> {
    if outcome.ending != Ending::Complete || !outcome.splats.is_empty() {
        return Vec::new();
    }
    let mut classes: Vec<Class> =
        outcome.results.iter().filter_map(|result| of(program, result)).collect();
    classes.sort();
    classes.dedup();
    classes
}

fn of(program: &Queue, result: &StepResult) -> Option<Class> {
    let Place::Cpu(cpu) = result.place else { return None };
    let request = program.cpus.get(usize::from(cpu))?.get(result.index as usize)?;
    let ret = result.ret?;
    let may = match ret {
        Ret::Ok => true,
        Ret::Err(errno) => may_fail(program, request, errno),
    };
    if !may {
        return Some(Class::impossible(&format!("{} {ret}", request.name())));
    }
    match (request, result.entry_num) {
        (Request::Invalidate(array), Some(told)) => entry_num(array, ret, told),
        _ => None,
    }
}

/// What user space is told of how much was handled.
fn entry_num(array: &Invalidate, ret: Ret, told: u32) -> Option<Class> {
    let entries = array.commands.len() as u32;
    let name = "IOMMU_HWPT_INVALIDATE";
    match () {
        () if told > entries => {
            Some(Class::impossible(&format!("{name} handles more than its array has")))
        }
        () if ret == Ret::Ok && told != entries => {
            Some(Class::impossible(&format!("{name} 0 without all of its array")))
        }
        () => None,
    }
}

/// Whether the program has a reason for this errno of this request.
fn may_fail(program: &Queue, request: &Request, errno: Errno) -> bool {
    let is_dead = program.faults.iter().any(|fault| matches!(fault, Fault::Dead(_)));
    let stops = program.cpus.iter().flatten().any(|r| matches!(r, Request::Suspend));
    match (request, errno) {
        (Request::Migrate { .. } | Request::Resume, _) => false,
        (_, Errno::ETIMEDOUT) => is_dead,
        (Request::Suspend, _) => false,
        (_, Errno::EBUSY) => stops,
        (Request::Issue { .. } | Request::Batch { .. }, _) => false,
        (Request::Invalidate(array), Errno::EINVAL) => {
            array.data_type != INVALIDATE_DATA_ARM_SMMUV3 || array.commands.is_empty()
        }
        (Request::Invalidate(array), Errno::E2BIG) => {
            array.entry_len > INVALIDATE_ENTRY_LEN && array.tail != 0
        }
        (Request::Invalidate(array), Errno::EFAULT) => {
            array.unmapped_from.is_some() || array.fail_nth != 0
        }
        (Request::Invalidate(array), Errno::ENOMEM) => array.fail_nth != 0,
        (Request::Invalidate(array), Errno::EIO) => {
            let vsmmu = program.vsmmu.as_ref();
            array.commands.iter().any(|cmd| vsmmu.is_none_or(|v| may_be_refused(*cmd, array, v)))
        }
        (Request::Invalidate(_), _) => false,
    }
}

/// Opcodes that a guest may issue, and the bits of each that no text looks at twice: values that
/// every SMMU has, of fields that have no others.
const PLAIN: &[(u64, [u64; 2])] = &[
    (0x05, [SID, 1]),
    (0x06, [SID, 0]),
    (0x10, [VMID, 0]),
    (0x11, [VMID | ASID_OF_8_BITS, 0]),
    (0x12, [VMID | ASID_OF_8_BITS, ADDRESS | 1]),
    (0x13, [VMID, ADDRESS | 1]),
    (0x30, [0, 0]),
    // Sizes below 2^32 pages, and that of everything.
    (0x40, [SID, ADDRESS | 0x34]),
];

const SID: u64 = 0xffff_ffff << 32;
const VMID: u64 = 0xffff << 32;
const ASID_OF_8_BITS: u64 = 0xff << 48;
const ADDRESS: u64 = !0xfff;

/// Opcodes with a virtual StreamID.
const WITH_SID: &[u64] = &[0x05, 0x06, 0x40];

/// Whether there can be a reason to refuse a guest's command. (Reasons are few; to look for them as
/// the driver does would be to trust it.)
fn may_be_refused([word0, word1]: [u64; 2], array: &Invalidate, vsmmu: &Vsmmu) -> bool {
    // A short entry is read with zeroes: that is another command.
    if array.entry_len < INVALIDATE_ENTRY_LEN {
        return true;
    }
    let opcode = word0 & 0xff;
    let Some((_, plain)) = PLAIN.iter().find(|(of, _)| *of == opcode) else { return true };
    let sid = (word0 >> 32) as u32;
    let is_unknown = WITH_SID.contains(&opcode) && !vsmmu.vdevs.iter().any(|(v, _)| *v == sid);
    let lacks = opcode == 0x40 && vsmmu.without.contains(&Without::Ats);
    is_unknown || lacks || word0 & !0xff & !plain[0] != 0 || word1 & !plain[1] != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use uapi::splat::{Kind, Splat};

    const TLBI: [u64; 2] = [0x12, 0x1000];
    const ATC_INV: [u64; 2] = [0x40 | 0x99 << 32, 52];
    const UNKNOWN: [u64; 2] = [0x40 | 0x98 << 32, 52];

    fn program(requests: Vec<Request>) -> Queue {
        let vsmmu = Vsmmu { vmid: 7, vdevs: vec![(0x99, 0x40)], without: Vec::new() };
        Queue { log2size: 2, word: 2, vsmmu: Some(vsmmu), cpus: vec![requests], ..Queue::default() }
    }

    fn result(index: u32, ret: Result<(), Errno>, entry_num: Option<u32>) -> StepResult {
        let ret = Some(Ret::from(&ret));
        StepResult { place: Place::Cpu(0), index, ret, out: Vec::new(), entry_num, injected: false }
    }

    /// What an execution shows whose requests answered so.
    fn texts(program: &Queue, results: Vec<StepResult>) -> Vec<String> {
        let classes = impossible(program, &outcome(results, Vec::new()));
        classes.iter().map(|class| class.text().to_owned()).collect()
    }

    fn outcome(results: Vec<StepResult>, splats: Vec<Splat>) -> Outcome {
        Outcome {
            ending: Ending::Complete,
            results,
            splats,
            steps: 1,
            stale_compare: false,
            late_wakeups: 0,
            lock_order: Vec::new(),
            state: Vec::new(),
            reached: Vec::new(),
            apart: Vec::new(),
            trace: None,
        }
    }

    #[test]
    fn an_answer_without_a_reason_is_seen() {
        let issue = Request::Issue { commands: vec![TLBI], sync: true };
        let timed_out = || vec![result(0, Err(Errno::ETIMEDOUT), None)];
        let mut queue = program(vec![issue.clone(), issue]);
        let text = "impossible answer: arm_smmu_cmdq_issue_cmdlist -ETIMEDOUT";
        assert_eq!(texts(&queue, timed_out()), [text]);
        // Once, although two requests answer so.
        let both = vec![timed_out().remove(0), result(1, Err(Errno::ETIMEDOUT), None)];
        assert_eq!(texts(&queue, both), [text]);
        let (kind, detail) = (Kind::Invariant, "cmdq: anything".to_owned());
        let splats = vec![Splat { kind, function: String::new(), detail }];
        assert_eq!(impossible(&queue, &outcome(timed_out(), splats)), []);
        queue.faults = vec![Fault::Dead(0)];
        assert_eq!(texts(&queue, timed_out()), [] as [&str; 0]);
        let busy = || vec![result(0, Err(Errno::EBUSY), None)];
        assert_eq!(texts(&queue, busy()).len(), 1);
        queue.cpus.push(vec![Request::Suspend, Request::Resume]);
        assert_eq!(texts(&queue, busy()), [] as [&str; 0]);
        assert_eq!(texts(&queue, vec![result(0, Err(Errno::ENOMEM), None)]).len(), 1);
    }

    #[test]
    fn an_array_has_to_have_the_reason() {
        let good = || Invalidate::of(vec![TLBI, ATC_INV]);
        let ask = |array: Invalidate, ret: Result<(), Errno>, entry_num| {
            let results = vec![result(0, ret, Some(entry_num))];
            texts(&program(vec![Request::Invalidate(array)]), results)
        };
        let name = "impossible answer: IOMMU_HWPT_INVALIDATE";
        let none: [String; 0] = [];
        assert_eq!(ask(good(), Ok(()), 2), none);
        assert_eq!(ask(good(), Ok(()), 1), [format!("{name} 0 without all of its array")]);
        assert_eq!(ask(good(), Ok(()), 3), [format!("{name} handles more than its array has")]);
        for errno in [Errno::EIO, Errno::EINVAL, Errno::E2BIG, Errno::EFAULT, Errno::ENOMEM] {
            assert_eq!(ask(good(), Err(errno), 0), [format!("{name} {}", Ret::Err(errno))]);
        }
        assert_eq!(ask(Invalidate::of(vec![TLBI, UNKNOWN]), Err(Errno::EIO), 0), none);
        assert_eq!(ask(Invalidate::of(vec![[0x46, 0]]), Err(Errno::EIO), 0), none);
        assert_eq!(ask(Invalidate::of(vec![[0x12 | 1 << 10, 0]]), Err(Errno::EIO), 0), none);
        assert_eq!(ask(Invalidate::of(Vec::new()), Err(Errno::EINVAL), 0), none);
        assert_eq!(ask(Invalidate { data_type: 2, ..good() }, Err(Errno::EINVAL), 0), none);
        let long = Invalidate { entry_len: 24, tail: 1, ..good() };
        assert_eq!(ask(long, Err(Errno::E2BIG), 0), none);
        let hole = Invalidate { unmapped_from: Some(1), ..good() };
        assert_eq!(ask(hole, Err(Errno::EFAULT), 0), none);
        assert_eq!(ask(Invalidate { fail_nth: 1, ..good() }, Err(Errno::ENOMEM), 0), none);
    }
}
