use crate::harness::*;
use futures_util::future::poll_immediate;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::task::yield_now;
use tokio::time::{Sleep, sleep};

const MS: Duration = Duration::from_millis(1);

/// A generator as small as that of the others.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }

    fn far(&mut self) -> Duration {
        Duration::from_millis(60_000 + self.below(59 * 60_000))
    }
}

/// 100,000 tasks sleep ten times for 100 to 300 ms.
pub async fn sleepers() {
    const COUNT: usize = 100_000;
    const TIMES: usize = 10;
    let cpu = cpu_time();
    let tasks: Vec<_> = (0..COUNT)
        .map(|i| {
            tokio::spawn(async move {
                let mut random = Random(i as u64 * 0x9e37_79b9);
                let mut late = Duration::ZERO;
                for _ in 0..TIMES {
                    let duration = Duration::from_nanos(100_000_000 + random.below(200_000_000));
                    let start = Instant::now();
                    sleep(duration).await;
                    late += start.elapsed() - duration;
                }
                late
            })
        })
        .collect();
    let mut late = Duration::ZERO;
    for task in tasks {
        late += task.await.unwrap();
    }
    let n = (COUNT * TIMES) as f64;
    report("sleepers.cpu", (cpu_time() - cpu).as_nanos() as f64 / n, "ns");
    report("sleepers.late", late.as_micros() as f64 / n, "us");
}

/// A Sleep is among the pending from its first poll until it is dropped or reset.
async fn start(sleep: std::pin::Pin<&mut Sleep>) {
    poll_immediate(sleep).await;
}

/// Starts and stops a timer beside 1,000 and a million that are pending.
pub async fn timers() {
    let mut random = Random(1);
    let mut pending = Vec::new();
    for (count, name) in [(1000, "timer.1000"), (MILLION, "timer.1000000")] {
        while pending.len() < count {
            let mut timer = Box::pin(sleep(random.far()));
            start(timer.as_mut()).await;
            pending.push(timer);
        }
        each(name, async |n| {
            let mut random = Random(2);
            for _ in 0..n {
                let mut timer = pin!(sleep(random.far()));
                start(timer.as_mut()).await;
            }
        })
        .await;
    }
}

/// The median of by how much a sleep of a millisecond takes longer.
pub async fn overshoot() {
    let mut late = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        sleep(MS).await;
        late.push(start.elapsed() - MS);
    }
    late.sort();
    report("overshoot", late[late.len() / 2].as_nanos() as f64 / 1e3, "us");
}

/// How late a sleeper of a millisecond wakes in a second beside a task that computes without pause.
pub async fn hog() {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopping, until) = (stop.clone(), Instant::now() + Duration::from_secs(1));
    std::thread::spawn(move || {
        std::thread::sleep(until - Instant::now());
        stopping.store(true, Relaxed);
    });
    let sleeper = tokio::spawn(async move {
        let mut worst = Duration::ZERO;
        while Instant::now() < until {
            let start = Instant::now();
            sleep(MS).await;
            worst = worst.max(start.elapsed() - MS);
        }
        worst
    });
    yield_now().await;
    let computing = tokio::spawn(async move { while !stop.load(Relaxed) {} });
    computing.await.unwrap();
    let worst = sleeper.await.unwrap();
    if worst > Duration::from_millis(900) {
        report_never("hog", "ms");
    } else {
        report("hog", worst.as_secs_f64() * 1e3, "ms");
    }
}

/// What a task that counts and yields keeps of its pace beside eight that block for 50 ms in a system call. It is for
/// calls that nobody foresaw: those that one knows of are what `spawn_blocking` is for.
pub async fn blocked() {
    let stop = Arc::new(AtomicBool::new(false));
    let count = Arc::new(AtomicUsize::new(0));
    let (counting, counter) = (stop.clone(), count.clone());
    tokio::spawn(async move {
        while !counting.load(Relaxed) {
            counter.store(counter.load(Relaxed) + 1, Relaxed);
            yield_now().await;
        }
    });
    let handle = tokio::runtime::Handle::current();
    let measuring = std::thread::spawn(move || {
        let pace = || {
            std::thread::sleep(50 * MS);
            let (before, start) = (count.load(Relaxed), Instant::now());
            std::thread::sleep(400 * MS);
            (count.load(Relaxed) - before) as f64 / start.elapsed().as_secs_f64()
        };
        let alone = pace();
        for _ in 0..8 {
            let stop = stop.clone();
            handle.spawn(async move {
                while !stop.load(Relaxed) {
                    std::thread::sleep(50 * MS);
                    yield_now().await;
                }
            });
        }
        let kept = pace() / alone * 100.0;
        stop.store(true, Relaxed);
        kept
    });
    while !measuring.is_finished() {
        yield_now().await;
    }
    report("blocked", measuring.join().unwrap(), "%");
}
