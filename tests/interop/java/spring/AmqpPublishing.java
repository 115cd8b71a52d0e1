package interop;

import static interop.Harness.check;
import static interop.Harness.equal;
import static interop.Harness.next;
import static interop.Harness.refusal;
import static interop.Harness.unique;
import static interop.Harness.until;

import com.rabbitmq.client.Channel;
import com.rabbitmq.client.ShutdownSignalException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.MessageBuilder;
import org.springframework.amqp.core.MessageDeliveryMode;
import org.springframework.amqp.core.MessagePropertiesBuilder;
import org.springframework.amqp.core.QueueBuilder;
import org.springframework.amqp.core.ReturnedMessage;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory.ConfirmType;
import org.springframework.amqp.rabbit.connection.ChannelListener;
import org.springframework.amqp.rabbit.connection.CorrelationData;
import org.springframework.amqp.rabbit.core.RabbitTemplate;
import org.springframework.amqp.rabbit.listener.SimpleMessageListenerContainer;
import org.springframework.amqp.rabbit.transaction.RabbitTransactionManager;
import org.springframework.transaction.support.TransactionTemplate;

/** Publisher confirms and returns, transactions, properties. */
final class AmqpPublishing {
    private AmqpPublishing() {}

    static void addTo(Harness harness) {
        harness.add("correlated_confirms", AmqpPublishing::correlated)
                .add("confirms_of_one_thread", AmqpPublishing::simple)
                .add("a_nack_says_that_it_was_not_taken", AmqpPublishing::nack)
                .add("a_missing_exchange_closes_the_channel_only", AmqpPublishing::missing)
                .add("returns_come_before_their_confirm", AmqpPublishing::returned)
                .add("a_transaction_commits_and_rolls_back", AmqpPublishing::transaction)
                .add("a_transacted_listener_takes_back_what_it_sent", AmqpPublishing::transactedListener)
                .add("properties_and_headers", AmqpPublishing::properties)
                .add("expiration_and_delivery_mode", AmqpPublishing::expiration);
    }

    private static Rabbit confirming(ConfirmType type) {
        return new Rabbit(connections -> {
            connections.setPublisherConfirmType(type);
            connections.setPublisherReturns(true);
        });
    }

    private static CorrelationData.Confirm confirm(CorrelationData data) throws Exception {
        return data.getFuture().get(Harness.WAIT_SECONDS, TimeUnit.SECONDS);
    }

    private static void correlated() throws Exception {
        try (Rabbit rabbit = confirming(ConfirmType.CORRELATED)) {
            String queue = rabbit.queue();
            AtomicInteger acknowledged = new AtomicInteger();
            rabbit.template.setConfirmCallback((data, ack, cause) -> acknowledged.addAndGet(ack ? 1 : 0));
            List<CorrelationData> sent = new ArrayList<>();
            for (int number = 0; number < 1000; number++) {
                CorrelationData data = new CorrelationData("" + number);
                rabbit.template.convertAndSend("", queue, "x" + number, data);
                sent.add(data);
            }
            for (CorrelationData data : sent) {
                check(confirm(data).isAck(), "confirmed");
                check(data.getReturned() == null, "not returned");
            }
            until(() -> acknowledged.get() == 1000, "callbacks");
            equal(rabbit.ready(queue), 1000L, "messages");
        }
    }

    private static void simple() throws Exception {
        try (Rabbit rabbit = confirming(ConfirmType.SIMPLE)) {
            String queue = rabbit.queue();
            Boolean confirmed = rabbit.template.invoke(operations -> {
                for (int number = 0; number < 100; number++) {
                    operations.convertAndSend(queue, "x");
                }
                operations.waitForConfirmsOrDie(Harness.WAIT_SECONDS * 1000L);
                return true;
            });
            equal(confirmed, true, "confirmed");
            equal(rabbit.ready(queue), 100L, "messages");
        }
    }

