//! Which C function a line of the model belongs to.
//!
//! A step is logged with the place that called the primitive (`#[track_caller]`). The functions
//! of the model bear the names of the kernel's, so the name of the Rust function around that line
//! is the C function. The table is read off the sources themselves, which are compiled in: no
//! function of the model has to say its own name.

use uapi::step::Site;

macro_rules! sources {
    ($($path:literal),* $(,)?) => {
        /// Every source file of the model that calls primitives.
        const SOURCES: &[(&str, &str)] = &[$(($path, include_str!($path)),)*];
    };
}

sources![
    "lib.rs",
    "linux/device.rs",
    "linux/fault.rs",
    "linux/list.rs",
    "linux/iommu.rs",
    "linux/lock.rs",
    "linux/lockdep.rs",
    "linux/mutex.rs",
    "linux/refcount.rs",
    "linux/rwsem.rs",
    "linux/slab.rs",
    "linux/spinlock.rs",
    "linux/uaccess.rs",
    "linux/wait.rs",
    "linux/warn.rs",
    "linux/xarray.rs",
    "litmus.rs",
];

/// The file below `src/` and the function of a place in the model.
pub fn locate(site: Site) -> (&'static str, &'static str) {
    let file = below_src(site.file);
    let Some((_, text)) = SOURCES.iter().find(|(path, _)| *path == file) else {
        return (file, "");
    };
    let function =
        text.lines().take(site.line as usize).filter_map(function_name).last().unwrap_or("");
    (file, function)
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
