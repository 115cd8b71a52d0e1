package interop;

import static interop.Harness.check;
import static interop.Harness.equal;
import static interop.Harness.refusal;
import static interop.Harness.unique;
import static interop.Harness.until;

import com.rabbitmq.client.ShutdownSignalException;
import java.util.List;
import java.util.Map;
import org.springframework.amqp.AmqpAuthenticationException;
import org.springframework.amqp.AmqpIOException;
import org.springframework.amqp.core.Binding;
import org.springframework.amqp.core.BindingBuilder;
import org.springframework.amqp.core.Declarables;
import org.springframework.amqp.core.ExchangeBuilder;
import org.springframework.amqp.core.FanoutExchange;
import org.springframework.amqp.core.HeadersExchange;
import org.springframework.amqp.core.Queue;
import org.springframework.amqp.core.QueueBuilder;
import org.springframework.amqp.core.QueueInformation;
import org.springframework.amqp.core.TopicExchange;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.core.RabbitAdmin;
import org.springframework.amqp.rabbit.core.RabbitTemplate;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;

/** RabbitAdmin: what an application context declares, asks and deletes. */
final class AmqpAdmin {
    private AmqpAdmin() {}

    static void addTo(Harness harness) {
        harness.add("admin_declares_the_beans_of_a_context", AmqpAdmin::context)
                .add("admin_asks_purges_and_deletes", AmqpAdmin::manages)
                .add("admin_builds_queues_with_arguments", AmqpAdmin::arguments)
                .add("admin_binds_every_kind_of_exchange", AmqpAdmin::exchanges)
                .add("admin_meets_another_declaration", AmqpAdmin::mismatch)
                .add("admin_declares_again_after_a_lost_connection", AmqpAdmin::again)
                .add("a_refused_login_says_so", AmqpAdmin::login);
    }

    private static AnnotationConfigApplicationContext context(CachingConnectionFactory connections, Declarables beans) {
        AnnotationConfigApplicationContext context = new AnnotationConfigApplicationContext();
        context.registerBean(CachingConnectionFactory.class, () -> connections);
        context.registerBean(RabbitAdmin.class, () -> new RabbitAdmin(connections));
        context.registerBean(RabbitTemplate.class, () -> new RabbitTemplate(connections));
        context.registerBean(Declarables.class, () -> beans);
        context.refresh();
        return context;
    }

    private static void context() throws Exception {
        TopicExchange exchange = new TopicExchange(unique("spring-events"), false, true);
        Queue orders = new Queue(unique("spring-orders"), false, false, false);
        Queue everything = new Queue(unique("spring-everything"), false, true, false);
        Declarables beans = new Declarables(
                exchange, orders, everything,
                BindingBuilder.bind(orders).to(exchange).with("order.*"),
                BindingBuilder.bind(everything).to(exchange).with("#"));
        try (AnnotationConfigApplicationContext context = context(Rabbit.factory(Harness.PASSWORD), beans)) {
            RabbitTemplate template = context.getBean(RabbitTemplate.class);
            template.setReceiveTimeout(Harness.WAIT_SECONDS * 1000L);
            template.convertAndSend(exchange.getName(), "order.created", "one");
            template.convertAndSend(exchange.getName(), "invoice.created", "two");
            equal(template.receiveAndConvert(everything.getName()), "one", "everything");
            equal(template.receiveAndConvert(everything.getName()), "two", "everything");
            equal(template.receiveAndConvert(orders.getName()), "one", "orders");
            equal(template.receiveAndConvert(orders.getName(), 100), null, "orders");
            context.getBean(RabbitAdmin.class).deleteQueue(orders.getName());
        }
    }

