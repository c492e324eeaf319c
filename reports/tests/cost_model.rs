//! The page about the fit of the cost model is what the model gives today. `UPDATE=1` rewrites it.

use reports::{cost_model, files};
use std::fs;
use std::path::Path;

#[test]
fn the_page_about_the_fit_is_fresh() {
    let profile = scenarios::profile("kunpeng-920").expect("it comes with the testbed");
    let page = cost_model::page(&profile).expect("every run ends");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cost-model.md");
    if std::env::var_os("UPDATE").is_some() {
        files::write(&path, &page).expect("the page is writable");
        return;
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let differs = committed.lines().zip(page.lines()).find(|(old, new)| old != new);
    assert!(
        committed == page,
        "reports/cost-model.md is stale: `UPDATE=1 cargo test -p iommufd-testbed --test \
         cost_model` rewrites it, the diff is the review\nfirst difference: {differs:#?}"
    );
}
