//! The rows: one table of functions per posted or merged text, and the twins.
//!
//! A row changes only what its patch changed. A twin is a row that does one thing otherwise, to
//! show what the text of its row is good for; the text of a twin says "Not a posted text".
//! Later rows (other revisions of the series, 6.4 to 7.3) are added here and nowhere else.

use uapi::pick::RevisionInfo;

use crate::iommufd::revision::Revision;
use crate::iommufd::{device, main, viommu};

const SERIES: &str = "<cover.1730313494.git.nicolinc@nvidia.com>";

/// The series as merged in 6.13: two counters, vDEVICE with get_device().
pub const LINUX_6_13: Revision = Revision {
    info: RevisionInfo {
        name: "linux_6_13",
        aliases: &["p2_v6"],
        twin_of: None,
        doc: "The series as merged: two counters, a vDEVICE that holds the struct device",
        source: "<cover.1730313494.git.nicolinc@nvidia.com>; torvalds/linux v6.13, \
                 drivers/iommu/iommufd",
    },
    iommufd_get_object: main::iommufd_get_object,
    iommufd_lock_obj: main::iommufd_lock_obj,
    iommufd_put_object: main::iommufd_put_object,
    iommufd_object_remove: main::iommufd_object_remove,
    iommufd_object_finalize: main::iommufd_object_finalize,
    iommufd_object_abort: main::iommufd_object_abort,
    iommufd_object_abort_and_destroy: main::iommufd_object_abort_and_destroy,
    iommufd_object_destroy_user: main::iommufd_object_remove_owned,
    iommufd_object_put_and_try_destroy: main::iommufd_object_put_and_try_destroy,
    iommufd_destroy: main::iommufd_destroy,
    iommufd_fops_release: main::iommufd_fops_release,
    destroy_wait_ms: 10_000,
    iommufd_viommu_alloc_ioctl: Some(viommu::iommufd_viommu_alloc_ioctl),
    iommufd_vdevice_alloc_ioctl: Some(viommu::iommufd_vdevice_alloc_ioctl),
    iommufd_device_destroy: device::iommufd_device_destroy,
    iommufd_viommu_destroy: viommu::iommufd_viommu_destroy,
    iommufd_vdevice_destroy: viommu::iommufd_vdevice_destroy,
};

/// 6.7 to 6.11: two counters, before there were vIOMMUs.
pub const LINUX_6_7: Revision = Revision {
    info: RevisionInfo {
        name: "linux_6_7",
        aliases: &[],
        twin_of: None,
        doc: "The first core with two counters and a wait queue in the context",
        source:
            "6f9c4d8c468c189d6dc470324bd52955f8aa0a10, bd7a282650b8beb57bc9d19bfcb714b1ccae843a",
    },
    iommufd_viommu_alloc_ioctl: None,
    iommufd_vdevice_alloc_ioctl: None,
    ..LINUX_6_13
};

/// 6.5 and 6.6: one counter and a semaphore; IOMMU_DESTROY takes no user. What is not the object
/// core (device.c, hw_pagetable.c, the calls) is the text of 6.7.
pub const LINUX_6_6: Revision = Revision {
    info: RevisionInfo {
        name: "linux_6_6",
        aliases: &[],
        twin_of: None,
        doc: "One counter and destroy_rwsem; IOMMU_DESTROY removes the object without a user of \
              its own",
        source: "99f98a7c0d6985d5507c8130a981972e4b7b3bdc",
    },
    iommufd_lock_obj: main::linux_6_4::iommufd_lock_obj,
    iommufd_put_object: main::linux_6_4::iommufd_put_object,
    iommufd_object_destroy_user: main::linux_6_6::iommufd_object_destroy_user,
    iommufd_object_put_and_try_destroy: main::linux_6_6::iommufd_object_deref_user,
    iommufd_destroy: main::linux_6_6::iommufd_destroy,
    // Nothing of this core calls the later iommufd_object_remove(), which waits for a counter.
    ..LINUX_6_7
};

/// 6.2 to 6.4: as 6.6, but IOMMU_DESTROY looks the object up and keeps that user.
pub const LINUX_6_4: Revision = Revision {
    info: RevisionInfo {
        name: "linux_6_4",
        aliases: &[],
        twin_of: None,
        doc: "One counter and destroy_rwsem; IOMMU_DESTROY takes a user of its own",
        source: "torvalds/linux v6.4, drivers/iommu/iommufd; reference/iommufd.md 1.5",
    },
    iommufd_object_destroy_user: main::linux_6_4::iommufd_object_destroy_user,
    iommufd_object_put_and_try_destroy: main::linux_6_4::iommufd_object_put_and_try_destroy,
    iommufd_destroy: main::linux_6_4::iommufd_destroy,
    ..LINUX_6_6
};

/// 6.14: a destroyer waits for a minute.
pub const LINUX_6_14: Revision = Revision {
    info: RevisionInfo {
        name: "linux_6_14",
        aliases: &[],
        twin_of: None,
        doc: "As 6.13, but a destroyer waits for 60 seconds",
        source: "d9df72c6acd683adf6dd23c061f3a414ec00b1f8",
    },
    destroy_wait_ms: 60_000,
    ..LINUX_6_13
};

/// The description of a twin of 6.13.
const fn twin(
    name: &'static str,
    aliases: &'static [&'static str],
    doc: &'static str,
    source: &'static str,
) -> RevisionInfo {
    RevisionInfo { name, aliases, twin_of: Some("linux_6_13"), doc, source }
}

