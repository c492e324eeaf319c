//! The questions.

use super::advice::Advice;
use super::{Axis, Point, Queue, Series, Study, QUEUES};
use crate::values::counted;
use smmuv3_timing::{Completion, Profile};

/// A whole unmap of 2 MiB without RIL, one page below the cliff of 512.
const BURST: u32 = 511;

/// Sizes of a batch; 63 is the driver's limit.
const BATCHES: [u32; 9] = [1, 2, 4, 8, 16, 24, 32, 48, 63];

/// The questions that `sweep` answers without further options.
pub fn standard(profile: &Profile) -> Vec<Study> {
    let [cmpxchg, fetch_add, spin_fallback, spinlock, ecmdq, trapped, vcmdq] = QUEUES;
    let usual = Point {
        queue: cmpxchg,
        completion: Completion::Msi,
        cpus: 1,
        batch: 63,
        commands: 1,
        ring: profile.queue.entries,
        work_ns: profile.cpu.work_ns,
    };
    let most = profile.cpus().min(128);
    let cpus: Vec<u32> =
        [1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128].into_iter().filter(|n| *n <= most).collect();
    let over = |label: &str, base: Point, set: &dyn Fn(&mut Point, u32), values: &[u32]| Series {
        label: label.to_owned(),
        points: values
            .iter()
            .map(|value| {
                let mut point = base;
                set(&mut point, *value);
                point
            })
            .collect(),
    };
    let with_batch: &dyn Fn(&mut Point, u32) = &|p, n| p.batch = n;
    let with_cpus: &dyn Fn(&mut Point, u32) = &|p, n| p.cpus = n;
    let with_commands: &dyn Fn(&mut Point, u32) = &|p, n| p.commands = n;
    let with_ring: &dyn Fn(&mut Point, u32) = &|p, n| p.ring = n;
    let burst = Point { commands: BURST, ..usual };
    let few: Vec<u32> = [1, 8, 32].into_iter().filter(|n| *n <= most).collect();
    let spans = [1, 2, 4, 8, 16, 32, 63, 64, 128, 256, 511];
    vec![
        Study {
            name: "batch",
            question: format!(
                "How many commands should one IOMMU_HWPT_INVALIDATE carry? (A guest's bursts of \
                 {BURST} TLBIs, trapped)"
            ),
            axis: Axis::Batch,
            series: few
                .iter()
                .map(|n| {
                    let base = Point { queue: trapped, cpus: *n, ..burst };
                    over(&counted(u64::from(*n), "vCPU"), base, with_batch, &BATCHES)
                })
                .collect(),
            advice: Advice::Enough("Batches", "commands"),
        },
        Study {
            name: "guest",
            question:
                "One command per ioctl (QEMU today), batches of 63, or a VCMDQ of the guest's \
                       own?"
                    .into(),
            axis: Axis::Commands,
            series: vec![
                over(
                    "one per ioctl",
                    Point { queue: trapped, batch: 1, ..usual },
                    with_commands,
                    &spans,
                ),
                over("batches of 63", Point { queue: trapped, ..usual }, with_commands, &spans),
                over("own VCMDQ", Point { queue: vcmdq, ..usual }, with_commands, &spans),
            ],
            advice: Advice::Guest,
        },
        Study {
            name: "work",
            question: "What is left of it where real work lies between invalidations? (8 vCPUs, \
                       trapped, 63 TLBIs each)"
                .into(),
            axis: Axis::Batch,
            series: [0, 10_000, 100_000, 1_000_000]
                .into_iter()
                .map(|work_ns| {
                    let base =
                        Point { queue: trapped, cpus: 8.min(most), commands: 63, work_ns, ..usual };
                    let label = match work_ns {
                        0 => "bare queue".to_owned(),
                        ns => format!("{} us of work", ns / 1_000),
                    };
                    over(&label, base, with_batch, &[1, 2, 4, 8, 16, 32, 63])
                })
                .collect(),
            advice: Advice::Work,
        },
        Study {
            name: "cpus",
            question:
                "How many CPUs can share a command queue, and which insertion? (one TLBI and \
                       a SYNC each)"
                    .into(),
            axis: Axis::Cpus,
            series: [cmpxchg, fetch_add, spin_fallback, spinlock, ecmdq]
                .into_iter()
                .map(|queue| over(queue.text, Point { queue, ..usual }, with_cpus, &cpus))
                .collect(),
            advice: Advice::Cpus,
        },
        Study {
            name: "completion",
            question: "Wait for the MSI, poll CONS, or sleep until SEV?".into(),
            axis: Axis::Cpus,
            series: Completion::ALL
                .into_iter()
                .map(|completion| {
                    over(completion.name(), Point { completion, ..usual }, with_cpus, &cpus)
                })
                .collect(),
            advice: Advice::Completion,
        },
        Study {
            name: "span",
            question: "What does an invalidation cost that takes many commands (no RIL)?".into(),
            axis: Axis::Commands,
            series: few
                .iter()
                .map(|n| {
                    over(
                        &counted(u64::from(*n), "CPU"),
                        Point { cpus: *n, ..usual },
                        with_commands,
                        &spans,
                    )
                })
                .collect(),
            advice: Advice::Span,
        },
        Study {
            name: "ring",
            question: format!("How large should the ring be? (bursts of {BURST} TLBIs)"),
            axis: Axis::Ring,
            series: few
                .iter()
                .map(|n| {
                    let rings = [128, 256, 512, 1_024, 4_096, 16_384, 65_536];
                    over(
                        &counted(u64::from(*n), "CPU"),
                        Point { cpus: *n, ..burst },
                        with_ring,
                        &rings,
                    )
                })
                .collect(),
            advice: Advice::Enough("Rings", "entries"),
        },
    ]
}

