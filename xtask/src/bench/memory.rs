//! How cold memory is after a pause. On a shared machine other tenants empty
//! the processor's caches within milliseconds, which slows an idle worker's
//! next job. The same walk, timed in the same run, tells how much of a figure
//! is due to the machine.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::spread::Spread;

/// 256 KiB: fits the private cache of current processors.
const LINES: usize = 4_096;
/// Numbers in a cache line.
const STEP: usize = 64 / size_of::<usize>();
/// Coprime to the number of lines, and not a stride that a prefetcher detects.
const JUMP: usize = 1_597;
const WALKS: u32 = 50;

/// The medians of the walk's time after `pause` and without a pause, µs.
pub(super) fn cold_and_warm(pause: Duration) -> (f64, f64) {
    let lines = ring();
    let median = |pause| {
        let walks = (0..WALKS).map(|_| {
            std::thread::sleep(pause);
            let start = Instant::now();
            black_box(walk(&lines));
            start.elapsed().as_secs_f64() * 1e6
        });
        Spread::of(walks.collect()).percentile(0.5)
    };
    (median(pause), median(Duration::ZERO))
}

/// A ring in which each line names the next one.
fn ring() -> Vec<usize> {
    let mut lines = vec![0; LINES * STEP];
    for line in 0..LINES {
        lines[line * STEP] = (line + JUMP) % LINES * STEP;
    }
    lines
}

/// Reads every line once, each after the one before it.
fn walk(lines: &[usize]) -> usize {
    let mut at = 0;
    for _ in 0..LINES {
        at = lines[at];
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_reads_every_line_once() {
        let lines = ring();
        let mut read = vec![false; LINES];
        let mut at = 0;
        for _ in 0..LINES {
            assert!(!std::mem::replace(&mut read[at / STEP], true));
            at = lines[at];
        }
        assert_eq!((at, walk(&lines)), (0, 0), "back at the start");
    }
}
