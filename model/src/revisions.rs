//! The rows: one table of functions per posted or merged text, and the twins.
//!
//! A row changes only what its patch changed. A twin is a row that does one thing otherwise, to
//! show what the text of its row is good for; the text of a twin says "Not a posted text".
//! Later rows (other revisions of the series, 6.4 to 7.3) are added here and nowhere else.

use uapi::call::{
    HWPT_ALLOC_DIRTY_TRACKING, HWPT_ALLOC_NEST_PARENT, HWPT_ALLOC_PASID, HWPT_FAULT_ID_VALID,
};
use uapi::pick::RevisionInfo;

use crate::iommufd::revision::Revision;
use crate::iommufd::viommu::skip_erase::{self, unless_published};
use crate::iommufd::viommu::users_inc_after_publish;
use crate::iommufd::{
    access, device, driver, eventq, fault, hw_pagetable, hw_queue, io_pagetable, ioas, main, pages,
    selftest, viommu,
};

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
    iommufd_ioas_finalize: ioas::iommufd_ioas_finalize,
    iommufd_ioas_map_file: Some(ioas::iommufd_ioas_map_file),
    iopt_map_file_pages: io_pagetable::iopt_map_file_pages,
    iopt_release_pages: pages::iopt_release_pages,
    iommufd_test_dmabuf_get: None,
    iommufd_test_dmabuf_revoke: None,
    iommufd_ioas_change_process: Some(ioas::iommufd_ioas_change_process),
    take_all_forgets: ioas::forget_ioas,
    area_is_of_no_file: ioas::area_is_of_no_file,
    iommufd_hw_pagetable_attach: device::iommufd_hw_pagetable_attach,
    iommufd_fault_domain_attach_dev: fault::iommufd_fault_domain_attach_dev,
    iommufd_device_detach: device::iommufd_device_detach,
    iommufd_hw_pagetable_detach: device::iommufd_hw_pagetable_detach,
    iommufd_test_pasid: None,
    iommufd_device_do_replace: device::iommufd_device_do_replace,
    iommufd_hwpt_invalidate: hw_pagetable::iommufd_hwpt_invalidate,
    invalidate_entry_len_max: u64::MAX,
    invalidate_entry_num_max: u64::MAX,
    hwpt_paging_flags: HWPT_ALLOC_NEST_PARENT | HWPT_ALLOC_DIRTY_TRACKING,
    hwpt_nested_flags: HWPT_FAULT_ID_VALID,
    hw_info_flags: 0,
    hw_info_reserved: 0xffff_ffff,
    mock_domain_alloc_paging_flags: selftest::mock_domain_alloc_paging_flags,
    iommufd_test_dev_check_cache: Some(selftest::iommufd_test_dev_check_cache),
    iommufd_viommu_alloc_ioctl: Some(viommu::iommufd_viommu_alloc_ioctl),
    iommufd_vdevice_alloc_ioctl: Some(viommu::iommufd_vdevice_alloc_ioctl),
    shortterm_users: "obj.shortterm_users",
    viommu_alloc_size: 24,
    iommufd_fault_alloc: Some(eventq::iommufd_fault_alloc),
    iommufd_veventq_alloc: None,
    iommufd_hw_queue_alloc_ioctl: None,
    iommufd_hw_queue_depend: hw_queue::iommufd_hw_queue_depend,
    iommufd_fops_mmap: None,
    iommufd_viommu_find_dev: driver::iommufd_viommu_find_dev,
    mock_domain_nop_attach: selftest::mock_domain_nop_attach,
    iommufd_test_trigger_vevent: None,
    iommufd_test_access_replace_ioas: Some(selftest::access::iommufd_test_access_replace_ioas),
    iommufd_access_attach: access::iommufd_access_attach,
    iopt_add_access: io_pagetable::iopt_add_access,
    iommufd_access_notify_unmap: access::iommufd_access_notify_unmap,
    iommufd_access_pin_pages: access::iommufd_access_pin_pages,
    iommufd_access_unpin_pages: access::iommufd_access_unpin_pages,
    iommufd_access_rw: access::iommufd_access_rw,
    iommufd_access_destroy_object: access::iommufd_access_destroy_object,
    iommufd_test_syz_conv_iova: selftest::access::iommufd_test_syz_conv_iova,
    interrupt: None,
    attached_to_hwpt: |_hwpt| {},
    iommufd_test_trigger_iopf: Some(fault::iommufd_test_trigger_iopf),
    iommufd_fault_iopf_handler: fault::iommufd_fault_iopf_handler,
    iommufd_auto_response_faults: fault::iommufd_auto_response_faults,
    iommufd_fault_fops_read: fault::iommufd_fault_fops_read,
    iommufd_fault_fops_poll: fault::iommufd_fault_fops_poll,
    iommufd_fault_destroy: fault::iommufd_fault_destroy,
    iommufd_viommu_report_event: eventq::iommufd_viommu_report_event,
    iommufd_device_pre_destroy: None,
    iommufd_vdevice_abort: None,
    file_offset: None,
    iommufd_viommu_set_vdev_id: None,
    iommufd_viommu_unset_vdev_id: None,
    mock_viommu_invalidate_one: selftest::mock_viommu_invalidate_one,
    vdevice_init: None,
    iommufd_get_group: device::iommufd_get_group,
    iommufd_group_release: device::iommufd_group_release,
    iommufd_device_auto_get_domain: device::iommufd_device_auto_get_domain,
    iommufd_device_unbind_vdev: None,
    iommufd_device_destroy: device::iommufd_device_destroy,
    iommufd_viommu_destroy: viommu::iommufd_viommu_destroy,
    iommufd_vdevice_destroy: viommu::iommufd_vdevice_destroy,
};

