//! Makes sure that the binary under test is the one of the sources beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Once, OnceLock};
use std::time::SystemTime;

use crate::product;

static BUILT: Once = Once::new();

/// The crates that the product is made of. The sandbox and the tests are none of them.
const CRATES: [&str; 6] = ["cluster", "cluster/core", "node", "node/rocketmq", "node/rules", "storage"];

/// What else decides how the product is built, or is part of it.
const OTHERS: [&str; 4] = ["Cargo.lock", "Cargo.toml", "rust-toolchain.toml", "docs/errors"];

/// Builds the product, in the profile and target folder of the running test, if its binary is missing or older than its
/// sources. `cargo test` alone does not build binaries of other packages. Does nothing where `CAUSEWAY_BINARY` names
/// one.
///
/// # Panics
/// When it does not build; the message holds what cargo printed.
pub fn ensure() {
    BUILT.call_once(|| {
        if std::env::var_os("CAUSEWAY_BINARY").is_none() {
            build("causeway", &[]);
            assert!(product::binary().is_file(), "cargo built no causeway");
        }
    });
}

/// Builds the product with one more version of the command set beside the other one, if it is missing or older than
/// its sources, and answers where it is: what a node of this release is upgraded to.
///
/// # Panics
/// As [`ensure`].
pub fn next() -> PathBuf {
    static NEXT: OnceLock<PathBuf> = OnceLock::new();
    NEXT.get_or_init(|| build("causeway-next", &["--features", "causeway/next-commands"])).clone()
}

fn build(name: &str, features: &[&str]) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // target/<profile>/deps/<test> or target/<profile>/<program>
    let profile =
        test.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).expect("a program lies in a folder");
    let target = profile.parent().expect("a profile lies in a target folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests live below the root");
    let binary = profile.join(name);
    if is_current(&binary, &sources(root)) {
        return binary;
    }
    let profile = profile.file_name().and_then(|name| name.to_str()).expect("a profile has a name");
    // The features of dependencies as they were built before: for a release, or for `cargo test --workspace`. There
    // they include what tests ask of dependencies, and cargo adds that only where a test is built too: any will do.
    let (profile, scope) = if profile == "debug" {
        ("dev", &["--workspace", "--test", "architecture"][..])
    } else {
        (profile, &["--package", "causeway"][..])
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.arg("build").args(scope).args(["--bin", name, "--locked", "--quiet", "--profile", profile]).args(features);
    command.arg("--target-dir").arg(target).current_dir(root);
    let output = command.output().unwrap_or_else(|error| panic!("cannot start cargo: {error}"));
    assert!(output.status.success(), "the product does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(binary.is_file(), "cargo built no {}", binary.display());
    binary
}

/// The files and folders that the product is built from. Tests, examples and fuzz targets of its crates are not: a
/// change there leaves the binary as it is, so it would look old for good.
fn sources(root: &Path) -> Vec<PathBuf> {
    let of_crate = |path: &str| [root.join(path).join("src"), root.join(path).join("Cargo.toml")];
    CRATES.iter().flat_map(|path| of_crate(path)).chain(OTHERS.iter().map(|path| root.join(path))).collect()
}

/// Whether a binary exists and none of its sources is newer. A source that is gone means that this list is wrong or
/// that something was moved: cargo shall decide.
fn is_current(binary: &Path, sources: &[PathBuf]) -> bool {
    let Ok(built) = fs::metadata(binary).and_then(|data| data.modified()) else { return false };
    sources.iter().all(|source| newest(source).is_some_and(|changed| changed <= built))
}

/// When a file, or the newest file of a folder, was changed; `None` where there is none.
fn newest(path: &Path) -> Option<SystemTime> {
    let data = fs::metadata(path).ok()?;
    if !data.is_dir() {
        return data.modified().ok();
    }
    // A folder's own time changes when a build or an editor puts files aside, and hidden files are an editor's; only
    // the others count.
    let entries = fs::read_dir(path).ok()?.flatten();
    let seen = entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    seen.filter_map(|entry| newest(&entry.path())).max()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::path::{Path, PathBuf};
    use std::time::{Duration, SystemTime};

    use super::{CRATES, is_current, sources};

    /// Writes a file that was changed so many seconds after 1970.
    fn write(path: &Path, second: u64) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = File::create(path).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
    }

    /// A root with every source, all changed at second 100, and a binary that was built at second 200.
    fn built() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        for source in sources(folder.path()) {
            let is_file = source.extension().is_some();
            write(&if is_file { source } else { source.join("deep/down.rs") }, 100);
        }
        let binary = folder.path().join("target/debug/causeway");
        write(&binary, 200);
        (folder, binary)
    }

    #[test]
    fn only_a_newer_source_of_the_product_makes_its_binary_old() {
        let (folder, binary) = built();
        let root = folder.path();
        let current = || is_current(&binary, &sources(root));
        assert!(current());
        for foreign in
            ["node/sandbox/src/main.rs", "node/rocketmq/tests/new.rs", "tests/src/lib.rs", "node/src/.main.rs"]
        {
            write(&root.join(foreign), 300);
            assert!(current(), "{foreign}");
        }
        write(&root.join("node/src/deep/down.rs"), 200);
        assert!(current(), "built in the same instant");
        for own in [
            "node/src/deep/down.rs",
            "cluster/core/src/new.rs",
            "storage/Cargo.toml",
            "Cargo.lock",
            "docs/errors/new.md",
        ] {
            write(&root.join(own), 201);
            assert!(!current(), "{own}");
            write(&root.join(own), 100);
        }
        assert!(current());
    }

    #[test]
    fn without_a_binary_or_a_source_cargo_decides() {
        let (folder, binary) = built();
        let sources = sources(folder.path());
        assert!(!is_current(&folder.path().join("target/release/causeway"), &sources));
        fs::remove_dir_all(folder.path().join("node/rules/src")).unwrap();
        assert!(!is_current(&binary, &sources));
    }

    #[test]
    fn the_crates_are_those_that_the_workspace_names() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
        let path = |line: &str| Some(line.split_once("path = \"")?.1.split('"').next()?.to_owned());
        let mut named: Vec<String> = manifest.lines().filter_map(path).collect();
        named.sort();
        assert_eq!(named, CRATES);
        let missing: Vec<PathBuf> = sources(root).into_iter().filter(|source| !source.exists()).collect();
        assert_eq!(missing, Vec::<PathBuf>::new());
    }
}
