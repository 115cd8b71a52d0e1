#!/bin/bash
# STOMP as people type it: text through a bare TCP connection, with LF and with CR LF.

. "$(dirname "$0")/harness.sh"

STOMP_PORT=${INTEROP_STOMP_PORT:-61613}

# open ENDING: a connection whose lines end in ENDING.
open() {
    ENDING=$1
    exec 3<>"/dev/tcp/$HOST/$STOMP_PORT"
}

# say LINE...: the lines of one frame, the empty line and the body among them, and the NUL.
say() {
    local frame line
    # The body, which is last, is not a line.
    printf -v frame "%s$ENDING" "${@:1:$#-1}"
    line=${!#}
    printf '%s%s\0' "$frame" "$line" >&3
}

# hear: the next frame with LF and without CR, what lies between frames left out, in FRAME.
hear() {
    IFS= read -r -d '' -t 30 FRAME <&3 || { echo "no frame: $FRAME" >&2; return 1; }
    FRAME=${FRAME//$'\r'/}
    while [ "${FRAME:0:1}" = $'\n' ]; do FRAME=${FRAME:1}; done
}

# heard COMMAND [HEADER: VALUE]...: the next frame is that.
heard() {
    hear
    same command "$1" "${FRAME%%$'\n'*}"
    local header
    for header in "${@:2}"; do
        grep -qxF "$header" <<<"${FRAME%%$'\n\n'*}" || { printf 'no %s in %q\n' "$header" "$FRAME" >&2; return 1; }
    done
}

# ended: the broker closes, and says nothing more than line ends.
ended() {
    timeout 30 cat <&3 >rest || { echo 'still open' >&2; return 1; }
    same 'after the last frame' '' "$(tr -d '\r\n' <rest)"
}

body() { printf '%s' "${FRAME#*$'\n\n'}"; }

# log_in VERSION
log_in() {
    local versions=()
    [ "$1" = 1.0 ] || versions=("accept-version:$1" host:/)
    say CONNECT "${versions[@]}" "login:$LOGIN" "passcode:$PASSWORD" '' ''
    heard CONNECTED "version:$1"
}

each_way() {
    local version ending
    for version in 1.0 1.1 1.2; do
        for ending in '\n' '\r\n'; do
            printf 'in %s with %s:\n' "$version" "$ending" >&2
            "$1" "$version" "$ending"
            exec 3>&-
        done
    done
}

case_a_conversation() { each_way conversation; }
conversation() {
    local queue
    queue=/queue/$(unique typed)
    open "$2"
    log_in "$1"
    say SUBSCRIBE id:1 "destination:$queue" ack:client x-expires:60000 receipt:subscribed '' ''
    heard RECEIPT receipt-id:subscribed
    say SEND "destination:$queue" x-expires:60000 receipt:sent colour:red '' 'hello world'
    local got=() settle
    for _ in 1 2; do
        hear
        got+=("${FRAME%%$'\n'*}")
        [ "${FRAME%%$'\n'*}" = MESSAGE ] && {
            same body 'hello world' "$(body)"
            grep -qxF colour:red <<<"$FRAME"
            case $1 in
                1.2) settle=$(grep -m1 '^ack:' <<<"$FRAME") && settle=id:${settle#ack:} ;;
                *) settle=$(grep -m1 '^message-id:' <<<"$FRAME") ;;
            esac
        }
    done
    same 'receipt and message' 'MESSAGE RECEIPT' "$(printf '%s\n' "${got[@]}" | sort | tr '\n' ' ' | sed 's/ $//')"
    say ACK "$settle" subscription:1 receipt:settled '' ''
    heard RECEIPT receipt-id:settled
    say DISCONNECT receipt:bye '' ''
    heard RECEIPT receipt-id:bye
    ended
}

case_frames_in_one_write_and_empty_lines_between() { each_way together; }
together() {
    local topic receipts=() ending
    topic=/topic/$(unique typed)
    printf -v ending '%b' "$2"
    open "$2"
    log_in "$1"
    {
        printf '%s%s' "$ending" "$ending"
        printf 'SUBSCRIBE%sid:1%sdestination:%s%s%s\0%s%s' "$ending" "$ending" "$topic" "$ending" "$ending" "$ending" "$ending"
        for number in 1 2 3; do
            printf 'SEND%sdestination:%s%scontent-length:3%s%sa\0%s\0%s' "$ending" "$topic" "$ending" "$ending" "$ending" "$number" "$ending"
        done
    } >&3
    # Each body holds a NUL, which ends a read of this shell, too.
    for number in 1 2 3; do
        heard MESSAGE content-length:3
        same 'before the NUL' a "$(body)"
        IFS= read -r -d '' -t 30 receipts <&3
        same 'after the NUL' "$number" "$receipts"
    done
    say DISCONNECT receipt:bye '' ''
    heard RECEIPT receipt-id:bye
}

case_byte_by_byte() {
    local text index
    open '\r\n'
    printf -v text 'CONNECT\r\naccept-version:1.2\r\nhost:/\r\nlogin:%s\r\npasscode:%s\r\n\r\n' "$LOGIN" "$PASSWORD"
    for ((index = 0; index < ${#text}; index++)); do printf '%s' "${text:index:1}" >&3; done
    printf '\0' >&3
    heard CONNECTED version:1.2
}

case_nonsense_is_answered() {
    local text
    for text in $'GET / HTTP/1.1\r\nHost: here\r\n\r\n' $'HELLO\n\n' $'SEND\ndestination:/queue/a\n\nbefore CONNECT'; do
        open '\n'
        printf '%s\0' "$text" >&3
        heard ERROR
        # RabbitMQ lets a client go on that never logged in.
        [ "$INTEROP_BROKER" = rabbitmq ] || ended
        exec 3>&-
    done
}

case_a_wrong_passcode() {
    open '\n'
    say CONNECT accept-version:1.2 host:/ "login:$LOGIN" "passcode:${PASSWORD}x" '' ''
    heard ERROR 'message:Bad CONNECT'
}

run_cases stomp-text
