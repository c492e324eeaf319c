//! One SVG per question: small panels with one x axis, one per quantity.
//!
//! Written by hand and in integers (tenths of a pixel), so that the same numbers give the same
//! bytes on every machine.

use super::{Answer, Found};
use crate::output::wrap;
use smmuv3_timing::Profile;
use std::fmt::Write;

/// Colours that are told apart with any kind of sight (Okabe and Ito).
const COLOURS: [&str; 8] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#7a7a7a"];

/// Lines that are drawn; the table has all.
const LINES_MAX: usize = COLOURS.len();

const STYLE: &str = ".t{font-size:15px;font-weight:bold}.s{font-size:11px;fill:#666}\
    .l,.a{font-size:12px}.p{font-size:12px;font-weight:bold}.k{font-size:10px;fill:#555}";

const WIDTH: i64 = 960;
const PANEL: (i64, i64) = (312, 214);
/// Room around the plot of a panel: left, top, right, bottom.
const MARGIN: (i64, i64, i64, i64) = (52, 24, 10, 36);

/// A quantity with a panel of its own.
struct Quantity {
    title: &'static str,
    of: fn(&Found) -> Option<u64>,
    /// What one in the unit of the title is.
    unit: u64,
}

const QUANTITIES: [Quantity; 6] = [
    Quantity { title: "invalidations per second", of: |f| Some(f.rate.median), unit: 1 },
    Quantity { title: "latency, p50, us", of: |f| Some(f.p50), unit: 1_000_000 },
    Quantity { title: "latency, p99, us", of: |f| Some(f.p99), unit: 1_000_000 },
    Quantity { title: "CPU time per invalidation, us", of: |f| Some(f.cpu), unit: 1_000_000 },
    Quantity { title: "SYNCs per invalidation", of: |f| Some(f.syncs), unit: 1_000 },
    Quantity { title: "cmpxchgs that succeed, %", of: |f| f.cas, unit: 10 },
];

/// Where values go on an axis.
struct Scale {
    log: bool,
    low: u64,
    high: u64,
}

/// `log2(n)` with 16 binary digits behind the point; 0 for 0.
fn log2(n: u64) -> i64 {
    let n = n.max(1);
    let whole = 63 - n.leading_zeros();
    // The fraction, bit by bit, by squaring a number of [1, 2) with 31 digits.
    let mut x = if whole > 31 { n >> (whole - 31) } else { n << (31 - whole) };
    let mut fraction = 0;
    for bit in (0..16).rev() {
        x = (x * x) >> 31;
        if x >= 1 << 32 {
            x >>= 1;
            fraction |= 1 << bit;
        }
    }
    (i64::from(whole) << 16) + fraction
}

impl Scale {
    /// For the x axis: the values as they are.
    fn x(values: &[u64]) -> Scale {
        let low = values.iter().min().copied().unwrap_or(0);
        let high = values.iter().max().copied().unwrap_or(1);
        Scale { log: low > 0 && high > 4 * low, low, high: high.max(low + 1) }
    }

    /// For a y axis: from 0, or decades if the values differ by much.
    fn y(values: &[u64]) -> Scale {
        let low = values.iter().min().copied().unwrap_or(0);
        let high = values.iter().max().copied().unwrap_or(1).max(1);
        if low > 0 && high / low >= 20 {
            return Scale { log: true, low, high };
        }
        Scale { log: false, low: 0, high: high + high / 12 + 1 }
    }

    /// The place of a value on an axis of this length, in tenths of a pixel.
    fn at(&self, value: u64, length: i64) -> i64 {
        let (low, high, value) = match self.log {
            true => (log2(self.low), log2(self.high), log2(value)),
            false => (self.low as i64, self.high as i64, value as i64),
        };
        let way = i128::from(value - low) * i128::from(length) * 10;
        (way / i128::from((high - low).max(1))) as i64
    }

    /// Values to write beside a y axis, in steps of 1, 2 or 5 of the unit.
    fn ticks(&self, unit: u64) -> Vec<u64> {
        let mut ticks = Vec::new();
        if self.log {
            let mut decade = 1_u64;
            while decade <= self.high {
                let steps: &[u64] =
                    if self.high / self.low.max(1) > 900 { &[1] } else { &[1, 2, 5] };
                ticks.extend(steps.iter().map(|s| s * decade));
                decade = decade.saturating_mul(10);
            }
            ticks.retain(|t| (self.low..=self.high).contains(t));
            return ticks;
        }
        // 1, 2, 5, 10 … until at most five fit.
        let (mut decade, mut factor) = ((unit / 1_000).max(1), 0);
        while self.high / (decade * [1, 2, 5][factor]) > 5 {
            factor = (factor + 1) % 3;
            if factor == 0 {
                decade = decade.saturating_mul(10);
            }
        }
        let step = decade * [1, 2, 5][factor];
        let mut tick = 0;
        while tick <= self.high {
            ticks.push(tick);
            tick += step;
        }
        ticks
    }
}

