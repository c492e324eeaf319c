//! The rows of the command queue: a row changes only what its patch changed, a twin one thing.
//!
//! Source: commits 587e6c10a7ce (v5.4), the text before it, and df180b1a4cc5 (January 2026);
//! reference/smmuv3.md 3.

use uapi::pick::RevisionInfo;

use crate::arm_smmu_v3::llq::Llq;
use crate::arm_smmu_v3::revision::{self, Orders, Pm, Revision, Row};
use crate::arm_smmu_v3::smmu::{self, main_queue};
use crate::arm_smmu_v3::{
    batch, cmdq, fetch_add, linux_5_3, llq, lock, prod_stop, repeat, slock, twins, vsmmu, wait,
};
use crate::linux::atomic::Order;

/// The orders of the port: the kernel's, and an acquire wherever it relies on a control
/// dependency. Each is justified in reference/smmuv3.md 3.4 by its number.
const ORDERS: Orders = Orders {
    llq_cmpxchg: Order::Acquire,
    dma_wmb: Order::Release,
    owner_prod_read: Order::Acquire,
    valid_map_read: Order::Acquire,
    prod_write: Order::Release,
    owner_prod_set: Order::Release,
    cons_read_sync: Order::Acquire,
    msi_read: Order::Acquire,
    llq_cons_write: Order::Release,
    llq_cons_read: Order::Acquire,
    shared_unlock: Order::Release,
    exclusive_lock: Order::Acquire,
    exclusive_unlock: Order::Release,
    prod_read: Order::Acquire,
    cons_read_space: Order::Acquire,
    spin_lock: Order::Acquire,
    spin_unlock: Order::Release,
};

const LATEST: &str = "cmdq_df180b1a4cc5";

/// Since df180b1a4cc5: the lock's increments survive an exclusive holder.
const DF180B1A4CC5: Revision = Revision {
    info: RevisionInfo {
        name: LATEST,
        aliases: &[],
        twin_of: None,
        doc: "the lock-free queue with the fair lock",
        source: "commit df180b1a4cc5, arm-smmu-v3.c",
    },
    check: |_| Ok(()),
    get_cmdq: main_queue::arm_smmu_get_cmdq,
    supports_cmd: main_queue::arm_smmu_cmdq_supports_cmd,
    completion: main_queue::completion,
    batch_submit: batch::arm_smmu_cmdq_batch_submit,
    batch_force_sync: batch::arm_smmu_cmdq_batch_force_sync,
    batch_is_full: batch::full,
    issue_cmdlist: cmdq::arm_smmu_cmdq_issue_cmdlist,
    insert_cmdlist: Some(cmdq::insert_cmdlist),
    allocate: cmdq::allocate,
    queue_has_space: llq::queue_has_space,
    queue_consumed: llq::queue_consumed,
    poll_until_not_full: wait::arm_smmu_cmdq_poll_until_not_full,
    shared_lock: lock::arm_smmu_cmdq_shared_lock,
    shared_tryunlock: lock::arm_smmu_cmdq_shared_tryunlock,
    shared_unlock: lock::arm_smmu_cmdq_shared_unlock,
    exclusive_unlock: lock::arm_smmu_cmdq_exclusive_unlock,
    make_valid: cmdq::make_valid,
    hand_over: cmdq::hand_over,
    quiet_list_done: |_, _| {},
    valid: cmdq::VALID,
    llq_word: Llq::val,
    llq_cons: wait::llq_cons,
    write_llq_cons: wait::write_llq_cons,
    skipped_slot: llq::slot_at,
    pm: None,
    vsmmu_can_batch_cmd: |_, _, _| true,
    iommufd_hwpt_invalidate: vsmmu::linux_6_14::iommufd_hwpt_invalidate,
    orders: ORDERS,
};

const BY_WINDOWS: &str = "cmdq_2d4f03f6610d";

