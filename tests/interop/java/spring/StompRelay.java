package interop;

import static interop.Harness.check;
import static interop.Harness.equal;
import static interop.Harness.next;
import static interop.Harness.nothing;
import static interop.Harness.refusal;
import static interop.Harness.unique;
import static interop.Harness.until;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.springframework.messaging.MessageDeliveryException;

/** {@code enableStompBrokerRelay}: browsers talk to a Spring application, which relays them to the broker. */
final class StompRelay {
    private StompRelay() {}

    static void addTo(Harness harness) {
        harness.add("relay_between_browsers", () -> relayed(StompRelay::browsers))
                .add("relay_of_the_application's_own_messages", () -> relayed(StompRelay::application))
                .add("relay_user_destinations", () -> relayed(StompRelay::users))
                .add("relay_user_queues_go_with_their_browser", () -> relayed(StompRelay::userQueues))
                .add("relay_receipts_acks_and_redelivery", () -> relayed(StompRelay::acknowledgements))
                .add("relay_bodies_and_headers", () -> relayed(StompRelay::bodies))
                .add("relay_an_error_reaches_its_browser_only", () -> relayed(StompRelay::errors))
                .add("relay_heart_beats_keep_it_up", () -> relayed(StompRelay::heartbeats))
                .add("relay_says_when_the_broker_is_away_and_back", StompRelay::availability)
                .add("relay_meets_amqp", () -> relayed(StompRelay::amqp));
    }

    private interface OnRelay {
        void run(RelayApplication application) throws Exception;
    }

    /** One for most cases: it takes seconds to start. Its threads end with the process. */
    private static RelayApplication shared;

    private static synchronized void relayed(OnRelay action) throws Exception {
        if (shared == null) {
            shared = new RelayApplication(Harness.HOST, Harness.STOMP_PORT);
        }
        action.run(shared);
    }

    private static void browsers(RelayApplication application) throws Exception {
        String topic = "/topic/" + unique("spring");
        try (StompPeer anna = StompPeer.browser(application.address("anna"));
                StompPeer ben = StompPeer.browser(application.address("ben"))) {
            equal(anna.connected.getFirst("version"), "1.2", "version");
            StompPeer.Subscription exact = anna.subscribe(topic + ".a");
            StompPeer.Subscription wild = ben.subscribe(topic + ".*");
            anna.send(topic + ".a", "one");
            ben.send(topic + ".b", "two");
            StompPeer.Frame frame = exact.next();
            equal(List.of(frame.text(), frame.headers().getDestination()), List.of("one", topic + ".a"), "to anna");
            equal(List.of(wild.next().text(), wild.next().text()), List.of("one", "two"), "to ben");
            nothing(exact.inbox(), 200, "to anna");
            exact.handle().unsubscribe();
            for (int number = 0; number < 10; number++) {
                // With receipts: the application's threads may overtake each other.
                anna.send(topic + ".c", "" + number);
            }
            for (int number = 0; number < 10; number++) {
                equal(wild.next().text(), "" + number, "in order");
            }
        }
    }

    private static void application(RelayApplication application) throws Exception {
        String topic = unique("spring");
        try (StompPeer anna = StompPeer.browser(application.address("anna"))) {
            StompPeer.Subscription shouts = anna.subscribe("/topic/" + topic);
            anna.tell("/app/shout." + topic, "hello");
            equal(shouts.next().text(), "HELLO", "what the controller sends");
            // The relay's own ("system") connection carries what the application says by itself.
            application.template().convertAndSend("/topic/" + topic, "from the application");
            equal(shouts.next().text(), "from the application", "what the template sends");
            StompPeer.Subscription greeting = anna.subscribing("/app/greeting");
            equal(greeting.next().text(), "hello anna", "answered without the broker");
        }
    }

