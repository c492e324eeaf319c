//! Task work: what a task does on its way back to user space.
//!
//! The last fput() of a file does not run its release at once: it is queued and runs when the task
//! returns to user space. What the kernel does between the two still sees the file's references
//! of the object behind it (R-B2).
//!
//! Source: kernel/task_work.c, fs/file_table.c fput(), __fput_sync(); reference/iommufd.md 6.6.

use uapi::step::CPUS_MAX;

use crate::sync::{self, Cell, Local};

type Work = Box<dyn FnOnce()>;

/// The queues of one execution, one for each CPU's task.
#[derive(Default)]
struct Queues([Vec<Work>; CPUS_MAX]);

static QUEUES: Local<Cell<Queues>> = Local::new(4);

/// How many pieces of work one return to user space can find: work may add work.
const WORK_MAX: usize = 64;

/// task_work_add(TWA_RESUME)
pub fn task_work_add(work: Work) {
    let cpu = usize::from(sync::current());
    QUEUES.get().with(|queues| queues.0[cpu].push(work));
}

/// task_work_run(): the task returns to user space.
pub fn task_work_run() {
    let cpu = usize::from(sync::current());
    for _ in 0..WORK_MAX {
        let next = QUEUES.get().with(|queues| {
            let queue = &mut queues.0[cpu];
            if queue.is_empty() {
                None
            } else {
                Some(queue.remove(0))
            }
        });
        match next {
            Some(work) => work(),
            None => return,
        }
    }
}
