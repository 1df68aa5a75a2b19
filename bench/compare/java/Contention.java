import java.util.concurrent.Phaser;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;

final class Contention {
    static final int CONTENDERS = 8;

    private Contention() {}

    /** So many threads that each do their share of the work. */
    static void together(int count, int n, Harness.Round work) throws InterruptedException {
        var threads = new Thread[count];
        for (int i = 0; i < count; i++) {
            int share = (n + i) / count;
            threads[i] = Harness.start(() -> work.run(share));
        }
        for (var thread : threads)
            thread.join();
    }

    static void mutex(int n) throws InterruptedException {
        var lock = new ReentrantLock();
        var counter = new int[1];
        together(CONTENDERS, n, share -> {
            for (int i = 0; i < share; i++) {
                lock.lock();
                try {
                    counter[0]++;
                } finally {
                    lock.unlock();
                }
            }
        });
        Harness.check(counter[0] == n);
    }

    /** Nine reads to one write. */
    static void rwmutex(int n) throws InterruptedException {
        var lock = new ReentrantReadWriteLock();
        var counter = new long[1];
        var seen = new AtomicLong();
        together(CONTENDERS, n, share -> {
            long sum = 0;
            for (int i = 1; i <= share; i++) {
                var part = i % 10 == 0 ? lock.writeLock() : lock.readLock();
                part.lock();
                try {
                    if (i % 10 == 0)
                        counter[0]++;
                    else
                        sum += counter[0];
                } finally {
                    part.unlock();
                }
            }
            seen.addAndGet(sum);
        });
    }

    static void waitgroup(int n) throws InterruptedException {
        var shared = new Phaser(1);
        together(CONTENDERS, n, share -> {
            for (int i = 0; i < share; i++) {
                shared.register();
                shared.arriveAndDeregister();
            }
        });
        shared.arriveAndAwaitAdvance();
    }

    /** Four units. */
    static void semaphore(int n) throws InterruptedException {
        var units = new Semaphore(4);
        together(CONTENDERS, n, share -> {
            for (int i = 0; i < share; i++) {
                units.acquire();
                units.release();
            }
        });
    }
}
