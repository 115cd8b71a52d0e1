package interop;

import static interop.Harness.check;
import static interop.Harness.equal;
import static interop.Harness.next;
import static interop.Harness.nothing;
import static interop.Harness.unique;
import static interop.Harness.until;

import com.rabbitmq.client.Channel;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.springframework.amqp.ImmediateRequeueAmqpException;
import org.springframework.amqp.core.AcknowledgeMode;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.Queue;
import org.springframework.amqp.core.QueueBuilder;
import org.springframework.amqp.rabbit.annotation.EnableRabbit;
import org.springframework.amqp.rabbit.annotation.Exchange;
import org.springframework.amqp.rabbit.annotation.QueueBinding;
import org.springframework.amqp.rabbit.annotation.RabbitListener;
import org.springframework.amqp.rabbit.config.SimpleRabbitListenerContainerFactory;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.core.RabbitAdmin;
import org.springframework.amqp.rabbit.core.RabbitTemplate;
import org.springframework.amqp.rabbit.listener.DirectMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.SimpleMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.api.ChannelAwareBatchMessageListener;
import org.springframework.amqp.rabbit.listener.api.ChannelAwareMessageListener;
import org.springframework.amqp.support.converter.Jackson2JsonMessageConverter;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.messaging.handler.annotation.Header;

/** Listener containers: both kinds, each way to acknowledge, and what they do when a queue goes. */
final class AmqpListeners {
    private AmqpListeners() {}

    static void addTo(Harness harness) {
        harness.add("annotated_listener_takes_json", AmqpListeners::annotated)
                .add("simple_container_shares_among_consumers", AmqpListeners::simple)
                .add("direct_container_changes_while_it_runs", AmqpListeners::direct)
                .add("manual_acknowledgement", AmqpListeners::manual)
                .add("batches", AmqpListeners::batches)
                .add("requeued_once", AmqpListeners::requeued)
                .add("single_active_consumer_and_priorities", AmqpListeners::oneAtATime)
                .add("a_deleted_queue_is_consumed_again", AmqpListeners::deletion)
                .add("a_lost_connection_is_consumed_again", AmqpListeners::reconnection);
    }

    /** What the annotated listener takes. */
    record Order(String article, int count) {}

    /** An application as Spring's guides write one. */
    @Configuration
    @EnableRabbit
    static class Application {
        final BlockingQueue<String> seen = new LinkedBlockingQueue<>();

        @Bean
        String shop() {
            return unique("spring-shop");
        }

        @Bean
        CachingConnectionFactory connections() {
            return Rabbit.factory(Harness.PASSWORD);
        }

        @Bean
        RabbitAdmin admin(CachingConnectionFactory connections) {
            return new RabbitAdmin(connections);
        }

        @Bean
        RabbitTemplate template(CachingConnectionFactory connections) {
            RabbitTemplate template = new RabbitTemplate(connections);
            template.setMessageConverter(new Jackson2JsonMessageConverter());
            return template;
        }

        @Bean
        SimpleRabbitListenerContainerFactory rabbitListenerContainerFactory(CachingConnectionFactory connections) {
            SimpleRabbitListenerContainerFactory factory = new SimpleRabbitListenerContainerFactory();
            factory.setConnectionFactory(connections);
            factory.setMessageConverter(new Jackson2JsonMessageConverter());
            factory.setReceiveTimeout(100L);
            return factory;
        }

        @RabbitListener(bindings = @QueueBinding(
                value = @org.springframework.amqp.rabbit.annotation.Queue,
                exchange = @Exchange(value = "#{shop}", type = "topic",
                        durable = "false", autoDelete = "true"),
                key = "order.#"))
        void onOrder(Order order, @Header("amqp_receivedRoutingKey") String key, @Header("shop") String shop) {
            seen.add(order.count() + " " + order.article() + " " + key + " " + shop);
        }
    }

    private static void annotated() throws Exception {
        try (AnnotationConfigApplicationContext context = new AnnotationConfigApplicationContext(Application.class)) {
            context.getBean(RabbitTemplate.class).convertAndSend(
                    context.getBean("shop", String.class), "order.new.eu", new Order("grün", 3), message -> {
                        message.getMessageProperties().setHeader("shop", "north");
                        return message;
                    });
            equal(next(context.getBean(Application.class).seen, "an order"), "3 grün order.new.eu north", "the order");
        }
    }

