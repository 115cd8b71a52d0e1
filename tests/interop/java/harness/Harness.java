package interop;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/**
 * Runs the cases of one suite, each under a deadline, and says PASS, FAIL or SKIPPED for each. Where
 * the broker listens comes from the environment (see ../../README.md).
 */
final class Harness {
    /** Bounds a wait that only fails in error: a loaded machine may take long. */
    static final int WAIT_SECONDS = 30;

    private static final long CASE_SECONDS = 120;

    static final String BROKER = environment("BROKER", "trivium");
    static final String HOST = environment("HOST", "localhost");
    static final int AMQP_PORT = Integer.parseInt(environment("AMQP_PORT", "5672"));
    static final int MQTT_PORT = Integer.parseInt(environment("MQTT_PORT", "1883"));
    static final int STOMP_PORT = Integer.parseInt(environment("STOMP_PORT", "61613"));
    static final String USER = environment("USER", "guest");
    static final String PASSWORD = environment("PASSWORD", "guest");

    /** It fails by throwing. */
    interface Case {
        void run() throws Exception;
    }

    interface Condition {
        boolean holds() throws Exception;
    }

    private final String suite;
    private final Map<String, Case> cases = new LinkedHashMap<>();

    Harness(String suite) {
        this.suite = suite;
    }

    Harness add(String name, Case body) {
        cases.put(name, body);
        return this;
    }

    /** Every case, or those whose name holds one of {@code words}; ends the process. */
    void run(String[] words) {
        ExecutorService runner = Executors.newCachedThreadPool();
        int failed = 0;
        for (Map.Entry<String, Case> entry : cases.entrySet()) {
            if (words.length > 0 && Arrays.stream(words).noneMatch(entry.getKey()::contains)) {
                continue;
            }
            long started = System.nanoTime();
            Future<?> done = runner.submit(() -> {
                entry.getValue().run();
                return null;
            });
            try {
                done.get(CASE_SECONDS, TimeUnit.SECONDS);
                double seconds = (System.nanoTime() - started) / 1e9;
                System.out.printf("PASS %s %s (%.2f s)%n", suite, entry.getKey(), seconds);
            } catch (Exception problem) {
                failed = 1;
                explain(entry.getKey(), problem.getCause() == null ? problem : problem.getCause());
            }
        }
        System.out.printf("END %s%n", suite);
        System.exit(failed);
    }

    private void explain(String name, Throwable problem) {
        System.out.printf("FAIL %s %s: %s%n", suite, name, oneLine(problem));
        List<StackTraceElement> ours = new ArrayList<>();
        for (StackTraceElement frame : problem.getStackTrace()) {
            if (frame.getClassName().startsWith("interop.") && !frame.getClassName().startsWith("interop.Harness")) {
                ours.add(frame);
            }
        }
        ours.stream().limit(3).forEach(frame -> System.out.println("    " + frame));
    }

    private static String oneLine(Throwable problem) {
        StringBuilder text = new StringBuilder();
        for (Throwable cause = problem; cause != null && text.length() < 600; cause = cause.getCause()) {
            text.append(text.length() == 0 ? "" : " <- ").append(cause.toString().replace('\n', ' '));
        }
        return text.toString();
    }

    private static String environment(String name, String otherwise) {
        return System.getenv().getOrDefault("INTEROP_" + name, otherwise);
    }

    /** A name no other run uses. */
    static String unique(String prefix) {
        return prefix + "-" + UUID.randomUUID().toString().substring(0, 13);
    }

    static void equal(Object seen, Object expected, String what) {
        if (!Objects.equals(seen, expected)) {
            throw new AssertionError(what + ": expected " + expected + ", saw " + seen);
        }
    }

    static void check(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError(what);
        }
    }

    static void until(Condition condition, String what) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(WAIT_SECONDS);
        while (!condition.holds()) {
            check(System.nanoTime() < end, "after " + WAIT_SECONDS + " s still not: " + what);
            Thread.sleep(5);
        }
    }

    /** What {@code action} throws, which has to be {@code kind}. */
    static <T extends Throwable> T refusal(Class<T> kind, Case action, String what) {
        try {
            action.run();
        } catch (Throwable problem) {
            if (kind.isInstance(problem)) {
                return kind.cast(problem);
            }
            throw new AssertionError(what + ": refused with " + problem, problem);
        }
        throw new AssertionError(what + ": must be refused");
    }

    static <T> T next(BlockingQueue<T> inbox, String what) throws InterruptedException {
        T item = inbox.poll(WAIT_SECONDS, TimeUnit.SECONDS);
        check(item != null, "within " + WAIT_SECONDS + " s: " + what);
        return item;
    }

    static <T> void nothing(BlockingQueue<T> inbox, int milliseconds, String what) throws InterruptedException {
        T item = inbox.poll(milliseconds, TimeUnit.MILLISECONDS);
        check(item == null, what + ": unexpected " + item);
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] body) {
        return new String(body, StandardCharsets.UTF_8);
    }
}
