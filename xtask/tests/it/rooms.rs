//! The modules of a crate form no circles, and know of nothing they have no
//! business with. Reads the `crate::` paths of the sources, tests left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What a room of a crate must not name.
const FORBIDDEN: [(&str, &str, &[&str]); 8] = [
    ("common", "db", &["crate::dispatch", "crate::redis", "crate::rate_limit", "redis::"]),
    ("common", "quiz", DRIVERS),
    ("common", "food", DRIVERS),
    ("common", "nutrition", DRIVERS),
    ("common", "billing", DRIVERS),
    ("common", "callbacks", DRIVERS),
    ("worker", "runner", &["crate::jobs", "crate::deps", "crate::llm", "crate::periodic"]),
    ("worker", "llm", &["crate::jobs", "crate::deps", "crate::runner", "tokio_postgres"]),
];
const DRIVERS: &[&str] =
    &["crate::db", "crate::redis", "crate::dispatch", "tokio_postgres", "redis::", "reqwest"];

type Graph = BTreeMap<String, BTreeSet<String>>;

#[test]
fn modules_form_no_circles() {
    for name in ["common", "ingress", "worker", "devtools", "xtask"] {
        let graph = graph(&source(name));
        assert!(graph.len() > 5, "{name}: the sources were not read");
        assert_eq!(circle(&graph), None, "a circle of modules in {name}");
    }
}

#[test]
fn rooms_name_only_what_is_their_business() {
    for (name, room, forbidden) in FORBIDDEN {
        let files = files_of(&source(name), room);
        assert!(!files.is_empty(), "{name} has no {room}");
        for (path, code) in files {
            for word in forbidden {
                assert!(!code.contains(word), "{} names {word}", path.display());
            }
        }
    }
}

#[test]
fn what_handlers_are_given_names_no_job() {
    for (path, code) in files_of(&source("worker"), "deps") {
        assert!(!code.contains("crate::jobs"), "{} names a job", path.display());
    }
}

#[test]
fn routes_are_on_top() {
    for (module, named) in graph(&source("ingress")) {
        assert!(!named.contains("routes"), "{module} names routes");
    }
    for (path, code) in files_of(&source("ingress"), "routes") {
        let beside = path.with_file_name("").ends_with("routes") || path.ends_with("mod.rs");
        let other = code.contains("crate::routes") || (beside && code.contains("super::"));
        assert!(!other, "{} names another route", path.display());
    }
}

#[test]
fn a_circle_is_found() {
    let edge = |from: &str, to: &str| (from.to_owned(), BTreeSet::from([to.to_owned()]));
    let straight = Graph::from([edge("a", "b"), edge("b", "c")]);
    assert_eq!(circle(&straight), None);
    let round = Graph::from([edge("a", "b"), edge("b", "c"), edge("c", "a")]);
    assert_eq!(circle(&round).unwrap(), ["a", "b", "c", "a"]);
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src")
}

/// Which module names which others of its crate.
fn graph(source: &Path) -> Graph {
    let mut graph = Graph::new();
    for entry in fs::read_dir(source).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.trim_end_matches(".rs").to_owned();
        if ["lib", "main", "test_support"].contains(&module.as_str()) {
            continue;
        }
        let named = files_of(source, &module).iter().flat_map(|(_, code)| named(code)).collect();
        graph.insert(module, named);
    }
    for (module, named) in &mut graph {
        named.remove(module);
    }
    graph
}

/// The modules in the paths of `code` that begin at the crate's root.
fn named(code: &str) -> BTreeSet<String> {
    let word = |text: &str| {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let paths = code.split("crate::").skip(1);
    paths
        .flat_map(|path| match path.strip_prefix('{') {
            Some(group) => {
                group.split(';').next().unwrap_or_default().split(',').map(word).collect()
            }
            None => vec![word(path)],
        })
        .collect()
}

/// The sources of a module without its tests.
fn files_of(source: &Path, module: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut open = vec![source.join(module), source.join(format!("{module}.rs"))];
    while let Some(path) = open.pop() {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.contains("tests") {
            continue;
        }
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.is_file() && name.ends_with(".rs") {
            let code = fs::read_to_string(&path).unwrap();
            let code = code.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            found.push((path, code.to_owned()));
        }
    }
    found
}

fn circle(graph: &Graph) -> Option<Vec<String>> {
    graph.keys().find_map(|start| walk(graph, vec![start.clone()], &mut BTreeSet::new()))
}

/// A way from the first of `path` back to it.
fn walk(graph: &Graph, path: Vec<String>, seen: &mut BTreeSet<String>) -> Option<Vec<String>> {
    let (first, last) = (path.first()?, path.last()?);
    for next in graph.get(last)? {
        let mut longer = path.clone();
        longer.push(next.clone());
        if next == first {
            return Some(longer);
        }
        if seen.insert(next.clone())
            && let Some(found) = walk(graph, longer, seen)
        {
            return Some(found);
        }
    }
    None
}