/// What the user asked for: the values of each axis; an empty one is the usual value.
#[derive(Clone, Debug, Default)]
pub struct Axes {
    /// Queue types.
    pub queues: Vec<Queue>,
    /// Completions.
    pub completions: Vec<Completion>,
    /// CPUs.
    pub cpus: Vec<u32>,
    /// Batches.
    pub batches: Vec<u32>,
    /// TLBIs per invalidation.
    pub commands: Vec<u32>,
    /// Rings.
    pub rings: Vec<u32>,
    /// Work between invalidations, in nanoseconds.
    pub work_ns: Vec<u64>,
}

/// Most points of one product.
pub const POINTS_MAX: usize = 4_096;

impl Axes {
    /// Whether the user named none.
    pub fn is_empty(&self) -> bool {
        self.points() == 1 && self.lengths() == [0; 7]
    }

    fn lengths(&self) -> [usize; 7] {
        [
            self.queues.len(),
            self.completions.len(),
            self.cpus.len(),
            self.batches.len(),
            self.commands.len(),
            self.rings.len(),
            self.work_ns.len(),
        ]
    }

    /// Points of the product.
    fn points(&self) -> usize {
        self.lengths().iter().fold(1, |points, n| points.saturating_mul((*n).max(1)))
    }
}

/// The product of the axes as one study: the longest numeric axis is x, the rest are its lines.
///
/// # Errors
///
/// If there are too many points.
pub fn product(profile: &Profile, axes: &Axes) -> Result<Study, String> {
    if axes.points() > POINTS_MAX {
        return Err(format!(
            "these are {} points; at most {POINTS_MAX} in one sweep: take fewer values",
            axes.points()
        ));
    }
    fn or<T: Copy>(values: &[T], usual: T) -> Vec<T> {
        if values.is_empty() {
            vec![usual]
        } else {
            values.to_vec()
        }
    }
    let queues = or(&axes.queues, QUEUES[0]);
    let completions = or(&axes.completions, Completion::Msi);
    let (cpus, batches) = (or(&axes.cpus, 1), or(&axes.batches, 63));
    let (commands, rings) = (or(&axes.commands, 1), or(&axes.rings, profile.queue.entries));
    let work = or(&axes.work_ns, profile.cpu.work_ns);
    let lengths = [
        (cpus.len(), Axis::Cpus),
        (batches.len(), Axis::Batch),
        (commands.len(), Axis::Commands),
        (rings.len(), Axis::Ring),
        (work.len(), Axis::Work),
    ];
    // The first of the longest.
    let axis = lengths.iter().rev().max_by_key(|(n, _)| *n).map_or(Axis::Cpus, |(_, axis)| *axis);
    let mut series: Vec<Series> = Vec::new();
    for queue in &queues {
        for completion in &completions {
            for cpus in &cpus {
                for batch in &batches {
                    for commands in &commands {
                        for ring in &rings {
                            for work_ns in &work {
                                let point = Point {
                                    queue: *queue,
                                    completion: *completion,
                                    cpus: *cpus,
                                    batch: *batch,
                                    commands: *commands,
                                    ring: *ring,
                                    work_ns: *work_ns,
                                };
                                let label = label(&point, axis, &lengths, completions.len() > 1);
                                match series.iter_mut().find(|s| s.label == label) {
                                    Some(line) => line.points.push(point),
                                    None => series.push(Series { label, points: vec![point] }),
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    for line in &mut series {
        line.points.sort_by_key(|p| axis.of(p));
        line.points.dedup();
    }
    // A value that was named twice is one point.
    let points: usize = series.iter().map(|line| line.points.len()).sum();
    let question = format!("Which of these {points} points?");
    Ok(Study { name: "sweep", question, axis, series, advice: Advice::Best })
}

/// What tells a line of a product from the others.
fn label(point: &Point, axis: Axis, lengths: &[(usize, Axis)], completions: bool) -> String {
    let mut label = point.queue.text.to_owned();
    if completions {
        label.push_str(", ");
        label.push_str(point.completion.name());
    }
    for (_, other) in lengths.iter().filter(|(n, other)| *n > 1 && *other != axis) {
        let unit = match other {
            Axis::Cpus => "CPUs",
            Axis::Batch => "per list",
            Axis::Commands => "TLBIs",
            Axis::Ring => "entries",
            Axis::Work => "ns of work",
        };
        label.push_str(&format!(", {} {unit}", other.of(point)));
    }
    label
}
