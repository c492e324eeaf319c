//! What a revision is: one table of functions, with an entry for every text that differs between
//! two rows. The rows themselves are in `revisions.rs`.

use uapi::pick::RevisionInfo;
use uapi::Errno;

use crate::iommufd::main::Remove;
use crate::iommufd::objects::{File, Ictx, Object, Type};
use crate::iommufd::ucmd::Ucmd;
use crate::iommufd::viommu::{VdeviceAlloc, ViommuAlloc};
use crate::iommufd::{hw_pagetable, ioas, selftest};
use crate::linux::slab::Ptr;

/// An operation of a type: destroy or abort.
pub type ObjectOp = fn(Ptr<Ictx>, Ptr<Object>);
/// `iommufd_get_object()`
pub type GetObject = fn(Ptr<Ictx>, u64, Type) -> Result<Ptr<Object>, Errno>;
/// `iommufd_object_remove()`
pub type ObjectRemove = fn(Ptr<Ictx>, Option<Ptr<Object>>, u64, Remove) -> Result<(), Errno>;
/// The handler of an ioctl that gives an id out, with its argument struct.
pub type Ioctl<T> = fn(&Ucmd, &T) -> Result<u32, Errno>;

/// An entry of `iommufd_object_ops[]`.
#[derive(Clone, Copy)]
pub struct ObjectOps {
    /// Undoes what the type's allocation did; the object is visible to nobody any more.
    pub destroy: ObjectOp,
    /// As destroy, in an unwind that already holds the type's lock.
    pub abort: Option<ObjectOp>,
}

/// A table of functions, like the driver's own `iommufd_object_ops[]`.
pub struct Revision {
    /// Name, aliases and source.
    pub info: RevisionInfo,
    /// Looks an object up.
    pub iommufd_get_object: GetObject,
    /// Counts the caller in.
    pub iommufd_lock_obj: fn(Ptr<Object>) -> bool,
    /// Counts the caller out.
    pub iommufd_put_object: fn(Ptr<Ictx>, Ptr<Object>),
    /// Takes an object out of the xarray and frees it.
    pub iommufd_object_remove: ObjectRemove,
    /// Makes a reserved object visible.
    pub iommufd_object_finalize: fn(Ptr<Ictx>, Ptr<Object>),
    /// Gives a reserved object up.
    pub iommufd_object_abort: fn(Ptr<Ictx>, Ptr<Object>),
    /// Undoes the type's allocation and gives the reserved object up.
    pub iommufd_object_abort_and_destroy: fn(Ptr<Ictx>, Ptr<Object>),
    /// Destroys an object that the kernel owns; false if somebody else uses it, which the inline
    /// caller turns into a WARN.
    pub iommufd_object_destroy_user: fn(Ptr<Ictx>, Ptr<Object>) -> bool,
    /// Drops users and destroys the object if they were the last.
    pub iommufd_object_put_and_try_destroy: fn(Ptr<Ictx>, Ptr<Object>),
    /// IOMMU_DESTROY
    pub iommufd_destroy: fn(Ptr<Ictx>, u64) -> Result<(), Errno>,
    /// The last reference of the file is gone.
    pub iommufd_fops_release: fn(Ptr<File>),
    /// How long a destroyer waits for those who are inside, in milliseconds.
    pub destroy_wait_ms: u64,
    /// IOMMU_VIOMMU_ALLOC, if there is such an ioctl.
    pub iommufd_viommu_alloc_ioctl: Option<Ioctl<ViommuAlloc>>,
    /// IOMMU_VDEVICE_ALLOC, if there is such an ioctl.
    pub iommufd_vdevice_alloc_ioctl: Option<Ioctl<VdeviceAlloc>>,
    /// `iommufd_object_ops[IOMMUFD_OBJ_DEVICE].destroy`
    pub iommufd_device_destroy: ObjectOp,
    /// `iommufd_object_ops[IOMMUFD_OBJ_VIOMMU].destroy`
    pub iommufd_viommu_destroy: ObjectOp,
    /// `iommufd_object_ops[IOMMUFD_OBJ_VDEVICE].destroy`
    pub iommufd_vdevice_destroy: ObjectOp,
}

impl Revision {
    /// `iommufd_object_ops[]`
    pub fn iommufd_object_ops(&self, ty: Type) -> ObjectOps {
        let (destroy, abort): (ObjectOp, Option<ObjectOp>) = match ty {
            Type::Device => (self.iommufd_device_destroy, None),
            Type::HwptPaging => (
                hw_pagetable::iommufd_hwpt_paging_destroy,
                Some(hw_pagetable::iommufd_hwpt_paging_abort),
            ),
            Type::HwptNested => (
                hw_pagetable::iommufd_hwpt_nested_destroy,
                Some(hw_pagetable::iommufd_hwpt_nested_abort),
            ),
            Type::Selftest => (selftest::iommufd_selftest_destroy, None),
            Type::Viommu => (self.iommufd_viommu_destroy, None),
            Type::Vdevice => (self.iommufd_vdevice_destroy, None),
            // An object is never of type ANY, and no call of these rows makes a FAULT.
            Type::Ioas | Type::Any | Type::Fault => (ioas::iommufd_ioas_destroy, None),
        };
        ObjectOps { destroy, abort }
    }
}
