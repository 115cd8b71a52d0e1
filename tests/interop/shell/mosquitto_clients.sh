#!/bin/bash
# mosquitto_pub, mosquitto_sub and mosquitto_rr, as people type them, in both versions of MQTT.

. "$(dirname "$0")/harness.sh"

VERSIONS="311 5"
# Debian 12's RabbitMQ does not speak MQTT 5.
[ "$INTEROP_BROKER" = rabbitmq ] && VERSIONS=311

publish() { mosquitto_pub -h "$HOST" -p "$MQTT_PORT" -u "$LOGIN" -P "$PASSWORD" "$@"; }

# listen FILE OPTIONS...: subscribes in the background and returns once the broker has answered.
# mosquitto_sub says so only with -d, where what it received is mixed with what it logs; -F marks it.
listen() {
    local file=$1
    shift
    : >"$file"
    stdbuf -oL mosquitto_sub -d -h "$HOST" -p "$MQTT_PORT" -u "$LOGIN" -P "$PASSWORD" -W 60 "$@" >"$file" 2>&1 &
    LISTENER=$!
    until_true 10 grep -q '^Subscribed' "$file"
}

# received FILE: the lines that -F 'GOT ...' printed.
received() { grep -a '^GOT ' "$1" || true; }

each_version() {
    local version
    for version in $VERSIONS; do
        "$1" "$version"
    done
}

case_qos_0_and_1() { each_version qos_0_and_1; }
qos_0_and_1() {
    local topic qos
    for qos in 0 1; do
        topic=$(unique mosquitto/qos)
        listen out -V "$1" -t "$topic" -q "$qos" -C 2 -F 'GOT %t %q %r %p'
        publish -V "$1" -t "$topic" -q "$qos" -m 'hello world'
        publish -V "$1" -t "$topic" -q "$qos" -n
        wait "$LISTENER"
        same "version $1, QoS $qos" "GOT $topic $qos 0 hello world"$'\n'"GOT $topic $qos 0 " "$(received out)"
    done
}

case_wildcards() { each_version wildcards; }
wildcards() {
    local root
    root=$(unique mosquitto)
    listen out -V "$1" -t "$root/+/temperature" -t "$root/all/#" -q 1 -C 3 -F 'GOT %t %p'
    publish -V "$1" -q 1 -t "$root/kitchen/temperature" -m 21
    publish -V "$1" -q 1 -t "$root/kitchen/humidity" -m 40
    publish -V "$1" -q 1 -t "$root/all" -m parent
    publish -V "$1" -q 1 -t "$root/all/a/b" -m child
    wait "$LISTENER"
    same "version $1" "GOT $root/kitchen/temperature 21
GOT $root/all parent
GOT $root/all/a/b child" "$(received out)"
}

case_retained() { each_version retained; }
retained() {
    local topic
    topic=$(unique mosquitto/retained)
    publish -V "$1" -t "$topic" -q 1 -r -m first
    publish -V "$1" -t "$topic" -q 1 -r -m last
    same "version $1" "GOT 1 last" \
        "$(mosquitto_sub -h "$HOST" -p "$MQTT_PORT" -u "$LOGIN" -P "$PASSWORD" -V "$1" -t "$topic" -q 1 -C 1 -W 5 -F 'GOT %r %p')"
    publish -V "$1" -t "$topic" -q 1 -r -n
    if mosquitto_sub -h "$HOST" -p "$MQTT_PORT" -u "$LOGIN" -P "$PASSWORD" -V "$1" -t "$topic" -C 1 -W 1 >after 2>&1; then
        same "version $1, cleared" '' "$(cat after)"
        return 1
    fi
}

case_will_of_a_killed_client() { each_version will_of_a_killed_client; }
will_of_a_killed_client() {
    local topic victim
    topic=$(unique mosquitto/will)
    listen watcher -V "$1" -t "$topic" -q 1 -C 1 -F 'GOT %t %q %p'
    local watcher=$LISTENER
    listen victim -V "$1" -t "$topic/unused" --will-topic "$topic" --will-payload 'gone for good' --will-qos 1
    victim=$LISTENER
    # SIGKILL: no DISCONNECT. stdbuf became mosquitto_sub by exec.
    kill -KILL "$victim"
    wait "$watcher"
    same "version $1" "GOT $topic 1 gone for good" "$(received watcher)"
}

case_lines_from_standard_input() { each_version lines_from_standard_input; }
lines_from_standard_input() {
    local topic
    topic=$(unique mosquitto/lines)
    listen out -V "$1" -t "$topic" -q 1 -C 1000 -F 'GOT %p'
    seq 1000 | publish -V "$1" -t "$topic" -q 1 -l
    wait "$LISTENER"
    same "version $1" "$(seq 1000 | sed 's/^/GOT /')" "$(received out)"
}

