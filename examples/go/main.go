// Orders: a publisher that knows what the broker has taken, and a consumer that loses none. Both
// survive the loss of their connection.
//
//	go run . consume
//	go run . publish 100
//
// AMQP_URL names another broker than amqp://guest:guest@localhost:5672/.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"syscall"
)

const queue = "examples.orders"

func main() {
	log.SetFlags(log.Ltime)
	log.SetOutput(os.Stdout)
	// Ctrl-C and SIGTERM cancel the context, and with it whatever waits for something.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	switch {
	case len(arguments) == 1 && arguments[0] == "consume":
		return staysConnected(ctx, consume)
	case len(arguments) == 2 && arguments[0] == "publish":
		count, err := strconv.Atoi(arguments[1])
		if err != nil {
			return fmt.Errorf("how many orders is %q?", arguments[1])
		}
		publisher := &publisher{count: count}
		return staysConnected(ctx, publisher.publish)
	default:
		return errors.New("usage: go run . consume | publish COUNT")
	}
}