/// A number beside an axis: `1.5M`, `20k`, `0.25`.
fn shown(value: u64, unit: u64) -> String {
    let thousandths = u128::from(value) * 1_000 / u128::from(unit.max(1));
    let (number, suffix) = match thousandths {
        0..1_000_000 => (thousandths, ""),
        1_000_000..1_000_000_000 => (thousandths / 1_000, "k"),
        _ => (thousandths / 1_000_000, "M"),
    };
    let text = format!("{}.{:03}", number / 1_000, number % 1_000);
    format!("{}{suffix}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Tenths of a pixel as a number.
fn px(tenths: i64) -> String {
    let sign = if tenths < 0 { "-" } else { "" };
    let n = tenths.unsigned_abs();
    match n % 10 {
        0 => format!("{sign}{}", n / 10),
        d => format!("{sign}{}.{d}", n / 10),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// What a picture says beside its panels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Words {
    /// The question, the machine and the answer: a file of its own has them nowhere else.
    All,
    /// Which line is which.
    Legend,
}

/// The picture.
pub(super) fn svg(answer: &Answer, profile: &Profile, words: Words) -> String {
    let study = &answer.study;
    let has = |q: &&Quantity| answer.found.iter().flatten().any(|f| (q.of)(f).is_some());
    let quantities: Vec<&Quantity> = QUANTITIES.iter().filter(has).collect();
    let drawn = answer.found.len().min(LINES_MAX);

    let mut body = String::new();
    let mut y = 26;
    if words == Words::All {
        for line in wrap(&study.question, 0, 0, 100) {
            let _ = writeln!(body, r#"<text x="14" y="{y}" class="t">{}</text>"#, escaped(&line));
            y += 20;
        }
        let _ = writeln!(
            body,
            r#"<text x="14" y="{y}" class="s">profile {}; model in virtual time, medians over seeds</text>"#,
            escaped(&profile.name)
        );
        y += 22;
    }
    let mut x = 14;
    for (i, series) in study.series.iter().take(drawn).enumerate() {
        let width = 34 + 7 * series.label.chars().count() as i64;
        if x + width > WIDTH && x > 14 {
            x = 14;
            y += 18;
        }
        let _ = writeln!(
            body,
            r#"<path d="M{x} {}h18" stroke="{}" stroke-width="3"/><text x="{}" y="{y}" class="l">{}</text>"#,
            y - 4,
            COLOURS[i],
            x + 23,
            escaped(&series.label)
        );
        x += width;
    }
    if drawn < study.series.len() {
        y += 18;
        let _ = writeln!(
            body,
            r#"<text x="14" y="{y}" class="s">the first {drawn} of {} lines; the table has all</text>"#,
            study.series.len()
        );
    }
    y += 12;
    for (i, quantity) in quantities.iter().enumerate() {
        let left = 10 + (i as i64 % 3) * PANEL.0;
        let top = y + (i as i64 / 3) * PANEL.1;
        panel(&mut body, answer, quantity, (left, top));
    }
    y += quantities.len().div_ceil(3) as i64 * PANEL.1 + 14;
    let advice = match words {
        Words::All => wrap(&answer.advice, 0, 0, 130),
        Words::Legend => Vec::new(),
    };
    for line in advice {
        let _ = writeln!(body, r#"<text x="14" y="{y}" class="a">{}</text>"#, escaped(&line));
        y += 17;
    }
    let title = match words {
        Words::All => format!("<title>{}</title>\n", escaped(&study.question)),
        Words::Legend => String::new(),
    };
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" font-family="DejaVu Sans, Verdana, sans-serif" fill="#222">
{title}<style>{STYLE}</style>
<rect width="{WIDTH}" height="{y}" fill="#fff"/>
{body}</svg>
"##
    )
}

fn panel(body: &mut String, answer: &Answer, quantity: &Quantity, (left, top): (i64, i64)) {
    let study = &answer.study;
    let lines = || answer.found.iter().take(LINES_MAX);
    let xs: Vec<u64> = lines().flatten().map(|f| study.axis.of(&f.point)).collect();
    let ys: Vec<u64> = lines().flatten().filter_map(quantity.of).collect();
    let (x_scale, y_scale) = (Scale::x(&xs), Scale::y(&ys));
    let (plot_left, plot_top) = (left + MARGIN.0, top + MARGIN.1);
    let (width, height) = (PANEL.0 - MARGIN.0 - MARGIN.2, PANEL.1 - MARGIN.1 - MARGIN.3);
    let bottom = plot_top + height;

    let log = if y_scale.log { " (log)" } else { "" };
    let _ = writeln!(
        body,
        r#"<text x="{plot_left}" y="{}" class="p">{}{log}</text>"#,
        plot_top - 9,
        quantity.title
    );
    for tick in y_scale.ticks(quantity.unit) {
        let y = bottom * 10 - y_scale.at(tick, height);
        let _ = writeln!(
            body,
            r##"<path d="M{plot_left} {y}h{width}" stroke="#e4e4e4"/><text x="{}" y="{}" class="k" text-anchor="end">{}</text>"##,
            plot_left - 5,
            px(y + 35),
            shown(tick, quantity.unit),
            y = px(y)
        );
    }
    let mut ticks = xs.clone();
    ticks.sort_unstable();
    ticks.dedup();
    // Values whose labels would touch are left out, but never the last one.
    let mut free = i64::MAX;
    for tick in ticks.iter().rev() {
        let x = plot_left * 10 + x_scale.at(*tick, width);
        let label = shown(*tick, 1);
        let room = 35 * label.len() as i64 + 30;
        if x + room > free {
            continue;
        }
        free = x - room;
        let _ = writeln!(
            body,
            r##"<path d="M{x} {bottom}v4" stroke="#888"/><text x="{x}" y="{}" class="k" text-anchor="middle">{label}</text>"##,
            bottom + 15,
            x = px(x)
        );
    }
    let _ = writeln!(
        body,
        r##"<path d="M{plot_left} {plot_top}v{height}h{width}" fill="none" stroke="#888"/><text x="{}" y="{}" class="k" text-anchor="middle">{}</text>"##,
        plot_left + width / 2,
        bottom + 29,
        study.axis.label()
    );
    for (i, line) in lines().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let mut path = String::new();
        let mut dots = String::new();
        for found in line {
            let Some(value) = (quantity.of)(found) else { continue };
            let x = px(plot_left * 10 + x_scale.at(study.axis.of(&found.point), width));
            let y = px(bottom * 10 - y_scale.at(value, height));
            let _ = write!(path, "{}{x} {y}", if path.is_empty() { 'M' } else { 'L' });
            let _ = write!(dots, r#"<circle cx="{x}" cy="{y}" r="2.2"/>"#);
        }
        if !path.is_empty() {
            let _ = writeln!(
                body,
                r#"<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/><g fill="{colour}">{dots}</g>"#
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_one() {
        for (n, log) in [(1, 0), (2, 1 << 16), (1 << 40, 40 << 16), (1_000, 653_117)] {
            assert!((log2(n) - log).abs() <= 1, "{n}: {}", log2(n));
        }
    }

    #[test]
    fn scales_reach_from_end_to_end() {
        let x = Scale::x(&[1, 2, 63]);
        assert_eq!((x.log, x.at(1, 100), x.at(63, 100)), (true, 0, 1_000));
        let y = Scale::y(&[10, 90]);
        assert_eq!((y.log, y.at(0, 100)), (false, 0));
        assert!(y.at(90, 100) < 1_000 && y.ticks(1).len() > 2, "{:?}", y.ticks(1));
        let y = Scale::y(&[3_000, 900_000]);
        assert!(y.log && y.ticks(1_000).len() > 2, "{:?}", y.ticks(1_000));
        assert_eq!(Scale::y(&[]).at(0, 100), 0);
    }

    #[test]
    fn numbers_are_short() {
        let cases = [(0, "0"), (20_000, "20k"), (1_500_000, "1.5M"), (65_536, "65.536k")];
        for (n, text) in cases {
            assert_eq!(shown(n, 1), text);
        }
        assert_eq!(shown(250, 1_000), "0.25");
        assert_eq!((px(105), px(-3), px(40)), ("10.5".into(), "-0.3".into(), "4".into()));
    }
}
