use crate::harness::*;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, yield_now};

/// Two tasks yield to each other.
pub async fn yields(n: usize) {
    let yielder = |share| {
        tokio::spawn(async move {
            for _ in 0..share {
                yield_now().await;
            }
        })
    };
    let (one, other) = (yielder(n / 2), yielder(n - n / 2));
    one.await.unwrap();
    other.await.unwrap();
}

async fn nothing() {}

pub async fn spawns(n: usize) {
    for _ in 0..n {
        tokio::spawn(nothing()).await.unwrap();
    }
}

/// Eight started, then waited for.
pub async fn joins(n: usize) {
    for _ in 0..n.div_ceil(8) {
        let tasks: [JoinHandle<()>; 8] = std::array::from_fn(|_| tokio::spawn(nothing()));
        for task in tasks {
            task.await.unwrap();
        }
    }
}

pub async fn spawn_million() {
    let tasks: Vec<_> = (0..MILLION).map(|_| tokio::spawn(nothing())).collect();
    for task in tasks {
        task.await.unwrap();
    }
}

fn skynet_node(up: mpsc::Sender<usize>, first: usize, leaves: usize) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if leaves == 1 {
            up.send(first).await.unwrap();
            return;
        }
        let (send, mut down) = mpsc::channel(10); // no child has to wait: faster than with one place
        for i in 0..10 {
            tokio::spawn(skynet_node(send.clone(), first + i * leaves / 10, leaves / 10));
        }
        let mut sum = 0;
        for _ in 0..10 {
            sum += down.recv().await.unwrap();
        }
        up.send(sum).await.unwrap();
    })
}

pub async fn skynet() {
    let (send, mut result) = mpsc::channel(1);
    tokio::spawn(skynet_node(send, 0, MILLION));
    assert_eq!(result.recv().await, Some(MILLION * (MILLION - 1) / 2));
}

fn add_up(numbers: &'static [u32]) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(async move {
        if numbers.len() <= 100 {
            return numbers.iter().map(|&number| u64::from(number)).sum();
        }
        let (left, right) = numbers.split_at(numbers.len() / 2);
        let left = tokio::spawn(add_up(left));
        let sum = add_up(right).await;
        left.await.unwrap() + sum
    })
}

pub fn sum() -> impl FnMut() -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let n = 10 * MILLION;
    let numbers: &'static [u32] = Vec::leak((0..n as u32).collect());
    move || {
        Box::pin(async move {
            assert_eq!(add_up(numbers).await, (n * (n - 1) / 2) as u64);
        })
    }
}

/// A million tasks that wait for one notice.
pub async fn parked() {
    let running = Arc::new(AtomicUsize::new(0));
    let gate = Arc::new(Notify::new());
    let start_waiter = || {
        let (running, gate) = (running.clone(), gate.clone());
        tokio::spawn(async move {
            let notified = gate.notified();
            running.fetch_add(1, Relaxed);
            notified.await;
            running.fetch_sub(1, Relaxed);
        });
    };
    let become_ = async |n| {
        while running.load(Relaxed) != n {
            yield_now().await;
        }
    };
    start_waiter();
    become_(1).await;
    let (before, start) = (memory(), Instant::now());
    for _ in 0..MILLION {
        start_waiter();
    }
    become_(MILLION + 1).await;
    report(
        "parked.create",
        start.elapsed().as_nanos() as f64 / MILLION as f64,
        "ns",
    );
    report("parked.bytes", (memory() - before) / MILLION as f64, "B");
    let start = Instant::now();
    gate.notify_waiters();
    become_(0).await;
    report("parked.wake", start.elapsed().as_nanos() as f64 / MILLION as f64, "ns");
}
