import java.time.Duration;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

final class Timers {
    static final long MS = 1_000_000;

    private Timers() {}

    /** Sleeps, and returns by how much longer that took. */
    private static long sleepLate(long ns) throws InterruptedException {
        long start = System.nanoTime();
        Thread.sleep(Duration.ofNanos(ns));
        return System.nanoTime() - start - ns;
    }

    /** 100,000 threads sleep ten times for 100 to 300 ms. */
    static void sleepers() throws Exception {
        int count = 100_000, times = 10;
        var late = new AtomicLong();
        var threads = new Thread[count];
        long cpu = Harness.cpuNs();
        for (int i = 0; i < count; i++) {
            int seed = i;
            threads[i] = Harness.start(() -> {
                var random = new SplittableRandom(seed);
                long sum = 0;
                for (int t = 0; t < times; t++)
                    sum += sleepLate(100 * MS + random.nextLong(200 * MS));
                late.addAndGet(sum);
            });
        }
        for (var thread : threads)
            thread.join();
        Harness.report("sleepers.cpu", (double) (Harness.cpuNs() - cpu) / (count * times), "ns");
        Harness.report("sleepers.late", late.get() / 1e3 / (count * times), "us");
    }

    /** Starts and stops a timer beside 1,000 and a million that are pending. */
    static void timers() throws Exception {
        var random = new SplittableRandom(1);
        try (var pool = new ScheduledThreadPoolExecutor(1)) {
            pool.setRemoveOnCancelPolicy(true);
            for (int count : new int[] {1000, Harness.MILLION}) {
                while (pool.getQueue().size() < count)
                    pool.schedule(() -> {}, far(random), TimeUnit.NANOSECONDS);
                Harness.each("timer." + count, n -> {
                    for (int i = 0; i < n; i++)
                        pool.schedule(() -> {}, far(random), TimeUnit.NANOSECONDS).cancel(false);
                });
            }
            pool.shutdownNow();
        }
    }

    private static long far(SplittableRandom random) {
        return 60_000 * MS + random.nextLong(59 * 60_000 * MS);
    }

    /** The median of by how much a sleep of a millisecond takes longer. */
    static void overshoot() throws InterruptedException {
        var late = new long[200];
        for (int i = 0; i < late.length; i++)
            late[i] = sleepLate(MS);
        Arrays.sort(late);
        Harness.report("overshoot", late[late.length / 2] / 1e3, "us");
    }

    /** A sleeper of a millisecond beside a second of computing. */
    static void hog() throws InterruptedException {
        long start = System.nanoTime();
        var worst = new AtomicLong();
        var sleeper = Harness.start(() -> worst.set(sleepLate(MS)));
        Thread.yield();
        while (System.nanoTime() - start < 1000 * MS)
            Thread.onSpinWait();
        boolean never = worst.get() == 0;
        sleeper.join();
        if (never)
            System.out.println("{\"name\": \"hog\", \"value\": null, \"unit\": \"ms\"}");
        else
            Harness.report("hog", worst.get() / 1e6, "ms");
    }
}
