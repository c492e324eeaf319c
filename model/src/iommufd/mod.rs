//! drivers/iommu/iommufd, modelled: one file per file of the kernel.
//!
//! A function here has the C name and the order of effects of the original, unwind labels
//! included, written from reference/iommufd.md in our own words. A text that differs between
//! revisions is a function of its own, in the file named after what it does instead; `revision.rs`
//! is the table of such texts, and the rows of `crate::revisions` fill it in.

pub mod access;
pub mod device;
pub mod driver;
pub mod eventq;
pub mod fault;
pub mod graph;
pub mod hw_pagetable;
pub mod hw_queue;
pub mod invariants;
pub mod io_pagetable;
pub mod ioas;
pub mod main;
pub mod objects;
pub mod pages;
pub mod revision;
pub mod selftest;
pub mod ucmd;
pub mod viommu;
