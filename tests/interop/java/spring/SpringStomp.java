package interop;

/** Spring's STOMP: the broker relay of an application, and the client over TCP. */
final class SpringStomp {
    private SpringStomp() {}

    public static void main(String[] arguments) throws Exception {
        Harness harness = new Harness("spring-stomp");
        StompRelay.addTo(harness);
        StompClients.addTo(harness);
        harness.run(arguments);
    }
}