/// Before the series: no vIOMMU and no vDEVICE, and caches of nested HWPTs only.
pub const LINUX_6_12: Revision = Revision {
    info: RevisionInfo {
        name: "linux_6_12",
        aliases: &[],
        twin_of: None,
        doc: "Two counters, without vIOMMU and vDEVICE",
        source: "torvalds/linux v6.12, drivers/iommu/iommufd; the answers of 6.12.117",
    },
    iommufd_hwpt_invalidate: hw_pagetable::nested_only::iommufd_hwpt_invalidate,
    iommufd_test_dev_check_cache: None,
    iommufd_viommu_alloc_ioctl: None,
    iommufd_vdevice_alloc_ioctl: None,
    iommufd_ioas_finalize: main::iommufd_object_finalize,
    iommufd_ioas_map_file: None,
    iommufd_ioas_change_process: None,
    ..LINUX_6_13
};

/// 6.7 to 6.10: two counters, before there were vIOMMUs and fault queues.
pub const LINUX_6_7: Revision = Revision {
    info: RevisionInfo {
        name: "linux_6_7",
        aliases: &[],
        twin_of: None,
        doc: "The first core with two counters and a wait queue in the context",
        source:
            "6f9c4d8c468c189d6dc470324bd52955f8aa0a10, bd7a282650b8beb57bc9d19bfcb714b1ccae843a",
    },
    iommufd_fault_alloc: None,
    iommufd_test_trigger_iopf: None,
    iommufd_test_syz_conv_iova: selftest::without_cf7c278::iommufd_test_syz_conv_iova,
    iopt_add_access: io_pagetable::without_aeb004c::iopt_add_access,
    ..LINUX_6_12
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
    iommufd_test_access_replace_ioas: None,
    iommufd_access_attach: access::linux_6_4::iommufd_access_attach,
    iommufd_access_pin_pages: access::linux_6_4::iommufd_access_pin_pages,
    iommufd_access_unpin_pages: access::linux_6_4::iommufd_access_unpin_pages,
    iommufd_access_rw: access::linux_6_4::iommufd_access_rw,
    iommufd_access_destroy_object: access::linux_6_4::iommufd_access_destroy_object,
    ..LINUX_6_6
};

/// 6.14: a destroyer waits for a minute, and devices fault without waiting for readers.
pub const LINUX_6_14: Revision = Revision {
    info: RevisionInfo {
        name: "linux_6_14",
        aliases: &[],
        twin_of: None,
        doc:
            "As 6.13, but a destroyer waits for 60 seconds; a lock for what a fault queue delivers",
        source: "d9df72c6acd683adf6dd23c061f3a414ec00b1f8, \
                 3d49020a327cd7d069059317c11df24e407ccfa3",
    },
    destroy_wait_ms: 60_000,
    iommufd_fault_iopf_handler: fault::linux_6_14::iommufd_fault_iopf_handler,
    iommufd_auto_response_faults: fault::linux_6_14::iommufd_auto_response_faults,
    iommufd_fault_fops_read: fault::linux_6_14::iommufd_fault_fops_read,
    iommufd_fault_fops_poll: fault::linux_6_14::iommufd_fault_fops_poll,
    iommufd_fault_destroy: fault::linux_6_14::iommufd_fault_destroy,
    ..LINUX_6_13
};

