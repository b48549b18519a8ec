//! A process that a test started: it ends with its owner, however the owner ends.
//!
//! Dropping the value kills the process. A shell beside it waits on a pipe that only this process holds open, so that
//! the process also dies when the test itself is killed. Processes are only ever ended by the id that was started here.

use std::fs::{File, create_dir_all};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A running (or ended) child process with its output in a file.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    watchdog: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with both output streams appended to `log`.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn start(name: &str, mut command: Command, log: &Path) -> Self {
        if let Some(folder) = log.parent() {
            create_dir_all(folder).unwrap();
        }
        let output = File::options().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stderr(output.try_clone().unwrap()).stdout(output);
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        let watchdog = Command::new("sh")
            .args(["-c", "read -r line; kill -9 \"$0\" 2>/dev/null", &child.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start sh: {error}"));
        Self { name: name.to_owned(), child, watchdog, log: log.to_owned(), ended: None }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How the process ended, or `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended
    }

    /// Kills the process at once, as a power cut of the process would.
    pub fn kill9(&mut self) -> ExitStatus {
        if self.ended().is_none() {
            self.signal(Signal::KILL);
        }
        self.wait(Duration::from_secs(30))
    }

    /// Asks the process to end (SIGTERM) and waits for it.
    ///
    /// # Panics
    /// When it has not ended in time; the tail of its log is in the message.
    pub fn terminate(&mut self, patience: Duration) -> ExitStatus {
        if self.ended().is_none() {
            self.signal(Signal::TERM);
        }
        self.wait(patience)
    }

    /// Stops the process where it is (SIGSTOP): its sockets stay open and silent.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a paused process go on (SIGCONT).
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Waits for the end of the process.
    ///
    /// # Panics
    /// When it has not ended in time; the tail of its log is in the message.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            if Instant::now() > deadline {
                panic!("{} has not ended after {patience:?}; the end of its log:\n{}", self.name, self.log_tail(40));
            }
            sleep(Duration::from_millis(10));
        }
    }

    /// Processor time used so far by all its threads, in seconds; 0 after its end.
    pub fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.id())
    }

    /// Resident memory in bytes; 0 after its end.
    pub fn resident_bytes(&self) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.id())).unwrap_or_default();
        let pages: u64 = text.split_whitespace().nth(1).and_then(|field| field.parse().ok()).unwrap_or(0);
        pages * u64::try_from(rustix::param::page_size()).unwrap()
    }

    /// The file that holds what the process printed.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last `lines` lines of what the process printed.
    pub fn log_tail(&self, lines: usize) -> String {
        tail(&self.log, lines)
    }

    fn signal(&self, signal: Signal) {
        assert!(self.ended.is_none(), "{} has ended: its process id may belong to another process", self.name);
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The watchdog goes first: once the child is reaped its number could belong to another process.
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        if self.ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Processor time that a process of this id used so far by all its threads, in seconds; 0 when there is none.
pub fn cpu_seconds(id: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // The name in parentheses may hold spaces; what follows it is fixed: fields 14 and 15 are user and system ticks.
    let after = text.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks: u64 = after.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// The last `lines` lines of a file, from at most its last 64 KiB; empty when it cannot be read.
pub fn tail(path: &Path, lines: usize) -> String {
    let mut bytes = Vec::new();
    if let Ok(mut file) = File::open(path) {
        let length = file.metadata().map_or(0, |data| data.len());
        let _ = file.seek(SeekFrom::Start(length.saturating_sub(64 << 10)));
        let _ = file.read_to_end(&mut bytes);
    }
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str, folder: &Path) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start("script", command, &folder.join("out.log"))
    }

    #[test]
    fn a_dropped_process_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let process = start("exec sleep 1000", folder.path());
        let id = process.id();
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }

    #[test]
    fn output_and_exit_code_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = start("echo one; echo two >&2; exit 3", folder.path());
        assert_eq!(process.wait(Duration::from_secs(30)).code(), Some(3));
        assert_eq!(process.log_tail(1), "two");
        assert_eq!(process.log_tail(9), "one\ntwo");
    }

    #[test]
    fn the_watchdog_kills_when_its_pipe_closes() {
        let folder = tempfile::tempdir().unwrap();
        let mut process = start("exec sleep 1000", folder.path());
        drop(process.watchdog.stdin.take());
        assert!(!process.wait(Duration::from_secs(30)).success());
    }

    #[test]
    fn processor_time_of_a_busy_process_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let process = start("while :; do :; done", folder.path());
        let deadline = Instant::now() + Duration::from_secs(60);
        while process.cpu_seconds() < 0.05 && Instant::now() < deadline {
            sleep(Duration::from_millis(20));
        }
        assert!(process.cpu_seconds() >= 0.05);
        assert!(process.resident_bytes() > 0);
    }
}
