package interop;

import static interop.Harness.check;
import static interop.Harness.equal;
import static interop.Harness.next;
import static interop.Harness.unique;
import static interop.Harness.until;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import org.aopalliance.aop.Advice;
import org.springframework.amqp.AmqpRejectAndDontRequeueException;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.Queue;
import org.springframework.amqp.core.QueueBuilder;
import org.springframework.amqp.rabbit.config.RetryInterceptorBuilder;
import org.springframework.amqp.rabbit.listener.SimpleMessageListenerContainer;
import org.springframework.amqp.rabbit.retry.RejectAndDontRequeueRecoverer;
import org.springframework.amqp.rabbit.retry.RepublishMessageRecoverer;

/** What happens to messages whose listener fails: tried again, then parked where somebody can look. */
final class AmqpRetries {
    private AmqpRetries() {}

    static void addTo(Harness harness) {
        harness.add("retried_then_dead_lettered_to_a_parking_queue", AmqpRetries::parked)
                .add("retried_then_republished_with_its_error", AmqpRetries::republished)
                .add("stateful_retry_counts_redeliveries", AmqpRetries::stateful)
                .add("retried_later_through_a_queue_that_expires", AmqpRetries::delayed)
                .add("quorum_queue_gives_up_at_its_delivery_limit", AmqpRetries::deliveryLimit);
    }

    /** Fails every time, and says what it saw. */
    private static SimpleMessageListenerContainer failing(Rabbit rabbit, String queue, BlockingQueue<Message> seen) {
        SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(rabbit.connections);
        container.setQueueNames(queue);
        container.setMessageListener(message -> {
            seen.add(message);
            throw new IllegalStateException("the listener fails");
        });
        return container;
    }

