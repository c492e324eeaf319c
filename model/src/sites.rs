//! Which C function a line of the model belongs to.
//!
//! A step is logged with the place that called the primitive (`#[track_caller]`). The functions
//! of the model bear the names of the kernel's, so the name of the Rust function around that line
//! is the C function. The table is read off the sources themselves, which are compiled in: no
//! function of the model has to say its own name.
//!
//! The same reading gives the list of call sites ([`call_sites`]): every call of a primitive that
//! a mutant can change, whether or not any program reaches it.

use uapi::mutation::{CallSite, Change, OF_QUEUE, PRIMITIVES};
use uapi::step::Site;

use crate::sync::OncePerProcess;

macro_rules! sources {
    ($($path:literal),* $(,)?) => {
        /// Every source file of the model that calls primitives.
        const SOURCES: &[(&str, &str)] = &[$(($path, include_str!($path)),)*];
    };
}

sources![
    "arm_smmu_v3/cmdq.rs",
    "arm_smmu_v3/device.rs",
    "arm_smmu_v3/fetch_add.rs",
    "arm_smmu_v3/ghost.rs",
    "arm_smmu_v3/linux_5_3.rs",
    "arm_smmu_v3/lock.rs",
    "arm_smmu_v3/prod_stop.rs",
    "arm_smmu_v3/slock.rs",
    "arm_smmu_v3/smmu.rs",
    "arm_smmu_v3/twins.rs",
    "arm_smmu_v3/vsmmu.rs",
    "arm_smmu_v3/vsmmu/for_next_2026_09.rs",
    "arm_smmu_v3/vsmmu/linux_6_14.rs",
    "arm_smmu_v3/vsmmu/twins.rs",
    "arm_smmu_v3/wait.rs",
    "iommufd/access.rs",
    "iommufd/access/linux_6_17.rs",
    "iommufd/access/linux_6_4.rs",
    "iommufd/access/lock_under_xa_lock.rs",
    "iommufd/device.rs",
    "iommufd/device/group_canary.rs",
    "iommufd/device/group_twins.rs",
    "iommufd/device/without_b4ff830.rs",
    "iommufd/device/without_lock_obj.rs",
    "iommufd/device/linux_6_15.rs",
    "iommufd/device/linux_6_17_rc7.rs",
    "iommufd/driver.rs",
    "iommufd/eventq.rs",
    "iommufd/eventq/linux_6_17_rc7.rs",
    "iommufd/eventq/report_unlocked.rs",
    "iommufd/eventq/users_inc_after_finalize.rs",
    "iommufd/eventq/without_af7f478.rs",
    "iommufd/fault.rs",
    "iommufd/fault/linux_6_14.rs",
    "iommufd/fault/linux_6_15.rs",
    "iommufd/fault/linux_7_3.rs",
    "iommufd/fault/read_ends_on_fault.rs",
    "iommufd/fault/without_auto_response.rs",
    "iommufd/graph.rs",
    "iommufd/hw_pagetable.rs",
    "iommufd/hw_queue.rs",
    "iommufd/hw_pagetable/for_next_2026_09.rs",
    "iommufd/hw_pagetable/nested_only.rs",
    "iommufd/invariants.rs",
    "iommufd/io_pagetable.rs",
    "iommufd/ioas.rs",
    "iommufd/ioas/canaries.rs",
    "iommufd/main.rs",
    "iommufd/main/finalize_xa_cmpxchg.rs",
    "iommufd/main/linux_6_4.rs",
    "iommufd/main/linux_6_6.rs",
    "iommufd/main/linux_6_17.rs",
    "iommufd/main/linux_6_17_rc1.rs",
    "iommufd/main/linux_6_17_rc7.rs",
    "iommufd/main/put_shortterm_first.rs",
    "iommufd/main/touch_after_finalize.rs",
    "iommufd/main/wake_through_object.rs",
    "iommufd/main/without_bias_restore.rs",
    "iommufd/main/without_lock_obj_undo.rs",
    "iommufd/main/without_tombstone.rs",
    "iommufd/main/without_wait_after_erase.rs",
    "iommufd/main/without_xa_lock_in_get.rs",
    "iommufd/objects.rs",
    "iommufd/selftest.rs",
    "iommufd/pages.rs",
    "iommufd/pages/mutex_destroy_before_detach.rs",
    "iommufd/selftest/access.rs",
    "iommufd/selftest/dmabuf.rs",
    "iommufd/selftest/into_vdevice.rs",
    "iommufd/selftest/irq_stays_hooked.rs",
    "iommufd/selftest/linux_6_15.rs",
    "iommufd/selftest/linux_6_17.rs",
    "iommufd/selftest/linux_7_3.rs",
    "iommufd/selftest/pasid.rs",
    "iommufd/selftest/viommu_v1.rs",
    "iommufd/selftest/viommu_v2.rs",
    "iommufd/selftest/without_cf7c278.rs",
    "iommufd/selftest/without_vdevs_lock.rs",
    "iommufd/ucmd.rs",
    "iommufd/viommu.rs",
    "iommufd/viommu/assert_not_held.rs",
    "iommufd/viommu/cmpxchg_after_kfree.rs",
    "iommufd/viommu/compare_virt_id.rs",
    "iommufd/viommu/linux_6_17.rs",
    "iommufd/viommu/lock_in_destroy.rs",
    "iommufd/viommu/p2_v3.rs",
    "iommufd/viommu/p2_v4.rs",
    "iommufd/viommu/p2_v5.rs",
    "iommufd/viommu/poll_vdev.rs",
    "iommufd/viommu/put_device_before_erase.rs",
    "iommufd/viommu/put_idev_before_unlock.rs",
    "iommufd/viommu/skip_erase.rs",
    "iommufd/viommu/unlock_before_abort.rs",
    "iommufd/viommu/unlock_on_small_vdevice.rs",
    "iommufd/viommu/unset_with_xa_cmpxchg.rs",
    "iommufd/viommu/users_dec_before_erase.rs",
    "iommufd/viommu/users_inc_after_publish.rs",
    "iommufd/viommu/viommu_v1.rs",
    "iommufd/viommu/viommu_v2.rs",
    "iommufd/viommu/without_destroying.rs",
    "iommufd/viommu/without_get_vdevice.rs",
    "iommufd/viommu/xa_erase.rs",
    "linux/atomic.rs",
    "linux/device.rs",
    "linux/dma_buf.rs",
    "linux/fault.rs",
    "linux/iommu.rs",
    "linux/iommu_domain.rs",
    "linux/kcsan.rs",
    "linux/list.rs",
    "linux/lock.rs",
    "linux/lockdep.rs",
    "linux/maple_tree.rs",
    "linux/mutex.rs",
    "linux/refcount.rs",
    "linux/rwsem.rs",
    "linux/slab.rs",
    "linux/spinlock.rs",
    "linux/task_work.rs",
    "linux/uaccess.rs",
    "linux/wait.rs",
    "linux/warn.rs",
    "linux/xarray.rs",
    "litmus.rs",
    "program.rs",
    "queue.rs",
];