    private static void manages() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String queue = rabbit.queue();
            for (int number = 0; number < 5; number++) {
                rabbit.template.convertAndSend(queue, "x");
            }
            until(() -> rabbit.ready(queue) == 5, "five messages");
            QueueInformation information = rabbit.admin.getQueueInfo(queue);
            equal(information.getName(), queue, "name");
            equal(information.getConsumerCount(), 0, "consumers");
            equal("" + rabbit.admin.getQueueProperties(queue).get(RabbitAdmin.QUEUE_MESSAGE_COUNT), "5", "messages");
            equal(rabbit.admin.purgeQueue(queue), 5, "purged");
            rabbit.template.convertAndSend(queue, "x");
            until(() -> rabbit.ready(queue) == 1, "one message");
            AmqpIOException kept =
                    refusal(AmqpIOException.class, () -> rabbit.admin.deleteQueue(queue, true, true), "deletion if empty");
            check(kept.getCause().getCause().getMessage().contains(
                    "PRECONDITION_FAILED - queue '" + queue + "' in vhost '/' not empty"), "" + kept.getCause().getCause());
            check(rabbit.admin.deleteQueue(queue), "deleted");
            equal(rabbit.admin.getQueueInfo(queue), null, "a queue that is not there");
            String exchange = unique("spring");
            rabbit.admin.declareExchange(ExchangeBuilder.directExchange(exchange).durable(false).build());
            check(rabbit.admin.deleteExchange(exchange), "exchange deleted");
        }
    }

    private static void arguments() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String dead = rabbit.queue();
            String bounded = rabbit.declared(QueueBuilder.nonDurable(unique("spring")).ttl(60_000).expires(120_000)
                    .maxLength(2L).overflow(QueueBuilder.Overflow.dropHead)
                    .deadLetterExchange("").deadLetterRoutingKey(dead).build());
            for (String body : List.of("one", "two", "three")) {
                rabbit.template.convertAndSend(bounded, body);
            }
            equal(rabbit.received(dead), "one", "the oldest is dead-lettered");
            equal(rabbit.received(bounded), "two", "kept");
            String first = rabbit.declared(QueueBuilder.nonDurable(unique("spring")).maxPriority(5).build());
            for (int priority : new int[] {1, 5, 3}) {
                rabbit.template.convertAndSend(first, "priority " + priority, message -> {
                    message.getMessageProperties().setPriority(priority);
                    return message;
                });
            }
            until(() -> rabbit.ready(first) == 3, "three messages");
            equal(rabbit.received(first), "priority 5", "by priority");
            equal(rabbit.received(first), "priority 3", "by priority");
            String brief = rabbit.declared(QueueBuilder.nonDurable(unique("spring")).expires(200).build());
            until(() -> rabbit.admin.getQueueInfo(brief) == null || sleepUnused(), "an unused queue expires");
        }
    }

    /** Asking for a queue uses it, so that it would never expire if asked too often. */
    private static boolean sleepUnused() throws InterruptedException {
        Thread.sleep(600);
        return false;
    }

    private static void exchanges() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            Queue queue = new Queue(rabbit.queue(), false, true, false);
            HeadersExchange headers = new HeadersExchange(unique("spring"), false, true);
            FanoutExchange fanout = new FanoutExchange(unique("spring"), false, false);
            FanoutExchange fallback = new FanoutExchange(unique("spring"), false, true);
            rabbit.admin.declareExchange(fallback);
            headers.addArgument("alternate-exchange", fallback.getName());
            rabbit.admin.declareExchange(headers);
            rabbit.admin.declareExchange(fanout);
            rabbit.atEnd(() -> rabbit.admin.deleteExchange(fanout.getName()));
            rabbit.admin.declareBinding(BindingBuilder.bind(fanout).to(headers)
                    .whereAll(Map.of("kind", "report", "size", 3)).match());
            Binding bound = BindingBuilder.bind(queue).to(fanout);
            rabbit.admin.declareBinding(bound);
            Queue other = new Queue(rabbit.queue(), false, true, false);
            rabbit.admin.declareBinding(BindingBuilder.bind(other).to(fallback));
            for (int size : new int[] {2, 3}) {
                rabbit.template.convertAndSend(headers.getName(), "", "size " + size, message -> {
                    message.getMessageProperties().setHeader("kind", "report");
                    message.getMessageProperties().setHeader("size", size);
                    return message;
                });
            }
            equal(rabbit.received(queue.getName()), "size 3", "all headers match");
            equal(rabbit.received(other.getName()), "size 2", "the alternate exchange");
            rabbit.admin.removeBinding(bound);
            rabbit.template.convertAndSend(fanout.getName(), "", "nobody");
            equal(rabbit.template.receiveAndConvert(queue.getName(), 200), null, "unbound");
        }
    }

    private static void mismatch() throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String queue = rabbit.queue();
            Queue other = new Queue(queue, false, true, false, Map.of("x-max-length", 5));
            AmqpIOException problem =
                    refusal(AmqpIOException.class, () -> rabbit.admin.declareQueue(other), "another x-max-length");
            ShutdownSignalException signal = (ShutdownSignalException) problem.getCause().getCause();
            check(signal.getMessage().contains("reply-code=406, reply-text=PRECONDITION_FAILED - "
                    + "inequivalent arg 'x-max-length' for queue '" + queue + "' in vhost '/'"), signal.getMessage());
            rabbit.template.convertAndSend(queue, "still here");
            equal(rabbit.received(queue), "still here", "the queue");
        }
    }

    private static void again() throws Exception {
        CachingConnectionFactory connections = Rabbit.factory(Harness.PASSWORD);
        Queue queue = new Queue(unique("spring"), false, true, false);
        try (AnnotationConfigApplicationContext context = context(connections, new Declarables(queue))) {
            RabbitTemplate template = context.getBean(RabbitTemplate.class);
            RabbitAdmin admin = context.getBean(RabbitAdmin.class);
            for (int round = 0; round < 3; round++) {
                template.convertAndSend(queue.getName(), "round " + round);
                template.setReceiveTimeout(Harness.WAIT_SECONDS * 1000L);
                equal(template.receiveAndConvert(queue.getName()), "round " + round, "declared");
                check(admin.getQueueInfo(queue.getName()) != null, "there");
                // The exclusive queue goes with its connection; the next connection declares it.
                connections.resetConnection();
            }
        }
    }

    private static void login() throws Exception {
        CachingConnectionFactory connections = Rabbit.factory(Harness.PASSWORD + "x");
        try {
            AmqpAuthenticationException problem = refusal(
                    AmqpAuthenticationException.class, () -> new RabbitTemplate(connections).convertAndSend("a", "b"), "login");
            check(problem.getMessage().contains("ACCESS_REFUSED - Login was refused"), problem.getMessage());
        } finally {
            connections.destroy();
        }
    }
}
