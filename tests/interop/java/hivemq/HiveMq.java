package interop;

import static interop.Harness.check;
import static interop.Harness.equal;
import static interop.Harness.next;
import static interop.Harness.nothing;
import static interop.Harness.refusal;
import static interop.Harness.unique;
import static interop.Harness.until;

import com.hivemq.client.mqtt.MqttClient;
import com.hivemq.client.mqtt.MqttClientBuilder;
import com.hivemq.client.mqtt.MqttGlobalPublishFilter;
import com.hivemq.client.mqtt.datatypes.MqttQos;
import com.hivemq.client.mqtt.lifecycle.MqttClientAutoReconnect;
import com.hivemq.client.mqtt.mqtt3.Mqtt3AsyncClient;
import com.hivemq.client.mqtt.mqtt3.exceptions.Mqtt3ConnAckException;
import com.hivemq.client.mqtt.mqtt3.message.connect.connack.Mqtt3ConnAckReturnCode;
import com.hivemq.client.mqtt.mqtt3.message.publish.Mqtt3Publish;
import com.hivemq.client.mqtt.mqtt5.Mqtt5AsyncClient;
import com.hivemq.client.mqtt.mqtt5.Mqtt5BlockingClient;
import com.hivemq.client.mqtt.mqtt5.exceptions.Mqtt5ConnAckException;
import com.hivemq.client.mqtt.mqtt5.message.connect.Mqtt5Connect;
import com.hivemq.client.mqtt.mqtt5.message.connect.connack.Mqtt5ConnAck;
import com.hivemq.client.mqtt.mqtt5.message.connect.connack.Mqtt5ConnAckReasonCode;
import com.hivemq.client.mqtt.mqtt5.message.publish.Mqtt5PayloadFormatIndicator;
import com.hivemq.client.mqtt.mqtt5.message.publish.Mqtt5Publish;
import com.hivemq.client.mqtt.mqtt5.message.publish.Mqtt5PublishResult;
import com.hivemq.client.mqtt.mqtt5.message.publish.puback.Mqtt5PubAckReasonCode;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** The HiveMQ MQTT client, its side for 3.1.1 and its side for 5. */
final class HiveMq {
    private HiveMq() {}

    public static void main(String[] arguments) {
        new Harness("hivemq")
                .add("mqtt_3_each_qos", HiveMq::qos3)
                .add("mqtt_3_retained_and_will", HiveMq::will3)
                .add("mqtt_3_a_session_waits", HiveMq::session3)
                .add("mqtt_3_refused_login", HiveMq::login3)
                .add("mqtt_5_each_qos_and_reasons", HiveMq::qos5)
                .add("mqtt_5_properties", HiveMq::properties5)
                .add("mqtt_5_shared_subscription", HiveMq::shared5)
                .add("mqtt_5_request_and_response", HiveMq::requests5)
                .add("mqtt_5_topic_aliases_and_a_burst", HiveMq::burst5)
                .add("mqtt_5_connections_lost_at_qos_2", HiveMq::lost5)
                .add("mqtt_5_refused_login", HiveMq::login5)
                .run(arguments);
    }

    private static MqttClientBuilder builder() {
        return MqttClient.builder().identifier(unique("hivemq")).serverHost(Harness.HOST).serverPort(Harness.MQTT_PORT);
    }

    private static <T> T done(CompletableFuture<T> future) throws Exception {
        return future.get(Harness.WAIT_SECONDS, TimeUnit.SECONDS);
    }

    /** A client of 3.1.1 with its inbox; it is connected by whoever asked for it. */
    private record Three(Mqtt3AsyncClient client, BlockingQueue<Mqtt3Publish> inbox) implements AutoCloseable {
        static Three of(MqttClientBuilder builder) {
            Three peer = new Three(builder.useMqttVersion3().simpleAuth().username(Harness.USER)
                    .password(Harness.bytes(Harness.PASSWORD)).applySimpleAuth().buildAsync(), new LinkedBlockingQueue<>());
            peer.client.publishes(MqttGlobalPublishFilter.ALL, peer.inbox::add);
            return peer;
        }

        static Three connected() throws Exception {
            Three peer = of(builder());
            done(peer.client.connect());
            return peer;
        }

        void subscribe(String topic, MqttQos qos) throws Exception {
            done(client.subscribeWith().topicFilter(topic).qos(qos).send());
        }

        void publish(String topic, MqttQos qos, boolean retain, String body) throws Exception {
            done(client.publishWith().topic(topic).qos(qos).retain(retain).payload(Harness.bytes(body)).send());
        }

        @Override
        public void close() {
            client.disconnect().exceptionally(alreadyGone -> null).join();
        }
    }

