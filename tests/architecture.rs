//! The invariants of docs/ARCHITECTURE.md that the compiler does not hold.

use std::{
    fs,
    path::{Path, PathBuf},
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn files(below: &str, extension: &str) -> Vec<PathBuf> {
    fn walk(dir: &Path, extension: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.ends_with("target") {
                walk(&path, extension, found);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(ROOT).join(below), extension, &mut found);
    assert!(!found.is_empty(), "no {extension} files below {below}");
    found
}

/// A file without comments, which may name anything.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|l| l.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_service_names_no_socket_no_sql_and_no_redis() {
    for path in files("src/service", "rs") {
        let code = code(&path);
        for foreign in
            ["axum", "sqlx", "redis", "fred", "tungstenite", "tokio::net", "crate::gateway", "crate::archive"]
        {
            assert!(!code.contains(foreign), "{} names {foreign}", path.display());
        }
    }
}

#[test]
fn only_the_composition_root_picks_variants() {
    for path in files("src", "rs").into_iter().filter(|p| !p.ends_with("app.rs")) {
        let code = code(&path);
        for variant in ["ZsetHash", "HashIndex", "Sharded::", "Sqlite::"] {
            let own_module = path.components().any(|c| c.as_os_str() == "archive") && variant == "Sqlite::";
            assert!(own_module || !code.contains(variant), "{} names {variant}", path.display());
        }
    }
}

#[test]
fn crates_import_only_downwards() {
    let dependencies = |manifest: &str| {
        let text = fs::read_to_string(Path::new(ROOT).join(manifest)).unwrap();
        let value: toml::Table = text.parse().unwrap();
        let own = |table: Option<&toml::Value>| {
            let names = table.and_then(toml::Value::as_table).map(|t| t.keys().cloned().collect::<Vec<_>>());
            names.unwrap_or_default().into_iter().filter(|n| n.starts_with("chatlab")).collect::<Vec<_>>()
        };
        // A crate may ask for more features of the same one in its tests: a set, not a list.
        let both = [own(value.get("dependencies")), own(value.get("dev-dependencies"))].concat();
        both.into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(dependencies("labs/kit/Cargo.toml"), Vec::<String>::new());
    for entry in fs::read_dir(Path::new(ROOT).join("labs")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if name != "kit" && entry.path().is_dir() {
            assert_eq!(dependencies(&format!("labs/{name}/Cargo.toml")), ["chatlab-kit"], "{name}");
        }
    }
    assert_eq!(dependencies("load-tests/Cargo.toml"), ["chatlab-kit"]);
}

/// The fences that rustdoc would run.
fn doc_tests(path: &Path) -> usize {
    let text = fs::read_to_string(path).unwrap();
    let doc = text.lines().filter_map(|line| {
        let line = line.trim_start();
        line.strip_prefix("//!").or_else(|| line.strip_prefix("///"))
    });
    let fences: Vec<&str> = doc.filter_map(|line| line.trim_start().strip_prefix("```")).collect();
    let not_run = ["text", "ignore", "toml", "json", "lua", "sh", "sql"];
    fences.chunks(2).filter(|fence| !not_run.contains(&fence[0].trim())).count()
}

#[test]
fn what_is_built_for_no_test_has_none() {
    let manifests = files(".", "toml").into_iter().filter(|path| path.ends_with("Cargo.toml"));
    for manifest in manifests {
        let folder = manifest.parent().unwrap();
        let value: toml::Table = fs::read_to_string(&manifest).unwrap().parse().unwrap();
        // A package of nothing but integration tests.
        if !folder.join("src").exists() {
            continue;
        }
        let sources = files(folder.join("src").strip_prefix(ROOT).unwrap().to_str().unwrap(), "rs");
        for path in &sources {
            assert_eq!(doc_tests(path), 0, "{}: `chatlab test` runs no doc tests", path.display());
        }
        let off = |target: &toml::Value| target.get("test") == Some(&toml::Value::Boolean(false));
        let bins = value.get("bin").and_then(toml::Value::as_array).into_iter().flatten();
        let programs = bins.filter(|bin| off(bin)).map(|bin| folder.join(bin["path"].as_str().unwrap()));
        let untested = if value.get("lib").is_some_and(off) { sources } else { programs.collect() };
        for path in untested {
            let text = fs::read_to_string(&path).unwrap();
            assert!(!text.contains("#[test]") && !text.contains("::test]"), "{}", path.display());
        }
    }
}

#[test]
fn every_script_is_bound_by_its_lab() {
    for path in files("lua", "lua") {
        let name = path.strip_prefix(Path::new(ROOT).join("lua")).unwrap().with_extension("");
        let lab = name.components().next().unwrap().as_os_str().to_str().unwrap().to_owned();
        let bound = format!("\"{}\"", name.display());
        let found = files(&format!("labs/{lab}/src"), "rs")
            .iter()
            .any(|file| fs::read_to_string(file).unwrap().contains(&bound));
        assert!(found, "lua/{}.lua is bound by no Script in labs/{lab}", name.display());
    }
}

#[test]
fn links_in_the_documents_resolve() {
    for path in files(".", "md") {
        let text = fs::read_to_string(&path).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            if !file.is_empty() && !file.contains("://") {
                assert!(path.parent().unwrap().join(file).exists(), "{}: {target}", path.display());
            }
        }
    }
}