case_a_binary_file_of_1_mib() { each_version a_binary_file_of_1_mib; }
a_binary_file_of_1_mib() {
    local topic
    topic=$(unique mosquitto/file)
    head -c 1048576 /dev/urandom >sent
    # %x prints the payload in hexadecimal, so nothing is lost in a terminal's hands.
    listen out -V "$1" -t "$topic" -q 1 -C 1 -F 'GOT %x'
    publish -V "$1" -t "$topic" -q 1 -f sent
    wait "$LISTENER"
    received out | sed 's/^GOT //' | tr -d '\n' >seen
    od -An -v -tx1 sent | tr -d ' \n' | cmp - seen
}

case_a_session_is_kept() { each_version a_session_is_kept; }
a_session_is_kept() {
    [ "$INTEROP_BROKER" = rabbitmq ] && return 0
    local topic name kept=()
    topic=$(unique mosquitto/kept) name=$(unique mosquitto-kept)
    [ "$1" = 5 ] && kept=(-x 60)
    # -E leaves once it is subscribed.
    mosquitto_sub -V "$1" -h "$HOST" -p "$MQTT_PORT" -u "$LOGIN" -P "$PASSWORD" -c -i "$name" "${kept[@]}" -q 2 -t "$topic" -E
    publish -V "$1" -t "$topic" -q 1 -m one
    publish -V "$1" -t "$topic" -q 2 -m two
    timeout 10 mosquitto_sub -V "$1" -h "$HOST" -p "$MQTT_PORT" -u "$LOGIN" -P "$PASSWORD" -c -i "$name" "${kept[@]}" -q 2 -t "$topic" \
        -C 2 -F 'GOT %q %p' >out
    same messages "GOT 1 one GOT 2 two" "$(tr '\n' ' ' <out | sed 's/ $//')"
}

case_user_properties() {
    [ "$INTEROP_BROKER" = rabbitmq ] && return 0
    local topic
    topic=$(unique mosquitto/properties)
    listen out -V 5 -t "$topic" -q 1 -C 1 -F 'GOT %C|%R|%D|%P|%p'
    publish -V 5 -t "$topic" -q 1 -m body -D publish content-type text/plain -D publish response-topic reply/here \
        -D publish correlation-data 4711 -D publish user-property colour 'deep red'
    wait "$LISTENER"
    same properties 'GOT text/plain|reply/here|4711|colour:deep red|body' "$(received out)"
}

# mosquitto_rr publishes a request, waits for one message on its response topic and prints it.
case_request_and_response() { each_version request_and_response; }
request_and_response() {
    local request response options=()
    request=$(unique mosquitto/request) response=$(unique mosquitto/response)
    # In MQTT 5 the request says where the answer goes; in 3.1.1 both sides have to know.
    [ "$1" = 5 ] && options=(-D publish correlation-data 4711)
    listen served -V "$1" -t "$request" -q 1 -C 2 -F 'GOT %R|%D|%p'
    for number in 1 2; do
        timeout 30 mosquitto_rr -h "$HOST" -p "$MQTT_PORT" -u "$LOGIN" -P "$PASSWORD" -V "$1" -q 1 \
            -t "$request" -e "$response" -m "question $number" -F '%p' "${options[@]}" >answer &
        local asking=$!
        until_true 30 grep -q "question $number" served
        if [ "$1" = 5 ]; then
            same "request $number" "GOT $response|4711|question $number" "$(received served | tail -1)"
        else
            same "request $number" "GOT ||question $number" "$(received served | tail -1)"
        fi
        publish -V "$1" -q 1 -t "$response" -m "answer $number"
        wait "$asking"
        same "answer $number" "answer $number" "$(cat answer)"
    done
    wait "$LISTENER"
}

case_wrong_password() { each_version wrong_password; }
wrong_password() {
    local status=0
    mosquitto_pub -V "$1" -h "$HOST" -p "$MQTT_PORT" -u "$LOGIN" -P "${PASSWORD}x" -t a -m b >out 2>&1 || status=$?
    # mosquitto_pub exits with the return code of 3.1.1 (4: bad user name or password) or the
    # reason code of MQTT 5 (0x86).
    if [ "$1" = 5 ]; then same status 134 "$status"; else same status 4 "$status"; fi || { cat out >&2; return 1; }
}

case_without_credentials() {
    # Over TCP from loopback a client without credentials is the guest.
    mosquitto_pub -h "$HOST" -p "$MQTT_PORT" -t "$(unique mosquitto/anonymous)" -q 1 -m hello
}

run_cases mosquitto