    private static void nack() throws Exception {
        try (Rabbit rabbit = confirming(ConfirmType.CORRELATED)) {
            String full = rabbit.declared(QueueBuilder.nonDurable(unique("spring")).maxLength(2L)
                    .overflow(QueueBuilder.Overflow.rejectPublish).build());
            List<Boolean> seen = new ArrayList<>();
            for (int number = 0; number < 3; number++) {
                CorrelationData data = new CorrelationData();
                rabbit.template.convertAndSend("", full, "x", data);
                seen.add(confirm(data).isAck());
            }
            equal(seen, List.of(true, true, false), "the third finds the queue full");
        }
    }

    private static void missing() throws Exception {
        try (Rabbit rabbit = confirming(ConfirmType.CORRELATED)) {
            String nowhere = unique("nowhere");
            BlockingQueue<ShutdownSignalException> closed = new LinkedBlockingQueue<>();
            rabbit.connections.addChannelListener(new ChannelListener() {
                @Override
                public void onCreate(Channel channel, boolean transactional) {}

                @Override
                public void onShutDown(ShutdownSignalException signal) {
                    closed.add(signal);
                }
            });
            CorrelationData data = new CorrelationData();
            rabbit.template.convertAndSend(nowhere, "key", "x", data);
            CorrelationData.Confirm confirm = confirm(data);
            check(!confirm.isAck(), "not confirmed");
            check(next(closed, "channel.close").getMessage().contains(
                    "reply-code=404, reply-text=NOT_FOUND - no exchange '" + nowhere + "' in vhost '/'"), "" + confirm.getReason());
            String queue = rabbit.queue();
            rabbit.template.convertAndSend(queue, "on the same connection");
            equal(rabbit.received(queue), "on the same connection", "a new channel");
        }
    }

    private static void returned() throws Exception {
        try (Rabbit rabbit = confirming(ConfirmType.CORRELATED)) {
            rabbit.template.setMandatory(true);
            BlockingQueue<ReturnedMessage> returns = new LinkedBlockingQueue<>();
            rabbit.template.setReturnsCallback(returns::add);
            String nowhere = unique("nowhere");
            CorrelationData data = new CorrelationData("mine");
            rabbit.template.convertAndSend("amq.direct", nowhere, "back", data);
            check(confirm(data).isAck(), "confirmed all the same");
            ReturnedMessage message = data.getReturned();
            check(message != null, "returned before it was confirmed");
            equal(List.of(message.getReplyCode(), message.getReplyText(), message.getExchange(), message.getRoutingKey(),
                            Harness.text(message.getMessage().getBody())),
                    List.of(312, "NO_ROUTE", "amq.direct", nowhere, "back"), "the return");
            equal(next(returns, "the callback").getRoutingKey(), nowhere, "the callback");
        }
    }

