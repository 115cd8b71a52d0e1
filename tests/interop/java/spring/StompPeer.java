package interop;

import jakarta.websocket.ContainerProvider;
import jakarta.websocket.WebSocketContainer;
import java.lang.reflect.Type;
import java.util.Arrays;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.springframework.messaging.MessageDeliveryException;
import org.springframework.messaging.converter.SimpleMessageConverter;
import org.springframework.messaging.simp.stomp.ReactorNettyTcpStompClient;
import org.springframework.messaging.simp.stomp.StompClientSupport;
import org.springframework.messaging.simp.stomp.StompCommand;
import org.springframework.messaging.simp.stomp.StompFrameHandler;
import org.springframework.messaging.simp.stomp.StompHeaders;
import org.springframework.messaging.simp.stomp.StompSession;
import org.springframework.messaging.simp.stomp.StompSessionHandlerAdapter;
import org.springframework.scheduling.concurrent.ThreadPoolTaskScheduler;
import org.springframework.web.socket.WebSocketHttpHeaders;
import org.springframework.web.socket.client.standard.StandardWebSocketClient;
import org.springframework.web.socket.messaging.WebSocketStompClient;

/** One of Spring's STOMP clients with what it was told: over WebSocket to an application, or over TCP. */
final class StompPeer implements AutoCloseable {
    record Frame(StompHeaders headers, byte[] body) {
        String text() {
            return Harness.text(body);
        }

        @Override
        public String toString() {
            return headers + " " + text();
        }
    }

    final BlockingQueue<Frame> errors = new LinkedBlockingQueue<>();
    final BlockingQueue<Throwable> failures = new LinkedBlockingQueue<>();
    final BlockingQueue<Throwable> lost = new LinkedBlockingQueue<>();
    StompHeaders connected;
    StompSession session;
    private final CompletableFuture<StompHeaders> established = new CompletableFuture<>();
    private final ThreadPoolTaskScheduler scheduler = new ThreadPoolTaskScheduler();
    private Runnable stop = () -> { };

    private StompPeer(StompClientSupport client, long heartbeat) {
        scheduler.setPoolSize(1);
        scheduler.setThreadNamePrefix("stomp-");
        scheduler.initialize();
        client.setTaskScheduler(scheduler);
        client.setDefaultHeartbeat(new long[] {heartbeat, heartbeat});
        client.setReceiptTimeLimit(Harness.WAIT_SECONDS * 1000L);
        // Bodies are bytes here, whatever their content type says.
        client.setMessageConverter(new SimpleMessageConverter());
    }

    /** A browser, as far as the application at {@code address} can tell. */
    static StompPeer browser(String address, long heartbeat) throws Exception {
        WebSocketContainer container = ContainerProvider.getWebSocketContainer();
        container.setDefaultMaxTextMessageBufferSize(RelayApplication.MESSAGE_BYTES_MAX);
        container.setDefaultMaxBinaryMessageBufferSize(RelayApplication.MESSAGE_BYTES_MAX);
        WebSocketStompClient client = new WebSocketStompClient(new StandardWebSocketClient(container));
        client.setInboundMessageSizeLimit(RelayApplication.MESSAGE_BYTES_MAX);
        StompPeer peer = new StompPeer(client, heartbeat);
        peer.connected(handler -> client.connectAsync(address, new WebSocketHttpHeaders(), new StompHeaders(), handler));
        return peer;
    }

    static StompPeer browser(String address) throws Exception {
        return browser(address, 0);
    }

    /** Spring's client over TCP, at the broker itself. */
    static StompPeer tcp(int port, String passcode, long heartbeat) throws Exception {
        ReactorNettyTcpStompClient client = new ReactorNettyTcpStompClient(Harness.HOST, port);
        StompPeer peer = new StompPeer(client, heartbeat);
        peer.stop = client::shutdown;
        StompHeaders headers = new StompHeaders();
        headers.setLogin(Harness.USER);
        headers.setPasscode(passcode);
        headers.setHost("/");
        try {
            peer.connected(handler -> client.connectAsync(headers, handler));
        } catch (Exception problem) {
            peer.close();
            throw problem;
        }
        return peer;
    }

