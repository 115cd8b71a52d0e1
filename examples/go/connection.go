package main

import (
	"context"
	"errors"
	"log"
	"os"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// staysConnected gives work a channel on a connection, and a new one whenever work fails because
// the connection did. It returns what work returns, once that is something else.
func staysConnected(ctx context.Context, work func(context.Context, *amqp.Channel) error) error {
	delay := time.Second
	for {
		connected := time.Now()
		err := onChannel(ctx, work)
		if err == nil || ctx.Err() != nil || isOurFault(err) {
			return err
		}
		if time.Since(connected) > time.Minute {
			delay = time.Second // it had worked: begin with short waits again
		}
		log.Printf("no connection (%v), next attempt in %v", err, delay)
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
		delay = min(2*delay, 30*time.Second)
	}
}

func onChannel(ctx context.Context, work func(context.Context, *amqp.Channel) error) error {
	url := os.Getenv("AMQP_URL")
	if url == "" {
		url = "amqp://guest:guest@localhost:5672/"
	}
	connection, err := amqp.Dial(url)
	if err != nil {
		return err
	}
	defer connection.Close()
	channel, err := connection.Channel()
	if err != nil {
		return err
	}
	// Durable: the queue is there again after a restart of the broker. Declaring what exists
	// already is harmless, so publisher and consumer both do, and either may come first.
	if _, err := channel.QueueDeclare(queue, true, false, false, false, nil); err != nil {
		return err
	}
	return work(ctx, channel)
}

// isOurFault tells refusals, which no second attempt turns into a yes, from lost connections.
func isOurFault(err error) bool {
	var refusal *amqp.Error
	if !errors.As(err, &refusal) {
		return false
	}
	switch refusal.Code {
	case amqp.AccessRefused, amqp.NotFound, amqp.ResourceLocked, amqp.PreconditionFailed, amqp.NotAllowed:
		return true
	}
	return false
}
