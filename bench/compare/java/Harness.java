import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;

/** What the rows share: the lines that are printed, and how often an operation is repeated. */
final class Harness {
    static final int MILLION = 1_000_000;

    /** A measurement takes about so long; the warm-up is longer than the others', for the compiler. */
    static final long SPAN_NS = 100_000_000, WARM_UP_NS = 600_000_000;

    /** The number of operations that the command line asks for; 0: as many as take a span. */
    static int given;

    interface Round {
        void run(int n) throws Exception;
    }

    interface Work {
        void run() throws Exception;
    }

    private Harness() {}

    static void report(String name, double value, String unit) {
        System.out.printf("{\"name\": \"%s\", \"value\": %.4f, \"unit\": \"%s\"}%n", name, value, unit);
    }

    private static long timed(Work work) throws Exception {
        long start = System.nanoTime();
        work.run();
        return System.nanoTime() - start;
    }

    /** Prints nanoseconds per operation; round does n of them. */
    static void each(String name, Round round) throws Exception {
        int n = Math.max(16, given);
        long took = 0;
        for (long warm = 0; warm < WARM_UP_NS; warm += took) {
            int now = n;
            took = timed(() -> round.run(now));
            if (given == 0)
                n = took < SPAN_NS / 4 ? n * 4 : (int) Math.max(1, (double) n * SPAN_NS / took);
        }
        int measured = n;
        report(name, (double) timed(() -> round.run(measured)) / n, "ns");
    }

    /** Prints milliseconds for the whole work. */
    static void whole(String name, Work work) throws Exception {
        long warm = 0;
        do {
            warm += timed(work);
        } while (warm < WARM_UP_NS);
        report(name, timed(work) / 1e6, "ms");
    }

    /** The CPU time of the process. */
    static long cpuNs() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }

    /** Resident memory and the page tables for it. */
    static double memory() throws IOException {
        return Files.readAllLines(Path.of("/proc/self/status")).stream()
                .filter(line -> line.startsWith("VmRSS:") || line.startsWith("VmPTE:"))
                .mapToDouble(line -> Double.parseDouble(line.replaceAll("\\D", "")) * 1024)
                .sum();
    }

    /** Starts a virtual thread; what fails in it ends the program. */
    static Thread start(Work work) {
        return Thread.startVirtualThread(() -> {
            try {
                work.run();
            } catch (Exception e) {
                e.printStackTrace();
                System.exit(1);
            }
        });
    }

    static void check(boolean good) {
        if (!good)
            throw new IllegalStateException("a wrong result");
    }
}