    private static void transaction() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String queue = rabbit.queue();
            String input = rabbit.queue();
            RabbitTemplate transacted = new RabbitTemplate(rabbit.connections);
            transacted.setChannelTransacted(true);
            TransactionTemplate transaction = new TransactionTemplate(new RabbitTransactionManager(rabbit.connections));
            rabbit.template.convertAndSend(input, "task");
            until(() -> rabbit.ready(input) == 1, "the task");
            refusal(IllegalStateException.class, () -> transaction.executeWithoutResult(status -> {
                equal(transacted.receiveAndConvert(input, Harness.WAIT_SECONDS * 1000L), "task", "taken");
                transacted.convertAndSend(queue, "never");
                throw new IllegalStateException("roll back");
            }), "the transaction");
            until(() -> rabbit.ready(input) == 1, "the task is back");
            equal(rabbit.ready(queue), 0L, "nothing was sent");
            transaction.executeWithoutResult(status -> {
                equal(transacted.receiveAndConvert(input, Harness.WAIT_SECONDS * 1000L), "task", "taken again");
                for (int number = 0; number < 10; number++) {
                    transacted.convertAndSend(queue, "committed " + number);
                }
                equal(rabbit.ready(queue), 0L, "before the commit");
            });
            for (int number = 0; number < 10; number++) {
                equal(rabbit.received(queue), "committed " + number, "after the commit");
            }
            equal(rabbit.ready(input), 0L, "the task is done");
        }
    }

    private static void transactedListener() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String input = rabbit.queue();
            String output = rabbit.queue();
            RabbitTemplate transacted = new RabbitTemplate(rabbit.connections);
            transacted.setChannelTransacted(true);
            BlockingQueue<Boolean> seen = new LinkedBlockingQueue<>();
            SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(rabbit.connections);
            container.setQueueNames(input);
            container.setChannelTransacted(true);
            container.setMessageListener(message -> {
                boolean again = message.getMessageProperties().isRedelivered();
                transacted.convertAndSend(output, again ? "second" : "first");
                seen.add(again);
                if (!again) {
                    throw new IllegalStateException("roll back");
                }
            });
            rabbit.started(container);
            rabbit.template.convertAndSend(input, "x");
            equal(List.of(next(seen, "first"), next(seen, "second")), List.of(false, true), "redelivered");
            equal(rabbit.received(output), "second", "only what was committed");
            container.stop();
            equal(rabbit.ready(output) + rabbit.ready(input), 0L, "left");
        }
    }

    private static void properties() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String queue = rabbit.queue();
            Map<String, Object> headers = new HashMap<>();
            headers.put("text", "grün");
            headers.put("int", 7);
            headers.put("long", 1L << 40);
            headers.put("double", 1.5);
            headers.put("flag", true);
            headers.put("date", new Date(1_700_000_000_000L));
            headers.put("list", List.of(1, "two"));
            headers.put("map", Map.of("nested", "value"));
            byte[] body = new byte[300_000];
            for (int index = 0; index < body.length; index++) {
                body[index] = (byte) index;
            }
            rabbit.template.send("", queue, MessageBuilder.withBody(body).andProperties(MessagePropertiesBuilder.newInstance()
                    .setContentType("application/x-thing").setContentEncoding("gzip").setCorrelationId("c").setReplyTo("r")
                    .setMessageId("m").setType("kind").setUserId(Harness.USER).setAppId("interop").setPriority(4)
                    .setTimestamp(new Date(1_700_000_000_000L)).copyHeaders(headers).build()).build());
            Message got = rabbit.template.receive(queue);
            check(Arrays.equals(got.getBody(), body), "the body");
            var seen = got.getMessageProperties();
            equal(List.of(seen.getContentType(), seen.getContentEncoding(), seen.getCorrelationId(), seen.getReplyTo(), seen.getMessageId(),
                            seen.getType(), seen.getReceivedUserId(), seen.getAppId(), seen.getPriority(), seen.getTimestamp()),
                    List.of("application/x-thing", "gzip", "c", "r", "m", "kind", Harness.USER, "interop", 4, new Date(1_700_000_000_000L)),
                    "properties");
            for (Map.Entry<String, Object> header : headers.entrySet()) {
                equal(seen.getHeader(header.getKey()), header.getValue(), "header " + header.getKey());
            }
        }
    }

    private static void expiration() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String dead = rabbit.queue();
            String queue = rabbit.declared(QueueBuilder.nonDurable(unique("spring"))
                    .deadLetterExchange("").deadLetterRoutingKey(dead).build());
            rabbit.template.convertAndSend("", queue, (Object) "brief", message -> {
                message.getMessageProperties().setExpiration("50");
                return message;
            });
            equal(rabbit.received(dead), "brief", "expired");
            rabbit.template.convertAndSend("", queue, (Object) "transient", message -> {
                message.getMessageProperties().setDeliveryMode(MessageDeliveryMode.NON_PERSISTENT);
                return message;
            });
            equal(rabbit.template.receive(queue).getMessageProperties().getReceivedDeliveryMode(),
                    MessageDeliveryMode.NON_PERSISTENT, "delivery mode");
            rabbit.template.convertAndSend(queue, "persistent by default");
            equal(rabbit.template.receive(queue).getMessageProperties().getReceivedDeliveryMode(),
                    MessageDeliveryMode.PERSISTENT, "delivery mode");
        }
    }
}
