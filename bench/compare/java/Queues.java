import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.SynchronousQueue;

final class Queues {
    private Queues() {}

    static Harness.Round roundTrips() {
        var there = new SynchronousQueue<Integer>();
        var back = new SynchronousQueue<Integer>();
        Harness.start(() -> {
            for (;;)
                back.put(there.take());
        });
        return n -> {
            for (int i = 0; i < n; i++) {
                there.put(i);
                back.take();
            }
        };
    }

    /** So many producers and as many consumers on one queue. */
    static Harness.Round buffered(int capacity, int sides) {
        return n -> {
            var items = new ArrayBlockingQueue<Integer>(capacity);
            var threads = new Thread[2 * sides];
            for (int side = 0; side < sides; side++) {
                int share = (n + side) / sides;
                threads[2 * side] = Harness.start(() -> {
                    for (int i = 0; i < share; i++)
                        items.put(i);
                });
                threads[2 * side + 1] = Harness.start(() -> {
                    for (int i = 0; i < share; i++)
                        items.take();
                });
            }
            for (var thread : threads)
                thread.join();
        };
    }

    /** 1,000 threads pass a token round. */
    static Harness.Round ring() {
        int size = 1000;
        var done = new SynchronousQueue<Integer>();
        var first = new SynchronousQueue<Integer>();
        BlockingQueue<Integer> from = first;
        for (int i = 0; i < size; i++) {
            var here = from;
            var to = i + 1 < size ? new SynchronousQueue<Integer>() : first;
            Harness.start(() -> {
                for (;;) {
                    int hops = here.take();
                    (hops > 1 ? to : done).put(hops - 1);
                }
            });
            from = to;
        }
        return n -> {
            first.put(n);
            done.take();
        };
    }

    /** The first 2,000 primes by a chain of filters, which stay blocked. */
    static void sieve() throws InterruptedException {
        var numbers = new SynchronousQueue<Integer>();
        Harness.start(() -> {
            for (int i = 2;; i++)
                numbers.put(i);
        });
        var from = numbers;
        int prime = 0;
        for (int i = 0; i < 2000; i++) {
            prime = from.take();
            var to = new SynchronousQueue<Integer>();
            filter(from, to, prime);
            from = to;
        }
        Harness.check(prime == 17389);
    }

    private static void filter(BlockingQueue<Integer> from, BlockingQueue<Integer> to, int prime) {
        Harness.start(() -> {
            for (;;) {
                int number = from.take();
                if (number % prime != 0)
                    to.put(number);
            }
        });
    }
}
