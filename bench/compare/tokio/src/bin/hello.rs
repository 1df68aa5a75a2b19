//! The smallest program with a task: the twin of examples/hello.c.
use tokio::sync::mpsc;

async fn greet(whom: &'static str, done: mpsc::Sender<i32>) {
    println!("Hello, {whom}, from a task!");
    done.send(1).await.unwrap();
}

#[tokio::main]
async fn main() {
    let (done, mut finished) = mpsc::channel(1);
    println!("Hello from main!");
    tokio::spawn(greet("world", done));
    finished.recv().await;
    println!("Goodbye from main!");
}