    private static void parked() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String parking = rabbit.queue();
            String queue = rabbit.declared(QueueBuilder.nonDurable(unique("spring"))
                    .deadLetterExchange("").deadLetterRoutingKey(parking).build());
            BlockingQueue<Message> seen = new LinkedBlockingQueue<>();
            SimpleMessageListenerContainer container = failing(rabbit, queue, seen);
            Advice retry = RetryInterceptorBuilder.stateless().maxAttempts(3).backOffOptions(10, 2, 50)
                    .recoverer(new RejectAndDontRequeueRecoverer()).build();
            container.setAdviceChain(retry);
            rabbit.started(container);
            rabbit.template.convertAndSend(queue, "x");
            Message message = rabbit.template.receive(parking);
            equal(Harness.text(message.getBody()), "x", "parked");
            equal(seen.size(), 3, "attempts");
            Map<String, ?> death = message.getMessageProperties().getXDeathHeader().get(0);
            equal(List.of(death.get("queue"), death.get("reason"), death.get("exchange"), death.get("routing-keys"), death.get("count")),
                    List.of(queue, "rejected", "", List.of(queue), 1L), "x-death");
            equal(message.getMessageProperties().getHeader("x-first-death-queue"), queue, "x-first-death-queue");
            check(message.getMessageProperties().getReceivedRoutingKey().equals(parking), "the dead letter's routing key");
        }
    }

    private static void republished() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String parking = rabbit.queue();
            String queue = rabbit.queue();
            BlockingQueue<Message> seen = new LinkedBlockingQueue<>();
            SimpleMessageListenerContainer container = failing(rabbit, queue, seen);
            container.setAdviceChain(RetryInterceptorBuilder.stateless().maxAttempts(2).backOffOptions(10, 1, 10)
                    .recoverer(new RepublishMessageRecoverer(rabbit.template, "", parking)).build());
            rabbit.started(container);
            rabbit.template.convertAndSend(queue, "x");
            Message message = rabbit.template.receive(parking);
            equal(seen.size(), 2, "attempts");
            Map<String, Object> headers = message.getMessageProperties().getHeaders();
            equal(headers.get("x-exception-message").toString(), "the listener fails", "x-exception-message");
            equal(headers.get("x-original-routingKey").toString(), queue, "x-original-routingKey");
            check(headers.get("x-exception-stacktrace").toString().contains("IllegalStateException"), "x-exception-stacktrace");
            until(() -> rabbit.ready(queue) == 0, "the original is acknowledged");
        }
    }

    private static void stateful() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String parking = rabbit.queue();
            String queue = rabbit.declared(QueueBuilder.nonDurable(unique("spring"))
                    .deadLetterExchange("").deadLetterRoutingKey(parking).build());
            BlockingQueue<Message> seen = new LinkedBlockingQueue<>();
            SimpleMessageListenerContainer container = failing(rabbit, queue, seen);
            // Each attempt goes back to the broker and is told apart by the message's identity.
            container.setAdviceChain(RetryInterceptorBuilder.stateful().maxAttempts(3)
                    .recoverer(new RejectAndDontRequeueRecoverer()).build());
            rabbit.started(container);
            rabbit.template.convertAndSend(queue, "x", message -> {
                message.getMessageProperties().setMessageId(unique("id"));
                return message;
            });
            equal(rabbit.received(parking), "x", "parked");
            equal(seen.stream().map(message -> message.getMessageProperties().isRedelivered()).toList(),
                    List.of(false, true, true), "redelivered");
        }
    }

    private static void delayed() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String parking = rabbit.queue();
            String queue = unique("spring-work");
            // A rejected message waits in the second queue and comes back when it expires there.
            String waiting = rabbit.declared(QueueBuilder.nonDurable(unique("spring-wait")).ttl(100)
                    .deadLetterExchange("").deadLetterRoutingKey(queue).build());
            rabbit.declared(QueueBuilder.nonDurable(queue).deadLetterExchange("").deadLetterRoutingKey(waiting).build());
            BlockingQueue<Long> counts = new LinkedBlockingQueue<>();
            SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(rabbit.connections);
            container.setQueueNames(queue);
            container.setMessageListener(message -> {
                long count = rejections(message, queue);
                counts.add(count);
                if (count == 3) {
                    rabbit.template.send("", parking, message);
                } else {
                    throw new AmqpRejectAndDontRequeueException("later");
                }
            });
            rabbit.started(container);
            rabbit.template.convertAndSend(queue, "x");
            equal(rabbit.received(parking), "x", "parked");
            equal(List.copyOf(counts), List.of(0L, 1L, 2L, 3L), "counts of x-death");
        }
    }

    private static long rejections(Message message, String queue) {
        List<Map<String, ?>> deaths = message.getMessageProperties().getXDeathHeader();
        return deaths == null ? 0 : deaths.stream()
                .filter(death -> queue.equals(death.get("queue")) && "rejected".equals(death.get("reason")))
                .mapToLong(death -> (Long) death.get("count")).findFirst().orElse(0);
    }

    private static void deliveryLimit() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String parking = rabbit.declared(new Queue(unique("spring-parking")));
            String queue = rabbit.declared(QueueBuilder.durable(unique("spring-quorum")).quorum().deliveryLimit(2)
                    .deadLetterExchange("").deadLetterRoutingKey(parking).build());
            BlockingQueue<Message> seen = new LinkedBlockingQueue<>();
            rabbit.started(failing(rabbit, queue, seen));
            rabbit.template.convertAndSend(queue, "x");
            Message message = rabbit.template.receive(parking);
            equal(Harness.text(message.getBody()), "x", "parked");
            equal(message.getMessageProperties().getXDeathHeader().get(0).get("reason"), "delivery_limit", "reason");
            List<Object> counts = seen.stream().map(each -> each.getMessageProperties().getHeader("x-delivery-count")).toList();
            equal(counts, Arrays.asList(null, 1L, 2L), "x-delivery-count");
            check(next(seen, "the first").getMessageProperties().getDeliveryTag() == 1, "delivery tag");
        }
    }
}
