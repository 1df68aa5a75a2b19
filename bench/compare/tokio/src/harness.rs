//! What the rows share: the command line, the lines that are printed, and how often an operation is repeated.
use std::future::Future;
use std::time::{Duration, Instant};

pub const MILLION: usize = 1_000_000;

/// The row and the number of threads.
pub fn arguments() -> Option<(String, usize)> {
    let mut arguments = std::env::args().skip(1);
    Some((arguments.next()?, arguments.next()?.parse().ok()?))
}

pub fn report(name: &str, value: f64, unit: &str) {
    println!("{{\"name\": \"{name}\", \"value\": {value:.4}, \"unit\": \"{unit}\"}}");
}

/// For what never happened.
pub fn report_never(name: &str, unit: &str) {
    println!("{{\"name\": \"{name}\", \"value\": null, \"unit\": \"{unit}\"}}");
}

/// A measurement takes about so long.
const SPAN: Duration = Duration::from_millis(100);

/// Prints nanoseconds per operation; `round` does n of them. First more and more of them until they take a quarter of
/// the span: that is the warm-up.
pub async fn each<F: Future<Output = ()>>(name: &str, mut round: impl FnMut(usize) -> F) {
    let mut timed = async |n| {
        let start = Instant::now();
        round(n).await;
        start.elapsed()
    };
    let mut n = 16;
    let given = std::env::args().nth(3);
    if let Some(given) = given {
        n = given.parse().expect("a number of operations");
        timed(n / 10 + 1).await;
    } else {
        let mut took = timed(n).await;
        while took < SPAN / 4 {
            n *= 4;
            took = timed(n).await;
        }
        n = ((n as f64 * SPAN.as_secs_f64() / took.as_secs_f64()) as usize).max(1);
    }
    report(name, timed(n).await.as_nanos() as f64 / n as f64, "ns");
}

/// Prints milliseconds for the whole work, after once to warm up if that takes less than a second.
pub async fn whole<F: Future<Output = ()>>(name: &str, mut work: impl FnMut() -> F) {
    let mut timed = async || {
        let start = Instant::now();
        work().await;
        start.elapsed()
    };
    let mut took = timed().await;
    if took < Duration::from_secs(1) {
        took = timed().await;
    }
    report(name, took.as_secs_f64() * 1e3, "ms");
}

/// User and system time of the process.
pub fn cpu_time() -> Duration {
    // SAFETY: getrusage fills the structure, for which all bits zero are valid.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let of = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    of(usage.ru_utime) + of(usage.ru_stime)
}

/// Resident memory and the page tables for it.
pub fn memory() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let kilobytes = |key: &str| -> f64 {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .expect("a line of the status");
        line.split_whitespace()
            .next()
            .expect("a number")
            .parse()
            .expect("a number")
    };
    (kilobytes("VmRSS:") + kilobytes("VmPTE:")) * 1024.0
}
