//! Mutants: is a change made where it is asked for, is it noticed, and is nothing listed for no
//! reason? The score of whole rows is the business of `iommufd-testbed mutate`; a sample of it
//! runs in `.ci/run`.

use races::mutation::{baseline, notices, Baseline, Beside, Notice};
use races::{Bounds, Subject, Unwatched};
use reports::rows::revisions;
use scenarios::Scenario;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use uapi::mutation::{CallSite, Change, Mutation, PRIMITIVES};
use uapi::pick::FirstEnabled;
use uapi::program::Limits;
use uapi::verdict::Expected;

const ROW: &str = "linux_6_13";

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

fn question(name: &str) -> (Subject, Expected) {
    let path = scenarios::resolve(name, &dir()).expect(name);
    let scenario = Scenario::read(&path, revisions()).expect(name);
    let expected = scenario.expected(ROW).expect("a verdict on the row").clone();
    (Subject::Program { program: scenario.program(ROW), revision: ROW.to_owned() }, expected)
}

fn site(name: &str) -> u16 {
    let found = model_native::call_sites().iter().position(|s| s.name() == name);
    u16::try_from(found.unwrap_or_else(|| panic!("{name} is a call site"))).expect("few sites")
}

fn without_mutant(scenario: &str) -> Baseline {
    let (subject, expected) = question(scenario);
    baseline(&subject, (&expected, Beside::default()), &Bounds::default(), &mut Unwatched)
        .expect("it runs")
}

fn notice(scenario: &str, site_name: &str, change: Change) -> Notice {
    let (subject, expected) = question(scenario);
    let mutation = Mutation { site: site(site_name), change };
    notices(&subject, (&expected, Beside::default()), &Bounds::default(), mutation, &mut Unwatched)
        .expect("it runs")
}

#[test]
fn a_baseline_reaches_call_sites_and_notices_nothing() {
    let found = without_mutant("vdev_alloc_vs_viommu_destroy");
    assert_eq!(found.notice, Notice::No);
    for name in [
        "iommufd/viommu.rs iommufd_vdevice_alloc_ioctl xa_cmpxchg#1",
        "iommufd/viommu.rs iommufd_vdevice_alloc_ioctl get_device#1",
        // The setup reaches call sites, too.
        "iommufd/viommu.rs iommufd_viommu_alloc_ioctl refcount_inc#1",
        // And so does the exit of the process.
        "iommufd/main.rs iommufd_fops_release refcount_dec_if_one#1",
    ] {
        assert!(found.reached.contains(&site(name)), "{name}");
    }
}

/// What nothing follows cannot be put off; what a lock that is given back follows can. An array
/// that gives out ids reserves them where NULL is stored, others do not.
#[test]
fn a_change_that_makes_the_same_program_is_told_apart() {
    let found = without_mutant("bind_vs_unbind_in_one_group");
    let cases = [
        ("iommufd/device.rs iommufd_device_bind refcount_inc#1", Change::Defer, true),
        ("iommufd/main.rs iommufd_fops_release xa_erase#1", Change::AsStore, true),
    ];
    for (name, change, apart) in cases {
        assert_eq!(found.apart.contains(&(site(name), change)), apart, "{name} {change}");
    }
    let found = without_mutant("a_group_is_attached_as_a_whole");
    let name = "iommufd/device.rs iommufd_device_attach refcount_inc#1";
    assert!(found.reached.contains(&site(name)), "{name}");
    assert!(!found.apart.contains(&(site(name), Change::Defer)), "{name}");
}

/// A store to an object that nobody else can reach before the unlock can be put off past that; one
/// to an object that is published before the unlock cannot, nor one that the CPU itself reads. An
/// array that gives out no ids shows the same old entry by either API.
#[test]
fn a_store_to_memory_of_its_own_is_told_apart() {
    let found = without_mutant("mock_domain_vs_guessed_destroy");
    let cases = [
        ("iommufd/selftest.rs iommufd_test_mock_domain store#1", Change::Defer, false),
        ("iommufd/selftest.rs iommufd_test_mock_domain store#2", Change::Defer, false),
        ("iommufd/device.rs iommufd_device_bind store#1", Change::Defer, true),
        ("iommufd/hw_pagetable.rs iommufd_hwpt_paging_alloc store#1", Change::Defer, true),
        ("iommufd/device.rs iommufd_get_group xas_store#1", Change::AsStore, false),
        ("iommufd/main.rs iommufd_object_finalize xas_store#1", Change::AsStore, true),
    ];
    for (name, change, apart) in cases {
        assert!(found.reached.contains(&site(name)), "{name}");
        assert_eq!(found.apart.contains(&(site(name), change)), apart, "{name} {change}");
    }
}

