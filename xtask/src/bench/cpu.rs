//! Processor time of processes (Linux), which says more on a shared machine
//! than seconds do.

use std::collections::BTreeMap;
use std::fs;

/// `sysconf(_SC_CLK_TCK)` of every Linux.
const TICKS_A_SECOND: f64 = 100.0;

/// The processes whose processor time is measured, by name.
#[derive(Debug, Clone, Default)]
pub(super) struct Processes(Vec<(&'static str, u32)>);

impl Processes {
    /// These.
    pub(super) fn of(processes: &[(&'static str, u32)]) -> Self {
        Self(processes.to_vec())
    }

    /// What each has used so far, seconds, and what this program has.
    pub(super) fn seconds(&self) -> Used {
        let all = self.0.iter().map(|(name, pid)| (*name, seconds(*pid)));
        Used { of: all.collect(), own: own_seconds() }
    }
}

/// Processor time, seconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Used {
    /// Of each process.
    pub(super) of: BTreeMap<&'static str, f64>,
    /// Of this program.
    pub(super) own: f64,
}

impl Used {
    /// What was used since `before`.
    pub(super) fn since(mut self, before: &Self) -> Self {
        for (name, seconds) in &mut self.of {
            *seconds -= before.of.get(name).copied().unwrap_or_default();
        }
        self.own -= before.own;
        self
    }
}

/// The processor time of a process and of its children, also of those that have ended.
/// Nothing where there is no `/proc`.
fn seconds(pid: u32) -> f64 {
    let own = ticks(pid, 4);
    let children = fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| {
        let child = entry.ok()?.file_name().to_str()?.parse().ok()?;
        (parent(child)? == pid).then(|| ticks(child, 2))
    });
    (own + children.sum::<u64>()) as f64 / TICKS_A_SECOND
}

/// That of this program, without its children: those are what it measures.
fn own_seconds() -> f64 {
    ticks(std::process::id(), 2) as f64 / TICKS_A_SECOND
}

/// The resident memory of a process and its highest so far, MiB.
pub(super) fn resident_mib(pid: u32) -> Option<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_end_matches("kB").trim().parse::<f64>().ok()
    };
    Some((kib("VmRSS:")? / 1024.0, kib("VmHWM:")? / 1024.0))
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn work_shows() {
        let processes = Processes::of(&[("this", std::process::id())]);
        let before = processes.seconds();
        let mut sum = 0_u64;
        while own_seconds() < before.own + 0.05 {
            sum = (0..100_000).fold(sum, |sum: u64, n| sum.wrapping_mul(31).wrapping_add(n));
        }
        let used = processes.seconds().since(&before);
        assert!(used.own >= 0.05 && used.of["this"] >= 0.05, "{used:?} {sum}");
        assert!(parent(std::process::id()).is_some());
    }

    #[test]
    fn memory_shows() {
        let (now, highest) = resident_mib(std::process::id()).unwrap();
        assert!(now > 0.5 && highest >= now, "{now} {highest}");
    }
}
