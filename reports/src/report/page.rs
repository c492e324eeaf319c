//! The report as HTML: one file that asks for nothing.
//!
//! The policy in its head forbids every load but images that stand in it as data. What it shows
//! comes from scenario files, which may be anybody's, so text goes through maud's escaping or, in
//! the island, through [`island`], and the script makes text nodes only.

use super::data::{verdicts, Answer, Report, Scenario, Sweep};
use maud::{html, Markup, PreEscaped, DOCTYPE};
use percent_encoding::{utf8_percent_encode, AsciiSet, CONTROLS, NON_ALPHANUMERIC};
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd};
use serde::Serialize;

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// Nothing is loaded, nothing is sent, nothing is embedded.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
    img-src data:; base-uri 'none'; form-action 'none'";

/// What a picture in a URL has to have encoded; more would only make the file longer.
const PICTURE: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'<').add(b'>').add(b'`');

/// Lines of the table that are laid out before somebody asks for more: a long table takes seconds.
const LINES_SHOWN: usize = 100;

/// What the script needs to filter, beyond the tables of the page. A scenario has an island of its
/// own, which is read when its page is opened.
#[derive(Serialize)]
struct Island<'a> {
    sources: &'a str,
    rows: &'a [super::Row],
    lines_shown: usize,
    scenarios: Vec<Entry<'a>>,
}

/// A scenario, as far as a filter looks at it.
#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    kind: &'a str,
    /// What a search looks at, in small letters.
    words: String,
    answers: Vec<Verdict<'a>>,
}

/// An answer, as far as a filter looks at it.
#[derive(Serialize)]
struct Verdict<'a> {
    revision: &'a str,
    verdict: &'a str,
    judgement: &'a str,
}

impl Verdict<'_> {
    fn of(answer: &Answer) -> Verdict<'_> {
        let Answer { revision, verdict, judgement, .. } = answer;
        Verdict { revision, verdict, judgement }
    }
}

fn entry(scenario: &Scenario) -> Entry<'_> {
    let observations = scenario.answers.iter().flat_map(|a| &a.observations);
    let mut splats: Vec<&str> =
        observations.flat_map(|o| o.said.splats.keys().map(String::as_str)).collect();
    splats.sort_unstable();
    splats.dedup();
    let words = [scenario.name.as_str(), &scenario.question, &scenario.source];
    let words: Vec<&str> = words.into_iter().chain(splats).collect();
    Entry {
        name: &scenario.name,
        kind: &scenario.kind,
        words: words.join("\n").to_lowercase(),
        answers: scenario.answers.iter().map(Verdict::of).collect(),
    }
}

