#!/bin/bash
# amqp-publish, amqp-consume, amqp-get and their kin from Debian's amqp-tools (librabbitmq).

. "$(dirname "$0")/harness.sh"

# A slash at the end would name the virtual host with the empty name.
URL="amqp://$LOGIN:$PASSWORD@$HOST:$AMQP_PORT"

# The command that amqp-consume runs for each message; it would take `sh -c` for an option of its own.
write_show() {
    printf '#!/bin/sh\ncat; echo\n' >show
    chmod +x show
}

case_publish_and_get() {
    local queue body
    queue=$(unique tools)
    same 'declared' "$queue" "$(amqp-declare-queue -u "$URL" -q "$queue")"
    amqp-publish -u "$URL" -r "$queue" -b 'hello world'
    body=$(amqp-get -u "$URL" -q "$queue")
    same body 'hello world' "$body"
    # An empty queue is status 2.
    local status=0
    amqp-get -u "$URL" -q "$queue" >/dev/null || status=$?
    same 'status of an empty queue' 2 "$status"
    amqp-delete-queue -u "$URL" -q "$queue" >/dev/null
}

case_lines_to_a_consumer() {
    local queue
    queue=$(unique tools)
    amqp-declare-queue -u "$URL" -q "$queue" >/dev/null
    seq 100 | amqp-publish -u "$URL" -r "$queue" -l -p -C text/plain -H 'colour: red'
    write_show
    # amqp-consume acknowledges once the command it feeds the body to has succeeded.
    timeout 20 amqp-consume -u "$URL" -q "$queue" -c 100 -p 10 ./show >seen
    same 'all lines, in order' "$(seq 100)" "$(grep -v '^$' seen)"
    local status=0
    amqp-get -u "$URL" -q "$queue" >/dev/null || status=$?
    same 'acknowledged' 2 "$status"
    amqp-delete-queue -u "$URL" -q "$queue" >/dev/null
}

case_failed_command_requeues() {
    local queue
    queue=$(unique tools)
    amqp-declare-queue -u "$URL" -q "$queue" >/dev/null
    amqp-publish -u "$URL" -r "$queue" -b 'try again'
    timeout 10 amqp-consume -u "$URL" -q "$queue" -c 1 false || true
    same 'still there' 'try again' "$(amqp-get -u "$URL" -q "$queue")"
    amqp-delete-queue -u "$URL" -q "$queue" >/dev/null
}

case_exclusive_queue_bound_to_an_exchange() {
    local key
    key=$(unique tools)
    write_show
    # It prints its queue's name just before it binds it, and nothing once it has.
    timeout 20 amqp-consume -u "$URL" -x -e amq.topic -r "$key.#" -c 2 ./show >seen 2>named &
    local consumer=$!
    until_true 10 grep -q 'amq.gen-' named
    sleep 0.5
    amqp-publish -u "$URL" -e amq.topic -r "$key.a.b" -b first
    amqp-publish -u "$URL" -e amq.topic -r "$key" -b second
    wait "$consumer"
    same 'both' $'first\nsecond' "$(cat seen)"
}

case_a_binary_body_of_1_mib() {
    local queue
    queue=$(unique tools)
    amqp-declare-queue -u "$URL" -q "$queue" >/dev/null
    head -c 1048576 /dev/urandom >sent
    amqp-publish -u "$URL" -r "$queue" -C application/octet-stream <sent
    amqp-get -u "$URL" -q "$queue" | cmp - sent
    amqp-delete-queue -u "$URL" -q "$queue" >/dev/null
}

case_errors() {
    local missing
    missing=$(unique nope)
    if amqp-get -u "$URL" -q "$missing" >out 2>&1; then return 1; fi
    grep -q "404.*NOT_FOUND - no queue '$missing' in vhost '/'" out || { cat out >&2; return 1; }
    if amqp-publish -u "amqp://$LOGIN:${PASSWORD}x@$HOST:$AMQP_PORT" -r a -b b >out 2>&1; then return 1; fi
    grep -q 'ACCESS_REFUSED' out || { cat out >&2; return 1; }
}

run_cases amqp-tools
