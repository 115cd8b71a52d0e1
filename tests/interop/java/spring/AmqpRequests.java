package interop;

import static interop.Harness.check;
import static interop.Harness.equal;
import static interop.Harness.next;
import static interop.Harness.refusal;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.springframework.amqp.core.AmqpMessageReturnedException;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.MessageProperties;
import org.springframework.amqp.core.Queue;
import org.springframework.amqp.rabbit.AsyncRabbitTemplate;
import org.springframework.amqp.rabbit.core.RabbitTemplate;
import org.springframework.amqp.rabbit.listener.SimpleMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.adapter.MessageListenerAdapter;

/** Request and reply: direct reply-to, temporary and fixed reply queues, and without waiting. */
final class AmqpRequests {
    private AmqpRequests() {}

    static void addTo(Harness harness) {
        harness.add("send_and_receive_by_direct_reply_to", () -> calls(template -> { }, "amq.rabbitmq.reply-to."))
                .add("send_and_receive_on_a_consumer_of_each_call",
                        () -> calls(template -> template.setUseDirectReplyToContainer(false), "amq.rabbitmq.reply-to."))
                .add("send_and_receive_by_temporary_queues",
                        () -> calls(template -> template.setUseTemporaryReplyQueues(true), "amq.gen-"))
                .add("send_and_receive_by_a_fixed_reply_queue", AmqpRequests::fixed)
                .add("calls_of_many_threads_get_their_own_replies", AmqpRequests::threads)
                .add("asynchronous_template", AmqpRequests::asynchronous)
                .add("a_late_reply_hurts_nobody", AmqpRequests::late);
    }

    private interface SetUp {
        void apply(RabbitTemplate template);
    }

    /** Answers with what it was asked, in capitals. */
    static final class Server {
        final BlockingQueue<String> addresses = new LinkedBlockingQueue<>();

        public String handle(String request) {
            return request.toUpperCase();
        }
    }

    private static Server serve(Rabbit rabbit, String queue, int consumers) {
        Server server = new Server();
        MessageListenerAdapter adapter = new MessageListenerAdapter(server, "handle") {
            @Override
            public void onMessage(Message message, com.rabbitmq.client.Channel channel) throws Exception {
                server.addresses.add(message.getMessageProperties().getReplyTo());
                super.onMessage(message, channel);
            }
        };
        SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(rabbit.connections);
        container.setQueueNames(queue);
        container.setConcurrentConsumers(consumers);
        container.setMessageListener(adapter);
        rabbit.started(container);
        return server;
    }

    private static void calls(SetUp setUp, String address) throws Exception {
        try (Rabbit rabbit = new Rabbit(); Rabbit client = new Rabbit()) {
            String queue = client.admin.declareQueue(new Queue(Harness.unique("spring"), false, false, true));
            Server server = serve(rabbit, queue, 1);
            setUp.apply(client.template);
            for (int number = 0; number < 5; number++) {
                equal(client.template.convertSendAndReceive(queue, "call " + number), "CALL " + number, "reply");
                String seen = next(server.addresses, "reply-to");
                check(seen.startsWith(address), "reply-to is " + seen);
            }
            Message request = new Message(Harness.bytes("raw"), new MessageProperties());
            request.getMessageProperties().setContentType("text/plain");
            request.getMessageProperties().setCorrelationId("mine");
            Message reply = client.template.sendAndReceive(queue, request);
            equal(Harness.text(reply.getBody()), "RAW", "reply");
        }
    }

    private static void fixed() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String queue = rabbit.queue();
            String replies = rabbit.queue();
            serve(rabbit, queue, 1);
            RabbitTemplate client = new RabbitTemplate(rabbit.connections);
            client.setReplyAddress(replies);
            client.setReplyTimeout(Harness.WAIT_SECONDS * 1000L);
            SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(rabbit.connections);
            container.setQueueNames(replies);
            container.setMessageListener(client);
            rabbit.started(container);
            for (int number = 0; number < 5; number++) {
                equal(client.convertSendAndReceive(queue, "call " + number), "CALL " + number, "reply");
            }
        }
    }

    private static void threads() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String queue = rabbit.queue();
            serve(rabbit, queue, 4);
            ExecutorService pool = Executors.newFixedThreadPool(8);
            List<Future<?>> done = new ArrayList<>();
            for (int thread = 0; thread < 8; thread++) {
                String caller = "caller " + thread + " call ";
                done.add(pool.submit(() -> {
                    for (int number = 0; number < 50; number++) {
                        equal(rabbit.template.convertSendAndReceive(queue, caller + number), caller.toUpperCase() + number, "reply");
                    }
                }));
            }
            for (Future<?> each : done) {
                each.get(Harness.WAIT_SECONDS, TimeUnit.SECONDS);
            }
            pool.shutdown();
        }
    }

    private static void asynchronous() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String queue = rabbit.queue();
            serve(rabbit, queue, 2);
            AsyncRabbitTemplate template = new AsyncRabbitTemplate(rabbit.template);
            template.setReceiveTimeout(Harness.WAIT_SECONDS * 1000L);
            template.start();
            rabbit.atEnd(template::stop);
            List<Future<String>> replies = new ArrayList<>();
            for (int number = 0; number < 20; number++) {
                replies.add(template.convertSendAndReceive(queue, "call " + number));
            }
            for (int number = 0; number < 20; number++) {
                equal(replies.get(number).get(Harness.WAIT_SECONDS, TimeUnit.SECONDS), "CALL " + number, "reply");
            }
        }
    }

    private static void late() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String queue = rabbit.queue();
            rabbit.template.setReplyTimeout(100);
            equal(rabbit.template.convertSendAndReceive(queue, "slow"), null, "nobody answers in time");
            Message request = rabbit.template.receive(queue);
            // The template's consumer is still there: it drops what it no longer waits for.
            rabbit.template.send("", request.getMessageProperties().getReplyTo(), new Message(Harness.bytes("late"), request.getMessageProperties()));
            rabbit.template.setReplyTimeout(Harness.WAIT_SECONDS * 1000L);
            serve(rabbit, queue, 1);
            equal(rabbit.template.convertSendAndReceive(queue, "quick"), "QUICK", "the next call");
            try (Rabbit gone = new Rabbit(connections -> connections.setPublisherReturns(true))) {
                gone.template.setMandatory(true);
                refusal(AmqpMessageReturnedException.class,
                        () -> gone.template.convertSendAndReceive(Harness.unique("nowhere"), "x"), "a call that reaches nobody");
            }
        }
    }
}
