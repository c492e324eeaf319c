//! The object graph at one moment, as text: ids, counters, pointers.

use crate::values::Names;
use std::fmt::Write;
use uapi::trace::Graph;

/// One line per live object, in order of allocation:
/// `a (vdevice, id 7): obj.users 1, obj.shortterm_users 1, viommu = viommu0`.
pub fn text(graph: &Graph, names: &Names) -> String {
    let mut page = String::new();
    for object in &graph.objects {
        page.push_str(&names.object(&object.ty, object.alloc));
        let _ = match object.id {
            Some(id) => write!(page, " ({}, id {id})", object.ty),
            None => write!(page, " ({})", object.ty),
        };
        for (i, (field, value)) in object.fields.iter().enumerate() {
            page.push_str(if i == 0 { ": " } else { ", " });
            let _ = write!(page, "{field} = {}", names.value(value));
        }
        page.push('\n');
    }
    page
}
