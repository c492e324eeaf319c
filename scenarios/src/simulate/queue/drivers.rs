//! What no driver does.

use super::commands::{family, Family, SSEC};
use uapi::queue::{Fault, Queue, QueueKind, Request, Without};

/// Whether a kernel could make these requests. What is drawn is so, and what is left of it when it
/// is made smaller has to be, too.
///
/// Illegal commands are no driver's, but they are asked for: those of a reserved opcode, or with
/// SSec.
pub fn drivers_agree(program: &Queue) -> bool {
    let stops = program.cpus.iter().flatten().any(|request| *request == Request::Suspend);
    let dies = program.faults.iter().any(|fault| matches!(fault, Fault::Dead(_)));
    // Who could not suspend does not resume; a published list is in the main queue.
    if stops && dies || program.published.is_some() && program.secondary.is_some() {
        return false;
    }
    program.cpus.iter().zip(0..).all(|(requests, cpu)| {
        let between = |two: &[Request]| two[0] == Request::Suspend && two[1] != Request::Resume;
        !requests.windows(2).any(between) && requests.iter().all(|r| makes(program, cpu, r))
    })
}

/// Whether this CPU could make this request.
fn makes(program: &Queue, cpu: u8, request: &Request) -> bool {
    match request {
        Request::Suspend | Request::Resume | Request::Invalidate(_) => true,
        Request::Migrate { task, .. } => *task != cpu && program.secondary.is_some(),
        Request::Issue { commands, .. } => is_list(program, commands),
        Request::Batch { commands, force_sync } => {
            // Of a word of 1, a list of no commands would be left before a CMD_SYNC.
            let forced = *force_sync || program.repeat_tlbi_cfgi;
            is_batch(program, commands) && (program.word > 1 || !forced)
        }
    }
}

/// A list of one call: of one family, where its first command decides what becomes of all.
fn is_list(program: &Queue, commands: &[[u64; 2]]) -> bool {
    let kind = program.secondary.map(|secondary| secondary.kind);
    let first_decides = program.repeat_tlbi_cfgi || kind == Some(QueueKind::GuestVcmdq);
    // A reserved opcode is skipped wherever it goes to, but it is not repeated.
    let families = commands.iter().map(|cmd| family(*cmd));
    let families: Vec<Option<Family>> =
        families.filter(|f| f.is_some() || program.repeat_tlbi_cfgi).collect();
    let is_one = families.windows(2).all(|two| two[0] == two[1]);
    (is_one || !first_decides) && commands.iter().all(|cmd| is_of_host(program, *cmd))
}

fn is_batch(program: &Queue, commands: &[[u64; 2]]) -> bool {
    // That all of it is executed can only be asked of commands that an SMMU executes.
    let is_illegal = |[word0, _]: &[u64; 2]| word0 & SSEC != 0;
    !commands.is_empty() && commands.iter().all(|cmd| is_of_host(program, *cmd) && !is_illegal(cmd))
}

/// CMD_SYNCs are `arm_smmu_cmdq_issue_cmdlist()`'s own; and there are no ATC_INVs without ATS.
fn is_of_host(program: &Queue, [word0, word1]: [u64; 2]) -> bool {
    word0 & 0xff != 0x46 && (has_ats(program) || family([word0, word1]) != Some(Family::Atc))
}

/// Whether the SMMU has address translation services.
pub(super) fn has_ats(program: &Queue) -> bool {
    !program.vsmmu.iter().any(|vsmmu| vsmmu.without.contains(&Without::Ats))
}