    private static void users(RelayApplication application) throws Exception {
        try (StompPeer anna = StompPeer.browser(application.address("anna"));
                StompPeer phone = StompPeer.browser(application.address("anna"));
                StompPeer ben = StompPeer.browser(application.address("ben"))) {
            StompPeer.Subscription answers = anna.subscribe("/user/exchange/amq.direct/answers");
            StompPeer.Subscription onPhone = phone.subscribe("/user/exchange/amq.direct/answers");
            StompPeer.Subscription toBen = ben.subscribe("/user/exchange/amq.direct/answers");
            anna.tell("/app/ask", "who am I");
            equal(answers.next().text(), "who am I, anna", "to the session that asked");
            application.template().convertAndSendToUser("anna", "/exchange/amq.direct/answers", "news for anna");
            equal(answers.next().text(), "news for anna", "to every session of the user");
            equal(onPhone.next().text(), "news for anna", "to every session of the user");
            ben.tell("/user/anna/exchange/amq.direct/answers", "from ben");
            equal(answers.next().text(), "from ben", "from another user");
            nothing(toBen.inbox(), 200, "to ben");
        }
    }

    private static void userQueues(RelayApplication application) throws Exception {
        try (Rabbit rabbit = new Rabbit()) {
            String name = unique("spring-inbox");
            String queue;
            try (StompPeer ina = StompPeer.browser(application.address("ina"))) {
                StompPeer.Subscription inbox = ina.subscribe("/user/queue/" + name, "auto-delete", "true");
                application.template().convertAndSendToUser("ina", "/queue/" + name, "mail", Map.of("auto-delete", "true"));
                equal(inbox.next().text(), "mail", "in the inbox");
                queue = name + "-user" + sessionOf(application);
                until(() -> rabbit.admin.getQueueInfo(queue) != null, "the queue " + queue);
            }
            until(() -> rabbit.admin.getQueueInfo(queue) == null, "it goes with its browser");
        }
    }

    /** Of the one browser that says it is ina. */
    private static String sessionOf(RelayApplication application) {
        return application.users().getUser("ina").getSessions().iterator().next().getId();
    }

    private static void acknowledgements(RelayApplication application) throws Exception {
        String queue = "/queue/" + unique("spring");
        try (StompPeer sender = StompPeer.browser(application.address("ben"))) {
            for (String body : List.of("a", "b", "c")) {
                sender.send(queue, body);
            }
            try (StompPeer anna = StompPeer.browser(application.address("anna"))) {
                StompPeer.Subscription held = anna.subscribe(queue, "ack", "client-individual", "prefetch-count", "2");
                StompPeer.Frame a = held.next();
                StompPeer.Frame b = held.next();
                nothing(held.inbox(), 200, "a third before any ack");
                anna.settle(b, true);
                StompPeer.Frame c = held.next();
                equal(List.of(a.text(), b.text(), c.text()), List.of("a", "b", "c"), "order");
                anna.settle(a, false);
                StompPeer.Frame again = held.next();
                equal(List.of(again.text(), again.headers().getFirst("redelivered")), List.of("a", "true"), "after NACK");
                anna.settle(c, true);
                // Left without an answer to `again`.
            }
            StompPeer.Subscription rest = sender.subscribe(queue);
            StompPeer.Frame again = rest.next();
            equal(List.of(again.text(), again.headers().getFirst("redelivered")), List.of("a", "true"), "after the browser has gone");
            nothing(rest.inbox(), 200, "more");
            rest.handle().unsubscribe();
        }
        try (Rabbit rabbit = new Rabbit()) {
            check(rabbit.admin.deleteQueue(queue.substring("/queue/".length())), "deleted");
        }
    }

    private static void bodies(RelayApplication application) throws Exception {
        String topic = "/topic/" + unique("spring");
        byte[] large = new byte[1 << 20];
        for (int index = 0; index < large.length; index++) {
            large[index] = (byte) index;
        }
        try (StompPeer anna = StompPeer.browser(application.address("anna"))) {
            StompPeer.Subscription inbox = anna.subscribe(topic);
            anna.send(topic, "grüße\nund mehr", "colour", "a:b\nc\\d", "content-type", "text/plain;charset=UTF-8");
            StompPeer.Frame frame = inbox.next();
            equal(frame.text(), "grüße\nund mehr", "text");
            equal(frame.headers().getFirst("colour"), "a:b\nc\\d", "an escaped header");
            equal(frame.headers().getFirst("content-type"), "text/plain;charset=UTF-8", "content type");
            for (byte[] body : List.of(new byte[0], new byte[1], new byte[] {97, 0, -1, -2, 0}, large)) {
                anna.send(topic, body, "content-type", "application/octet-stream");
                check(Arrays.equals(inbox.next().body(), body), body.length + " bytes");
            }
        }
    }