#[test]
fn changes_are_noticed_by_the_scenario_that_is_about_them() {
    let cases = [
        (
            "vdev_alloc_vs_viommu_destroy",
            "iommufd/viommu.rs iommufd_vdevice_alloc_ioctl refcount_inc#1",
            Change::Omit,
        ),
        (
            "eexist_unwind_vs_destroy_alloc",
            "iommufd/viommu.rs iommufd_vdevice_destroy xa_cmpxchg#1",
            Change::AsStore,
        ),
        ("put_vs_unbind", "iommufd/main.rs iommufd_put_object refcount_dec#1", Change::Defer),
        ("get_vs_destroy", "iommufd/main.rs iommufd_get_object xa_lock_index_read#1", Change::Omit),
        (
            "nested_invalidate_vs_nested_destroy",
            "iommufd/selftest.rs mock_domain_cache_invalidate_user store#1",
            Change::Defer,
        ),
        (
            "bind_vs_unbind_in_one_group",
            "iommufd/device.rs iommufd_get_group refcount_inc_not_zero#1",
            Change::AsInc,
        ),
    ];
    for (scenario, site, change) in cases {
        let notice = notice(scenario, site, change);
        assert!(matches!(notice, Notice::Yes(_)), "{scenario}: {site} {change}: {notice:?}");
    }
}

#[test]
fn a_change_elsewhere_is_not_noticed() {
    let elsewhere = "iommufd/viommu.rs iommufd_viommu_alloc_ioctl refcount_inc#1";
    assert_eq!(notice("ids_are_the_lowest_free_ones", elsewhere, Change::Omit), Notice::No);
}

/// The list of call sites is read off the sources, the reach off executions. If the two disagreed
/// on columns, every call site would count as unreached.
#[test]
fn every_step_that_can_be_changed_stands_at_a_call_site() {
    let sites = model_native::call_sites();
    let declared: BTreeSet<&str> = PRIMITIVES.iter().map(|(name, _)| *name).collect();
    let loaded = scenarios::load_dir(&dir(), revisions());
    let limits = Limits { trace: true, reach: true, ..Limits::default() };
    let mut reached = BTreeSet::new();
    for scenario in loaded.scenarios.iter().filter(|s| s.expected(ROW).is_some()) {
        let (subject, _) = question(&scenario.name);
        let Ok(outcome) = model_native::run(&subject, &mut FirstEnabled, &limits) else {
            continue;
        };
        let outcome = outcome.expect("it is not pruned");
        reached.extend(outcome.reached);
        for step in outcome.trace.map(|t| t.steps).unwrap_or_default() {
            let kernel = step.file.starts_with("iommufd/") || step.file == "linux/iommu.rs";
            let own = step.file == "iommufd/invariants.rs";
            if !kernel || own || !declared.contains(step.op.as_str()) {
                continue;
            }
            let here = |s: &&CallSite| (s.file, s.line) == (step.file.as_str(), step.line);
            assert!(sites.iter().any(|s| here(&s)), "{}:{} {}", step.file, step.line, step.op);
        }
    }
    assert!(reached.len() > 60, "{} call sites are reached", reached.len());
}

#[test]
fn names_of_call_sites_are_unique_and_their_changes_declared() {
    let sites = model_native::call_sites();
    let names: BTreeSet<String> = sites.iter().map(CallSite::name).collect();
    assert_eq!(names.len(), sites.len());
    let places: BTreeSet<_> = sites.iter().map(|s| (s.file, s.line, s.column)).collect();
    assert_eq!(places.len(), sites.len());
    let declared: BTreeSet<&str> = PRIMITIVES.iter().map(|(name, _)| *name).collect();
    assert_eq!(declared.len(), PRIMITIVES.len(), "a primitive is declared once");
    let of_queue = |s: &CallSite| s.file.starts_with("arm_smmu_v3/");
    let (queue, kernel): (Vec<&CallSite>, Vec<&CallSite>) = sites.iter().partition(|s| of_queue(s));
    assert!(kernel.iter().all(|s| s.is_label() != declared.contains(s.op)));
    assert!(queue.iter().all(|s| s.is_of_queue() && s.changes.is_empty() && !s.is_label()));
    assert!(queue.len() > 50, "{} places of the queue", queue.len());
    assert!(
        sites.iter().filter(|s| s.is_label()).count() > 80,
        "the labels of the kernel's unwinds"
    );
}

#[test]
fn survivors_name_call_sites_that_exist() {
    let sites = model_native::call_sites();
    for survivor in scenarios::survivors(&dir()).expect("the file is good") {
        let site = sites.iter().find(|s| s.name() == survivor.site);
        let site = site.unwrap_or_else(|| panic!("line {}: {}", survivor.line, survivor.site));
        assert!(
            survivor.changes.iter().all(|c| site.changes.contains(c)),
            "line {}: {} is never changed so",
            survivor.line,
            site.op
        );
    }
}

#[test]
fn what_is_said_to_be_unreached_exists() {
    let sites = model_native::call_sites();
    let unreached = scenarios::unreached().expect("the file is good");
    assert!(!unreached.is_empty());
    for entry in unreached {
        assert!(sites.iter().any(|s| s.name() == entry.site), "{}", entry.site);
        assert!(!entry.reason.trim().is_empty(), "{}", entry.site);
        for row in &entry.revisions {
            assert!(reports::rows::row(row).is_some(), "{row}");
        }
    }
}
