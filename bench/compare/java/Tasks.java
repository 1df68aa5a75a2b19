import java.util.concurrent.CountDownLatch;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.atomic.AtomicInteger;

final class Tasks {
    private Tasks() {}

    /** Two threads yield to each other. */
    static void yields(int n) throws InterruptedException {
        Contention.together(2, n, share -> {
            for (int i = 0; i < share; i++)
                Thread.yield();
        });
    }

    static void spawns(int n) throws InterruptedException {
        for (int i = 0; i < n; i++)
            Thread.startVirtualThread(() -> {}).join();
    }

    /** Eight started, then waited for. */
    static void joins(int n) throws InterruptedException {
        for (int done = 0; done < n; done += 8)
            Contention.together(8, 0, share -> {});
    }

    static void spawnMillion() throws InterruptedException {
        var done = new CountDownLatch(Harness.MILLION);
        for (int i = 0; i < Harness.MILLION; i++)
            Thread.startVirtualThread(done::countDown);
        done.await();
    }

    private static void node(SynchronousQueue<Long> up, long first, long leaves) throws InterruptedException {
        if (leaves == 1) {
            up.put(first);
            return;
        }
        var down = new SynchronousQueue<Long>();
        for (int i = 0; i < 10; i++) {
            long child = first + i * leaves / 10;
            Harness.start(() -> node(down, child, leaves / 10));
        }
        long sum = 0;
        for (int i = 0; i < 10; i++)
            sum += down.take();
        up.put(sum);
    }

    static void skynet() throws InterruptedException {
        var result = new SynchronousQueue<Long>();
        Harness.start(() -> node(result, 0, Harness.MILLION));
        Harness.check(result.take() == Harness.MILLION * (Harness.MILLION - 1L) / 2);
    }

    private static long addUp(int[] numbers, int first, int n) throws InterruptedException {
        long sum = 0;
        if (n <= 100) {
            for (int i = first; i < first + n; i++)
                sum += numbers[i];
            return sum;
        }
        var left = new long[1];
        var thread = Harness.start(() -> left[0] = addUp(numbers, first, n / 2));
        sum = addUp(numbers, first + n / 2, n - n / 2);
        thread.join();
        return left[0] + sum;
    }

    static Harness.Work sum() {
        int n = 10 * Harness.MILLION;
        var numbers = new int[n];
        for (int i = 0; i < n; i++)
            numbers[i] = i;
        return () -> Harness.check(addUp(numbers, 0, n) == n * (n - 1L) / 2);
    }

    private static void become(AtomicInteger running, int n) {
        while (running.get() != n)
            Thread.yield();
    }

    /** A million threads that wait for a latch. */
    static void parked() throws Exception {
        var running = new AtomicInteger();
        var gate = new CountDownLatch(1);
        Harness.Work waiter = () -> {
            running.incrementAndGet();
            gate.await();
            running.decrementAndGet();
        };
        Harness.start(waiter);
        become(running, 1);
        double before = Harness.memory();
        long start = System.nanoTime();
        for (int i = 0; i < Harness.MILLION; i++)
            Harness.start(waiter);
        become(running, Harness.MILLION + 1);
        Harness.report("parked.create", (double) (System.nanoTime() - start) / Harness.MILLION, "ns");
        Harness.report("parked.bytes", (Harness.memory() - before) / Harness.MILLION, "B");
        start = System.nanoTime();
        gate.countDown();
        become(running, 0);
        Harness.report("parked.wake", (double) (System.nanoTime() - start) / Harness.MILLION, "ns");
    }
}
