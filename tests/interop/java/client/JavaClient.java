package interop;

import static interop.Harness.PASSWORD;
import static interop.Harness.USER;
import static interop.Harness.bytes;
import static interop.Harness.check;
import static interop.Harness.equal;
import static interop.Harness.text;
import static interop.Harness.unique;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.AlreadyClosedException;
import com.rabbitmq.client.AuthenticationFailureException;
import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.Return;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Date;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** RabbitMQ's Java client: what its users expect to see of a broker. */
final class JavaClient {
    private interface OnChannel {
        void run(Connection connection, Channel channel) throws Exception;
    }

    public static void main(String[] arguments) {
        new Harness("java-client")
                .add("work_queue_with_prefetch_and_ack", () -> connected(JavaClient::workQueue))
                .add("publish_subscribe", () -> connected(JavaClient::publishSubscribe))
                .add("direct_and_topic_routing", () -> connected(JavaClient::routing))
                .add("rpc", () -> connected(JavaClient::rpc))
                .add("confirms_each_batch_and_asynchronous", () -> connected(JavaClient::confirms))
                .add("mandatory_return", () -> connected(JavaClient::mandatory))
                .add("properties_and_a_large_body", () -> connected(JavaClient::properties))
                .add("nack_reject_and_redelivery", () -> connected(JavaClient::nack))
                .add("cancel_and_queue_deletion", () -> connected(JavaClient::cancellation))
                .add("errors_close_the_channel_only", () -> connected(JavaClient::errors))
                .add("refused_login_and_vhost", JavaClient::refusals)
                .add("heartbeat", JavaClient::heartbeat)
                .add("many_channels", () -> connected(JavaClient::manyChannels))
                .run(arguments);
    }

    private static ConnectionFactory factory() {
        ConnectionFactory factory = new ConnectionFactory();
        factory.setHost(Harness.HOST);
        factory.setPort(Harness.AMQP_PORT);
        factory.setUsername(USER);
        factory.setPassword(PASSWORD);
        factory.setAutomaticRecoveryEnabled(false);
        return factory;
    }

    private static void connected(OnChannel action) throws Exception {
        try (Connection connection = factory().newConnection("interop")) {
            action.run(connection, connection.createChannel());
        }
    }

    private static Delivery next(BlockingQueue<Delivery> inbox) throws InterruptedException {
        return Harness.next(inbox, "a delivery");
    }

    private static BlockingQueue<Delivery> consume(Channel channel, String queue, boolean autoAck) throws IOException {
        BlockingQueue<Delivery> inbox = new LinkedBlockingQueue<>();
        channel.basicConsume(queue, autoAck, (tag, delivery) -> inbox.add(delivery), tag -> { });
        return inbox;
    }

    private static GetResponse get(Channel channel, String queue, boolean autoAck) throws Exception {
        for (int attempt = 0; attempt < 1000; attempt++) {
            GetResponse response = channel.basicGet(queue, autoAck);
            if (response != null) {
                return response;
            }
            Thread.sleep(5);
        }
        throw new AssertionError("basic.get found nothing");
    }

    private static void workQueue(Connection connection, Channel channel) throws Exception {
        String queue = channel.queueDeclare(unique("java"), true, false, false, null).getQueue();
        for (int number = 0; number < 10; number++) {
            channel.basicPublish("", queue, MessageProperties.PERSISTENT_TEXT_PLAIN, bytes("task " + number));
        }
        channel.basicQos(1);
        BlockingQueue<Delivery> inbox = consume(channel, queue, false);
        for (int number = 0; number < 10; number++) {
            Delivery delivery = next(inbox);
            equal(text(delivery.getBody()), "task " + number, "order");
            equal(delivery.getEnvelope().getDeliveryTag(), number + 1L, "delivery tag");
            equal(delivery.getProperties().getContentType(), "text/plain", "content type");
            check(inbox.poll(20, TimeUnit.MILLISECONDS) == null, "one at a time");
            channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
        }
        channel.queueDelete(queue);
    }

    private static void publishSubscribe(Connection connection, Channel channel) throws Exception {
        String exchange = unique("java-logs");
        channel.exchangeDeclare(exchange, BuiltinExchangeType.FANOUT, false, true, null);
        List<BlockingQueue<Delivery>> inboxes = new ArrayList<>();
        for (int number = 0; number < 3; number++) {
            // Server-named, exclusive, auto-delete.
            String queue = channel.queueDeclare().getQueue();
            check(queue.startsWith("amq.gen-"), queue);
            channel.queueBind(queue, exchange, "");
            inboxes.add(consume(channel, queue, true));
        }
        channel.basicPublish(exchange, "", null, bytes("news"));
        for (BlockingQueue<Delivery> inbox : inboxes) {
            equal(text(next(inbox).getBody()), "news", "each queue gets its copy");
        }
    }

