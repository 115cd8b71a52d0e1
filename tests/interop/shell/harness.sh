# shellcheck shell=bash
# shellcheck disable=SC2034  # the suites use what is set here
# Runs the cases of a suite of command-line clients. Sourced by the suites beside it.
#
# A case is a function whose name begins with case_; it fails by a non-zero status. Each runs in
# a subshell of its own with errexit, so that a failing command in the middle fails the case, and
# in a scratch folder that goes with it.

set -uo pipefail

INTEROP_BROKER=${INTEROP_BROKER:-trivium}
HOST=${INTEROP_HOST:-localhost}
AMQP_PORT=${INTEROP_AMQP_PORT:-5672}
MQTT_PORT=${INTEROP_MQTT_PORT:-1883}
LOGIN=${INTEROP_USER:-guest}
PASSWORD=${INTEROP_PASSWORD:-guest}

unique() { printf '%s-%s' "$1" "$(od -An -N5 -tx1 /dev/urandom | tr -d ' \n')"; }

# same WHAT EXPECTED SEEN
same() {
    [ "$2" = "$3" ] && return 0
    printf '%s: expected %q, saw %q\n' "$1" "${2:0:200}" "${3:0:200}" >&2
    return 1
}

# until_true SECONDS COMMAND...
until_true() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ $SECONDS -lt $end ] || { printf 'still not true: %s\n' "$*" >&2; return 1; }
        sleep 0.05
    done
}

# run_cases SUITE
run_cases() {
    local suite=$1 name started took failed=0 scratch
    for name in $(compgen -A function case_); do
        scratch=$(mktemp -d)
        started=$(date +%s%N)
        ( set -eu; cd "$scratch"; trap 'kill $(jobs -p) 2>/dev/null || true' EXIT; "$name" ) >"$scratch.log" 2>&1
        # Not `if ( ... )`: there errexit would be off inside.
        # shellcheck disable=SC2181
        if [ $? -eq 0 ]; then
            took=$(( ($(date +%s%N) - started) / 10000000 ))
            printf 'PASS %s %s (%d.%02d s)\n' "$suite" "${name#case_}" $((took / 100)) $((took % 100))
        else
            failed=1
            printf 'FAIL %s %s: %s\n' "$suite" "${name#case_}" "$(grep -v Terminated "$scratch.log" | tail -3 | tr '\n' ' ')"
        fi
        rm -rf "$scratch" "$scratch.log"
    done
    printf 'END %s\n' "$suite"
    return $failed
}