/// The page. `sources` is put in front of the paths of the model's sources, if it is not empty.
///
/// # Errors
///
/// If the data cannot be written as JSON, which would be a bug of the testbed.
pub fn page(report: &Report, sources: &str) -> Result<String, String> {
    let scenarios: Vec<Entry<'_>> = report.scenarios.iter().map(entry).collect();
    let data = Island { sources, rows: &report.rows, lines_shown: LINES_SHOWN, scenarios };
    let data = island(&data)?;
    let islands: Vec<String> = report.scenarios.iter().map(island).collect::<Result<_, _>>()?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                link rel="icon" href="data:,";
                title { "iommufd-testbed: report" }
                style { (PreEscaped(STYLE)) }
                noscript { style { "#matrix tr[hidden] { display: table-row; }" } }
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header {
                    h1 { "iommufd-testbed " small { (report.testbed) } }
                    nav aria-label="Parts of the report" {
                        a href="#verdicts" { "Verdicts" }
                        @if report.sweep.is_some() { a href="#smmuv3" { "SMMUv3" } }
                        a href="#findings" { "Findings" }
                    }
                }
                main id="main" tabindex="-1" {
                    section.view id="verdicts" aria-labelledby="verdicts-head" {
                        (verdict_section(report))
                    }
                    section.view id="race" aria-live="off" hidden {}
                    @if let Some(sweep) = &report.sweep {
                        section.view id="smmuv3" aria-labelledby="smmuv3-head" {
                            (sweep_section(sweep))
                            (PreEscaped(text_of(&report.cost_model)))
                        }
                    }
                    section.view.prose id="findings" aria-label="Findings" {
                        (PreEscaped(text_of(&report.findings)))
                    }
                }
                script type="application/json" id="data" { (PreEscaped(data)) }
                @for (i, scenario) in islands.iter().enumerate() {
                    script type="application/json" id={ "scenario-" (i) } {
                        (PreEscaped(scenario))
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    Ok(page.into_string() + "\n")
}

/// JSON that can stand in a `script` element: no `<` is left that could end it or open a comment.
fn island<T: Serialize>(data: &T) -> Result<String, String> {
    serde_json::to_string(data)
        .map(|json| json.replace('<', "\\u003c"))
        .map_err(|e| format!("cannot write JSON: {e}; please report this as a bug"))
}

fn verdict_section(report: &Report) -> Markup {
    let bases: Vec<&super::Row> = report.rows.iter().filter(|r| r.twin_of.is_none()).collect();
    let counts: Vec<String> =
        verdicts(report).iter().map(|(word, n)| format!("{n} {word}")).collect();
    html! {
        h2 id="verdicts-head" { "Verdicts" }
        p { (counts.join(", ")) }
        pre.summary { (report.summary) }
        (differing(report))
        form.filters role="search" aria-label="Filter the scenarios" {
            label { "Search " input type="search" id="search" placeholder="name, question, splat"; }
            label { "Kind " select id="kind" {
                option value="" { "all" }
                @for kind in ["race", "story", "canary"] { option { (kind) } }
            } }
            label { "Verdict " select id="verdict" {
                option value="" { "all" }
                @for word in verdicts(report).keys() { option { (word) } }
                option value="differs" { "not as recorded" }
            } }
            label { "Row " select id="row" {
                option value="" { "all" }
                @for row in &report.rows { option value=(row.name) { (row.name) } }
            } }
            output id="shown" role="status" {}
        }
        div.wide {
            table id="matrix" {
                caption { "Failing executions / all executions of each scenario on each row; a row \
                    of the model that leaves out one fix stands under twins." }
                thead { tr {
                    th scope="col" { "scenario" }
                    @for row in &bases { th scope="col" title=(row.doc) { (row.name) } }
                    th scope="col" { "twins" }
                } }
                tbody {
                    @for (i, scenario) in report.scenarios.iter().enumerate() {
                        (matrix_row(scenario, &bases, i >= LINES_SHOWN))
                    }
                }
            }
        }
        button type="button" id="more" hidden {}
    }
}

/// What is not as recorded comes first, so that nobody has to look for it.
fn differing(report: &Report) -> Markup {
    let all = report.scenarios.iter().flat_map(|s| s.answers.iter().map(move |a| (s, a)));
    let differing: Vec<_> =
        all.filter(|(_, a)| !matches!(a.judgement.as_str(), "as_recorded" | "evidence")).collect();
    html! {
        @if !differing.is_empty() {
            h3 { "Not as recorded" }
            ul.differs {
                @for (scenario, answer) in differing {
                    li {
                        a href=(link(scenario, answer)) {
                            (broken_at_words(&scenario.name)) " on "
                            (broken_at_words(&answer.revision))
                        }
                        ": " (answer.reason.as_deref().unwrap_or(&answer.judgement))
                    }
                }
            }
        }
    }
}

fn link(scenario: &Scenario, answer: &Answer) -> String {
    format!("#race/{}/{}", encoded(&scenario.name), encoded(&answer.revision))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A name that may go on in the next line behind each of its words, instead of in the middle of one.
fn broken_at_words(name: &str) -> Markup {
    html! {
        @for (i, word) in name.split('_').enumerate() {
            @if i > 0 { "_" wbr; }
            (word)
        }
    }
}

fn matrix_row(scenario: &Scenario, bases: &[&super::Row], hidden: bool) -> Markup {
    let on = |name: &str| scenario.answers.iter().find(|a| a.revision == name);
    let twins = scenario.answers.iter().filter(|a| bases.iter().all(|r| r.name != a.revision));
    html! {
        tr hidden[hidden] {
            th scope="row" {
                a href={ "#race/" (encoded(&scenario.name)) } { (broken_at_words(&scenario.name)) }
                span.question { (scenario.question) }
            }
            @for row in bases {
                @if let Some(answer) = on(&row.name) {
                    td data-row=(row.name) { (cell(scenario, answer)) }
                } @else {
                    td {}
                }
            }
            td.twins {
                @for answer in twins {
                    div { (cell(scenario, answer)) " " (answer.revision) }
                }
            }
        }
    }
}

fn cell(scenario: &Scenario, answer: &Answer) -> Markup {
    let as_recorded = matches!(answer.judgement.as_str(), "as_recorded" | "evidence");
    html! {
        a.v.odd[!as_recorded] data-v=(answer.verdict) href=(link(scenario, answer)) {
            (answer.verdict) @if !as_recorded { " (not as recorded)" } " "
            small { (answer.counts) }
        }
    }
}

fn sweep_section(sweep: &Sweep) -> Markup {
    html! {
        h2 id="smmuv3-head" { "What a batch or a queue type buys" }
        p { "From the cost model of the SMMUv3 command queue in virtual time, on the machine "
            (sweep.profile) "; medians over " (sweep.seeds)
            @if sweep.seeds == 1 { " seed." } @else { " seeds." } }
        @for study in &sweep.studies {
            h3 { (study.question) }
            p { strong { (study.advice) } }
            img alt={ "Plot: " (study.question) " The table has the same numbers." }
                src={ "data:image/svg+xml," (utf8_percent_encode(&study.plot, PICTURE)) };
            details {
                summary { "Table" }
                div.wide { table.numbers {
                    @for (i, line) in study.table.iter().enumerate() {
                        tr { @for cell in line {
                            @if i == 0 { th scope="col" { (cell) } } @else { td { (cell) } }
                        } }
                    }
                } }
            }
        }
    }
}

/// Markdown as HTML. Links to files of the checkout become text: the page may be anywhere.
fn text_of(markdown: &str) -> String {
    let mut left = 0_usize;
    let events =
        Parser::new_ext(markdown, Options::ENABLE_TABLES).filter_map(|event| match event {
            Event::Start(Tag::Link { ref dest_url, .. }) if !dest_url.contains("://") => {
                left += 1;
                None
            }
            Event::End(TagEnd::Link) if left > 0 => {
                left -= 1;
                None
            }
            // The page has its own markup only.
            Event::Html(text) | Event::InlineHtml(text) => Some(Event::Text(text)),
            Event::Start(Tag::Image { title, .. }) => {
                Some(Event::Text(CowStr::from(title.to_string())))
            }
            Event::End(TagEnd::Image) => None,
            event => Some(event),
        });
    let mut html = String::new();
    pulldown_cmark::html::push_html(&mut html, events);
    // A table that is wider than the page scrolls alone.
    html.replace("<table>", "<div class=\"wide\"><table>").replace("</table>", "</table></div>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_island_cannot_be_left() {
        let text = island(&"</script><script>alert(1)</script><!--").expect("JSON");
        assert!(!text.contains('<'), "{text}");
        let back: String = serde_json::from_str(&text).expect("it is still JSON");
        assert_eq!(back, "</script><script>alert(1)</script><!--");
    }

    #[test]
    fn the_script_and_the_style_can_stand_in_a_page() {
        assert!(!SCRIPT.contains("</") && !SCRIPT.contains("<!--"));
        assert!(!STYLE.contains("</") && !STYLE.contains("url("));
        for word in ["eval", "innerHTML", "insertAdjacentHTML", "document.write", "fetch("] {
            assert!(!SCRIPT.contains(word), "{word}");
        }
    }

    #[test]
    fn markdown_brings_no_markup_and_no_dead_links() {
        let html = text_of("a [x](../x.md) <img src=y> [z](https://z) **b** | [w](w)");
        assert!(html.contains("a x &lt;img src=y&gt;"), "{html}");
        assert!(html.contains("<a href=\"https://z\">z</a> <strong>b</strong> | w"), "{html}");
    }
}
