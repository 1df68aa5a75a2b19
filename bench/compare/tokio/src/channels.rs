use crate::harness::*;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

pub async fn round_trips(n: usize) {
    let (there, mut from_there) = channel(1);
    let (back, mut from_back) = channel(1);
    tokio::spawn(async move {
        while let Some(value) = from_there.recv().await {
            back.send(value).await.unwrap();
        }
    });
    for i in 0..n {
        there.send(i).await.unwrap();
        from_back.recv().await;
    }
}

/// A producer and a consumer.
pub async fn spsc(n: usize, capacity: usize) {
    let (items, mut from) = channel(capacity);
    let producer = tokio::spawn(async move {
        for i in 0..n {
            items.send(i).await.unwrap();
        }
    });
    let consumer = tokio::spawn(async move { while from.recv().await.is_some() {} });
    producer.await.unwrap();
    consumer.await.unwrap();
}

/// Four of each.
pub async fn mpmc(n: usize, capacity: usize) {
    let (items, from) = async_channel::bounded(capacity);
    let mut tasks: Vec<JoinHandle<()>> = Vec::new();
    for side in 0..4 {
        let (items, from, share) = (items.clone(), from.clone(), (n + side) / 4);
        tasks.push(tokio::spawn(async move {
            for i in 0..share {
                items.send(i).await.unwrap();
            }
        }));
        tasks.push(tokio::spawn(async move {
            for _ in 0..share {
                from.recv().await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

/// 1,000 tasks pass a token round.
pub async fn ring() {
    const SIZE: usize = 1000;
    let (done, finished) = channel(1);
    let (first, mut from): (Sender<usize>, Receiver<usize>) = channel(1);
    let mut next;
    for i in 0..SIZE {
        let to;
        (to, next) = if i + 1 < SIZE {
            channel(1)
        } else {
            (first.clone(), channel(1).1)
        };
        let done = done.clone();
        tokio::spawn(async move {
            while let Some(hops) = from.recv().await {
                let to = if hops > 1 { &to } else { &done };
                to.send(hops - 1).await.unwrap();
            }
        });
        from = next;
    }
    let finished = Arc::new(Mutex::new(finished));
    each("ring", |n| {
        let (first, finished) = (first.clone(), finished.clone());
        async move {
            first.send(n).await.unwrap();
            finished.lock().await.recv().await;
        }
    })
    .await;
}

/// One sends on the channels in turn, another selects over all of them.
fn senders<const WIDTH: usize>(n: usize) -> [Receiver<usize>; WIDTH] {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..WIDTH).map(|_| channel(1)).unzip();
    tokio::spawn(async move {
        for i in 0..n {
            let _ = senders[i % WIDTH].send(i).await;
        }
        std::future::pending::<()>().await; // a channel that is closed is always ready
    });
    receivers.try_into().expect("as many as were made")
}

macro_rules! selects {
    ($name:ident, $width:literal, $($c:ident)*) => {
        pub async fn $name(n: usize) {
            let [$(mut $c),*] = senders::<$width>(n);
            for _ in 0..n {
                tokio::select! {
                    $(_ = $c.recv() => {})*
                }
            }
        }
    };
}
selects!(selects4, 4, c0 c1 c2 c3);
selects!(selects64, 64,
    c0 c1 c2 c3 c4 c5 c6 c7 c8 c9 c10 c11 c12 c13 c14 c15 c16 c17 c18 c19 c20 c21 c22 c23 c24 c25 c26 c27 c28 c29
    c30 c31 c32 c33 c34 c35 c36 c37 c38 c39 c40 c41 c42 c43 c44 c45 c46 c47 c48 c49 c50 c51 c52 c53 c54 c55 c56
    c57 c58 c59 c60 c61 c62 c63
);

/// The first 2,000 primes by a chain of filters.
pub async fn sieve() {
    let (to, mut from) = channel(1);
    tokio::spawn(async move {
        let mut i = 2;
        while to.send(i).await.is_ok() {
            i += 1;
        }
    });
    let mut prime = 0;
    for _ in 0..2000 {
        prime = from.recv().await.unwrap();
        let (to, next) = channel(1);
        tokio::spawn(filter(from, to, prime));
        from = next;
    }
    assert_eq!(prime, 17389);
}

async fn filter(mut from: Receiver<usize>, to: Sender<usize>, prime: usize) {
    while let Some(i) = from.recv().await {
        if i % prime != 0 && to.send(i).await.is_err() {
            break;
        }
    }
}