/// 6.15: virtual event queues, and a device must have a vDEVICE to be attached to a vIOMMU's
/// nested HWPT.
pub const LINUX_6_15: Revision = Revision {
    info: RevisionInfo {
        name: "linux_6_15",
        aliases: &["linux_6_16"],
        twin_of: None,
        doc: "As 6.14, with vEVENTQs and the vDEVICE that attaching needs",
        source: "torvalds/linux v6.15; 50c842dd6cd3dcee0d004399342b651edc8e851a, \
                 f0be7a250aba60925da689c0b79ab8ff50181a56, \
                 d659d89fecb7cba7b18c5108a28c6b997e197e66",
    },
    hwpt_paging_flags: HWPT_ALLOC_NEST_PARENT | HWPT_ALLOC_DIRTY_TRACKING | HWPT_ALLOC_PASID,
    hwpt_nested_flags: HWPT_FAULT_ID_VALID | HWPT_ALLOC_PASID,
    mock_domain_alloc_paging_flags: selftest::linux_6_15::mock_domain_alloc_paging_flags,
    iommufd_fault_domain_attach_dev: fault::linux_6_15::iommufd_fault_domain_attach_dev,
    iommufd_device_do_replace: device::linux_6_15::iommufd_device_do_replace,
    iommufd_hw_pagetable_attach: device::linux_6_15::iommufd_hw_pagetable_attach,
    iommufd_test_pasid: Some(selftest::pasid::iommufd_test_pasid),
    iommufd_device_detach: device::linux_6_15::iommufd_device_detach,
    iommufd_hw_pagetable_detach: device::linux_6_15::iommufd_hw_pagetable_detach,
    hw_info_reserved: 0xffff_ff00,
    iommufd_veventq_alloc: Some(eventq::iommufd_veventq_alloc),
    mock_domain_nop_attach: selftest::linux_6_15::mock_domain_nop_attach,
    iommufd_test_trigger_vevent: Some(selftest::linux_6_15::iommufd_test_trigger_vevent),
    interrupt: Some(selftest::linux_6_15::interrupt),
    ..LINUX_6_14
};

/// 6.17-rc1: a vDEVICE holds its bound device and goes away with it; tombstones, mmap.
pub const LINUX_6_17_RC1: Revision = Revision {
    info: RevisionInfo {
        name: "linux_6_17_rc1",
        aliases: &[],
        twin_of: None,
        doc: "A vDEVICE holds its bound device, whose unbind destroys it; tombstones, mmap",
        source: "torvalds/linux v6.17-rc1; 7dc0e1090ba80bcf1bbb69b334ccb3c47631a9c5, \
                 850f14f5b91986e586b66565c9c75bdd4c834571, \
                 e6d41ee31219b4d605c2a26bdca0984108e6e01a, \
                 56e9a0d8e53f56f313d332888a32a44a71f3a9ab",
    },
    shortterm_users: "obj.wait_cnt",
    viommu_alloc_size: 40,
    iommufd_object_remove: main::linux_6_17::iommufd_object_remove,
    iommufd_fops_release: main::linux_6_17::iommufd_fops_release,
    iommufd_viommu_alloc_ioctl: Some(viommu::linux_6_17::iommufd_viommu_alloc_ioctl),
    iommufd_vdevice_alloc_ioctl: Some(viommu::linux_6_17::iommufd_vdevice_alloc_ioctl),
    iommufd_hw_queue_alloc_ioctl: Some(hw_queue::iommufd_hw_queue_alloc_ioctl),
    iommufd_fops_mmap: Some(main::linux_6_17_rc1::iommufd_fops_mmap),
    iommufd_viommu_find_dev: viommu::linux_6_17::iommufd_viommu_find_dev,
    iommufd_access_notify_unmap: access::linux_6_17::iommufd_access_notify_unmap,
    iommufd_device_pre_destroy: Some(viommu::linux_6_17::iommufd_device_pre_destroy),
    iommufd_vdevice_abort: Some(viommu::linux_6_17::iommufd_vdevice_abort),
    iommufd_viommu_destroy: viommu::linux_6_17::iommufd_viommu_destroy,
    iommufd_vdevice_destroy: viommu::linux_6_17::iommufd_vdevice_destroy,
    ..LINUX_6_15
};

/// 6.17: files of aborted objects are released at once; mmap counts under the lock.
pub const LINUX_6_17: Revision = Revision {
    info: RevisionInfo {
        name: "linux_6_17",
        aliases: &["linux_6_18"],
        twin_of: None,
        doc: "As 6.17-rc1, with the fixes of aborted files and of mmap",
        source: "torvalds/linux v6.17; 4e034bf045b12852a24d5d33f2451850818ba0c1, \
                 53d0584eeb2c85a46c83656246d61a89558d74b3, \
                 7a425ec75d2bb30a1c959a8676ef8c5ef285095d",
    },
    iommufd_device_detach: device::linux_6_17_rc7::iommufd_device_detach,
    iommufd_hw_pagetable_detach: device::linux_6_17_rc7::iommufd_hw_pagetable_detach,
    iommufd_object_abort: main::linux_6_17_rc7::iommufd_object_abort,
    iommufd_object_abort_and_destroy: main::linux_6_17_rc7::iommufd_object_abort_and_destroy,
    iommufd_fault_alloc: Some(eventq::linux_6_17_rc7::iommufd_fault_alloc),
    iommufd_veventq_alloc: Some(eventq::linux_6_17_rc7::iommufd_veventq_alloc),
    iommufd_fops_mmap: Some(main::linux_6_17::iommufd_fops_mmap),
    file_offset: Some(eventq::eventq_file),
    ..LINUX_6_17_RC1
};

