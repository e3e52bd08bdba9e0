//! Processor time of processes (Linux), which says more on a shared machine
//! than seconds do.

use std::fs;

/// `sysconf(_SC_CLK_TCK)` of every Linux.
const TICKS_A_SECOND: f64 = 100.0;

/// The processor time of a process and of its children, also of those that have ended.
/// Nothing where there is no `/proc`.
pub(super) fn seconds(pid: u32) -> f64 {
    let own = ticks(pid, 4);
    let children = fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let child = entry.ok()?.file_name().to_str()?.parse().ok()?;
        (parent(child)? == pid).then(|| ticks(child, 2))
    });
    (own + children.sum::<u64>()) as f64 / TICKS_A_SECOND
}

/// The sum of the first fields of: user, system, user of ended children, system of those.
fn ticks(pid: u32, fields: usize) -> u64 {
    let Some(stat) = stat(pid) else { return 0 };
    stat.iter().skip(11).take(fields).filter_map(|field| field.parse::<u64>().ok()).sum()
}

fn parent(pid: u32) -> Option<u32> {
    stat(pid)?.get(1)?.parse().ok()
}

/// The fields of `/proc/PID/stat` after the name, which may hold anything.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn work_shows() {
        let before = seconds(std::process::id());
        let mut sum = 0_u64;
        while seconds(std::process::id()) < before + 0.05 {
            sum = (0..100_000).fold(sum, |sum: u64, n| sum.wrapping_mul(31).wrapping_add(n));
        }
        assert!(parent(std::process::id()).is_some(), "{sum}");
    }
}
