package main

import (
	"context"
	"errors"
	"fmt"
	"log"

	amqp "github.com/rabbitmq/amqp091-go"
)

// window is how many orders may wait for their confirmation. Waiting for each one alone would cost
// a round trip each; with no bound, memory would be the bound.
const window = 100

type publisher struct {
	count     int
	confirmed int // orders the broker has said it has; the first that may need publishing again
}

func (p *publisher) publish(ctx context.Context, channel *amqp.Channel) error {
	if err := channel.Confirm(false); err != nil {
		return err
	}
	for p.confirmed < p.count {
		if err := p.publishWindow(ctx, channel); err != nil {
			return err
		}
	}
	log.Printf("%d orders confirmed", p.confirmed)
	return nil
}

func (p *publisher) publishWindow(ctx context.Context, channel *amqp.Channel) error {
	var waiting []*amqp.DeferredConfirmation
	for number := p.confirmed + 1; number <= min(p.count, p.confirmed+window); number++ {
		confirmation, err := channel.PublishWithDeferredConfirmWithContext(ctx, "", queue, false, false,
			amqp.Publishing{
				ContentType:  "application/json",
				DeliveryMode: amqp.Persistent,
				// An order that is published again after a lost connection may arrive twice: a
				// consumer knows it by its id.
				MessageId: fmt.Sprintf("order-%d", number),
				Body:      fmt.Appendf(nil, `{"number": %d}`, number),
			})
		if err != nil {
			return err
		}
		waiting = append(waiting, confirmation)
	}
	for _, confirmation := range waiting {
		taken, err := confirmation.WaitContext(ctx)
		switch {
		case err != nil:
			return err
		case !taken && channel.IsClosed():
			return amqp.ErrClosed // nobody answered: publish it again on the next connection
		case !taken:
			return errors.New("the broker would not take an order")
		}
		p.confirmed++
	}
	return nil
}
