//! The page of `report` in a headless Chromium: it opens, its filters filter, its stepper steps,
//! nothing goes wrong in it and nothing leaves it.
//!
//! Without Chromium the tests say so and pass; CI installs it and sets the variable that makes a
//! missing one a failure.

#[path = "support/browser.rs"]
mod driver;
mod support;

use driver::Browser;
use reports::report::{page, Report};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};
use support::{exits, run, stdout, with_race};
use tempfile::TempDir;

/// The report of the README's scenario, with its plots.
fn small(dir: &TempDir) -> PathBuf {
    let args = ["report", "my_race.toml", "--explorer", "dpor", "-o", "report.html"];
    exits(&run(dir.path(), &args), 0);
    dir.path().join("report.html")
}

fn quiet(browser: &Browser, file: &Path) {
    assert!(browser.errors().is_empty(), "{:#?}", browser.errors());
    assert_eq!(browser.requests(file), Vec::<String>::new());
}

/// Puts a value into a field as a user does.
fn set(browser: &mut Browser, id: &str, value: &str) -> String {
    let shown = browser.value(&format!(
        "(() => {{ const field = document.getElementById({id:?}); field.value = {value:?}; \
         field.dispatchEvent(new Event('input')); \
         return document.getElementById('shown').textContent; }})()"
    ));
    shown.as_str().unwrap_or_default().to_owned()
}

const STATUS: &str = "document.querySelector('.now').textContent";
const VISIBLE: &str = "[...document.querySelectorAll('.view')].filter(v => !v.hidden)\
    .map(v => v.id).join()";
const TWIN: &str = "#race/my_race/linux_6_13_without_xa_cmpxchg";

fn status(browser: &mut Browser) -> String {
    browser.value(STATUS).as_str().unwrap_or_default().to_owned()
}

#[test]
fn parts_open_and_filters_filter() {
    let Some(mut browser) = Browser::start() else { return };
    let dir = with_race(&[]);
    let file = small(&dir);
    browser.open(&file);
    for (hash, view) in [
        ("#findings", "findings"),
        ("#smmuv3", "smmuv3"),
        ("#x", "verdicts"),
        ("#race/my_race", "race"),
    ] {
        browser.go(hash);
        assert_eq!(browser.value(VISIBLE), view, "{hash}");
    }
    let plots =
        "[...document.querySelectorAll('#smmuv3 img')].filter(i => i.naturalWidth > 0).length";
    assert_eq!(browser.value(plots), 7);
    assert_eq!(browser.value("document.querySelectorAll('#race h3').length"), 2, "both rows");

    browser.go("#verdicts");
    for (id, value, shown) in [
        ("search", "virtual id", "1 of 1 scenarios"),
        ("search", "lost a live", "1 of 1 scenarios"),
        ("search", "nowhere", "0 of 1 scenarios"),
        ("search", "", "1 of 1 scenarios"),
        ("kind", "story", "0 of 1 scenarios"),
        ("kind", "race", "1 of 1 scenarios"),
        ("verdict", "differs", "0 of 1 scenarios"),
        ("verdict", "Sometimes", "1 of 1 scenarios"),
        ("row", "linux_6_13", "0 of 1 scenarios"),
        ("verdict", "Never", "1 of 1 scenarios"),
    ] {
        assert_eq!(set(&mut browser, id, value), shown, "{id} = {value}");
    }
    let heads = "[...document.querySelectorAll('#matrix thead th')]\
        .filter(h => h.offsetWidth > 0).map(h => h.textContent).join()";
    assert_eq!(browser.value(heads), "scenario,linux_6_13", "the column of the chosen row");
    quiet(&browser, &file);

    let colour = "getComputedStyle(document.body).backgroundColor";
    let light = browser.value(colour);
    let dark = json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
    browser.send("Emulation.setEmulatedMedia", dark);
    assert_ne!(browser.value(colour), light);
    browser.send("Emulation.setEmulatedMedia", json!({ "media": "print" }));
    assert_eq!(browser.value("getComputedStyle(document.querySelector('nav')).display"), "none");

    // The policy is in force: a script that asked for something would not get it.
    let asked = "new Promise(done => { addEventListener('securitypolicyviolation', \
        e => done(e.effectiveDirective)); fetch('https://example.invalid/').catch(() => {}); })";
    assert_eq!(browser.value(asked), "connect-src");
}