/// September 2026: the core goes through the array, the driver converts the whole of a window or
/// nothing of it. The queue itself is as before.
const V2D4F03F6610D: Revision = Revision {
    info: RevisionInfo {
        name: BY_WINDOWS,
        aliases: &["cmdq_latest"],
        twin_of: None,
        doc: "invalidations of a guest in windows of a batch, all of one or nothing",
        source: "commits 26564d25cd81, 61e2f25a49bc, 2d4f03f6610d; reference/smmuv3.md 4.1, 4.4",
    },
    iommufd_hwpt_invalidate: vsmmu::for_next_2026_09::iommufd_hwpt_invalidate,
    ..DF180B1A4CC5
};

/// As it was introduced.
const V587E6C10A7CE: Revision = Revision {
    info: RevisionInfo {
        name: "cmdq_587e6c10a7ce",
        aliases: &[],
        twin_of: None,
        doc: "the lock-free queue as introduced in v5.4",
        source: "commit 587e6c10a7ce, arm-smmu-v3.c",
    },
    shared_lock: lock::v5_4::arm_smmu_cmdq_shared_lock,
    exclusive_unlock: lock::v5_4::arm_smmu_cmdq_exclusive_unlock,
    ..DF180B1A4CC5
};

const SLOCK: &str = "cmdq_spinlock_fallback";

/// Will Deacon's counter-proposal to John Garry's series.
const SPINLOCK_FALLBACK: Revision = Revision {
    info: RevisionInfo {
        name: SLOCK,
        aliases: &[],
        twin_of: None,
        doc: "who loses a CAS tries the next one under a spinlock; proposed, not merged",
        source: "reference/smmuv3.md 3.6 B12 and 5.3",
    },
    allocate: slock::allocate,
    ..V587E6C10A7CE
};

const FETCH_ADD_NAME: &str = "cmdq_fetch_add";

/// John Garry's series.
const FETCH_ADD: Revision = Revision {
    info: RevisionInfo {
        name: FETCH_ADD_NAME,
        aliases: &[],
        twin_of: None,
        doc: "one fetch_add takes the slots, space is waited for after it; proposed, here with \
              today's lock",
        source: "reference/smmuv3.md 3.6 B12",
    },
    check: fetch_add::check,
    issue_cmdlist: fetch_add::arm_smmu_cmdq_issue_cmdlist,
    insert_cmdlist: None,
    make_valid: fetch_add::make_valid,
    hand_over: fetch_add::hand_over,
    quiet_list_done: fetch_add::quiet_list_done,
    llq_word: fetch_add::llq_word,
    llq_cons: fetch_add::llq_cons,
    write_llq_cons: fetch_add::write_llq_cons,
    ..DF180B1A4CC5
};

const ECMDQ_NAME: &str = "cmdq_ecmdq";

/// Zhen Lei's series.
const ECMDQ: Revision = Revision {
    info: RevisionInfo {
        name: ECMDQ_NAME,
        aliases: &[],
        twin_of: None,
        doc: "an ECMDQ for each processor; proposed, not merged",
        source: "reference/smmuv3.md 1.4 and 5.5",
    },
    get_cmdq: smmu::ecmdq::arm_smmu_get_cmdq,
    batch_submit: smmu::ecmdq::arm_smmu_cmdq_batch_submit,
    ..DF180B1A4CC5
};

const TEGRA241_NAME: &str = "cmdq_tegra241_cmdqv";

/// A batch has one queue pointer.
const TEGRA241: Revision = Revision {
    info: RevisionInfo {
        name: TEGRA241_NAME,
        aliases: &[],
        twin_of: None,
        doc: "a guest's own VCMDQ for each processor, what they lack through the main queue",
        source: "tegra241-cmdqv.c and arm-smmu-v3.c of v6.12; reference/smmuv3.md 4.6",
    },
    get_cmdq: smmu::tegra241::arm_smmu_get_cmdq,
    supports_cmd: smmu::tegra241::arm_smmu_cmdq_supports_cmd,
    completion: smmu::tegra241::completion,
    ..DF180B1A4CC5
};

