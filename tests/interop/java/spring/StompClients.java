package interop;

import static interop.Harness.check;
import static interop.Harness.equal;
import static interop.Harness.next;
import static interop.Harness.nothing;
import static interop.Harness.refusal;
import static interop.Harness.unique;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** ReactorNettyTcpStompClient, straight to the broker. */
final class StompClients {
    private StompClients() {}

    static void addTo(Harness harness) {
        harness.add("client_sends_and_receives", StompClients::talks)
                .add("client_acknowledges_cumulatively", StompClients::cumulative)
                .add("client_bodies_and_a_burst", StompClients::burst)
                .add("client_heart_beats", StompClients::heartbeats)
                .add("client_is_told_of_errors", StompClients::errors)
                .add("client_notices_a_lost_connection", StompClients::lost);
    }

    private static StompPeer peer() throws Exception {
        return StompPeer.tcp(Harness.STOMP_PORT, Harness.PASSWORD, 0);
    }

    private static void talks() throws Exception {
        String topic = "/topic/" + unique("spring-tcp");
        try (StompPeer one = peer(); StompPeer two = peer()) {
            equal(one.connected.getFirst("version"), "1.2", "version");
            StompPeer.Subscription first = one.subscribe(topic);
            StompPeer.Subscription second = two.subscribe(topic);
            one.send(topic, "hello", "correlation-id", "c");
            StompPeer.Frame frame = second.next();
            equal(frame.text(), "hello", "body");
            equal(frame.headers().getFirst("correlation-id"), "c", "correlation");
            equal(first.next().text(), "hello", "to its sender, too");
            second.handle().unsubscribe();
            one.send(topic, "more");
            equal(first.next().text(), "more", "to who is still there");
            nothing(second.inbox(), 200, "after UNSUBSCRIBE");
        }
    }

    private static void cumulative() throws Exception {
        String queue = "/queue/" + unique("spring-tcp");
        try (StompPeer peer = peer(); StompPeer other = peer(); Rabbit rabbit = new Rabbit()) {
            rabbit.atEnd(() -> rabbit.admin.deleteQueue(queue.substring("/queue/".length())));
            StompPeer.Subscription held = peer.subscribe(queue, "ack", "client", "prefetch-count", "10");
            for (int number = 0; number < 5; number++) {
                other.send(queue, "" + number);
            }
            List<StompPeer.Frame> frames = new ArrayList<>();
            for (int number = 0; number < 5; number++) {
                frames.add(held.next());
                equal(frames.get(number).text(), "" + number, "order");
            }
            // One ACK for all up to the fourth.
            peer.settle(frames.get(3), true);
            peer.send(queue, "after the ACK");
            equal(held.next().text(), "after the ACK", "received");
            peer.session.disconnect();
            StompPeer.Subscription rest = other.subscribe(queue, "ack", "client");
            StompPeer.Frame again = rest.next();
            equal(List.of(again.text(), again.headers().getFirst("redelivered")), List.of("4", "true"), "what was not acknowledged");
            StompPeer.Frame last = rest.next();
            equal(last.text(), "after the ACK", "and the next");
            other.settle(last, true);
        }
    }

    private static void burst() throws Exception {
        String topic = "/topic/" + unique("spring-tcp");
        byte[] large = new byte[1 << 20];
        for (int index = 0; index < large.length; index++) {
            large[index] = (byte) index;
        }
        try (StompPeer peer = peer()) {
            // Spring's decoder takes 64 KiB a frame unless told otherwise, so the large body goes out only.
            StompPeer.Subscription inbox = peer.subscribe(topic);
            for (byte[] body : List.of(new byte[0], new byte[1], Arrays.copyOf(large, 60_000))) {
                peer.send(topic, body, "content-type", "application/octet-stream");
                check(Arrays.equals(inbox.next().body(), body), body.length + " bytes");
            }
            try (Rabbit rabbit = new Rabbit()) {
                String queue = rabbit.queue();
                peer.send("/amq/queue/" + queue, large, "content-type", "application/octet-stream");
                check(Arrays.equals(rabbit.template.receive(queue).getBody(), large), "1 MiB");
            }
            for (int number = 0; number < 10_000; number++) {
                peer.tell(topic, "" + number);
            }
            for (int number = 0; number < 10_000; number++) {
                equal(inbox.next().text(), "" + number, "in order");
            }
        }
    }

    private static void heartbeats() throws Exception {
        try (StompPeer peer = StompPeer.tcp(Harness.STOMP_PORT, Harness.PASSWORD, 500)) {
            check(!"0,0".equals(peer.connected.getFirst("heart-beat")), "" + peer.connected);
            Thread.sleep(3_000);
            check(peer.session.isConnected() && peer.lost.isEmpty(), "lives in silence, " + peer.lost);
            peer.send("/topic/" + unique("spring-tcp"), "x");
        }
    }

    private static void errors() throws Exception {
        Exception refused = refusal(Exception.class, () -> StompPeer.tcp(Harness.STOMP_PORT, Harness.PASSWORD + "x", 0), "a wrong passcode");
        check(refused.toString().contains("Connection") || refused.getCause() != null, refused.toString());
        try (StompPeer peer = peer()) {
            peer.subscribing("/nowhere/known");
            StompPeer.Frame error = next(peer.errors, "an ERROR");
            check(error.headers().getFirst("message") != null, "" + error);
            if (Harness.BROKER.equals("trivium")) {
                // As the specification wants it; RabbitMQ leaves the connection open.
                next(peer.lost, "closed afterwards");
            }
        }
    }

    private static void lost() throws Exception {
        String queue = "/queue/" + unique("spring-tcp");
        try (CuttingProxy proxy = new CuttingProxy(Harness.HOST, Harness.STOMP_PORT); StompPeer other = peer()) {
            StompPeer.Subscription later;
            try (StompPeer peer = StompPeer.tcp(proxy.port(), Harness.PASSWORD, 0)) {
                StompPeer.Subscription held = peer.subscribe(queue, "ack", "client-individual", "auto-delete", "true");
                later = other.subscribe(queue, "auto-delete", "true", "x-priority", "-1");
                other.send(queue, "x", "auto-delete", "true");
                equal(held.next().text(), "x", "delivered");
                proxy.cut();
                next(peer.lost, "a lost connection");
            }
            StompPeer.Frame again = later.next();
            equal(List.of(again.text(), again.headers().getFirst("redelivered")), List.of("x", "true"), "to another");
            nothing(later.inbox(), 200, "more");
        }
    }
}