/// 7.3, the newest kernel that was asked.
pub const LINUX_7_3: Revision = Revision {
    info: RevisionInfo {
        name: "linux_7_3",
        aliases: &[],
        twin_of: None,
        doc: "As 6.17 as far as objects live and die; what the ioctls take is that of 7.3.4",
        source: "linux 7.3.4 (recorded answers); nkumarsi/kernel-topics \
                 17ea9f74bb539aee6d3934555a22979da58db0d8",
    },
    invalidate_entry_len_max: 4096,
    invalidate_entry_num_max: 1 << 19,
    hwpt_paging_flags: HWPT_ALLOC_NEST_PARENT
        | HWPT_ALLOC_DIRTY_TRACKING
        | HWPT_FAULT_ID_VALID
        | HWPT_ALLOC_PASID,
    // IOMMU_HW_INFO_FLAG_INPUT_TYPE
    hw_info_flags: 1,
    mock_domain_alloc_paging_flags: selftest::linux_7_3::mock_domain_alloc_paging_flags,
    // 8c07df7cdfcf (2026)
    iommufd_test_trigger_iopf: Some(fault::linux_7_3::iommufd_test_trigger_iopf),
    // dma-bufs are of 6.19, and f2d70dbd3dce (2026) is in
    iopt_map_file_pages: pages::iopt_map_file_pages,
    iommufd_test_dmabuf_get: Some(selftest::dmabuf::iommufd_test_dmabuf_get),
    iommufd_test_dmabuf_revoke: Some(selftest::dmabuf::iommufd_test_dmabuf_revoke),
    // 0dbcdf4473a6 (2026)
    iommufd_access_notify_unmap: access::iommufd_access_notify_unmap,
    // 4ac2ce123824 (2026)
    take_all_forgets: ioas::release_ioas,
    // d616de490ec0 (2026)
    area_is_of_no_file: ioas::area_with_pages_is_of_no_file,
    ..LINUX_6_17
};

/// iommufd's for-next of September 2026: the core goes through the array of invalidations.
pub const FOR_NEXT_2026_09: Revision = Revision {
    info: RevisionInfo {
        name: "for_next_2026_09",
        aliases: &[],
        twin_of: None,
        doc: "As 7.3, with an invalidation array that the core goes through",
        source: "iommufd for-next, 11 Sep 2026: 26564d25cd81, 61e2f25a49bc, 5519695903a4",
    },
    iommufd_hwpt_invalidate: hw_pagetable::for_next_2026_09::iommufd_hwpt_invalidate,
    ..LINUX_7_3
};

/// v5 of the series' second part.
pub const P2_V5: Revision = Revision {
    info: RevisionInfo {
        name: "p2_v5",
        aliases: &[],
        twin_of: None,
        doc: "As v4, with a vDEVICE that only the core allocates",
        source: "<cover.1729897278.git.nicolinc@nvidia.com>",
    },
    iommufd_vdevice_alloc_ioctl: Some(viommu::p2_v5::iommufd_vdevice_alloc_ioctl),
    iommufd_vdevice_abort: Some(viommu::p2_v4::iommufd_vdevice_abort),
    iommufd_vdevice_destroy: viommu::p2_v4::iommufd_vdevice_destroy,
    iommufd_device_unbind_vdev: Some(viommu::p2_v4::iommufd_device_unbind_vdev),
    iommufd_viommu_find_dev: viommu::p2_v3::iommufd_viommu_find_dev,
    ..LINUX_6_13
};

/// v4 of the series' second part.
pub const P2_V4: Revision = Revision {
    info: RevisionInfo {
        name: "p2_v4",
        aliases: &[],
        twin_of: None,
        doc: "A vDEVICE that holds the bound device; unbind removes it by its id",
        source: "<cover.1729555967.git.nicolinc@nvidia.com>",
    },
    iommufd_vdevice_alloc_ioctl: Some(viommu::p2_v4::iommufd_vdevice_alloc_ioctl),
    ..P2_V5
};

