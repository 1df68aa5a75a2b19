//! The rows of the comparison with Tokio: compare ROW THREADS [N].
//!
//! Fair: the newest Tokio, all optimisations, LTO, no unwinding. With one thread the current-thread runtime, which has
//! no atomic instructions to pay for in its queues; with more the multi-thread runtime. What measures is a spawned
//! task, because the one that `block_on` runs is slower to wake. A channel of Tokio has at least one place: where
//! others are unbuffered it has one. It has none for many receivers: async-channel, to which its documentation points,
//! stands in. Tasks are state machines without stacks: they cost less memory, and can only wait where `await` is
//! written.
mod channels;
mod harness;
mod sync;
mod tasks;
mod timers;

use harness::*;

fn main() {
    let Some((row, threads)) = harness::arguments() else {
        eprintln!("usage: compare ROW THREADS [N]");
        std::process::exit(2);
    };
    let runtime = if threads == 1 {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    } else {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
    }
    .expect("a runtime");
    let known = runtime.block_on(async move { tokio::spawn(measure(row)).await.expect("no panic") });
    runtime.shutdown_background();
    if !known {
        eprintln!("compare: no such row");
        std::process::exit(2);
    }
}

async fn measure(row: String) -> bool {
    match row.as_str() {
        "yield" => each("yield", tasks::yields).await,
        "spawn" => each("spawn", tasks::spawns).await,
        "join8" => each("join8", tasks::joins).await,
        "spawn_million" => whole("spawn_million", tasks::spawn_million).await,
        "skynet" => whole("skynet", tasks::skynet).await,
        "sum" => whole("sum", tasks::sum()).await,
        "parked" => tasks::parked().await,
        "pingpong" => each("pingpong", channels::round_trips).await,
        "spsc1" => each("spsc1", |n| channels::spsc(n, 1)).await,
        "spsc128" => each("spsc128", |n| channels::spsc(n, 128)).await,
        "spsc4096" => each("spsc4096", |n| channels::spsc(n, 4096)).await,
        "mpmc1" => each("mpmc1", |n| channels::mpmc(n, 1)).await,
        "mpmc128" => each("mpmc128", |n| channels::mpmc(n, 128)).await,
        "mpmc4096" => each("mpmc4096", |n| channels::mpmc(n, 4096)).await,
        "ring" => channels::ring().await,
        "select4" => each("select4", channels::selects4).await,
        "select64" => each("select64", channels::selects64).await,
        "sieve" => whole("sieve", channels::sieve).await,
        "mutex" => each("mutex", sync::mutex).await,
        "rwmutex" => each("rwmutex", sync::rwmutex).await,
        "waitgroup" => each("waitgroup", sync::waitgroup).await,
        "sem" => each("sem", sync::semaphore).await,
        "sleepers" => timers::sleepers().await,
        "timer" => timers::timers().await,
        "overshoot" => timers::overshoot().await,
        "hog" => timers::hog().await,
        "blocked" => timers::blocked().await,
        _ => return false,
    }
    true
}
