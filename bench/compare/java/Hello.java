import java.util.concurrent.SynchronousQueue;

/** The smallest program with a virtual thread: the twin of examples/hello.c. */
public class Hello {
    public static void main(String[] arguments) throws InterruptedException {
        var done = new SynchronousQueue<Integer>();
        System.out.println("Hello from main!");
        Thread.startVirtualThread(() -> {
            System.out.println("Hello, world, from a thread!");
            try {
                done.put(1);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        });
        done.take();
        System.out.println("Goodbye from main!");
    }
}