/// v3 of the series, the first of its second part.
pub const P2_V3: Revision = Revision {
    info: RevisionInfo {
        name: "p2_v3",
        aliases: &[],
        twin_of: None,
        doc: "A vDEVICE that holds the bound device; unbind does not know of it",
        source: "<cover.1728491532.git.nicolinc@nvidia.com>",
    },
    iommufd_vdevice_alloc_ioctl: Some(viommu::p2_v3::iommufd_vdevice_alloc_ioctl),
    iommufd_vdevice_abort: None,
    iommufd_vdevice_destroy: viommu::p2_v3::iommufd_vdevice_destroy,
    iommufd_viommu_destroy: viommu::p2_v3::iommufd_viommu_destroy,
    iommufd_device_unbind_vdev: None,
    ..P2_V4
};

/// v2 of the vIOMMU series, before it was split.
pub const VIOMMU_V2: Revision = Revision {
    info: RevisionInfo {
        name: "viommu_v2",
        aliases: &[],
        twin_of: None,
        doc: "Virtual IDs that are set and unset, under a semaphore; they hold nothing",
        source: "<cover.1724776335.git.nicolinc@nvidia.com>",
    },
    iommufd_vdevice_alloc_ioctl: None,
    iommufd_viommu_set_vdev_id: Some(viommu::viommu_v2::iommufd_viommu_set_vdev_id),
    iommufd_viommu_unset_vdev_id: Some(viommu::viommu_v2::iommufd_viommu_unset_vdev_id),
    mock_viommu_invalidate_one: selftest::viommu_v2::mock_viommu_invalidate_one,
    iommufd_device_destroy: viommu::viommu_v2::iommufd_device_destroy,
    iommufd_viommu_destroy: viommu::viommu_v2::iommufd_viommu_destroy,
    ..LINUX_6_13
};

/// v1 of the vIOMMU series.
pub const VIOMMU_V1: Revision = Revision {
    info: RevisionInfo {
        name: "viommu_v1",
        aliases: &[],
        twin_of: None,
        doc: "Virtual IDs that are set and unset; the xa_lock is held around the load only",
        source: "<cover.1723061377.git.nicolinc@nvidia.com>",
    },
    iommufd_viommu_set_vdev_id: Some(viommu::viommu_v1::iommufd_viommu_set_vdev_id),
    iommufd_viommu_unset_vdev_id: Some(viommu::viommu_v1::iommufd_viommu_unset_vdev_id),
    mock_viommu_invalidate_one: selftest::viommu_v1::mock_viommu_invalidate_one,
    iommufd_device_destroy: device::iommufd_device_destroy,
    iommufd_viommu_destroy: viommu::viommu_v1::iommufd_viommu_destroy,
    ..VIOMMU_V2
};

/// The description of a twin.
const fn twin(
    of: &'static str,
    name: &'static str,
    aliases: &'static [&'static str],
    doc: &'static str,
    source: &'static str,
) -> RevisionInfo {
    RevisionInfo { name, aliases, twin_of: Some(of), doc, source }
}