const REPEAT: &str = "cmdq_06b15ddcfbc0";

/// The workaround of T264-SMMU-3.
const V06B15DDCFBC0: Revision = Revision {
    info: RevisionInfo {
        name: REPEAT,
        aliases: &[],
        twin_of: None,
        doc: "lists of CFGI and TLBI are issued twice where the SMMU has T264-SMMU-3",
        source: "commits 95ed2da20283, 06b15ddcfbc0; reference/smmuv3.md 3.6 B15",
    },
    issue_cmdlist: repeat::arm_smmu_cmdq_issue_cmdlist,
    insert_cmdlist: None,
    batch_force_sync: repeat::arm_smmu_cmdq_batch_force_sync,
    vsmmu_can_batch_cmd: repeat::arm_vsmmu_can_batch_cmd,
    ..DF180B1A4CC5
};

const SPINLOCK: &str = "cmdq_linux_5_3";

/// The queue before it was lock-free. (There was no vSMMU then; its path is a later one.)
const LINUX_5_3: Revision = Revision {
    info: RevisionInfo {
        name: SPINLOCK,
        aliases: &[],
        twin_of: None,
        doc: "a spinlock around every command, before v5.4",
        source: "arm-smmu-v3.c of v5.3, from memory; reference/smmuv3.md 3.6 B1, B3, B4",
    },
    issue_cmdlist: linux_5_3::issue_cmdlist,
    insert_cmdlist: None,
    ..V587E6C10A7CE
};

const PROD_STOP_NAME: &str = "cmdq_prod_stop";

/// Pranjal Shrivastava's series.
const PROD_STOP: Revision = Revision {
    info: RevisionInfo {
        name: PROD_STOP_NAME,
        aliases: &[],
        twin_of: None,
        doc: "a flag in llq.prod refuses lists while the SMMU is switched off; proposed",
        source: "reference/smmuv3.md 3.6 B18 (runtime PM v9, July 2026)",
    },
    allocate: prod_stop::allocate,
    pm: Some(Pm {
        suspend: prod_stop::arm_smmu_runtime_suspend,
        resume: prod_stop::arm_smmu_runtime_resume,
    }),
    ..DF180B1A4CC5
};

const fn twin_of(name: &'static str, of: &'static str, doc: &'static str) -> RevisionInfo {
    let source = "reference/smmuv3.md 3.6 B1, B3, B4, B12, B15 and B18, 4.6";
    RevisionInfo { name, aliases: &[], twin_of: Some(of), doc, source }
}

const fn twin(name: &'static str, doc: &'static str) -> RevisionInfo {
    let source = "not a posted text; reference/smmuv3.md 3.6 and 3.7";
    RevisionInfo { name, aliases: &[], twin_of: Some(LATEST), doc, source }
}

const fn twin_by_windows(name: &'static str, doc: &'static str) -> RevisionInfo {
    let source = "not a posted text; reference/smmuv3.md 3.6 B17 and 4.4";
    RevisionInfo { name, aliases: &[], twin_of: Some(BY_WINDOWS), doc, source }
}

/// [`revision::compiled`] of a constant.
macro_rules! compiled {
    ($row:ident) => {{
        struct Compiled;
        impl Row for Compiled {
            const ROW: Revision = $row;
        }
        revision::compiled::<Compiled>()
    }};
}

