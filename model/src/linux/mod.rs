//! The kernel's primitives, with the kernel's semantics and words.
//!
//! Every function that bears a C name is one step: announced, logged, and a scheduling point.
//! Sources are in each file; together they are reference/iommufd.md section 6.
//!
//! A primitive that is a field of a heap object is made with the [`slab::Owner`] of that object
//! and its path as C spells it, so that a use after kfree() is seen and named.

pub mod atomic;
pub mod device;
pub mod dma_buf;
pub mod fault;
pub mod file;
pub mod iommu;
pub mod iommu_domain;
pub mod kcsan;
pub mod list;
mod lock;
pub mod lockdep;
pub mod maple_tree;
pub mod mutex;
pub mod refcount;
pub mod rwsem;
pub mod slab;
pub mod spinlock;
pub mod task_work;
pub mod uaccess;
pub mod wait;
pub mod warn;
pub mod xarray;