macro_rules! twins {
    (
        $(#[$attr:meta])* $list:ident of $base:ident, $of:literal $also:tt;
        $($what:literal: $doc:literal, $source:expr => { $($field:ident: $text:expr),* $(,)? };)*
    ) => {
        $(#[$attr])*
        const $list: &[Revision] = &[$(Revision {
            info: twin(
                $of, concat!($of, "_", $what), twins!(@also $what $also), $doc, $source,
            ),
            $($field: $text,)*
            ..$base
        },)*];
    };
    (@also $what:literal []) => { &[] };
    (@also $what:literal [$also:literal]) => { &[concat!($also, "_", $what)] };
}

twins! {
    /// The twins of 6.13, in the order of their questions.
    TWINS_6_13 of LINUX_6_13, "linux_6_13" ["p2_v6"];
    "without_xa_cmpxchg": "iommufd_vdevice_destroy() erases the slot whatever it holds", SERIES => {
        iommufd_vdevice_destroy: viommu::xa_erase::iommufd_vdevice_destroy,
    };
    "skip_erase_unless_published": "the unwind skips the erase if the vDEVICE was not published",
    SERIES => {
        iommufd_vdevice_alloc_ioctl: Some(unless_published::iommufd_vdevice_alloc_ioctl),
        iommufd_vdevice_destroy: viommu::skip_erase::iommufd_vdevice_destroy,
    };
    "skip_erase_on_eexist": "the unwind skips the erase on -EEXIST only, also not on -ENOMEM",
    SERIES => {
        iommufd_vdevice_alloc_ioctl: Some(skip_erase::on_eexist::iommufd_vdevice_alloc_ioctl),
        iommufd_vdevice_destroy: viommu::skip_erase::iommufd_vdevice_destroy,
    };
    "skip_erase_on_abort": "every unwind skips the erase, also after the vDEVICE was published",
    SERIES => {
        iommufd_vdevice_alloc_ioctl: Some(skip_erase::on_abort::iommufd_vdevice_alloc_ioctl),
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
        iommufd_vdevice_alloc_ioctl: Some(users_inc_after_publish::iommufd_vdevice_alloc_ioctl),
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
    "finalize_xa_cmpxchg": "iommufd_object_finalize() compares what the normal API returns",
    "torvalds/linux v6.13, main.c, iommufd_object_finalize()" => {
        iommufd_object_finalize: main::finalize_xa_cmpxchg::iommufd_object_finalize,
    };
    "touch_after_finalize": "every allocation touches its object after it became visible",
    "torvalds/linux v6.13, main.c, iommufd_object_finalize()" => {
        iommufd_object_finalize: main::touch_after_finalize::iommufd_object_finalize,
    };
    "lock_access_under_xa_lock": "an unmap locks the accesses of the IOAS under xa_lock(objects)",
    "torvalds/linux v6.13, iommufd_private.h, iommufd_lock_obj()" => {
        iommufd_access_notify_unmap: access::lock_under_xa_lock::iommufd_access_notify_unmap,
    };
    "without_vdevs_lock": "the mock driver looks devices up without xa_lock(vdevs)", SERIES => {
        mock_viommu_invalidate_one: selftest::without_vdevs_lock::mock_viommu_invalidate_one,
    };
    "without_7214c1c": "attaching to an IOAS does not ask whether an auto HWPT is being destroyed",
    "7214c1c85fe464929e9c32f90f81d65cd44b8ff6" => {
        iommufd_device_auto_get_domain: device::without_lock_obj::iommufd_device_auto_get_domain,
    };
    "kref_get_of_a_dying_group": "iommufd_get_group() raises a group that may be at 0",
    "torvalds/linux v6.13, device.c, iommufd_get_group()" => {
        iommufd_get_group: device::group_twins::iommufd_get_group,
    };
    "group_release_xa_erase": "iommufd_group_release() erases the slot whatever it holds",
    "torvalds/linux v6.13, device.c, iommufd_group_release()" => {
        iommufd_group_release: device::group_twins::iommufd_group_release,
    };
    "without_auto_response": "a detach leaves the faults of the group in the queue",
    "3d49020a327cd7d069059317c11df24e407ccfa3" => {
        iommufd_auto_response_faults: fault::without_auto_response::iommufd_auto_response_faults,
    };
}

twins! {
    /// The twins of 6.17, in the order of their questions.
    TWINS_6_17 of LINUX_6_17, "linux_6_17" [];
    "without_tombstone": "the id of a vDEVICE that went with its device is given out again",
    "<20250617183452.GG1376515@ziepe.ca>" => {
        iommufd_object_remove: main::without_tombstone::iommufd_object_remove,
    };
    "release_while_not_empty": "iommufd_fops_release() goes on while the xarray is not empty",
    "torvalds/linux v6.17, main.c, iommufd_fops_release()" => {
        iommufd_fops_release: main::iommufd_fops_release,
    };
    "without_get_vdevice": "an unbind destroys the vDEVICE without a reference of it",
    "<20250623094946.1714996-1-yilun.xu@linux.intel.com>" => {
        iommufd_device_pre_destroy: Some(viommu::without_get_vdevice::iommufd_device_pre_destroy),
    };
    "poll_vdev": "an unbind waits until idev->vdev is NULL, without the lock",
    "<20250623094946.1714996-1-yilun.xu@linux.intel.com>" => {
        iommufd_device_pre_destroy: Some(viommu::poll_vdev::iommufd_device_pre_destroy),
        iommufd_vdevice_destroy: viommu::poll_vdev::iommufd_vdevice_destroy,
    };
    "poll_vdev_woken_early": "as poll_vdev, and the wake-up comes before idev->vdev is NULL",
    "<20250623094946.1714996-1-yilun.xu@linux.intel.com>" => {
        iommufd_device_pre_destroy: Some(viommu::poll_vdev::iommufd_device_pre_destroy),
        iommufd_vdevice_destroy: viommu::poll_vdev::iommufd_vdevice_destroy_wake_first,
    };
    "into_vdevice": "a driver looks into its own part of a vDEVICE that an invalidation names",
    "reference/iommufd.md R-C24" => {
        mock_viommu_invalidate_one: selftest::into_vdevice::mock_viommu_invalidate_one,
        vdevice_init: Some(selftest::into_vdevice::vdevice_init),
    };
    "irq_stays_hooked": "a device that left a vIOMMU still reports its events there",
    "reference/iommufd.md R-E3" => {
        mock_domain_nop_attach: selftest::irq_stays_hooked::mock_domain_nop_attach,
    };
    "without_destroying": "IOMMU_VDEVICE_ALLOC does not ask whether the device is being unbound",
    "850f14f5b91986e586b66565c9c75bdd4c834571" => {
        iommufd_vdevice_alloc_ioctl: Some(viommu::without_destroying::iommufd_vdevice_alloc_ioctl),
    };
    "put_idev_before_unlock": "iommufd_vdevice_destroy() puts the device under the group's lock",
    "850f14f5b91986e586b66565c9c75bdd4c834571" => {
        iommufd_vdevice_destroy: viommu::put_idev_before_unlock::iommufd_vdevice_destroy,
    };
    "unlock_before_abort": "a failed IOMMU_VDEVICE_ALLOC is aborted without the group's lock",
    "5510bd89da24508f0e9ae04396e7eb6929ec0e18" => {
        iommufd_vdevice_alloc_ioctl: Some(viommu::unlock_before_abort::iommufd_vdevice_alloc_ioctl),
    };
    "unlock_on_small_vdevice": "a failed IOMMU_VDEVICE_ALLOC always gives the group's lock back",
    "torvalds/linux v6.17, viommu.c, iommufd_vdevice_alloc_ioctl()" => {
        iommufd_vdevice_alloc_ioctl:
            Some(viommu::unlock_on_small_vdevice::iommufd_vdevice_alloc_ioctl),
    };
    "without_53d0584": "a detach leaves the put of the HWPT to its caller; abort still WARNs",
    "53d0584eeb2c85a46c83656246d61a89558d74b3" => {
        iommufd_device_detach: device::linux_6_15::iommufd_device_detach,
        iommufd_hw_pagetable_detach: device::linux_6_15::iommufd_hw_pagetable_detach,
    };
    "without_4e034bf": "the file of an aborted object is released when the task returns",
    "4e034bf045b12852a24d5d33f2451850818ba0c1" => {
        iommufd_object_abort_and_destroy: main::iommufd_object_abort_and_destroy,
        iommufd_fault_alloc: Some(eventq::iommufd_fault_alloc),
        iommufd_veventq_alloc: Some(eventq::iommufd_veventq_alloc),
    };
    "without_auto_response": "a detach leaves the faults of the group in the queue",
    "3d49020a327cd7d069059317c11df24e407ccfa3" => {
        iommufd_auto_response_faults: fault::without_auto_response::iommufd_auto_response_faults,
    };
    "read_ends_on_fault": "a read of a fault queue ends when a fault cannot be copied out",
    "reference/iommufd.md R-G6" => {
        iommufd_fault_fops_read: fault::read_ends_on_fault::iommufd_fault_fops_read,
    };
    "without_af7f478": "a failed IOMMU_FAULT_QUEUE_ALLOC drops what its file drops as well",
    "af7f4780514f850322b2959032ecaa96e4b26472" => {
        iommufd_fault_alloc: Some(eventq::without_af7f478::iommufd_fault_alloc),
    };
    "file_users_after_finalize": "a queue's file raises the object's users after the finalize",
    "torvalds/linux v6.17, eventq.c, iommufd_fault_alloc()" => {
        iommufd_fault_alloc: Some(eventq::users_inc_after_finalize::iommufd_fault_alloc),
    };
    "report_unlocked": "iommufd_viommu_report_event() does not take veventqs_rwsem",
    "torvalds/linux v6.17, driver.c, iommufd_viommu_report_event()" => {
        iommufd_viommu_report_event: eventq::report_unlocked::iommufd_viommu_report_event,
    };
    "depend_try_inc_users": "a HW queue is raised only while it is in the xarray",
    "nkumarsi/kernel-topics 17ea9f74bb539aee6d3934555a22979da58db0d8, iommufd_try_inc_users()" => {
        iommufd_hw_queue_depend: hw_queue::try_inc_users::iommufd_hw_queue_depend,
    };
    "canary_lock_order": "IOMMU_IOAS_ALLOC takes the two locks of its table the other way round",
    "reference/iommufd.md 6.5" => {
        iommufd_ioas_finalize: ioas::canaries::iova_rwsem_before_domains_rwsem,
    };
    "canary_bad_unlock": "IOMMU_IOAS_ALLOC gives a lock back that it has not taken",
    "reference/iommufd.md 6.5" => {
        iommufd_ioas_finalize: ioas::canaries::up_without_down,
    };
    "canary_sleep_in_atomic": "IOMMU_IOAS_ALLOC waits for a lock under xa_lock",
    "reference/iommufd.md 6.5" => {
        iommufd_ioas_finalize: ioas::canaries::sleep_under_xa_lock,
    };
    "canary_saturated": "IOMMU_IOAS_ALLOC gives out an IOAS whose counter is full",
    "reference/iommufd.md 6.2" => {
        iommufd_ioas_finalize: ioas::canaries::counter_without_room,
    };
    "canary_held_lock_freed": "iommufd_group_release() frees the group with its lock held",
    "reference/iommufd.md 6.5" => {
        iommufd_group_release: device::group_canary::iommufd_group_release,
    };
    "handle_before_attach": "a group's handle can be found before its driver has taken the domain",
    "torvalds/linux v6.14, drivers/iommu/iommu.c, iommu_attach_group_handle(); v6.15 swaps the order" => {
        iommufd_fault_domain_attach_dev: fault::iommufd_fault_domain_attach_dev,
    };
    "without_7a425ec": "mmap looks up without a lock and raises the owner's users last",
    "7a425ec75d2bb30a1c959a8676ef8c5ef285095d" => {
        iommufd_fops_mmap: Some(main::linux_6_17_rc1::iommufd_fops_mmap),
    };
}

twins! {
    /// The twin of 7.3.
    TWINS_7_3 of LINUX_7_3, "linux_7_3" [];
    "mutex_destroy_before_detach": "a dma-buf's pages->mutex is destroyed while its exporter can call",
    "f2d70dbd3dcefa8e3c380beff9c31f5f033a4221" => {
        iopt_release_pages: pages::mutex_destroy_before_detach::iopt_release_pages,
    };
}

twins! {
    /// The twins of 6.4.
    TWINS_6_4 of LINUX_6_4, "linux_6_4" [];
    "without_b4ff830": "attaching to a HWPT puts it on the list of its IOAS once more",
    "b4ff830eca097df51af10a9be29e8cc817327919" => {
        attached_to_hwpt: device::without_b4ff830::attached_to_hwpt,
    };
    "without_7214c1c": "attaching to an IOAS does not ask whether an auto HWPT is being destroyed",
    "7214c1c85fe464929e9c32f90f81d65cd44b8ff6" => {
        iommufd_device_auto_get_domain: device::without_lock_obj::iommufd_device_auto_get_domain,
    };
}

twins! {
    /// The twin of v3.
    TWINS_P2_V3 of P2_V3, "p2_v3" [];
    "lock_in_destroy": "iommufd_vdevice_destroy() takes the group's lock, also in the unwind",
    "<cover.1728491532.git.nicolinc@nvidia.com>" => {
        iommufd_vdevice_destroy: viommu::lock_in_destroy::iommufd_vdevice_destroy,
    };
}

twins! {
    /// The twin of v4.
    TWINS_P2_V4 of P2_V4, "p2_v4" [];
    "assert_not_held": "iommufd_vdevice_abort() asserts the opposite of what it needs",
    "<cover.1729555967.git.nicolinc@nvidia.com>" => {
        iommufd_vdevice_abort: Some(viommu::assert_not_held::iommufd_vdevice_abort),
    };
}

twins! {
    /// The twin of v5.
    TWINS_P2_V5 of P2_V5, "p2_v5" [];
    "without_vdevs_lock": "the mock driver looks devices up without xa_lock(vdevs)",
    "<cover.1729897278.git.nicolinc@nvidia.com>" => {
        mock_viommu_invalidate_one: selftest::without_vdevs_lock::mock_viommu_invalidate_one,
    };
}

twins! {
    /// The twin of v2 of the vIOMMU series.
    TWINS_VIOMMU_V2 of VIOMMU_V2, "viommu_v2" [];
    "unset_with_xa_cmpxchg": "unset takes no lock and erases its entry if it compares equal",
    "<cover.1723061377.git.nicolinc@nvidia.com>" => {
        iommufd_viommu_unset_vdev_id:
            Some(viommu::unset_with_xa_cmpxchg::iommufd_viommu_unset_vdev_id),
    };
}

/// Every row, in the order of the kernels, and then their twins.
pub fn rows() -> impl Iterator<Item = &'static Revision> {
    const BASE: &[Revision] = &[
        VIOMMU_V1,
        VIOMMU_V2,
        P2_V3,
        P2_V4,
        P2_V5,
        LINUX_6_4,
        LINUX_6_6,
        LINUX_6_7,
        LINUX_6_12,
        LINUX_6_13,
        LINUX_6_14,
        LINUX_6_15,
        LINUX_6_17_RC1,
        LINUX_6_17,
        LINUX_7_3,
        FOR_NEXT_2026_09,
    ];
    const TWINS: &[&[Revision]] = &[
        TWINS_VIOMMU_V2,
        TWINS_P2_V3,
        TWINS_P2_V4,
        TWINS_P2_V5,
        TWINS_6_4,
        TWINS_6_13,
        TWINS_6_17,
        TWINS_7_3,
    ];
    BASE.iter().chain(TWINS.iter().copied().flatten())
}

/// The row with this name or alias.
pub fn find(name: &str) -> Option<&'static Revision> {
    rows().find(|r| r.info.name == name || r.info.aliases.contains(&name))
}
