use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::{Mutex, RwLock, Semaphore};
use tokio_util::task::TaskTracker;

const CONTENDERS: usize = 8;

/// So many tasks do their share of n each.
async fn together<F: Future<Output = ()> + Send + 'static>(n: usize, work: impl Fn(usize) -> F) {
    let tasks: Vec<_> = (0..CONTENDERS)
        .map(|i| tokio::spawn(work((n + i) / CONTENDERS)))
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// Tokio's own mutex, under which one may wait; where one does not, its documentation rightly advises the one of std,
/// with which tasks on one thread never meet.
pub async fn mutex(n: usize) {
    let counter = Arc::new(Mutex::new(0));
    together(n, |share| {
        let counter = counter.clone();
        async move {
            for _ in 0..share {
                *counter.lock().await += 1;
            }
        }
    })
    .await;
    assert_eq!(*counter.lock().await, n);
}

/// Nine reads to one write.
pub async fn rwmutex(n: usize) {
    let counter = Arc::new(RwLock::new(0));
    let seen = Arc::new(AtomicUsize::new(0));
    together(n, |share| {
        let (counter, seen) = (counter.clone(), seen.clone());
        async move {
            let mut sum = 0;
            for i in 1..=share {
                if i % 10 == 0 {
                    *counter.write().await += 1;
                } else {
                    sum += *counter.read().await;
                }
            }
            seen.fetch_add(sum, Relaxed);
        }
    })
    .await;
}

/// A TaskTracker's token is one more that the wait is for.
pub async fn waitgroup(n: usize) {
    let shared = TaskTracker::new();
    together(n, |share| {
        let shared = shared.clone();
        async move {
            for _ in 0..share {
                drop(shared.token());
            }
        }
    })
    .await;
    shared.close();
    shared.wait().await;
}

/// Four units.
pub async fn semaphore(n: usize) {
    let units = Arc::new(Semaphore::new(4));
    together(n, |share| {
        let units = units.clone();
        async move {
            for _ in 0..share {
                drop(units.acquire().await.unwrap());
            }
        }
    })
    .await;
}
