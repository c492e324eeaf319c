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

/// On a telephone nothing is wider than the screen; what is, scrolls alone.
#[test]
fn a_narrow_page_does_not_scroll_sideways() {
    let Some(mut browser) = Browser::start() else { return };
    let dir = with_race(&[]);
    let file = small(&dir);
    browser.open(&file);
    let narrow = json!({ "width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": true });
    browser.send("Emulation.setDeviceMetricsOverride", narrow);
    browser.open(&file);
    for hash in ["#verdicts", "#smmuv3", "#findings", "#race/my_race", TWIN] {
        browser.go(hash);
        if hash == TWIN {
            browser.press("End");
        }
        let width = browser.value("document.documentElement.scrollWidth");
        assert_eq!(width, 400, "{hash}");
    }
    quiet(&browser, &file);
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

/// The lowest contrast between a text of the page and what lies behind it, as WCAG 2 reckons it, and
/// that text. What cannot be pressed is left out, as there.
const CONTRAST: &str = r"(() => {
    const linear = (v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    const channel = (v) => linear(v / 255);
    const light = (c) => c.match(/[\d.]+/g).map(Number).slice(0, 3)
        .reduce((sum, v, i) => sum + channel(v) * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (e) => {
        const own = getComputedStyle(e).backgroundColor;
        return own !== 'rgba(0, 0, 0, 0)' || !e.parentElement ? own : behind(e.parentElement);
    };
    let worst = [99, ''];
    for (const e of document.querySelectorAll('body *')) {
        const texts = [...e.childNodes].filter((n) => n.nodeType === 3 && n.data.trim());
        const seen = texts.length && e.offsetParent && !e.disabled;
        if (!seen || e.closest('svg, script, option')) continue;
        const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
            * (getComputedStyle(e.closest('tr') || e).opacity < 1 ? 0 : 1);
        if (ratio < worst[0]) worst = [ratio, texts[0].data];
    }
    return worst;
})()";

#[test]
fn every_text_can_be_read_in_light_and_in_dark() {
    let Some(mut browser) = Browser::start() else { return };
    let dir = with_race(&[]);
    let file = small(&dir);
    browser.open(&file);
    for colours in ["light", "dark"] {
        let feature = json!([{ "name": "prefers-color-scheme", "value": colours }]);
        browser.send("Emulation.setEmulatedMedia", json!({ "features": feature }));
        for part in ["#verdicts", "#smmuv3", "#findings", "#race/my_race", TWIN] {
            browser.go(part);
            let worst = browser.value(CONTRAST);
            assert!(worst[0].as_f64() >= Some(4.5), "{colours} {part}: {worst}");
        }
    }
}

/// Paper and a telephone: nothing stands beside the page.
#[test]
fn a_narrow_page_and_a_printed_one_hold_everything() {
    let Some(mut browser) = Browser::start() else { return };
    let dir = with_race(&[]);
    let file = small(&dir);
    browser.open(&file);
    for (media, width) in [("print", 700), ("screen", 400)] {
        browser.send("Emulation.setEmulatedMedia", json!({ "media": media }));
        let size =
            json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        browser.send("Emulation.setDeviceMetricsOverride", size);
        for part in ["#race/my_race", TWIN, "#verdicts"] {
            browser.go(part);
            let page = browser.value("document.documentElement.scrollWidth");
            assert!(page.as_u64() <= Some(width), "{media} {part}: {page} of {width}");
        }
        let cells = "[...document.querySelectorAll('#matrix td')].filter(td => td.textContent)";
        let beside =
            format!("{cells}.filter(td => td.getBoundingClientRect().right > {width}).length");
        assert_eq!(browser.value(&beside), 0, "{media}: every verdict is on the page");
        let named =
            "getComputedStyle(document.querySelector('#matrix td[data-row]'), '::before').content";
        let named = browser.value(named);
        assert!(named.as_str().is_some_and(|n| n.contains("linux_6_13")), "{media}: {named}");
    }
}

/// Nothing but the keyboard: from the top of the page into a stepper, and a step.
#[test]
fn a_keyboard_is_enough() {
    let Some(mut browser) = Browser::start() else { return };
    let dir = with_race(&[]);
    let file = small(&dir);
    browser.open(&file);
    let focused = "(e => `${e.tagName} ${e.id} ${e.getAttribute('href') || e.getAttribute('aria-label') || ''}`)\
        (document.activeElement)";
    let mut seen = Vec::new();
    for _ in 0..40 {
        browser.press("Tab");
        let at = browser.value(focused).as_str().unwrap_or_default().to_owned();
        let done = at.ends_with("without%5Fxa%5Fcmpxchg");
        seen.push(at);
        if done {
            break;
        }
    }
    assert!(seen[0].ends_with("#main"), "first of all past the head: {seen:?}");
    for control in ["INPUT search", "SELECT kind", "SELECT verdict", "SELECT row"] {
        assert!(seen.iter().any(|s| s.starts_with(control)), "{control}: {seen:?}");
    }
    assert!(seen.len() < 40, "the link to the stepper: {seen:?}");
    let enter = json!({ "type": "keyDown", "key": "Enter", "code": "Enter",
        "windowsVirtualKeyCode": 13, "text": "\r" });
    browser.send("Input.dispatchKeyEvent", enter);
    assert_eq!(
        browser.value("new Promise(r => setTimeout(() => r(document.activeElement.tagName)))"),
        "H2"
    );
    browser.press("ArrowRight");
    assert!(status(&mut browser).contains("CPU "), "{}", status(&mut browser));
    // What a screen reader is told of what can be used: everything has a name.
    browser.send("Accessibility.enable", json!({}));
    let tree = browser.send("Accessibility.getFullAXTree", json!({}));
    let mut used = 0;
    for node in tree["nodes"].as_array().into_iter().flatten() {
        let role = node["role"]["value"].as_str().unwrap_or_default();
        if ["button", "link", "slider", "checkbox", "combobox", "searchbox", "img"].contains(&role)
        {
            used += 1;
            let name = node["name"]["value"].as_str().unwrap_or_default();
            assert!(!name.is_empty(), "a {role} without a name: {node}");
        }
    }
    assert!(used > 8, "{used} controls and pictures");
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

/// A queue: a column for its SMMU, and its words in the place of objects.
#[test]
fn a_queue_has_an_smmu_and_words() {
    let Some(mut browser) = Browser::start() else { return };
    let dir = TempDir::new().expect("a directory");
    let text = r#"question = "Who owns the group?"
source   = "reference/smmuv3.md 3.7"
[queue]
log2size = 2
word = 2
[[cpu]]
steps = ["arm_smmu_cmdq_issue_cmdlist([{op = TLBI_NH_VA}], sync = 1)"]
[[cpu]]
steps = ["arm_smmu_cmdq_issue_cmdlist([{op = TLBI_NH_VA}], sync = 1)"]
[verdict]
cmdq_owner_does_not_wait = { sometimes = "is publishing" }
"#;
    fs::write(dir.path().join("owner.toml"), text).expect("writable");
    let args = ["report", "owner.toml", "--explorer", "dpor", "--no-sweep", "-o", "report.html"];
    exits(&run(dir.path(), &args), 0);
    let file = dir.path().join("report.html");
    browser.open(&file);
    browser.go("#race/owner/cmdq_owner_does_not_wait");
    let heads = "[...document.querySelectorAll('.interleaving thead th')]\
        .map(h => h.textContent).join()";
    let heads = browser.value(heads);
    assert!(heads.as_str().is_some_and(|h| h.contains("CPU 0,CPU 1,SMMU")), "{heads}");
    browser.press("End");
    let words = browser.value("document.querySelector('.interleaving').textContent");
    let words = words.as_str().unwrap_or_default();
    assert!(words.contains("owner_prod") && words.contains("valid_map[0]"), "{words}");
    quiet(&browser, &file);
}