    private static void simple() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String queue = rabbit.queue();
            Map<Integer, Integer> times = new ConcurrentHashMap<>();
            Set<String> threads = Collections.synchronizedSet(new HashSet<>());
            SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(rabbit.connections);
            container.setQueueNames(queue);
            container.setConcurrentConsumers(3);
            container.setPrefetchCount(5);
            container.setMessageListener(message -> {
                times.merge((int) Long.parseLong(Harness.text(message.getBody())), 1, Integer::sum);
                threads.add(Thread.currentThread().getName());
            });
            rabbit.started(container);
            until(() -> rabbit.admin.getQueueInfo(queue).getConsumerCount() == 3, "three consumers");
            for (int number = 0; number < 500; number++) {
                rabbit.template.convertAndSend(queue, "" + number);
            }
            until(() -> times.size() == 500, "500 messages");
            check(times.values().stream().allMatch(count -> count == 1), "each once");
            equal(threads.size(), 3, "consumers that took part");
            container.setConcurrentConsumers(1);
            until(() -> rabbit.admin.getQueueInfo(queue).getConsumerCount() == 1, "two consumers cancelled");
        }
    }

    private static void direct() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String one = rabbit.queue();
            String two = rabbit.queue();
            BlockingQueue<String> seen = new LinkedBlockingQueue<>();
            DirectMessageListenerContainer container = new DirectMessageListenerContainer(rabbit.connections);
            container.setQueueNames(one);
            container.setConsumersPerQueue(2);
            container.setMessagesPerAck(10);
            container.setAckTimeout(100);
            container.setMessageListener(message -> seen.add(
                    message.getMessageProperties().getConsumerQueue() + " " + Harness.text(message.getBody())));
            rabbit.started(container);
            until(() -> rabbit.admin.getQueueInfo(one).getConsumerCount() == 2, "two consumers");
            rabbit.template.convertAndSend(one, "a");
            equal(next(seen, "from the first"), one + " a", "from the first");
            container.addQueueNames(two);
            rabbit.template.convertAndSend(two, "b");
            equal(next(seen, "from the second"), two + " b", "from the second");
            container.removeQueueNames(one);
            until(() -> rabbit.admin.getQueueInfo(one).getConsumerCount() == 0, "nobody consumes the first");
            rabbit.template.convertAndSend(one, "c");
            nothing(seen, 200, "from the first");
            equal(rabbit.received(one), "c", "still there");
        }
    }

    private static void manual() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String queue = rabbit.queue();
            BlockingQueue<String> seen = new LinkedBlockingQueue<>();
            SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(rabbit.connections);
            container.setQueueNames(queue);
            container.setAcknowledgeMode(AcknowledgeMode.MANUAL);
            container.setMessageListener((ChannelAwareMessageListener) (message, channel) -> {
                long tag = message.getMessageProperties().getDeliveryTag();
                boolean again = message.getMessageProperties().isRedelivered();
                seen.add(Harness.text(message.getBody()) + (again ? " again" : ""));
                if (again) {
                    channel.basicAck(tag, false);
                } else {
                    channel.basicNack(tag, false, true);
                }
            });
            rabbit.started(container);
            rabbit.template.convertAndSend(queue, "x");
            equal(List.of(next(seen, "first"), next(seen, "second")), List.of("x", "x again"), "deliveries");
            nothing(seen, 200, "after the ack");
            container.stop();
            equal(rabbit.ready(queue), 0L, "left");
        }
    }

    private static void batches() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String queue = rabbit.queue();
            for (int number = 0; number < 25; number++) {
                rabbit.template.convertAndSend(queue, "" + number);
            }
            List<String> bodies = Collections.synchronizedList(new ArrayList<>());
            List<Integer> sizes = Collections.synchronizedList(new ArrayList<>());
            SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(rabbit.connections);
            container.setQueueNames(queue);
            container.setConsumerBatchEnabled(true);
            container.setBatchSize(10);
            container.setPrefetchCount(10);
            container.setMessageListener(new ChannelAwareBatchMessageListener() {
                @Override
                public void onMessageBatch(List<Message> messages, Channel channel) {
                    sizes.add(messages.size());
                    messages.forEach(message -> bodies.add(Harness.text(message.getBody())));
                }
            });
            rabbit.started(container);
            until(() -> bodies.size() == 25, "25 messages, after " + sizes);
            for (int number = 0; number < 25; number++) {
                equal(bodies.get(number), "" + number, "order");
            }
            check(sizes.stream().allMatch(size -> size <= 10), "batches of " + sizes);
            container.stop();
            equal(rabbit.ready(queue), 0L, "each batch acknowledged");
        }
    }

    private static void requeued() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String dead = rabbit.queue();
            String queue = rabbit.declared(QueueBuilder.nonDurable(unique("spring"))
                    .deadLetterExchange("").deadLetterRoutingKey(dead).build());
            BlockingQueue<Boolean> seen = new LinkedBlockingQueue<>();
            SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(rabbit.connections);
            container.setQueueNames(queue);
            // A failure rejects for good, unless the listener asks for another try.
            container.setDefaultRequeueRejected(false);
            container.setMessageListener(message -> {
                boolean again = message.getMessageProperties().isRedelivered();
                seen.add(again);
                throw again ? new IllegalStateException("again") : new ImmediateRequeueAmqpException("once more");
            });
            rabbit.started(container);
            rabbit.template.convertAndSend(queue, "x");
            equal(List.of(next(seen, "first"), next(seen, "second")), List.of(false, true), "redelivered");
            equal(rabbit.received(dead), "x", "then dead-lettered");
        }
    }

    private static void oneAtATime() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String single = rabbit.declared(QueueBuilder.nonDurable(unique("spring")).singleActiveConsumer().build());
            BlockingQueue<Message> first = rabbit.inbox(single);
            SimpleMessageListenerContainer second = new SimpleMessageListenerContainer(rabbit.connections);
            BlockingQueue<Message> afterwards = new LinkedBlockingQueue<>();
            second.setQueueNames(single);
            second.setMessageListener(afterwards::add);
            rabbit.started(second);
            for (int number = 0; number < 10; number++) {
                rabbit.template.convertAndSend(single, "" + number);
                next(first, "by the first consumer");
            }
            check(afterwards.isEmpty(), "the second waits");

            String shared = rabbit.queue();
            Map<Integer, BlockingQueue<Message>> inboxes = new HashMap<>();
            for (int priority : new int[] {1, 10}) {
                SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(rabbit.connections);
                container.setQueueNames(shared);
                container.setConsumerArguments(Map.of("x-priority", priority));
                inboxes.put(priority, new LinkedBlockingQueue<>());
                container.setMessageListener(inboxes.get(priority)::add);
                rabbit.started(container);
            }
            for (int number = 0; number < 10; number++) {
                rabbit.template.convertAndSend(shared, "" + number);
                next(inboxes.get(10), "by the consumer of the higher priority");
            }
            check(inboxes.get(1).isEmpty(), "the lower priority waits");
        }
    }

    private static void deletion() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String queue = rabbit.declared(new Queue(unique("spring"), false, false, false));
            BlockingQueue<String> seen = new LinkedBlockingQueue<>();
            SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(rabbit.connections);
            container.setQueueNames(queue);
            container.setMissingQueuesFatal(false);
            container.setFailedDeclarationRetryInterval(100);
            container.setRecoveryInterval(100);
            container.setMessageListener(message -> seen.add(Harness.text(message.getBody())));
            rabbit.started(container);
            rabbit.template.convertAndSend(queue, "before");
            equal(next(seen, "before"), "before", "consumed");
            // The broker cancels the consumer; the container asks again until the queue is there.
            rabbit.admin.deleteQueue(queue);
            Thread.sleep(300);
            rabbit.admin.declareQueue(new Queue(queue, false, false, false));
            rabbit.template.convertAndSend(queue, "after");
            equal(next(seen, "after"), "after", "consumed again");
        }
    }

    private static void reconnection() throws Exception {
        try (CuttingProxy proxy = new CuttingProxy(Harness.HOST, Harness.AMQP_PORT);
                Rabbit rabbit = new Rabbit();
                Rabbit cut = new Rabbit(connections -> {
                    connections.setHost("127.0.0.1");
                    connections.setPort(proxy.port());
                })) {
            String queue = rabbit.declared(new Queue(unique("spring"), false, false, false));
            BlockingQueue<String> seen = new LinkedBlockingQueue<>();
            CountDownLatch held = new CountDownLatch(1);
            SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(cut.connections);
            container.setQueueNames(queue);
            container.setRecoveryInterval(100);
            container.setMessageListener(message -> {
                boolean again = message.getMessageProperties().isRedelivered();
                seen.add(Harness.text(message.getBody()) + (again ? " again" : ""));
                try {
                    held.await(Harness.WAIT_SECONDS, TimeUnit.SECONDS);
                } catch (InterruptedException problem) {
                    Thread.currentThread().interrupt();
                }
            });
            cut.started(container);
            rabbit.template.convertAndSend(queue, "x");
            equal(next(seen, "first"), "x", "first");
            proxy.cut();
            held.countDown();
            equal(next(seen, "again"), "x again", "what was not acknowledged comes again");
            rabbit.template.convertAndSend(queue, "y");
            equal(next(seen, "after"), "y", "and consuming goes on");
            nothing(seen, 200, "more");
        }
    }
}