/// The functions of one source file: first line, from 1, and name, in order.
type Functions = Vec<(u32, &'static str)>;

/// The functions of every file of [`SOURCES`], read off once per process: a splat must not cost
/// more than the execution that prints it.
static FUNCTIONS: OncePerProcess<Vec<Functions>> = OncePerProcess::new();

fn functions_of(text: &'static str) -> Functions {
    let mut functions = Functions::new();
    let mut part_of = None;
    for (line, number) in text.lines().zip(1..) {
        if let Some(name) = function_name(line) {
            functions.push((number, part_of.take().unwrap_or(name)));
        } else if let Some(name) = whose_part(line) {
            part_of = Some(name);
        }
    }
    functions
}

/// The file below `src/` and the function of a place in the model.
pub fn locate(site: Site) -> (&'static str, &'static str) {
    let file = below_src(site.file);
    let Some(i) = SOURCES.iter().position(|(path, _)| *path == file) else {
        return (file, "");
    };
    let all =
        FUNCTIONS.get_or_init(|| SOURCES.iter().map(|(_, text)| functions_of(text)).collect());
    let before = all[i].partition_point(|(line, _)| *line <= site.line);
    (file, before.checked_sub(1).map_or("", |n| all[i][n].1))
}

/// A C function that is split in Rust says so in the documentation of its parts: "Part of
/// `iommufd_hwpt_alloc()`: …". The part bears the name of the whole.
fn whose_part(line: &'static str) -> Option<&'static str> {
    let rest = line.trim_start().strip_prefix("/// Part of `")?;
    rest.find('(').map(|end| &rest[..end])
}

/// Cuts a compiler's path at `src/`: the same file has another path in every backend's package.
fn below_src(path: &'static str) -> &'static str {
    match path.rfind("src/") {
        Some(i) => &path[i + 4..],
        None => path,
    }
}

/// The name that a line defines, if it starts a function.
fn function_name(line: &'static str) -> Option<&'static str> {
    let rest = line.trim_start();
    let rest = rest
        .strip_prefix("pub(crate) ")
        .or_else(|| rest.strip_prefix("pub(super) "))
        .unwrap_or(rest);
    let rest = rest.strip_prefix("pub ").unwrap_or(rest);
    let rest = rest.strip_prefix("const ").unwrap_or(rest);
    let rest = rest.strip_prefix("fn ")?;
    rest.find(['(', '<']).map(|end| &rest[..end])
}

// ---------------------------------------------------------------------------------------------
// Call sites
// ---------------------------------------------------------------------------------------------

/// Whether a file is a part of the kernel that is modelled, and neither user space, nor one of the
/// testbed's own checks, nor the inside of a primitive.
fn is_kernel(file: &str) -> bool {
    const CHECKS: &[&str] = &["iommufd/graph.rs", "iommufd/invariants.rs", "iommufd/objects.rs"];
    const MODELLED: &[&str] = &["linux/device.rs", "linux/iommu.rs"];
    (file.starts_with("iommufd/") && !CHECKS.contains(&file)) || MODELLED.contains(&file)
}

/// Whether a file is a part of the command queue and its SMMU, and none of the testbed's own checks.
fn is_queue(file: &str) -> bool {
    file.starts_with("arm_smmu_v3/") && file != "arm_smmu_v3/ghost.rs"
}

/// The call sites of [`SOURCES`], by file, line and column.
static CALL_SITES: OncePerProcess<Vec<CallSite>> = OncePerProcess::new();

/// Every place in the kernel model that calls a primitive which can be done otherwise, every label,
/// and every place in the command queue that calls one of its primitives.
pub fn call_sites() -> &'static [CallSite] {
    CALL_SITES.get_or_init(|| {
        let mut files: Vec<_> =
            SOURCES.iter().filter(|(file, _)| is_kernel(file) || is_queue(file)).collect();
        files.sort_unstable();
        files.into_iter().flat_map(|(file, text)| call_sites_of(file, text)).collect()
    })
}

fn call_sites_of(file: &'static str, text: &'static str) -> Vec<CallSite> {
    let functions = functions_of(text);
    let mut sites: Vec<CallSite> = Vec::new();
    for (text, line) in text.lines().zip(1..) {
        if function_name(text).is_some() {
            continue;
        }
        let i = functions.partition_point(|(first, _)| *first <= line);
        let Some(&(part, function)) = i.checked_sub(1).map(|i| &functions[i]) else { continue };
        for (column, op) in calls(text) {
            let primitive = PRIMITIVES.iter().find(|(name, _)| *name == op);
            let of_queue = OF_QUEUE.iter().find(|name| **name == op);
            let (op, changes): (&str, &[Change]) = match (primitive, label_name(text)) {
                _ if is_queue(file) => match of_queue {
                    Some(op) => (op, &[]),
                    None => continue,
                },
                (Some((op, changes)), _) => (op, changes),
                (None, Some(name)) if op == "label" => (name, &[]),
                _ => continue,
            };
            let earlier = sites.iter().filter(|s| s.function == function && s.op == op);
            let nth = earlier.count() as u32 + 1;
            sites.push(CallSite { file, line, column, function, part, op, nth, changes });
        }
    }
    sites
}

/// The name of the label in this line, if it has one.
fn label_name(line: &'static str) -> Option<&'static str> {
    line.trim_start().strip_prefix("label(\"")?.strip_suffix("\");")
}

/// The names in a line of code that are called: column from 1, and name. A method counts only if
/// it is `store`, the one method that is a primitive.
fn calls(line: &'static str) -> Vec<(u32, &'static str)> {
    let code = line.split("//").next().unwrap_or(line);
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut calls = Vec::new();
    for (open, _) in code.match_indices('(') {
        let start = code[..open].rfind(|c| !is_word(c)).map_or(0, |i| i + 1);
        let name = &code[start..open];
        if !name.is_empty() && code[..start].ends_with('.') == (name == "store") {
            calls.push((start as u32 + 1, name));
        }
    }
    calls
}

/// Where a call site is.
pub fn place(index: u16) -> Option<Site> {
    let site = call_sites().get(usize::from(index))?;
    Some(Site { file: site.file, line: site.line, column: site.column })
}

/// The call site at this place, if it is one.
pub fn call_site_at(at: Site) -> Option<u16> {
    let key = (below_src(at.file), at.line, at.column);
    let found = call_sites().binary_search_by_key(&key, |s| (s.file, s.line, s.column));
    found.ok().and_then(|i| u16::try_from(i).ok())
}

/// Whether the two are one place, whichever package it was compiled in.
pub fn same_place(a: Site, b: Site) -> bool {
    (a.line, a.column) == (b.line, b.column) && below_src(a.file) == below_src(b.file)
}
