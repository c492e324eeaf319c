//! A run as JUnit: a suite per scenario, a case per row.

use crate::check::Answered;
use crate::columns::WIDTH_MAX;
use crate::commands::page_of;
use crate::judge::Judgement;
use crate::observation::{lines, Widths};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

/// The XML text.
///
/// # Errors
///
/// If the report cannot be written as XML, which would be a bug of the testbed.
pub fn xml(answered: &[Answered]) -> Result<String, String> {
    let mut report = Report::new("iommufd-testbed");
    report.set_time(answered.iter().map(Answered::time).sum());
    for of_scenario in answered.chunk_by(|a, b| a.question.called == b.question.called) {
        let mut suite = TestSuite::new(of_scenario[0].question.scenario.name.as_str());
        suite.set_time(of_scenario.iter().map(Answered::time).sum());
        suite.add_test_cases(of_scenario.iter().map(case));
        report.add_test_suite(suite);
    }
    report
        .to_string()
        .map_err(|e| format!("cannot write JUnit XML: {e}; please report this as a bug"))
}

fn case(answered: &Answered) -> TestCase {
    let question = &answered.question;
    let mut status = match &answered.judgement {
        Judgement::AsRecorded(_) | Judgement::Evidence => TestCaseStatus::success(),
        Judgement::Differs(_) => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Judgement::Undecided(_) => TestCaseStatus::non_success(NonSuccessKind::Error),
        Judgement::Interrupted => TestCaseStatus::skipped(),
    };
    let said = lines(answered, Widths::of(std::slice::from_ref(question)));
    if let Some(reason) = answered.judgement.reason() {
        status.set_message(reason);
    }
    if matches!(answered.judgement, Judgement::Differs(_) | Judgement::Undecided(_)) {
        // Ant's schema wants a type, GitLab shows the body and Jenkins the message.
        status.set_type(answered.judgement.word());
        let mut body = format!("{}\n{said}", answered.judgement.reason().unwrap_or_default());
        // Who reads it has no checkout at hand: the interleaving is in it.
        let found = answered.answers.iter().all(|a| a.result.is_ok());
        if let Some(failure) = answered.failure().filter(|_| found) {
            body.push('\n');
            body.push_str(&page_of(answered, failure, WIDTH_MAX));
        }
        status.set_description(body);
    }
    let mut case = TestCase::new(question.revision.as_str(), status);
    case.set_classname(question.scenario.name.as_str());
    case.set_time(answered.time());
    case.set_system_out(said);
    case
}
