//! Fetches the jars of Apache releases once per machine, through Maven as it is configured there.
//!
//! The cache is `$CAUSEWAY_BROKER_CACHE`, else `$XDG_CACHE_HOME/causeway/brokers`, else `~/.cache/causeway/brokers`. A
//! lock file lets parallel test processes wait for the one that fetches; a marker file tells a whole copy from a broken
//! one.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::version::Version;

/// The folder with the jars of a broker version, fetched if they are not there yet.
///
/// # Panics
/// When Maven is missing or cannot fetch; the message says what to install and what Maven printed.
pub fn broker_jars(version: Version) -> PathBuf {
    fetch(version.number(), version.project())
}

/// The folder with the jars of Apache's Java client 5.5.0, fetched if they are not there yet.
///
/// # Panics
/// As [`broker_jars`].
pub fn client_jars() -> PathBuf {
    fetch("client-5.5.0", include_str!("../../brokers/client-5.5.0.xml"))
}

/// The folder under which everything fetched or compiled is kept.
///
/// # Panics
/// When neither a cache folder nor a home folder is known.
pub fn cache() -> PathBuf {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("CAUSEWAY_BROKER_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|path| path.join("causeway/brokers")))
        .or_else(|| set("HOME").map(|path| path.join(".cache/causeway/brokers")))
        .unwrap_or_else(|| panic!("set CAUSEWAY_BROKER_CACHE to a folder for the broker jars"));
    fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("cannot create {}: {error}", folder.display()));
    folder
}

/// Runs `build` unless `folder` holds a whole result already; other processes wait meanwhile.
pub(crate) fn once(folder: &Path, build: impl FnOnce()) {
    let whole = folder.join(".complete");
    if whole.exists() {
        return;
    }
    let mut path = folder.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let lock = lock.unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
    lock.lock().unwrap_or_else(|error| panic!("cannot lock {}: {error}", path.display()));
    if !whole.exists() {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).unwrap();
        build();
        File::create(&whole).unwrap();
    }
}

fn fetch(name: &str, project: &str) -> PathBuf {
    // A changed project file is another folder: a cache never holds what an older file asked for.
    let folder = cache().join(format!("{name}-{}", &crate::checker::hex_digest(project.as_bytes())[..8]));
    let jars = folder.join("lib");
    once(&folder, || {
        fs::write(folder.join("pom.xml"), project).unwrap();
        let output = Command::new("mvn")
            .args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime"])
            .arg(format!("-DoutputDirectory={}", jars.display()))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|error| {
                panic!("the tests run real Apache brokers and need Maven: cannot start `mvn`: {error}. Install a JDK 17 and Maven.")
            });
        assert!(
            output.status.success(),
            "Maven cannot fetch {name} (see {}/pom.xml): {}{}",
            folder.display(),
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    });
    jars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_that_panicked_is_built_again() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("jars");
        let broken = folder.clone();
        let first = std::thread::spawn(move || once(&broken, || panic!("no network"))).join();
        assert!(first.is_err());
        let mut built = 0;
        once(&folder, || built += 1);
        once(&folder, || built += 1);
        assert_eq!(built, 1);
    }
}