#[test]
fn the_stepper_steps() {
    let Some(mut browser) = Browser::start() else { return };
    let dir = with_race(&[]);
    let file = small(&dir);
    browser.open(&file);
    browser.go(TWIN);
    assert!(status(&mut browser).starts_with("Step 0 of "), "{}", status(&mut browser));
    let click =
        |label: &str| format!("document.querySelector('button[aria-label^={label:?}]').click()");

    browser.value(&click("step forward"));
    let one = status(&mut browser);
    assert!(one.contains("CPU ") && one.contains("model/src/iommufd/"), "{one}");
    browser.press("ArrowRight");
    let two = status(&mut browser);
    assert_ne!(one, two);
    browser.press("ArrowLeft");
    assert_eq!(status(&mut browser), one);
    browser.value(&click("step back"));
    assert!(status(&mut browser).starts_with("Step 0 of "));

    browser.value(&click("to the point of no return"));
    assert!(status(&mut browser).contains("Behind the point of no return."));
    let objects = "document.querySelectorAll('.graph tbody tr').length";
    assert!(browser.value(objects).as_u64() > Some(4), "objects with ids and counters");
    assert_eq!(browser.value("document.querySelectorAll('.columns .return').length"), 1);
    let current = "document.querySelectorAll('.columns tr[aria-current=step]').length";
    assert_eq!(browser.value(current), 1);

    // Every step, until a lock is held.
    let rows = "document.querySelectorAll('.columns tbody tr').length";
    let some = browser.value(rows).as_u64();
    browser.value("document.querySelector('input.all').click()");
    assert!(browser.value(rows).as_u64() > some, "the steps of their own");
    browser.press("Home");
    let mut held = false;
    for _ in 0..30 {
        browser.press("ArrowRight");
        let locks = browser.value("document.querySelector('.graph').textContent");
        held |= locks.as_str().is_some_and(|l| l.contains(" held by CPU "));
    }
    assert!(held, "a lock is shown with its holder");
    browser.press("End");
    let end = status(&mut browser);
    let (step, steps) = end[5..].split_once(" of ").expect("a number");
    assert!(steps.starts_with(step), "{end}");
    browser.press("ArrowRight");
    assert_eq!(status(&mut browser), end, "there is nothing behind the end");
    quiet(&browser, &file);
}

/// 1,000 scenarios on 15 rows, each with a failing interleaving. The numbers are printed (the
/// README has them), not asserted.
#[test]
fn a_thousand_scenarios_are_no_burden() {
    let Some(mut browser) = Browser::start() else { return };
    let dir = with_race(&[]);
    let args = ["report", "my_race.toml", "--explorer", "dpor", "--no-sweep", "--format", "json"];
    let output = run(dir.path(), &args);
    exits(&output, 0);
    let mut report: Report = serde_json::from_str(stdout(&output)).expect("a report");
    let row = report.rows[0].clone();
    report
        .rows
        .extend((0..14).map(|n| reports::report::Row { name: format!("row_{n}"), ..row.clone() }));
    let mut one = report.scenarios[0].clone();
    let never = one.answers[0].clone();
    one.answers.extend((0..14).map(|n| {
        let revision = format!("row_{n}");
        reports::report::Answer { revision, ..never.clone() }
    }));
    report.scenarios = (0..1_000)
        .map(|n| reports::report::Scenario { name: format!("race_{n}"), ..one.clone() })
        .collect();
    let text = page(&report, "").expect("a page");
    let file = dir.path().join("large.html");
    fs::write(&file, &text).expect("writable");

    browser.open(&file);
    let loaded = browser.value("performance.getEntriesByType('navigation')[0].loadEventEnd | 0");
    let timed = |act: &str| {
        format!("(() => {{ const t = performance.now(); {act}; document.body.offsetHeight; return performance.now() - t | 0; }})()")
    };
    let search = "{ const s = document.getElementById('search'); s.value = 'race_99'; s.dispatchEvent(new Event('input')); }";
    let filtered = browser.value(&timed(search));
    assert_eq!(
        browser.value("document.getElementById('shown').textContent"),
        "11 of 1000 scenarios"
    );
    let cleared = browser.value(&timed(&search.replace("race_99", "")));
    assert_eq!(
        browser.value("document.getElementById('shown').textContent"),
        "1000 of 1000 scenarios"
    );
    browser.go("#race/race_999/linux_6_13_without_xa_cmpxchg");
    let step = "document.querySelector('button[aria-label^=\"step forward\"]').click()";
    let stepped = browser.value(&timed(step));
    assert!(status(&mut browser).contains("CPU "));
    quiet(&browser, &file);
    eprintln!(
        "1,000 scenarios on 16 rows, {} KiB: loaded in {loaded} ms, search {filtered} ms, search cleared \
         {cleared} ms, one step {stepped} ms",
        text.len() / 1_024
    );
}
