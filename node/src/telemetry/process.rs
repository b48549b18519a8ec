//! Memory and processor time of this process, as Linux tells them. Elsewhere they are unknown.

/// Ticks per second of the times in `/proc/self/stat` (proc(5): `sysconf(_SC_CLK_TCK)`), 100 on every Linux platform
/// that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// Physical memory in use, in bytes.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    parse_resident(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// Processor time used since the process started, user and system, in seconds.
#[must_use]
pub fn cpu_seconds() -> Option<f64> {
    parse_cpu(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

fn parse_resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn parse_cpu(stat: &str) -> Option<f64> {
    // The second field is the program's name in brackets and may itself hold spaces and brackets.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let user: u32 = times.next()?.parse().ok()?;
    let system: u32 = times.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        assert_eq!(parse_resident("Name:\tx\nVmRSS:\t   1234 kB\nThreads:\t3\n"), Some(1_263_616));
        assert_eq!(parse_resident("Name:\tx\n"), None);
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 3 0 100 1000 200";
        assert_eq!(parse_cpu(stat), Some(2.0));
        assert_eq!(parse_cpu("nothing"), None);
    }
}
