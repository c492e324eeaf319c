//! The object graph as it is at one moment, for `replay --graph` and for reports.

use uapi::trace::{Graph, GraphObject, Val};

use crate::iommufd::invariants::type_name;
use crate::iommufd::objects::{
    Access, Device, Fault, HasObject, HwQueue, HwptNested, HwptPaging, Ioas, Object, Selftest,
    Type, Vdevice, Veventq, Viommu,
};
use crate::linux::device::Device as StructDevice;
use crate::linux::refcount::Refcount;
use crate::linux::slab::{allocated, by_ordinal, live, Ptr, Value};

/// The object around an allocation, whatever its type.
fn object(alloc: u32) -> Option<Ptr<Object>> {
    fn part<T: HasObject>(alloc: u32) -> Option<Ptr<Object>> {
        by_ordinal::<T>(alloc).map(|x| x.project(T::obj))
    }
    part::<Ioas>(alloc)
        .or_else(|| part::<HwptPaging>(alloc))
        .or_else(|| part::<HwptNested>(alloc))
        .or_else(|| part::<Device>(alloc))
        .or_else(|| part::<Viommu>(alloc))
        .or_else(|| part::<Vdevice>(alloc))
        .or_else(|| part::<Selftest>(alloc))
        .or_else(|| part::<Fault>(alloc))
        .or_else(|| part::<Veventq>(alloc))
        .or_else(|| part::<HwQueue>(alloc))
        .or_else(|| part::<Access>(alloc))
}

/// Ordinal of the newest object that had this id.
pub fn newest_object(id: u32) -> Option<u32> {
    (0..allocated()).rev().find(|alloc| object(*alloc).is_some_and(|o| o.id.peek() == id))
}

fn count(r: &Refcount) -> Val {
    Val::Num(i64::from(r.peek()))
}

fn pointer<T>(ptr: Option<Ptr<T>>) -> Val {
    Value::val(ptr)
}

/// Every live object with its counters and its pointers.
pub fn graph() -> Graph {
    let mut objects = Vec::new();
    for (alloc, ty) in live() {
        let mut fields = Vec::new();
        let mut id = None;
        if let Some(obj) = object(alloc) {
            id = Some(obj.id.peek());
            fields.push(("type", Val::Text(type_name(obj.ty).to_string())));
            fields.push(("obj.users", count(&obj.users)));
            fields.push((obj.shortterm_users.field().path, count(&obj.shortterm_users)));
            fields.extend(pointers(alloc, obj.ty));
        } else if let Some(dev) = by_ordinal::<StructDevice>(alloc) {
            fields.push(("kobj.kref", count(&dev.kref)));
        } else {
            continue;
        }
        let fields = fields.into_iter().map(|(name, val)| (name.to_string(), val)).collect();
        objects.push(GraphObject { ty: ty.to_string(), alloc, id, fields });
    }
    Graph { objects }
}

/// The pointers of an object that hold something.
fn pointers(alloc: u32, ty: Type) -> Vec<(&'static str, Val)> {
    let mut fields = Vec::new();
    if let Some(x) = by_ordinal::<HwptPaging>(alloc) {
        fields.push(("ioas", pointer(x.ioas.peek())));
    } else if let Some(x) = by_ordinal::<HwptNested>(alloc) {
        fields.push(("parent", pointer(x.parent.peek())));
        fields.push(("viommu", pointer(x.viommu.peek())));
    } else if let Some(x) = by_ordinal::<Device>(alloc) {
        fields.push(("dev", pointer(x.dev.peek())));
        fields.push(("igroup", pointer(x.igroup.peek())));
        fields.push(("vdev", pointer(x.vdev.peek())));
        fields.extend(x.vdev_id.peek().map(|vdev_id| ("vdev_id", vdev_id.val())));
    } else if let Some(x) = by_ordinal::<Veventq>(alloc) {
        fields.push(("viommu", pointer(x.viommu.peek())));
        fields.push(("common.filp", pointer(x.common.filp.peek())));
    } else if let Some(x) = by_ordinal::<HwQueue>(alloc) {
        fields.push(("viommu", pointer(x.viommu.peek())));
        fields.push(("access", pointer(x.access.peek())));
        fields.push(("prev", pointer(x.prev.peek())));
    } else if let Some(x) = by_ordinal::<Access>(alloc) {
        fields.push(("ioas", pointer(x.ioas.peek())));
    } else if let Some(x) = by_ordinal::<Fault>(alloc) {
        fields.push(("common.filp", pointer(x.common.filp.peek())));
    } else if let Some(x) = by_ordinal::<Vdevice>(alloc) {
        fields.push(("id", Val::Hex(x.id.peek())));
        fields.push(("viommu", pointer(x.viommu.peek())));
        // Which of the two it holds depends on the row.
        fields.extend(x.dev.peek().map(|dev| ("dev", dev.val())));
        fields.extend(x.idev.peek().map(|idev| ("idev", idev.val())));
    } else if let (Type::Viommu, Some(x)) = (ty, by_ordinal::<Viommu>(alloc)) {
        fields.push(("hwpt", pointer(x.hwpt.peek())));
        for (index, slot) in x.vdevs.peek() {
            fields.push(("vdevs", Val::Text(format!("[{index:#x}] = {}", slot_text(slot.ptr())))));
        }
    }
    fields
}

fn slot_text<T>(ptr: Option<Ptr<T>>) -> String {
    ptr.map_or_else(|| "NULL".to_string(), |p| format!("{}#{}", p.owner().ty, p.owner().alloc))
}
