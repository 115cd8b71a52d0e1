package interop;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.function.Consumer;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.Queue;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.core.RabbitAdmin;
import org.springframework.amqp.rabbit.core.RabbitTemplate;
import org.springframework.amqp.rabbit.listener.AbstractMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.SimpleMessageListenerContainer;

/** What one case has at the broker: a connection factory, an admin, a template. Closing ends it all. */
final class Rabbit implements AutoCloseable {
    final CachingConnectionFactory connections;
    final RabbitAdmin admin;
    final RabbitTemplate template;
    private final Deque<Runnable> ends = new ArrayDeque<>();

    Rabbit() {
        this(connections -> { });
    }

    /** {@code setUp} changes the connection factory before it is used. */
    Rabbit(Consumer<CachingConnectionFactory> setUp) {
        connections = factory(Harness.PASSWORD);
        setUp.accept(connections);
        admin = new RabbitAdmin(connections);
        template = new RabbitTemplate(connections);
        template.setReceiveTimeout(Harness.WAIT_SECONDS * 1000L);
        template.setReplyTimeout(Harness.WAIT_SECONDS * 1000L);
    }

    static CachingConnectionFactory factory(String password) {
        CachingConnectionFactory connections = new CachingConnectionFactory(Harness.HOST, Harness.AMQP_PORT);
        connections.setUsername(Harness.USER);
        connections.setPassword(password);
        return connections;
    }

    /** A queue that goes with its connection, and not with its last consumer. */
    String queue() {
        return declared(new Queue(Harness.unique("spring"), false, true, false));
    }

    /** Declares {@code queue} now and deletes it at the end. */
    String declared(Queue queue) {
        String name = admin.declareQueue(queue);
        ends.push(() -> admin.deleteQueue(name));
        return name;
    }

    /** Run at the end, last come first. */
    void atEnd(Runnable end) {
        ends.push(end);
    }

    /** Starts {@code container} and returns once it consumes. */
    <T extends AbstractMessageListenerContainer> T started(T container) {
        if (container instanceof SimpleMessageListenerContainer simple) {
            // It looks this often whether it shall end.
            simple.setReceiveTimeout(100);
        }
        container.setShutdownTimeout(2_000);
        container.afterPropertiesSet();
        ends.push(container::destroy);
        container.start();
        return container;
    }

    /** A container on {@code queue} that gives every body to {@code inbox}. */
    BlockingQueue<Message> inbox(String queue) {
        BlockingQueue<Message> inbox = new LinkedBlockingQueue<>();
        SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(connections);
        container.setQueueNames(queue);
        container.setMessageListener(inbox::add);
        started(container);
        return inbox;
    }

    String received(String queue) {
        Object body = template.receiveAndConvert(queue);
        return body instanceof byte[] raw ? Harness.text(raw) : (String) body;
    }

    /** Messages that nobody holds. */
    long ready(String queue) {
        var information = admin.getQueueInfo(queue);
        return information == null ? -1 : information.getMessageCount();
    }

    @Override
    public void close() {
        RuntimeException first = null;
        while (!ends.isEmpty()) {
            try {
                ends.pop().run();
            } catch (RuntimeException problem) {
                first = first == null ? problem : first;
            }
        }
        template.destroy();
        connections.destroy();
        if (first != null) {
            throw first;
        }
    }
}