    /** The same for 5. */
    private record Five(Mqtt5AsyncClient client, BlockingQueue<Mqtt5Publish> inbox) implements AutoCloseable {
        static Five of(MqttClientBuilder builder) {
            Five peer = new Five(builder.useMqttVersion5().simpleAuth().username(Harness.USER)
                    .password(Harness.bytes(Harness.PASSWORD)).applySimpleAuth().buildAsync(), new LinkedBlockingQueue<>());
            peer.client.publishes(MqttGlobalPublishFilter.ALL, peer.inbox::add);
            return peer;
        }

        static Five connected() throws Exception {
            Five peer = of(builder());
            done(peer.client.connect());
            return peer;
        }

        void subscribe(String topic, MqttQos qos) throws Exception {
            done(client.subscribeWith().topicFilter(topic).qos(qos).send());
        }

        Mqtt5PublishResult publish(String topic, MqttQos qos, String body) throws Exception {
            return done(client.publishWith().topic(topic).qos(qos).payload(Harness.bytes(body)).send());
        }

        @Override
        public void close() {
            client.disconnect().exceptionally(alreadyGone -> null).join();
        }
    }

    private static String text(Mqtt3Publish message) {
        return Harness.text(message.getPayloadAsBytes());
    }

    private static String text(Mqtt5Publish message) {
        return Harness.text(message.getPayloadAsBytes());
    }

    private static void qos3() throws Exception {
        String root = unique("hivemq/qos");
        try (Three one = Three.connected(); Three two = Three.connected()) {
            for (MqttQos granted : MqttQos.values()) {
                one.subscribe(root + "/" + granted + "/#", granted);
                for (MqttQos sent : MqttQos.values()) {
                    two.publish(root + "/" + granted + "/a", sent, false, "body");
                    Mqtt3Publish message = next(one.inbox, "a message");
                    equal(message.getQos(), MqttQos.values()[Math.min(granted.ordinal(), sent.ordinal())], sent + " at " + granted);
                    equal(List.of(message.getTopic().toString(), text(message)), List.of(root + "/" + granted + "/a", "body"), "message");
                }
            }
            byte[] large = new byte[1 << 20];
            Arrays.fill(large, (byte) 0xFF);
            done(two.client.publishWith().topic(root + "/EXACTLY_ONCE/large").qos(MqttQos.EXACTLY_ONCE).payload(large).send());
            check(Arrays.equals(next(one.inbox, "1 MiB").getPayloadAsBytes(), large), "1 MiB");
            done(one.client.unsubscribeWith().addTopicFilter(root + "/AT_MOST_ONCE/#").send());
            two.publish(root + "/AT_MOST_ONCE/a", MqttQos.AT_LEAST_ONCE, false, "gone");
            nothing(one.inbox, 200, "unsubscribed");
        }
    }

    private static void will3() throws Exception {
        String topic = unique("hivemq/will");
        try (Three watcher = Three.connected(); CuttingProxy proxy = new CuttingProxy(Harness.HOST, Harness.MQTT_PORT)) {
            watcher.publish(topic, MqttQos.AT_LEAST_ONCE, true, "kept");
            watcher.subscribe(topic, MqttQos.AT_LEAST_ONCE);
            Mqtt3Publish kept = next(watcher.inbox, "the retained message");
            equal(List.of(text(kept), kept.isRetain()), List.of("kept", true), "retained");
            try (Three lost = Three.of(builder().serverHost("127.0.0.1").serverPort(proxy.port()))) {
                done(lost.client.connectWith().willPublish().topic(topic).qos(MqttQos.AT_LEAST_ONCE)
                        .payload(Harness.bytes("gone")).applyWillPublish().send());
                proxy.cut();
                Mqtt3Publish will = next(watcher.inbox, "the will");
                equal(List.of(text(will), will.isRetain()), List.of("gone", false), "will");
            }
            watcher.publish(topic, MqttQos.AT_LEAST_ONCE, true, "");
        }
    }

    private static void session3() throws Exception {
        String topic = unique("hivemq/kept");
        String name = unique("hivemq-kept");
        try (Three device = Three.of(builder().identifier(name))) {
            equal(done(device.client.connectWith().cleanSession(false).send()).isSessionPresent(), false, "session present");
            device.subscribe(topic, MqttQos.EXACTLY_ONCE);
        }
        try (Three other = Three.connected()) {
            for (int number = 0; number < 20; number++) {
                other.publish(topic, number % 2 == 0 ? MqttQos.AT_LEAST_ONCE : MqttQos.EXACTLY_ONCE, false, "" + number);
            }
        }
        try (Three device = Three.of(builder().identifier(name))) {
            equal(done(device.client.connectWith().cleanSession(false).send()).isSessionPresent(), true, "session present");
            for (int number = 0; number < 20; number++) {
                equal(text(next(device.inbox, "message " + number)), "" + number, "what came");
            }
            nothing(device.inbox, 200, "more");
        }
        try (Three device = Three.of(builder().identifier(name))) {
            equal(done(device.client.connect()).isSessionPresent(), false, "after a clean start");
        }
    }

