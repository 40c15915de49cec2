//! Rules of the repository that no compiler checks: file heads, lengths, words, links, doors.
//!
//! What must stay true: each rule says in its failure which file breaks it and what is asked for.

#![expect(clippy::unwrap_used, reason = "a test may end at the first surprise")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a source file, and of one that holds tests.
const LINES_MAX: usize = 600;
const TEST_LINES_MAX: usize = 1000;
/// Signs beyond ASCII that sources may hold, for mathematics and units.
const SIGNS: &str = "\u{2212}\u{d7}\u{b7}\u{2264}\u{2265}\u{2260}\u{2208}\u{3a3}\u{221a}\u{2248}\u{2026}\u{2192}\u{b1}\u{b2}\u{221e}\u{b5}\u{2016}\u{27e8}\u{27e9}\u{230a}\u{230b}\u{2014}\u{2013}";
/// Where the engine may reach the disk: its storage, and the catalogue, whose SQL library has files of its own.
const DISK_DOORS: [&str; 2] = ["crates/engine/src/storage/", "crates/engine/src/catalog/"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Every file of the repository with one of these endings, as its path from the root.
fn files(endings: &[&str]) -> Vec<String> {
    fn walk(folder: &Path, root: &Path, endings: &[&str], found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let made = name.starts_with('.') || ["target", "node_modules"].contains(&name.as_str());
            if path.is_dir() && !made {
                walk(&path, root, endings, found);
            } else if endings.iter().any(|ending| name.ends_with(ending)) && path.is_file() {
                let relative = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                found.push(relative);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &root(), endings, &mut found);
    found.sort();
    assert!(!found.is_empty());
    found
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Whether a file holds tests and nothing else.
fn is_test(file: &str) -> bool {
    file.starts_with("tests/")
        || file.ends_with("/tests.rs")
        || ["/tests/", "/benches/", "/examples/"]
            .iter()
            .any(|part| file.contains(part))
}

/// A source without its tests.
fn without_tests(text: &str) -> &str {
    let inner = text.find("#[cfg(test)]\nmod ");
    let inner = inner.filter(|&at| {
        text[at..]
            .lines()
            .nth(1)
            .is_some_and(|line| line.ends_with('{'))
    });
    &text[..inner.unwrap_or(text.len())]
}

fn fail_with(broken: &[String], rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn every_source_opens_with_what_it_is_for() {
    let headless = |file: &String| !read(file).starts_with("//!");
    let broken: Vec<_> = files(&[".rs"]).into_iter().filter(headless).collect();
    fail_with(
        &broken,
        "a source opens with a //! comment: what it is for, what must stay true",
    );
}

#[test]
fn no_source_is_too_long() {
    let mut broken = Vec::new();
    for file in files(&[".rs"]) {
        let text = read(&file);
        let (lines, most) = if is_test(&file) {
            (text.lines().count(), TEST_LINES_MAX)
        } else {
            (without_tests(&text).lines().count(), LINES_MAX)
        };
        if lines > most {
            broken.push(format!("{file}: {lines} lines, at most {most}"));
        }
    }
    fail_with(&broken, "split these sources");
}

#[test]
fn sources_hold_no_notes_for_later_and_no_path_of_a_machine() {
    // Put together here, so that this file does not break its own rule.
    let words = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["unimpl", "emented!("].concat(),
        ["to", "do!("].concat(),
        ["/wo", "rk/"].concat(),
        ["/ro", "ot/"].concat(),
        ["/ho", "me/"].concat(),
    ];
    let mut broken = Vec::new();
    for file in files(&[".rs", ".toml", ".md", ".py", ".yml", "test", ".sh"]) {
        for (number, line) in read(&file).lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(word.as_str())) {
                broken.push(format!("{file}:{}: {word}", number + 1));
            }
        }
    }
    fail_with(
        &broken,
        "say it in an issue, or name paths from the root of the repository",
    );
}

#[test]
fn sources_are_ascii_but_for_signs_of_mathematics() {
    let mut broken = Vec::new();
    for file in files(&[".rs", ".toml"])
        .into_iter()
        .filter(|file| !is_test(file))
    {
        let text = read(&file);
        for (number, line) in without_tests(&text).lines().enumerate() {
            let sign = line
                .chars()
                .find(|sign| !sign.is_ascii() && !SIGNS.contains(*sign));
            if let Some(sign) = sign {
                broken.push(format!("{file}:{}: {}", number + 1, sign.escape_unicode()));
            }
        }
    }
    fail_with(&broken, "write these signs as escapes, or in ASCII");
}

#[test]
fn every_link_of_a_page_leads_somewhere() {
    let mut broken = Vec::new();
    for file in files(&[".md"]) {
        let text = read(&file);
        let folder = Path::new(&file).parent().unwrap().to_owned();
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let path = target.split('#').next().unwrap();
            if path.is_empty() || path.contains("://") || path.contains(' ') {
                continue;
            }
            if !root().join(&folder).join(path).exists() {
                broken.push(format!("{file}: {target}"));
            }
        }
    }
    fail_with(&broken, "these links lead nowhere");
}

#[test]
fn every_path_that_a_page_names_is_there() {
    let mut broken = Vec::new();
    for file in files(&[".md"]) {
        for word in read(&file).split('`').skip(1).step_by(2) {
            let is_path = [
                "crates/", "tests/", "docs/", "sample/", "bench/", ".ci/", ".config/",
            ]
            .iter()
            .any(|start| word.starts_with(start));
            let plain = !word.contains(['*', '<', '{', ' ', '\n']);
            if is_path && plain && !root().join(word).exists() {
                broken.push(format!("{file}: `{word}`"));
            }
        }
    }
    fail_with(&broken, "pages name paths that are not there");
}

#[test]
fn the_code_map_names_every_crate_and_every_module_of_the_engine() {
    let map = read("ARCHITECTURE.md");
    let mut missing = BTreeSet::new();
    for entry in fs::read_dir(root().join("crates")).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        if !map.contains(&format!("crates/{name}")) {
            missing.insert(format!("crates/{name}"));
        }
    }
    for entry in fs::read_dir(root().join("crates/engine/src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if name != "lib"
            && !map.contains(&format!("`{name}`"))
            && !map.contains(&format!("{name}/"))
        {
            missing.insert(format!("module {name} of the engine"));
        }
    }
    fail_with(
        &missing.into_iter().collect::<Vec<_>>(),
        "ARCHITECTURE.md does not name",
    );
}

#[test]
fn the_engine_reaches_the_disk_through_its_storage_only() {
    let mut broken = Vec::new();
    for file in files(&[".rs"]) {
        let inside = file.starts_with("crates/engine/src/") && !is_test(&file);
        if !inside || DISK_DOORS.iter().any(|door| file.starts_with(door)) {
            continue;
        }
        let text = read(&file);
        for (number, line) in without_tests(&text).lines().enumerate() {
            if line.contains("std::fs") || line.contains("File::open") {
                broken.push(format!("{file}:{}", number + 1));
            }
        }
    }
    fail_with(&broken, "use crate::storage instead of std::fs");
}