/// Every row, the texts first.
pub static ROWS: &[Revision] = &[
    compiled!(DF180B1A4CC5),
    compiled!(V587E6C10A7CE),
    compiled!(V2D4F03F6610D),
    compiled!(SPINLOCK_FALLBACK),
    FETCH_ADD,
    LINUX_5_3,
    compiled!(ECMDQ),
    compiled!(TEGRA241),
    V06B15DDCFBC0,
    compiled!(PROD_STOP),
    // Twins that only a weak memory shows.
    Revision {
        info: twin("cmdq_without_dma_wmb", "entries are not ordered before their valid bits"),
        orders: Orders { dma_wmb: Order::Relaxed, ..ORDERS },
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_owner_prod_relaxed", "owner_prod is set with a relaxed store"),
        orders: Orders { owner_prod_set: Order::Relaxed, ..ORDERS },
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_owner_prod_read_relaxed", "the owner reads owner_prod without CTRL"),
        orders: Orders { owner_prod_read: Order::Relaxed, ..ORDERS },
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_cons_relaxed", "who waits for a SYNC reads CONS with readl_relaxed()"),
        orders: Orders { cons_read_sync: Order::Relaxed, ..ORDERS },
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_valid_map_relaxed", "the owner reads the valid bits without CTRL"),
        orders: Orders { valid_map_read: Order::Relaxed, ..ORDERS },
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_prod_relaxed", "PROD is not ordered after what it covers"),
        orders: Orders { prod_write: Order::Relaxed, ..ORDERS },
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_smmu_prod_relaxed", "the SMMU reads entries before PROD (B6)"),
        orders: Orders { prod_read: Order::Relaxed, ..ORDERS },
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_llq_cmpxchg_relaxed", "slots may be written before the CAS took them"),
        orders: Orders { llq_cmpxchg: Order::Relaxed, ..ORDERS },
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_cons_for_space_relaxed", "slots may be written before CONS is read"),
        orders: Orders { cons_read_space: Order::Relaxed, ..ORDERS },
        ..DF180B1A4CC5
    },
    // Twins that an interleaving shows.
    Revision {
        info: twin("cmdq_batch_without_force_sync", "a batch is cut without a CMD_SYNC"),
        batch_force_sync: batch::twins::without_force_sync,
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_batch_newest_first", "a batch issues what it has gathered last first"),
        batch_submit: batch::twins::newest_first,
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_space_vs_full", "who lacks space asks whether the ring is full (B14)"),
        poll_until_not_full: twins::poll_while_full,
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_llq_stored", "llq.prod is stored, not exchanged"),
        allocate: twins::allocate_by_store,
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_valid_one_more", "a list toggles the valid bit behind it, too"),
        make_valid: twins::valid_one_more,
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_skips_beside", "the slot behind an illegal command is overwritten"),
        skipped_slot: twins::slot_behind,
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_lock_after_valid", "the SYNC's lock is taken after its valid bit"),
        make_valid: twins::lock_after_valid,
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_msi_word_late", "the word that the MSI overwrites is written last"),
        make_valid: twins::first_word_late,
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_valid_in_every_lap", "the valid map's polarity is not inverted"),
        valid: twins::VALID_IN_EVERY_LAP,
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_owned_cleared_first", "OWNED is cleared before owner_prod is waited for"),
        hand_over: twins::owned_cleared_first,
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_owner_does_not_wait", "the owner does not wait for owner_prod"),
        hand_over: twins::owner_does_not_wait,
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_owner_skips_followers", "the owner does not wait for valid bits"),
        hand_over: twins::owner_skips_followers,
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_space_minus_one", "k entries go into k - 1 free slots"),
        queue_has_space: twins::space_minus_one,
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_cons_by_non_last", "every waiter moves llq.cons, not only the last"),
        shared_tryunlock: twins::tryunlock_always_last,
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_consumed_ge", "a SYNC at CONS counts as consumed"),
        queue_consumed: twins::consumed_ge,
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_last_does_not_unlock", "the last waiter forgets the unlock"),
        shared_tryunlock: twins::tryunlock,
        shared_unlock: twins::no_unlock,
        ..DF180B1A4CC5
    },
    Revision {
        info: twin("cmdq_prod_per_producer", "every producer writes PROD for itself"),
        issue_cmdlist: twins::prod_per_producer,
        insert_cmdlist: None,
        ..DF180B1A4CC5
    },
    // Twins of the texts with a spinlock.
    Revision {
        info: twin_of("cmdq_spinlock_kept", SLOCK, "the lock is kept by who waits for space"),
        allocate: slock::twins::kept_while_full,
        ..SPINLOCK_FALLBACK
    },
    Revision {
        info: twin_of(
            "cmdq_linux_5_3_full_compare",
            SPINLOCK,
            "before bcfced1580c4: space is waited for by comparing CONS with the command's end",
        ),
        issue_cmdlist: linux_5_3::twins::full_compare,
        ..LINUX_5_3
    },
    Revision {
        info: twin_of(
            "cmdq_linux_5_3_msi_seq_before_slot",
            SPINLOCK,
            "before 0f02477d1698: the number of a CMD_SYNC is taken before the lock",
        ),
        issue_cmdlist: linux_5_3::twins::msi_seq_before_slot,
        ..LINUX_5_3
    },
    Revision {
        info: twin_of(
            "cmdq_linux_5_3_sync_shared",
            SPINLOCK,
            "a CMD_SYNC is shared although commands came after it",
        ),
        issue_cmdlist: linux_5_3::twins::sync_shared_with_later,
        ..LINUX_5_3
    },
    // Twins of the fetch_add.
    Revision {
        info: twin_of(
            "cmdq_fetch_add_unbounded",
            FETCH_ADD_NAME,
            "lists are not bounded by the ring and the number of CPUs",
        ),
        check: fetch_add::twins::no_check,
        ..FETCH_ADD
    },
    Revision {
        info: twin_of(
            "cmdq_fetch_add_quiet_returns",
            FETCH_ADD_NAME,
            "a list that nobody waits for returns before it is published",
        ),
        hand_over: fetch_add::twins::hand_over_for_syncs,
        quiet_list_done: |_, _| {},
        ..FETCH_ADD
    },
    Revision {
        info: twin_of(
            "cmdq_fetch_add_narrow_counts",
            FETCH_ADD_NAME,
            "a group has more lists than its number can say",
        ),
        issue_cmdlist: fetch_add::twins::narrow_issue,
        hand_over: fetch_add::twins::narrow_hand_over,
        ..FETCH_ADD
    },
    Revision {
        info: twin_of(
            "cmdq_fetch_add_lock_by_each",
            FETCH_ADD_NAME,
            "every CPU takes the lock for its own CMD_SYNC, not the owner for all",
        ),
        make_valid: cmdq::make_valid,
        hand_over: fetch_add::twins::hand_over_without_lock,
        quiet_list_done: fetch_add::poll_until_published,
        ..FETCH_ADD
    },
    Revision {
        info: twin_of(
            "cmdq_fetch_add_written_first",
            FETCH_ADD_NAME,
            "entries are written before there is space for them",
        ),
        issue_cmdlist: fetch_add::twins::written_first,
        ..FETCH_ADD
    },
    Revision {
        info: twin_of(
            "cmdq_fetch_add_quiet_without_lock",
            FETCH_ADD_NAME,
            "who waits for a list to be published does not hold the lock",
        ),
        hand_over: fetch_add::twins::hand_over_for_syncs,
        quiet_list_done: fetch_add::poll_until_published,
        ..FETCH_ADD
    },
    // Twins of runtime power management.
    Revision {
        info: twin_of(
            "cmdq_prod_stop_looked_at_once",
            PROD_STOP_NAME,
            "the flag is looked at before the first CAS only",
        ),
        allocate: prod_stop::twins::allocate_looking_once,
        ..PROD_STOP
    },
    Revision {
        info: twin_of(
            "cmdq_prod_stop_without_drain",
            PROD_STOP_NAME,
            "what is in the ring is not waited for",
        ),
        pm: Some(prod_stop::twins::WITHOUT_DRAIN),
        ..PROD_STOP
    },
    Revision {
        info: twin_of(
            "cmdq_prod_stop_drained_first",
            PROD_STOP_NAME,
            "the ring is drained before the flag is set",
        ),
        pm: Some(prod_stop::twins::DRAINED_FIRST),
        ..PROD_STOP
    },
    Revision {
        info: twin_of(
            "cmdq_prod_stop_without_lock",
            PROD_STOP_NAME,
            "the lock is not taken, so a CPU may still read CONS",
        ),
        pm: Some(prod_stop::twins::WITHOUT_LOCK),
        ..PROD_STOP
    },
    Revision {
        info: twin_of(
            "cmdq_prod_stop_without_restore",
            PROD_STOP_NAME,
            "PROD and CONS are not written when the power is back",
        ),
        pm: Some(prod_stop::twins::WITHOUT_RESTORE),
        ..PROD_STOP
    },
    // Twins of more than one queue.
    Revision {
        info: twin_of(
            "cmdq_ecmdq_preemptible",
            ECMDQ_NAME,
            "preemption is not disabled between the lists of a batch",
        ),
        batch_submit: batch::arm_smmu_cmdq_batch_submit,
        ..ECMDQ
    },
    Revision {
        info: twin_of(
            "cmdq_tegra241_cmdqv_stays",
            TEGRA241_NAME,
            "a full batch goes on in its queue: the fix of what the text does",
        ),
        batch_is_full: batch::twins::full_on_the_same_queue,
        ..TEGRA241
    },
    Revision {
        info: twin_of(
            "cmdq_tegra241_cmdqv_switches_without_sync",
            TEGRA241_NAME,
            "what comes before a command that the queue lacks is issued without a CMD_SYNC",
        ),
        batch_submit: batch::twins::switch_without_sync,
        ..TEGRA241
    },
    Revision {
        info: twin_of(
            "cmdq_tegra241_cmdqv_everything",
            TEGRA241_NAME,
            "a VCMDQ gets commands that it does not execute",
        ),
        supports_cmd: main_queue::arm_smmu_cmdq_supports_cmd,
        ..TEGRA241
    },
    Revision {
        info: twin_of(
            "cmdq_tegra241_cmdqv_msi",
            TEGRA241_NAME,
            "the CMD_SYNC of a VCMDQ is waited for by an MSI, which it does not raise",
        ),
        completion: main_queue::completion,
        ..TEGRA241
    },
    // Twins of the repetition.
    Revision {
        info: twin_of(
            "cmdq_repeat_before_sync",
            REPEAT,
            "the repetition does not wait for the first CMD_SYNC",
        ),
        issue_cmdlist: repeat::twins::repeat_before_sync,
        ..V06B15DDCFBC0
    },
    Revision {
        info: twin_of(
            "cmdq_repeat_mixed_batch",
            REPEAT,
            "a vSMMU's list may have commands of both classes",
        ),
        vsmmu_can_batch_cmd: |_, _, _| true,
        ..V06B15DDCFBC0
    },
    // Twins of a guest's invalidation.
    Revision {
        info: twin_by_windows(
            "cmdq_vsmmu_count_dropped",
            "a window that does not convert counts up to the command that does not",
        ),
        iommufd_hwpt_invalidate: vsmmu::twins::count_dropped,
        ..V2D4F03F6610D
    },
    Revision {
        info: twin_by_windows(
            "cmdq_vsmmu_without_masks",
            "bits that the command does not have are passed on to the ring",
        ),
        iommufd_hwpt_invalidate: vsmmu::twins::without_masks,
        ..V2D4F03F6610D
    },
];

/// The row of this name or alias.
pub fn find(name: &str) -> Option<&'static Revision> {
    ROWS.iter().find(|row| row.info.name == name || row.info.aliases.contains(&name))
}
