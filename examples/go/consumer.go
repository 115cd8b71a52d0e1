package main

import (
	"context"
	"encoding/json"
	"log"

	amqp "github.com/rabbitmq/amqp091-go"
)

type order struct {
	Number int `json:"number"`
}

func consume(ctx context.Context, channel *amqp.Channel) error {
	// At most ten orders that we have not acknowledged; the others stay for other consumers.
	if err := channel.Qos(10, 0, false); err != nil {
		return err
	}
	deliveries, err := channel.ConsumeWithContext(ctx, queue, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	log.Print("waiting for orders, Ctrl-C ends")
	for delivery := range deliveries {
		if err := ship(delivery); err != nil {
			return err
		}
	}
	// The library closes deliveries when the connection is lost, the queue was deleted, or ctx ended.
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return amqp.ErrClosed
}

func ship(delivery amqp.Delivery) error {
	var received order
	if err := json.Unmarshal(delivery.Body, &received); err != nil {
		log.Printf("not an order: %v", err)
		// Not back into the queue: it would come again, for ever.
		return delivery.Nack(false, false)
	}
	again := ""
	if delivery.Redelivered {
		again = ", which somebody had before"
	}
	log.Printf("shipping order %d%s", received.Number, again)
	// Only now may the broker forget it: what a consumer that dies has not acknowledged goes to
	// another one.
	return delivery.Ack(false)
}
