import java.util.Map;
import java.util.concurrent.atomic.AtomicReference;

/**
 * The rows of the comparison with Java's virtual threads: Compare ROW THREADS [N].
 *
 * <p>Fair: java.util.concurrent as it comes, the default collector with a heap that is large enough, as many carriers
 * as there are threads. The warm-up is 0.6 seconds long, so that what is measured has been compiled; the start of the
 * virtual machine is not measured but in the row of the cold start. There is no select. An unbuffered channel is a
 * SynchronousQueue, a buffered one an ArrayBlockingQueue, a WaitGroup a Phaser.
 */
public class Compare {
    interface Row {
        void measure(String name) throws Exception;
    }

    static final Map<String, Row> ROWS = Map.ofEntries(
            Map.entry("yield", name -> Harness.each(name, Tasks::yields)),
            Map.entry("spawn", name -> Harness.each(name, Tasks::spawns)),
            Map.entry("join8", name -> Harness.each(name, Tasks::joins)),
            Map.entry("spawn_million", name -> Harness.whole(name, Tasks::spawnMillion)),
            Map.entry("skynet", name -> Harness.whole(name, Tasks::skynet)),
            Map.entry("sum", name -> Harness.whole(name, Tasks.sum())),
            Map.entry("parked", name -> Tasks.parked()),
            Map.entry("pingpong", name -> Harness.each(name, Queues.roundTrips())),
            Map.entry("spsc1", name -> Harness.each(name, Queues.buffered(1, 1))),
            Map.entry("spsc128", name -> Harness.each(name, Queues.buffered(128, 1))),
            Map.entry("spsc4096", name -> Harness.each(name, Queues.buffered(4096, 1))),
            Map.entry("mpmc1", name -> Harness.each(name, Queues.buffered(1, 4))),
            Map.entry("mpmc128", name -> Harness.each(name, Queues.buffered(128, 4))),
            Map.entry("mpmc4096", name -> Harness.each(name, Queues.buffered(4096, 4))),
            Map.entry("ring", name -> Harness.each(name, Queues.ring())),
            Map.entry("sieve", name -> Harness.whole(name, Queues::sieve)),
            Map.entry("mutex", name -> Harness.each(name, Contention::mutex)),
            Map.entry("rwmutex", name -> Harness.each(name, Contention::rwmutex)),
            Map.entry("waitgroup", name -> Harness.each(name, Contention::waitgroup)),
            Map.entry("sem", name -> Harness.each(name, Contention::semaphore)),
            Map.entry("sleepers", name -> Timers.sleepers()),
            Map.entry("timer", name -> Timers.timers()),
            Map.entry("overshoot", name -> Timers.overshoot()),
            Map.entry("hog", name -> Timers.hog()));

    public static void main(String[] arguments) throws Throwable {
        var row = arguments.length < 2 ? null : ROWS.get(arguments[0]);
        if (row == null) {
            System.err.println("usage: Compare ROW THREADS [N]");
            System.exit(2);
        }
        Harness.given = arguments.length > 2 ? Integer.parseInt(arguments[2]) : 0;
        var failure = new AtomicReference<Throwable>();
        Thread.ofVirtual().uncaughtExceptionHandler((thread, e) -> failure.set(e)).start(() -> {
            try {
                row.measure(arguments[0]);
            } catch (Exception e) {
                throw new IllegalStateException(e);
            }
        }).join();
        if (failure.get() != null)
            throw failure.get();
        System.exit(0); // whatever threads still do
    }
}
