//! Makes sure that the binary under test is the one of the sources beside it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Once;
use std::time::SystemTime;

use crate::product;

static BUILT: Once = Once::new();

/// Builds the product, in the profile and target folder of the running test, if its binary is missing or older than its
/// sources. `cargo test` alone does not build binaries of other packages. Does nothing where `CAUSEWAY_BINARY` names one.
///
/// # Panics
/// When it does not build; the message holds what cargo printed.
pub fn ensure() {
    BUILT.call_once(|| {
        if std::env::var_os("CAUSEWAY_BINARY").is_none() {
            build();
        }
    });
}

fn build() {
    let test = std::env::current_exe().unwrap();
    // target/<profile>/deps/<test> or target/<profile>/<program>
    let profile =
        test.ancestors().skip(1).find(|folder| !folder.ends_with("deps")).expect("a program lies in a folder");
    let target = profile.parent().expect("a profile lies in a target folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests live below the root");
    let binary = profile.join("causeway");
    let sources = ["node", "cluster", "storage", "Cargo.lock", "Cargo.toml"].map(|name| newest(&root.join(name)));
    let newest_source = sources.into_iter().max().expect("there are sources");
    if fs::metadata(&binary).and_then(|data| data.modified()).is_ok_and(|built| built >= newest_source) {
        return;
    }
    let name = profile.file_name().and_then(|name| name.to_str()).expect("a profile has a name");
    // The features of dependencies as they were built before: for `cargo test --workspace`, or for a release.
    let (name, scope) =
        if name == "debug" { ("dev", &["--workspace"][..]) } else { (name, &["--package", "causeway"][..]) };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.arg("build").args(scope).args(["--bin", "causeway", "--locked", "--quiet", "--profile", name]);
    command.arg("--target-dir").arg(target).current_dir(root);
    let output = command.output().unwrap_or_else(|error| panic!("cannot start cargo: {error}"));
    assert!(output.status.success(), "the product does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(product::binary().is_file(), "cargo built no {}", binary.display());
}

/// When a file, or the newest file of a folder, was changed.
fn newest(path: &Path) -> SystemTime {
    let Ok(data) = fs::metadata(path) else { return SystemTime::UNIX_EPOCH };
    let own = data.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    if !data.is_dir() {
        return own;
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    // A folder's own time changes when a build or an editor puts files aside; only files count.
    entries.map(|entry| newest(&entry.path())).max().unwrap_or(SystemTime::UNIX_EPOCH)
}