    private static void errors(RelayApplication application) throws Exception {
        String topic = "/topic/" + unique("spring");
        try (StompPeer anna = StompPeer.browser(application.address("anna"));
                StompPeer ben = StompPeer.browser(application.address("ben"))) {
            StompPeer.Subscription inbox = ben.subscribe(topic);
            anna.subscribing("/exchange/" + unique("nowhere") + "/key");
            StompPeer.Frame error = next(anna.errors, "an ERROR");
            equal(error.headers().getFirst("message"), "not_found", "ERROR");
            until(() -> !anna.session.isConnected(), "closed");
            ben.send(topic, "on");
            equal(inbox.next().text(), "on", "another browser");
            check(application.availability().isEmpty(), "and the application");
        }
    }

    private static void heartbeats(RelayApplication application) throws Exception {
        String topic = "/topic/" + unique("spring");
        try (StompPeer anna = StompPeer.browser(application.address("anna"), RelayApplication.HEARTBEAT_MILLISECONDS)) {
            StompPeer.Subscription inbox = anna.subscribe(topic);
            // Spring gives a connection up after three intervals without a byte.
            Thread.sleep(6L * RelayApplication.HEARTBEAT_MILLISECONDS);
            check(application.availability().isEmpty(), "the relay's own connection lives");
            check(anna.session.isConnected() && anna.lost.isEmpty(), "the browser's lives");
            application.template().convertAndSend(topic, "still here");
            equal(inbox.next().text(), "still here", "after the silence");
        }
    }

    private static void availability() throws Exception {
        try (CuttingProxy proxy = new CuttingProxy(Harness.HOST, Harness.STOMP_PORT);
                RelayApplication application = new RelayApplication("127.0.0.1", proxy.port())) {
            String topic = "/topic/" + unique("spring");
            try (StompPeer anna = StompPeer.browser(application.address("anna"))) {
                anna.subscribe(topic);
                proxy.cut();
                equal(next(application.availability(), "an event"), false, "the broker is away");
                next(anna.lost, "the browser is told by a closed connection");
                refusal(MessageDeliveryException.class, () -> application.template().convertAndSend(topic, "x"), "sending now");
            }
            equal(next(application.availability(), "an event"), true, "the broker is back");
            try (StompPeer anna = StompPeer.browser(application.address("anna"))) {
                StompPeer.Subscription inbox = anna.subscribe(topic);
                application.template().convertAndSend(topic, "again");
                equal(inbox.next().text(), "again", "as before");
            }
        }
    }

    private static void amqp(RelayApplication application) throws Exception {
        String topic = unique("spring");
        try (Rabbit rabbit = new Rabbit(); StompPeer anna = StompPeer.browser(application.address("anna"))) {
            StompPeer.Subscription inbox = anna.subscribe("/topic/" + topic + ".#");
            rabbit.template.convertAndSend("amq.topic", topic + ".price", "12", message -> {
                message.getMessageProperties().setHeader("currency", "EUR");
                return message;
            });
            StompPeer.Frame frame = inbox.next();
            equal(List.of(frame.text(), frame.headers().getFirst("currency"), frame.headers().getFirst("content-type")),
                    List.of("12", "EUR", "text/plain"), "from AMQP");
            String queue = rabbit.queue();
            anna.send("/amq/queue/" + queue, "from the browser");
            equal(rabbit.received(queue), "from the browser", "to AMQP");
            equal(Set.copyOf(inbox.inbox()), Set.of(), "more");
        }
    }
}