    private interface Connecting {
        CompletableFuture<StompSession> start(StompSessionHandlerAdapter handler);
    }

    private void connected(Connecting connecting) throws Exception {
        session = connecting.start(new StompSessionHandlerAdapter() {
            @Override
            public void afterConnected(StompSession unused, StompHeaders headers) {
                established.complete(headers);
            }

            @Override
            public Type getPayloadType(StompHeaders headers) {
                return byte[].class;
            }

            @Override
            public void handleFrame(StompHeaders headers, Object body) {
                errors.add(new Frame(headers, body == null ? new byte[0] : (byte[]) body));
            }

            @Override
            public void handleException(
                    StompSession unused, StompCommand command, StompHeaders headers, byte[] payload, Throwable problem) {
                failures.add(problem);
            }

            @Override
            public void handleTransportError(StompSession unused, Throwable problem) {
                lost.add(problem);
            }
        }).get(Harness.WAIT_SECONDS, TimeUnit.SECONDS);
        connected = established.get(Harness.WAIT_SECONDS, TimeUnit.SECONDS);
    }

    record Subscription(StompSession.Subscription handle, BlockingQueue<Frame> inbox) {
        Frame next() throws InterruptedException {
            return Harness.next(inbox, "a message of " + handle.getSubscriptionHeaders().getDestination());
        }
    }

    /** Without waiting for anything; {@code more} is pairs of header and value. */
    Subscription subscribing(String destination, String... more) {
        StompHeaders headers = new StompHeaders();
        headers.setDestination(destination);
        for (int index = 0; index < more.length; index += 2) {
            headers.add(more[index], more[index + 1]);
        }
        BlockingQueue<Frame> inbox = new LinkedBlockingQueue<>();
        return new Subscription(session.subscribe(headers, new StompFrameHandler() {
            @Override
            public Type getPayloadType(StompHeaders unused) {
                return byte[].class;
            }

            @Override
            public void handleFrame(StompHeaders received, Object body) {
                inbox.add(new Frame(received, body == null ? new byte[0] : (byte[]) body));
            }
        }), inbox);
    }

    /** Returns once the broker has said by a receipt that the subscription is there. */
    Subscription subscribe(String destination, String... more) throws Exception {
        String[] all = Arrays.copyOf(more, more.length + 2);
        all[more.length] = StompHeaders.RECEIPT;
        all[more.length + 1] = Harness.unique("subscribed");
        Subscription subscription = subscribing(destination, all);
        received(subscription.handle());
        return subscription;
    }

    /** Returns once the broker has said by a receipt that it has the message. */
    void send(String destination, String text, String... more) throws Exception {
        send(destination, Harness.bytes(text), more);
    }

    void send(String destination, byte[] body, String... more) throws Exception {
        StompHeaders headers = new StompHeaders();
        headers.setDestination(destination);
        headers.setReceipt(Harness.unique("sent"));
        for (int index = 0; index < more.length; index += 2) {
            headers.add(more[index], more[index + 1]);
        }
        received(session.send(headers, body));
    }

    /** Sends and does not wait for anything. */
    void tell(String destination, String text) {
        StompHeaders headers = new StompHeaders();
        headers.setDestination(destination);
        headers.add("content-type", "text/plain;charset=UTF-8");
        session.send(headers, Harness.bytes(text));
    }

    /** {@code frame} is done with, or not; without a receipt, which Spring's session does not offer here. */
    void settle(Frame frame, boolean consumed) {
        session.acknowledge(frame.headers().getAck(), consumed);
    }

    private static void received(StompSession.Receiptable receiptable) throws Exception {
        CompletableFuture<Void> receipt = new CompletableFuture<>();
        receiptable.addReceiptTask(() -> receipt.complete(null));
        receiptable.addReceiptLostTask(() -> receipt.completeExceptionally(new AssertionError("no receipt")));
        receipt.get(Harness.WAIT_SECONDS + 5, TimeUnit.SECONDS);
    }

    @Override
    public void close() {
        if (session != null && session.isConnected()) {
            try {
                session.disconnect();
            } catch (MessageDeliveryException gone) {
                // The connection ended by itself, as some cases want it.
            }
        }
        stop.run();
        scheduler.shutdown();
    }
}