    private static void routing(Connection connection, Channel channel) throws Exception {
        String direct = channel.queueDeclare().getQueue();
        String topic = channel.queueDeclare().getQueue();
        String root = unique("java");
        channel.queueBind(direct, "amq.direct", root);
        channel.queueBind(topic, "amq.topic", root + ".*.orange.#");
        BlockingQueue<Delivery> fromDirect = consume(channel, direct, true);
        BlockingQueue<Delivery> fromTopic = consume(channel, topic, true);
        for (String key : List.of(root + ".brown", root)) {
            channel.basicPublish("amq.direct", key, null, bytes(key));
        }
        for (String key : List.of(".quick.brown", ".quick.orange", ".lazy.orange.rabbit.male")) {
            channel.basicPublish("amq.topic", root + key, null, bytes(key));
        }
        equal(text(next(fromDirect).getBody()), root, "direct");
        equal(text(next(fromTopic).getBody()), ".quick.orange", "topic");
        equal(text(next(fromTopic).getBody()), ".lazy.orange.rabbit.male", "topic");
        check(fromDirect.isEmpty() && fromTopic.isEmpty(), "nothing else");
    }

    private static void rpc(Connection connection, Channel channel) throws Exception {
        String requests = channel.queueDeclare().getQueue();
        Channel server = connection.createChannel();
        server.basicConsume(requests, false, (tag, delivery) -> {
            int number = Integer.parseInt(text(delivery.getBody()));
            AMQP.BasicProperties reply = new AMQP.BasicProperties.Builder()
                    .correlationId(delivery.getProperties().getCorrelationId()).build();
            server.basicPublish("", delivery.getProperties().getReplyTo(), reply, bytes("" + number * number));
            server.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
        }, tag -> { });
        String replies = channel.queueDeclare().getQueue();
        BlockingQueue<Delivery> inbox = consume(channel, replies, true);
        for (int number = 0; number < 5; number++) {
            AMQP.BasicProperties request = new AMQP.BasicProperties.Builder()
                    .correlationId("c" + number).replyTo(replies).build();
            channel.basicPublish("", requests, request, bytes("" + number));
            Delivery reply = next(inbox);
            equal(reply.getProperties().getCorrelationId(), "c" + number, "correlation");
            equal(text(reply.getBody()), "" + number * number, "reply");
        }
    }

    private static void confirms(Connection connection, Channel channel) throws Exception {
        String queue = channel.queueDeclare().getQueue();
        channel.confirmSelect();
        for (int number = 0; number < 20; number++) {
            channel.basicPublish("", queue, null, bytes("each"));
            channel.waitForConfirmsOrDie(5_000);
        }
        for (int number = 0; number < 200; number++) {
            channel.basicPublish("", queue, null, bytes("batch"));
        }
        channel.waitForConfirmsOrDie(5_000);
        ConcurrentSkipListSet<Long> outstanding = new ConcurrentSkipListSet<>();
        List<Long> nacked = new ArrayList<>();
        channel.addConfirmListener((tag, multiple) -> {
            if (multiple) {
                outstanding.headSet(tag, true).clear();
            } else {
                outstanding.remove(tag);
            }
        }, (tag, multiple) -> nacked.add(tag));
        for (int number = 0; number < 1000; number++) {
            outstanding.add(channel.getNextPublishSeqNo());
            channel.basicPublish("", queue, null, bytes("asynchronous"));
        }
        check(channel.waitForConfirms(10_000), "no nack");
        equal(outstanding.isEmpty() && nacked.isEmpty(), true, "all confirmed");
        equal(channel.messageCount(queue), 1220L, "stored");
    }

    private static void mandatory(Connection connection, Channel channel) throws Exception {
        BlockingQueue<Return> returned = new LinkedBlockingQueue<>();
        channel.addReturnListener(returned::add);
        channel.confirmSelect();
        String nowhere = unique("nowhere");
        channel.basicPublish("", nowhere, true, null, bytes("back"));
        check(channel.waitForConfirms(5_000), "acknowledged");
        Return message = returned.poll();
        check(message != null, "basic.return precedes the ack");
        equal(message.getReplyCode(), 312, "reply code");
        equal(message.getReplyText(), "NO_ROUTE", "reply text");
        equal(message.getRoutingKey(), nowhere, "routing key");
        equal(text(message.getBody()), "back", "body");
    }

    private static void properties(Connection connection, Channel channel) throws Exception {
        String queue = channel.queueDeclare().getQueue();
        Map<String, Object> headers = new HashMap<>();
        headers.put("yes", true);
        headers.put("int", 7);
        headers.put("long", 1L << 40);
        headers.put("double", 1.5);
        headers.put("nothing", null);
        headers.put("date", new Date(1_700_000_000_000L));
        headers.put("list", List.of(1, 2));
        AMQP.BasicProperties sent = new AMQP.BasicProperties.Builder()
                .contentType("application/json").contentEncoding("gzip").headers(headers).deliveryMode(2).priority(5)
                .correlationId("c").replyTo("r").expiration("60000").messageId("m")
                .timestamp(new Date(1_700_000_000_000L)).type("kind").userId(USER)
                .appId("interop").build();
        byte[] body = new byte[1 << 20];
        for (int index = 0; index < body.length; index++) {
            body[index] = (byte) index;
        }
        channel.basicPublish("", queue, sent, body);
        GetResponse got = get(channel, queue, true);
        check(Arrays.equals(got.getBody(), body), "1 MiB of body");
        equal(got.getProps().getHeaders(), headers, "headers");
        equal(got.getProps().toString(), sent.toString(), "properties");
    }

