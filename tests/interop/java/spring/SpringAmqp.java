package interop;

/** Spring AMQP (spring-rabbit) as applications use it. */
final class SpringAmqp {
    private SpringAmqp() {}

    public static void main(String[] arguments) {
        Harness harness = new Harness("spring-amqp");
        AmqpAdmin.addTo(harness);
        AmqpListeners.addTo(harness);
        AmqpRetries.addTo(harness);
        AmqpRequests.addTo(harness);
        AmqpPublishing.addTo(harness);
        harness.run(arguments);
    }
}
