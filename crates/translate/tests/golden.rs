//! Golden pairs in `tests/golden/` of the repository: objects in, configuration and statuses out.
//!
//! `UPDATE_GOLDEN=1 cargo test -p penstock-translate` writes the outputs anew; look at the difference before you commit it.

#![allow(clippy::panic, reason = "helpers of tests say what is wrong with a case")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use common::load::Case;
use common::render::render;
use penstock_translate::Translator;

/// Name and text of every case.
fn cases() -> Vec<(PathBuf, Case)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
    let files = fs::read_dir(folder).expect("the folder of golden data").map(|entry| entry.expect("an entry").path());
    let mut inputs: Vec<PathBuf> = files.filter(|path| path.to_string_lossy().ends_with(".in.yaml")).collect();
    inputs.sort();
    assert!(inputs.len() >= 25, "only {} cases in {folder}", inputs.len());
    let case = |path: PathBuf| {
        let case = Case::parse(&fs::read_to_string(&path).expect("a readable file"));
        (path, case)
    };
    inputs.into_iter().map(case).collect()
}

#[test]
fn outcomes_are_as_written_down() {
    let mut different = Vec::new();
    for (path, case) in cases() {
        let outcome = Translator::default().translate(&case.snapshot(|_| true), &case.options());
        let text = render(&outcome, &case.world.requests);
        let expected = PathBuf::from(path.to_string_lossy().replace(".in.yaml", ".out.yaml"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, &text).expect("a writable file");
        }
        let written = fs::read_to_string(&expected).unwrap_or_default();
        if written != text {
            let line = text.lines().zip(written.lines()).position(|(a, b)| a != b).unwrap_or_default();
            different.push(format!("{}:{}: got {:?}", expected.display(), line + 1, text.lines().nth(line)));
        }
    }
    assert!(different.is_empty(), "run with UPDATE_GOLDEN=1 and look at the difference:\n{}", different.join("\n"));
}

#[test]
fn what_was_remembered_changes_no_outcome() {
    for (path, case) in cases() {
        let options = case.options();
        let all = case.objects.len();
        let check = |translator: &mut Translator, chosen: &dyn Fn(usize) -> bool, step: String| {
            let snapshot = case.snapshot(chosen);
            let fresh = Translator::default().translate(&snapshot, &options);
            let remembered = translator.translate(&snapshot, &options);
            assert!(
                fresh == remembered,
                "{}: {step}:\n{}\n{}",
                path.display(),
                render(&fresh, &[]),
                render(&remembered, &[])
            );
        };
        // Objects come one after the other, in both orders; then each goes and comes back.
        for reverse in [false, true] {
            let translator = &mut Translator::default();
            for count in 0..=all {
                let chosen = |index: usize| if reverse { index >= all - count } else { index < count };
                check(translator, &chosen, format!("with {count} objects, reverse {reverse}"));
            }
            for gone in 0..all {
                check(translator, &|index| index != gone, format!("without object {gone}"));
                check(translator, &|_| true, format!("object {gone} is back"));
            }
        }
    }
}

#[test]
fn what_did_not_change_is_the_same_pointer() {
    for (path, case) in cases() {
        let (options, snapshot) = (case.options(), case.snapshot(|_| true));
        let mut translator = Translator::default();
        let first = translator.translate(&snapshot, &options);
        let second = translator.translate(&snapshot, &options);
        assert!(Arc::ptr_eq(&first.config, &second.config), "{}", path.display());
        // Every object read again, with the same contents.
        let text = fs::read_to_string(&path).expect("a readable file");
        let third = translator.translate(&Case::parse(&text).snapshot(|_| true), &options);
        let routes = |outcome: &penstock_translate::Outcome| -> Vec<_> {
            outcome.config.listeners.iter().flat_map(|listener| listener.routes.clone()).collect()
        };
        for (a, b) in routes(&first).iter().zip(&routes(&third)) {
            assert!(Arc::ptr_eq(a, b), "{}: {a:?}", path.display());
        }
        for (a, b) in first.config.clusters.values().zip(third.config.clusters.values()) {
            assert!(Arc::ptr_eq(a, b), "{}: {:?}", path.display(), a.id);
        }
        for (key, status) in &first.rules {
            assert!(Arc::ptr_eq(status, &third.rules[key]), "{}: {key}", path.display());
        }
    }
}

#[test]
fn an_object_that_changes_and_changes_back_leaves_no_trace() {
    // What a gateway, a rule and a Service are turned into, and what that changes for everything else.
    let edits: &[(&str, &str)] = &[
        ("mode: Strict", "mode: Passthrough"),
        ("protocol: HTTP,", "protocol: HTTPS,"),
        ("priority: 20", "priority: 21"),
        ("name: one}", "name: elsewhere}"),
        ("/images/", "/more/"),
        ("hosts: FirstNamespace", "hosts: Shared"),
        ("from: All", "from: Same"),
        ("a.example.com", "b.example.com"),
        ("className: other", "className: penstock"),
        ("targetPort: 8080", "targetPort: 8081"),
        ("ready: false", "ready: true"),
        ("inlineSettings: {", "inlineSettings: {port: 9999, "),
    ];
    let mut tried = 0;
    for (path, case) in cases() {
        let text = fs::read_to_string(&path).expect("a readable file");
        let options = case.options();
        for (from, to) in edits.iter().filter(|(from, _)| text.contains(from)) {
            let translator = &mut Translator::default();
            // Every place alone, and all at once.
            let places = text.match_indices(from).map(|(at, _)| [&text[..at], to, &text[at + from.len()..]].concat());
            for changed in places.chain([text.replace(from, to)]) {
                for version in [&text, &changed, &text] {
                    let snapshot = Case::parse(version).snapshot(|_| true);
                    let fresh = Translator::default().translate(&snapshot, &options);
                    let remembered = translator.translate(&snapshot, &options);
                    let (a, b) = (render(&fresh, &[]), render(&remembered, &[]));
                    assert!(fresh == remembered, "{}: {from} to {to}:\n{a}\n{b}", path.display());
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 100, "only {tried} changes");
}