    private static void nack(Connection connection, Channel channel) throws Exception {
        String queue = channel.queueDeclare().getQueue();
        channel.basicPublish("", queue, null, bytes("x"));
        GetResponse first = get(channel, queue, false);
        equal(first.getEnvelope().isRedeliver(), false, "first");
        channel.basicNack(first.getEnvelope().getDeliveryTag(), false, true);
        GetResponse again = get(channel, queue, false);
        equal(again.getEnvelope().isRedeliver(), true, "again");
        channel.basicReject(again.getEnvelope().getDeliveryTag(), false);
        equal(channel.basicGet(queue, true), null, "after reject");
    }

    private static void cancellation(Connection connection, Channel channel) throws Exception {
        String queue = channel.queueDeclare(unique("java"), false, false, false, null).getQueue();
        BlockingQueue<String> cancelled = new LinkedBlockingQueue<>();
        String first = channel.basicConsume(queue, true, (tag, delivery) -> { }, cancelled::add);
        check(first.startsWith("amq.ctag-"), first);
        channel.basicCancel(first);
        String second = channel.basicConsume(queue, true, (tag, delivery) -> { }, cancelled::add);
        channel.queueDelete(queue);
        equal(cancelled.poll(5, TimeUnit.SECONDS), second, "basic.cancel from the broker");
    }

    private static void errors(Connection connection, Channel unused) throws Exception {
        String missing = unique("nope");
        Map<String, OnChannel> actions = new LinkedHashMap<>();
        actions.put("404 NOT_FOUND - no queue '" + missing + "' in vhost '/'",
                (c, channel) -> channel.queueDeclarePassive(missing));
        actions.put("403 ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
                (c, channel) -> channel.queueDeclare("amq.mine", false, false, false, null));
        actions.put("406 PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.topic' in vhost '/': "
                + "received 'direct' but current is 'topic'",
                (c, channel) -> channel.exchangeDeclare("amq.topic", "direct", true));
        for (Map.Entry<String, OnChannel> entry : actions.entrySet()) {
            Channel channel = connection.createChannel();
            try {
                entry.getValue().run(connection, channel);
                throw new AssertionError("must be refused: " + entry.getKey());
            } catch (IOException problem) {
                ShutdownSignalException signal = (ShutdownSignalException) problem.getCause();
                AMQP.Channel.Close close = (AMQP.Channel.Close) signal.getReason();
                equal(close.getReplyCode() + " " + close.getReplyText(), entry.getKey(), "channel.close");
                equal(signal.isHardError(), false, "hard error");
            }
        }
        // Asynchronous: the channel dies some time after the publish.
        Channel channel = connection.createChannel();
        BlockingQueue<ShutdownSignalException> shutdown = new LinkedBlockingQueue<>();
        channel.addShutdownListener(shutdown::add);
        channel.basicPublish(missing, "key", null, bytes("x"));
        ShutdownSignalException signal = shutdown.poll(5, TimeUnit.SECONDS);
        check(signal != null, "channel.close after a publish to a missing exchange");
        equal(((AMQP.Channel.Close) signal.getReason()).getReplyCode(), 404, "reply code");
        try {
            channel.basicPublish("", "key", null, bytes("x"));
            throw new AssertionError("the channel is closed");
        } catch (AlreadyClosedException expected) {
            check(connection.isOpen(), "the connection is not");
        }
    }

    private static void refusals() throws Exception {
        ConnectionFactory wrong = factory();
        wrong.setPassword("wrong");
        try {
            wrong.newConnection().close();
            throw new AssertionError("a wrong password must be refused");
        } catch (AuthenticationFailureException problem) {
            check(problem.getMessage().contains("ACCESS_REFUSED - Login was refused"), problem.getMessage());
        }
        ConnectionFactory nowhere = factory();
        nowhere.setVirtualHost("nowhere");
        try {
            nowhere.newConnection().close();
            throw new AssertionError("an unknown vhost must be refused");
        } catch (IOException problem) {
            check(problem.getCause().getMessage().contains("NOT_ALLOWED - vhost nowhere not found"), problem.getCause().getMessage());
        }
    }

    private static void heartbeat() throws Exception {
        ConnectionFactory factory = factory();
        factory.setRequestedHeartbeat(1);
        try (Connection connection = factory.newConnection()) {
            equal(connection.getHeartbeat(), 1, "negotiated");
            Thread.sleep(3_500);
            check(connection.isOpen(), "alive although idle");
            connection.createChannel().queueDeclare();
        }
    }

    private static void manyChannels(Connection connection, Channel unused) throws Exception {
        List<Channel> channels = new ArrayList<>();
        for (int number = 0; number < 200; number++) {
            channels.add(connection.createChannel());
        }
        for (Channel channel : channels) {
            String queue = channel.queueDeclare().getQueue();
            channel.basicPublish("", queue, null, bytes("x"));
            equal(text(get(channel, queue, true).getBody()), "x", "on each channel");
            channel.close();
        }
    }
}
