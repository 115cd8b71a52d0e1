package interop;

import java.security.Principal;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import org.apache.tomcat.websocket.server.WsSci;
import org.springframework.boot.web.embedded.tomcat.TomcatServletWebServerFactory;
import org.springframework.boot.web.servlet.context.AnnotationConfigServletWebServerApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.context.event.EventListener;
import org.springframework.http.server.ServerHttpRequest;
import org.springframework.messaging.handler.annotation.Header;
import org.springframework.messaging.handler.annotation.MessageMapping;
import org.springframework.messaging.handler.annotation.SendTo;
import org.springframework.messaging.simp.SimpMessagingTemplate;
import org.springframework.messaging.simp.annotation.SendToUser;
import org.springframework.messaging.simp.annotation.SubscribeMapping;
import org.springframework.messaging.simp.broker.BrokerAvailabilityEvent;
import org.springframework.messaging.simp.config.MessageBrokerRegistry;
import org.springframework.messaging.simp.user.SimpUserRegistry;
import org.springframework.stereotype.Controller;
import org.springframework.web.servlet.DispatcherServlet;
import org.springframework.web.socket.WebSocketHandler;
import org.springframework.web.socket.config.annotation.EnableWebSocketMessageBroker;
import org.springframework.web.socket.config.annotation.StompEndpointRegistry;
import org.springframework.web.socket.config.annotation.WebSocketMessageBrokerConfigurer;
import org.springframework.web.socket.config.annotation.WebSocketTransportRegistration;
import org.springframework.web.socket.server.standard.ServletServerContainerFactoryBean;
import org.springframework.web.socket.server.support.DefaultHandshakeHandler;

/**
 * A small web application whose browsers talk STOMP over WebSocket to it, and which relays them to the
 * broker, as Spring's reference describes. A browser says who it is by {@code ?user=NAME}.
 */
final class RelayApplication implements AutoCloseable {
    static final int HEARTBEAT_MILLISECONDS = 500;
    static final int MESSAGE_BYTES_MAX = 2 << 20;

    private final AnnotationConfigServletWebServerApplicationContext context =
            new AnnotationConfigServletWebServerApplicationContext();

    /** Returns once the relay has its connection to the broker on {@code brokerPort}. */
    RelayApplication(String brokerHost, int brokerPort) throws InterruptedException {
        context.registerBean(Broker.class, () -> new Broker(brokerHost, brokerPort));
        context.register(Application.class, Relay.class, Actions.class);
        context.refresh();
        Harness.equal(Harness.next(availability(), "the broker is available"), true, "availability");
    }

    private record Broker(String host, int port) {}

    String address(String user) {
        return "ws://127.0.0.1:" + context.getWebServer().getPort() + "/ws?user=" + user;
    }

    SimpMessagingTemplate template() {
        return context.getBean("brokerMessagingTemplate", SimpMessagingTemplate.class);
    }

    SimpUserRegistry users() {
        return context.getBean(SimpUserRegistry.class);
    }

    /** What the relay announces of its own connection to the broker. */
    BlockingQueue<Boolean> availability() {
        return context.getBean(Application.class).availability;
    }

    @Override
    public void close() {
        context.close();
    }

    @Configuration
    static class Application {
        final BlockingQueue<Boolean> availability = new LinkedBlockingQueue<>();

        @Bean
        TomcatServletWebServerFactory webServer() {
            TomcatServletWebServerFactory tomcat = new TomcatServletWebServerFactory(0);
            tomcat.addContextCustomizers(context -> context.addServletContainerInitializer(new WsSci(), null));
            return tomcat;
        }

        /** Tomcat takes 8 KiB a message unless told otherwise. */
        @Bean
        ServletServerContainerFactoryBean webSocketContainer() {
            ServletServerContainerFactoryBean container = new ServletServerContainerFactoryBean();
            container.setMaxTextMessageBufferSize(MESSAGE_BYTES_MAX);
            container.setMaxBinaryMessageBufferSize(MESSAGE_BYTES_MAX);
            return container;
        }

        @Bean
        DispatcherServlet dispatcherServlet() {
            return new DispatcherServlet();
        }

        @EventListener
        void onAvailability(BrokerAvailabilityEvent event) {
            availability.add(event.isBrokerAvailable());
        }
    }

    @Configuration
    @EnableWebSocketMessageBroker
    static class Relay implements WebSocketMessageBrokerConfigurer {
        private final Broker broker;

        Relay(Broker broker) {
            this.broker = broker;
        }

        @Override
        public void registerStompEndpoints(StompEndpointRegistry registry) {
            registry.addEndpoint("/ws").setHandshakeHandler(new DefaultHandshakeHandler() {
                @Override
                protected Principal determineUser(ServerHttpRequest request, WebSocketHandler handler, Map<String, Object> attributes) {
                    String name = request.getURI().getQuery().substring("user=".length());
                    return () -> name;
                }
            });
        }

        @Override
        public void configureMessageBroker(MessageBrokerRegistry registry) {
            registry.setApplicationDestinationPrefixes("/app");
            registry.setPreservePublishOrder(true);
            registry.enableStompBrokerRelay("/topic", "/queue", "/exchange", "/amq/queue")
                    .setRelayHost(broker.host()).setRelayPort(broker.port()).setVirtualHost("/")
                    .setClientLogin(Harness.USER).setClientPasscode(Harness.PASSWORD)
                    .setSystemLogin(Harness.USER).setSystemPasscode(Harness.PASSWORD)
                    .setSystemHeartbeatSendInterval(HEARTBEAT_MILLISECONDS)
                    .setSystemHeartbeatReceiveInterval(HEARTBEAT_MILLISECONDS);
        }

        @Override
        public void configureWebSocketTransport(WebSocketTransportRegistration registration) {
            registration.setMessageSizeLimit(MESSAGE_BYTES_MAX).setSendBufferSizeLimit(MESSAGE_BYTES_MAX);
        }
    }

    /** What the application answers by itself, through the broker or directly. */
    @Controller
    static class Actions {
        @MessageMapping("/shout.{topic}")
        @SendTo("/topic/{topic}")
        String shout(String text) {
            return text.toUpperCase();
        }

        @MessageMapping("/ask")
        @SendToUser(destinations = "/exchange/amq.direct/answers", broadcast = false)
        String ask(String text, Principal user, @Header("simpSessionId") String session) {
            return text + ", " + user.getName();
        }

        @SubscribeMapping("/greeting")
        String greeting(Principal user) {
            return "hello " + user.getName();
        }
    }
}