macro_rules! twins {
    ($($what:literal: $doc:literal, $source:expr => { $($field:ident: $text:expr),* $(,)? };)*) => {
        /// The twins of 6.13, in the order of their questions.
        const TWINS: &[Revision] = &[$(Revision {
            info: twin(
                concat!("linux_6_13_", $what), &[concat!("p2_v6_", $what)], $doc, $source,
            ),
            $($field: $text,)*
            ..LINUX_6_13
        },)*];
    };
}

twins! {
    "without_xa_cmpxchg": "iommufd_vdevice_destroy() erases the slot whatever it holds", SERIES => {
        iommufd_vdevice_destroy: viommu::xa_erase::iommufd_vdevice_destroy,
    };
    "skip_erase_unless_published": "the unwind skips the erase if the vDEVICE was not published",
    SERIES => {
        iommufd_vdevice_alloc_ioctl: Some(viommu::skip_erase::unless_published::iommufd_vdevice_alloc_ioctl),
        iommufd_vdevice_destroy: viommu::skip_erase::iommufd_vdevice_destroy,
    };
    "skip_erase_on_eexist": "the unwind skips the erase on -EEXIST only, also not on -ENOMEM",
    SERIES => {
        iommufd_vdevice_alloc_ioctl: Some(viommu::skip_erase::on_eexist::iommufd_vdevice_alloc_ioctl),
        iommufd_vdevice_destroy: viommu::skip_erase::iommufd_vdevice_destroy,
    };
    "skip_erase_on_abort": "every unwind skips the erase, also after the vDEVICE was published",
    SERIES => {
        iommufd_vdevice_alloc_ioctl: Some(viommu::skip_erase::on_abort::iommufd_vdevice_alloc_ioctl),
        iommufd_vdevice_destroy: viommu::skip_erase::iommufd_vdevice_destroy,
    };
    "cmpxchg_after_kfree": "the unwind compares with the address of a vDEVICE that it has freed",
    "<cover.1723061377.git.nicolinc@nvidia.com>" => {
        iommufd_vdevice_alloc_ioctl: Some(viommu::cmpxchg_after_kfree::iommufd_vdevice_alloc_ioctl),
    };
    "compare_virt_id": "iommufd_vdevice_destroy() erases any vDEVICE of the same virtual ID",
    SERIES => {
        iommufd_vdevice_destroy: viommu::compare_virt_id::iommufd_vdevice_destroy,
    };
    "put_device_before_erase": "iommufd_vdevice_destroy() drops the device before the slot is clear",
    SERIES => {
        iommufd_vdevice_destroy: viommu::put_device_before_erase::iommufd_vdevice_destroy,
    };
    "users_dec_before_erase": "iommufd_vdevice_destroy() drops the vIOMMU before the slot is clear",
    SERIES => {
        iommufd_vdevice_destroy: viommu::users_dec_before_erase::iommufd_vdevice_destroy,
    };
    "users_inc_after_publish": "the allocation raises the vIOMMU's users after the finalize", SERIES => {
        iommufd_vdevice_alloc_ioctl: Some(viommu::users_inc_after_publish::iommufd_vdevice_alloc_ioctl),
    };
    "put_shortterm_first": "iommufd_put_object() drops shortterm_users before users",
    "torvalds/linux v6.13, iommufd_private.h, comment in iommufd_put_object()" => {
        iommufd_put_object: main::put_shortterm_first::iommufd_put_object,
    };
    "wake_through_object": "iommufd_put_object() finds the wait queue through the object",
    "bd7a282650b8beb57bc9d19bfcb714b1ccae843a" => {
        iommufd_put_object: main::wake_through_object::iommufd_put_object,
    };
    "without_wait_after_erase": "IOMMU_DESTROY frees without waiting for those on the way out",
    "torvalds/linux v6.13, main.c, iommufd_object_remove()" => {
        iommufd_object_remove: main::without_wait_after_erase::iommufd_object_remove,
    };
    "without_lock_obj_undo": "iommufd_lock_obj() keeps users when shortterm_users is 0",
    "torvalds/linux v6.13, iommufd_private.h, iommufd_lock_obj()" => {
        iommufd_lock_obj: main::without_lock_obj_undo::iommufd_lock_obj,
    };
    "without_xa_lock_in_get": "iommufd_get_object() counts itself in after xa_unlock()",
    "torvalds/linux v6.13, main.c, iommufd_get_object()" => {
        iommufd_get_object: main::without_xa_lock_in_get::iommufd_get_object,
    };
    "without_bias_restore": "a failed removal keeps shortterm_users at 0",
    "torvalds/linux v6.13, main.c, iommufd_object_remove()" => {
        iommufd_object_remove: main::without_bias_restore::iommufd_object_remove,
    };
}

/// Every row, the base rows before their twins.
pub fn rows() -> impl Iterator<Item = &'static Revision> {
    const BASE: &[Revision] = &[LINUX_6_4, LINUX_6_6, LINUX_6_7, LINUX_6_13, LINUX_6_14];
    BASE.iter().chain(TWINS)
}

/// The row with this name or alias.
pub fn find(name: &str) -> Option<&'static Revision> {
    rows().find(|r| r.info.name == name || r.info.aliases.contains(&name))
}