    private static void login3() {
        Mqtt3ConnAckException problem = refusal(Mqtt3ConnAckException.class, () -> builder().useMqttVersion3().simpleAuth()
                .username(Harness.USER).password(Harness.bytes(Harness.PASSWORD + "x")).applySimpleAuth().buildBlocking().connect(), "login");
        equal(problem.getMqttMessage().getReturnCode(), Mqtt3ConnAckReturnCode.BAD_USER_NAME_OR_PASSWORD, "CONNACK");
    }

    private static void qos5() throws Exception {
        String root = unique("hivemq/qos");
        try (Five one = Five.connected(); Five two = Five.connected()) {
            for (MqttQos granted : MqttQos.values()) {
                one.subscribe(root + "/" + granted, granted);
                for (MqttQos sent : MqttQos.values()) {
                    Mqtt5PublishResult result = two.publish(root + "/" + granted, sent, "body");
                    equal(result.getError(), Optional.empty(), "publish");
                    equal(next(one.inbox, "a message").getQos(), MqttQos.values()[Math.min(granted.ordinal(), sent.ordinal())], sent + " at " + granted);
                }
            }
            Mqtt5PublishResult.Mqtt5Qos1Result nobody =
                    (Mqtt5PublishResult.Mqtt5Qos1Result) two.publish(root + "/nobody", MqttQos.AT_LEAST_ONCE, "x");
            equal(nobody.getPubAck().getReasonCode(), Mqtt5PubAckReasonCode.NO_MATCHING_SUBSCRIBERS, "PUBACK");
            done(one.client.subscribeWith().topicFilter(root + "/own").qos(MqttQos.AT_LEAST_ONCE).noLocal(true).send());
            one.publish(root + "/own", MqttQos.AT_LEAST_ONCE, "own");
            two.publish(root + "/own", MqttQos.AT_LEAST_ONCE, "foreign");
            equal(text(next(one.inbox, "not its own")), "foreign", "no local");
        }
    }

    private static void properties5() throws Exception {
        String topic = unique("hivemq/properties");
        try (Five one = Five.connected(); Five two = Five.connected()) {
            one.subscribe(topic, MqttQos.AT_LEAST_ONCE);
            done(two.client.publishWith().topic(topic).qos(MqttQos.AT_LEAST_ONCE).payload(Harness.bytes("grün"))
                    .payloadFormatIndicator(Mqtt5PayloadFormatIndicator.UTF_8)
                    .contentType("text/plain").responseTopic("answers/here").correlationData(new byte[] {0, -1})
                    .messageExpiryInterval(600)
                    .userProperties().add("a", "1").add("b", "grün").add("a", "2").applyUserProperties().send());
            Mqtt5Publish seen = next(one.inbox, "a message");
            equal(text(seen), "grün", "body");
            equal(seen.getContentType().map(Object::toString), Optional.of("text/plain"), "content type");
            equal(seen.getResponseTopic().map(Object::toString), Optional.of("answers/here"), "response topic");
            equal(seen.getCorrelationData().map(ByteBuffer::remaining), Optional.of(2), "correlation data");
            check(seen.getMessageExpiryInterval().getAsLong() <= 600, "message expiry");
            List<String> users = new ArrayList<>();
            seen.getUserProperties().asList().forEach(property -> users.add(property.getName() + "=" + property.getValue()));
            equal(users, List.of("a=1", "b=grün", "a=2"), "user properties, in order and with repeats");
        }
    }

    private static void shared5() throws Exception {
        String topic = unique("hivemq/shared");
        String filter = "$share/" + unique("workers") + "/" + topic;
        try (Five one = Five.connected(); Five two = Five.connected(); Five sender = Five.connected()) {
            one.subscribe(filter, MqttQos.AT_LEAST_ONCE);
            two.subscribe(filter, MqttQos.AT_LEAST_ONCE);
            for (int number = 0; number < 100; number++) {
                sender.publish(topic, MqttQos.AT_LEAST_ONCE, "" + number);
            }
            until(() -> one.inbox.size() + two.inbox.size() == 100, "each once");
            check(!one.inbox.isEmpty() && !two.inbox.isEmpty(), "both work");
        }
    }

