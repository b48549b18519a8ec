//! A directory to run the program in, and how.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A place to run the program in, without anything of this process's environment.
pub(crate) struct Workshop(pub(crate) TempDir);

impl Workshop {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// One with an authority.
    pub(crate) fn with_authority() -> Self {
        let workshop = Self::new();
        workshop.done("init");
        workshop
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("certs").join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn mode(&self, name: &str) -> u32 {
        fs::metadata(self.path(name)).unwrap().permissions().mode() & 0o777
    }

    /// The names and contents of all files.
    pub(crate) fn everything(&self) -> Vec<(String, String)> {
        let Ok(entries) = fs::read_dir(self.path("")) else { return Vec::new() };
        let named = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut found: Vec<_> = named.map(|name| (name.clone(), self.text(&name))).collect();
        found.sort();
        found
    }

    pub(crate) fn run(&self, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_causeway"));
        let command = command.env_clear().current_dir(self.0.path()).arg("certs").args(line.split(' '));
        let output = command.output().unwrap();
        self.assert_keyless(&output);
        output
    }

    /// What the program prints, which has to succeed and to say nothing else.
    pub(crate) fn done(&self, line: &str) -> String {
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(0), "{line}: {output:?}");
        assert!(output.stderr.is_empty(), "{line}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.done(&format!("{line} -o json"))).unwrap()
    }

    /// What the program complains about, having printed and changed nothing.
    pub(crate) fn refused(&self, line: &str, exit: i32) -> String {
        let before = self.everything();
        let output = self.run(line);
        assert_eq!(output.status.code(), Some(exit), "{line}: {output:?}");
        assert!(output.stdout.is_empty(), "{line}: {output:?}");
        assert_eq!(self.everything(), before, "{line} changed something");
        String::from_utf8(output.stderr).unwrap()
    }

    /// No line of any key is in an output.
    fn assert_keyless(&self, output: &Output) {
        let said = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
        assert!(!said.contains("PRIVATE"), "{said}");
        for (name, content) in self.everything().iter().filter(|(name, _)| name.ends_with("-key.pem")) {
            let secret = content.lines().filter(|line| !line.starts_with("-----"));
            secret.for_each(|line| assert!(line.is_empty() || !said.contains(line), "{name}: {said}"));
        }
    }
}