    private static void requests5() throws Exception {
        String topic = unique("hivemq/requests");
        String answers = unique("hivemq/answers");
        try (Five server = Five.of(builder()); Five asking = Five.connected()) {
            done(server.client.connect());
            done(server.client.subscribeWith().topicFilter(topic).qos(MqttQos.AT_LEAST_ONCE).callback(request -> server.client
                    .publishWith().topic(request.getResponseTopic().orElseThrow()).qos(MqttQos.AT_LEAST_ONCE)
                    .correlationData(request.getCorrelationData().orElseThrow())
                    .payload(Harness.bytes(text(request).toUpperCase())).send()).send());
            asking.subscribe(answers, MqttQos.AT_LEAST_ONCE);
            for (int number = 0; number < 10; number++) {
                done(asking.client.publishWith().topic(topic).qos(MqttQos.AT_LEAST_ONCE).responseTopic(answers)
                        .correlationData(new byte[] {(byte) number}).payload(Harness.bytes("call " + number)).send());
                Mqtt5Publish answer = next(asking.inbox, "an answer");
                equal(text(answer), "CALL " + number, "answer");
                equal(answer.getCorrelationData().orElseThrow().get(0), (byte) number, "correlation");
            }
        }
    }

    private static void burst5() throws Exception {
        String topic = unique("hivemq/burst");
        // The library gives topics an alias by itself where the broker allows some.
        try (Five one = Five.of(builder()); Five two = Five.of(builder())) {
            Mqtt5Connect aliases = Mqtt5Connect.builder().restrictions().topicAliasMaximum(10).sendTopicAliasMaximum(10)
                    .receiveMaximum(20).applyRestrictions().build();
            done(one.client.connect(aliases));
            done(two.client.connect(aliases));
            one.subscribe(topic + "/#", MqttQos.EXACTLY_ONCE);
            List<CompletableFuture<Mqtt5PublishResult>> sent = new ArrayList<>();
            for (int number = 0; number < 2_000; number++) {
                sent.add(two.client.publishWith().topic(topic + "/" + number % 3).qos(MqttQos.EXACTLY_ONCE).payload(Harness.bytes("" + number)).send());
            }
            for (CompletableFuture<Mqtt5PublishResult> each : sent) {
                equal(done(each).getError(), Optional.empty(), "publish");
            }
            for (int number = 0; number < 2_000; number++) {
                Mqtt5Publish message = next(one.inbox, "message " + number);
                equal(List.of(text(message), message.getTopic().toString()), List.of("" + number, topic + "/" + number % 3), "in order");
            }
        }
    }

    private static void lost5() throws Exception {
        String topic = unique("hivemq/breaking");
        try (CuttingProxy before = new CuttingProxy(Harness.HOST, Harness.MQTT_PORT);
                CuttingProxy behind = new CuttingProxy(Harness.HOST, Harness.MQTT_PORT);
                Five from = reconnecting(before);
                Five to = reconnecting(behind)) {
            to.subscribe(topic, MqttQos.EXACTLY_ONCE);
            List<CompletableFuture<Mqtt5PublishResult>> sent = new ArrayList<>();
            for (int number = 0; number < 200; number++) {
                sent.add(from.client.publishWith().topic(topic).qos(MqttQos.EXACTLY_ONCE).payload(Harness.bytes("" + number)).send());
                if (number % 50 == 20) {
                    before.cut();
                } else if (number % 50 == 45) {
                    behind.cut();
                }
                Thread.sleep(5);
            }
            for (CompletableFuture<Mqtt5PublishResult> each : sent) {
                equal(done(each).getError(), Optional.empty(), "publish");
            }
            Map<String, Integer> times = new HashMap<>();
            while (times.size() < 200) {
                times.merge(text(next(to.inbox, "more than " + times.size())), 1, Integer::sum);
            }
            nothing(to.inbox, 300, "more");
            check(times.values().stream().allMatch(count -> count == 1), "each once: " + times);
        }
    }

    /** It keeps its session and connects again by itself. */
    private static Five reconnecting(CuttingProxy proxy) throws Exception {
        Five peer = Five.of(builder().serverHost("127.0.0.1").serverPort(proxy.port()).automaticReconnect(
                MqttClientAutoReconnect.builder().initialDelay(50, TimeUnit.MILLISECONDS).maxDelay(500, TimeUnit.MILLISECONDS).build()));
        Mqtt5ConnAck connack = done(peer.client.connectWith().cleanStart(false).sessionExpiryInterval(600).send());
        equal(connack.isSessionPresent(), false, "session present");
        return peer;
    }

    private static void login5() {
        Mqtt5BlockingClient wrong = builder().useMqttVersion5().simpleAuth().username(Harness.USER)
                .password(Harness.bytes(Harness.PASSWORD + "x")).applySimpleAuth().buildBlocking();
        Mqtt5ConnAckException problem = refusal(Mqtt5ConnAckException.class, wrong::connect, "login");
        equal(problem.getMqttMessage().getReasonCode(), Mqtt5ConnAckReasonCode.BAD_USER_NAME_OR_PASSWORD, "CONNACK");
    }
}
