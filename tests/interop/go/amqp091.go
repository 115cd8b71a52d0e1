package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

var amqp091Cases = []interopCase{
	{"work_queue", onChannel(workQueue)},
	{"publish_subscribe", onChannel(publishSubscribe)},
	{"topics", onChannel(topics)},
	{"rpc", onChannel(rpc)},
	{"deferred_confirms_and_return", onChannel(confirms)},
	{"properties_and_a_large_body", onChannel(properties)},
	{"nack_and_redelivery", onChannel(nack)},
	{"cancel_and_queue_deletion", onChannel(cancellation)},
	{"errors_close_the_channel_only", channelErrors},
	{"refused_login_and_vhost", refusals},
	{"heartbeat", heartbeat},
}

func onChannel(run func(context.Context, *amqp.Channel) error) func(context.Context) error {
	return func(ctx context.Context) error {
		connection, err := amqp.Dial(address(password()))
		if err != nil {
			return err
		}
		defer connection.Close()
		channel, err := connection.Channel()
		if err != nil {
			return err
		}
		return run(ctx, channel)
	}
}

func receive(ctx context.Context, deliveries <-chan amqp.Delivery) (amqp.Delivery, error) {
	select {
	case delivery, open := <-deliveries:
		if !open {
			return delivery, errors.New("the deliveries ended")
		}
		return delivery, nil
	case <-ctx.Done():
		return amqp.Delivery{}, errors.New("no delivery")
	}
}

// awaitGet polls with basic.get until there is something.
func awaitGet(ctx context.Context, channel *amqp.Channel, queue string, autoAck bool) (amqp.Delivery, error) {
	for {
		delivery, found, err := channel.Get(queue, autoAck)
		if err != nil || found {
			return delivery, err
		}
		select {
		case <-ctx.Done():
			return delivery, errors.New("basic.get found nothing")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func exclusiveQueue(channel *amqp.Channel) (string, error) {
	queue, err := channel.QueueDeclare("", false, false, true, false, nil)
	return queue.Name, err
}

func workQueue(ctx context.Context, channel *amqp.Channel) error {
	queue, err := channel.QueueDeclare(unique("go"), true, false, false, false, nil)
	if err != nil {
		return err
	}
	for number := range 10 {
		message := amqp.Publishing{Body: []byte(strconv.Itoa(number)), DeliveryMode: amqp.Persistent}
		if err := channel.PublishWithContext(ctx, "", queue.Name, false, false, message); err != nil {
			return err
		}
	}
	if err := channel.Qos(1, 0, false); err != nil {
		return err
	}
	deliveries, err := channel.Consume(queue.Name, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	for number := range 10 {
		delivery, err := receive(ctx, deliveries)
		if err != nil {
			return err
		}
		if err := first(
			equal(string(delivery.Body), strconv.Itoa(number), "order"),
			equal(delivery.DeliveryTag, uint64(number+1), "delivery tag"),
			delivery.Ack(false),
		); err != nil {
			return err
		}
	}
	_, err = channel.QueueDelete(queue.Name, false, false, false)
	return err
}

func publishSubscribe(ctx context.Context, channel *amqp.Channel) error {
	exchange := unique("go-logs")
	if err := channel.ExchangeDeclare(exchange, "fanout", false, true, false, false, nil); err != nil {
		return err
	}
	var boxes []<-chan amqp.Delivery
	for range 3 {
		queue, err := exclusiveQueue(channel)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(queue, "amq.gen-") {
			return fmt.Errorf("server-named queue, saw %q", queue)
		}
		if err := channel.QueueBind(queue, "", exchange, false, nil); err != nil {
			return err
		}
		deliveries, err := channel.Consume(queue, "", true, false, false, false, nil)
		if err != nil {
			return err
		}
		boxes = append(boxes, deliveries)
	}
	if err := channel.PublishWithContext(ctx, exchange, "", false, false, amqp.Publishing{Body: []byte("news")}); err != nil {
		return err
	}
	for _, box := range boxes {
		delivery, err := receive(ctx, box)
		if err := first(err, equal(string(delivery.Body), "news", "each queue gets its copy")); err != nil {
			return err
		}
	}
	return nil
}

func topics(ctx context.Context, channel *amqp.Channel) error {
	queue, err := exclusiveQueue(channel)
	if err != nil {
		return err
	}
	root := unique("go")
	for _, pattern := range []string{root + ".*.orange", root + ".lazy.#"} {
		if err := channel.QueueBind(queue, pattern, "amq.topic", false, nil); err != nil {
			return err
		}
	}
	for _, key := range []string{".quick.orange", ".quick.brown", ".lazy.orange", ".lazy", ".lazy.a.b"} {
		if err := channel.PublishWithContext(ctx, "amq.topic", root+key, false, false, amqp.Publishing{}); err != nil {
			return err
		}
	}
	deliveries, err := channel.Consume(queue, "", true, false, false, false, nil)
	if err != nil {
		return err
	}
	// Two bindings match ".lazy.orange": still one copy.
	for _, key := range []string{".quick.orange", ".lazy.orange", ".lazy", ".lazy.a.b"} {
		delivery, err := receive(ctx, deliveries)
		if err := first(err, equal(delivery.RoutingKey, root+key, "routing key")); err != nil {
			return err
		}
	}
	return nil
}

func rpc(ctx context.Context, channel *amqp.Channel) error {
	requests, err := exclusiveQueue(channel)
	if err != nil {
		return err
	}
	replies, err := exclusiveQueue(channel)
	if err != nil {
		return err
	}
	serve, err := channel.Consume(requests, "", false, false, false, false, nil)
	if err != nil {
		return err
	}
	go func() {
		for request := range serve {
			number, _ := strconv.Atoi(string(request.Body))
			reply := amqp.Publishing{CorrelationId: request.CorrelationId, Body: []byte(strconv.Itoa(number * number))}
			_ = channel.PublishWithContext(ctx, "", request.ReplyTo, false, false, reply)
			_ = request.Ack(false)
		}
	}()
	inbox, err := channel.Consume(replies, "", true, false, false, false, nil)
	if err != nil {
		return err
	}
	for number := range 5 {
		request := amqp.Publishing{ReplyTo: replies, CorrelationId: fmt.Sprintf("c%d", number), Body: []byte(strconv.Itoa(number))}
		if err := channel.PublishWithContext(ctx, "", requests, false, false, request); err != nil {
			return err
		}
		reply, err := receive(ctx, inbox)
		if err := first(
			err,
			equal(reply.CorrelationId, fmt.Sprintf("c%d", number), "correlation"),
			equal(string(reply.Body), strconv.Itoa(number*number), "reply"),
		); err != nil {
			return err
		}
	}
	return nil
}

func confirms(ctx context.Context, channel *amqp.Channel) error {
	queue, err := exclusiveQueue(channel)
	if err != nil {
		return err
	}
	if err := channel.Confirm(false); err != nil {
		return err
	}
	returns := channel.NotifyReturn(make(chan amqp.Return, 1))
	var pending []*amqp.DeferredConfirmation
	for range 500 {
		confirmation, err := channel.PublishWithDeferredConfirmWithContext(ctx, "", queue, true, false, amqp.Publishing{})
		if err != nil {
			return err
		}
		pending = append(pending, confirmation)
	}
	for _, confirmation := range pending {
		acked, err := confirmation.WaitContext(ctx)
		if err := first(err, equal(acked, true, "acknowledged")); err != nil {
			return err
		}
	}
	missing := unique("nowhere")
	confirmation, err := channel.PublishWithDeferredConfirmWithContext(ctx, "", missing, true, false, amqp.Publishing{Body: []byte("back")})
	if err != nil {
		return err
	}
	acked, err := confirmation.WaitContext(ctx)
	if err := first(err, equal(acked, true, "acknowledged")); err != nil {
		return err
	}
	select {
	case returned := <-returns:
		return first(
			equal(returned.ReplyCode, uint16(312), "reply code"),
			equal(returned.ReplyText, "NO_ROUTE", "reply text"),
			equal(returned.RoutingKey, missing, "routing key"),
			equal(string(returned.Body), "back", "body"),
		)
	default:
		return errors.New("basic.return must precede the ack")
	}
}

func properties(ctx context.Context, channel *amqp.Channel) error {
	queue, err := exclusiveQueue(channel)
	if err != nil {
		return err
	}
	headers := amqp.Table{
		"text": "grüße", "yes": true, "int32": int32(-7), "int64": int64(1) << 40, "int16": int16(3), "byte": byte(200),
		"double": 1.5, "float": float32(0.25), "bytes": []byte{0, 255}, "nothing": nil,
		"time":    time.Unix(1700000000, 0),
		"decimal": amqp.Decimal{Scale: 2, Value: 12345},
		"list":    []any{"one", int32(2), amqp.Table{"inner": true}},
		"table":   amqp.Table{"inner": "x"},
	}
	sent := amqp.Publishing{
		Headers: headers, ContentType: "application/json", ContentEncoding: "gzip", DeliveryMode: 2, Priority: 9,
		CorrelationId: "c", ReplyTo: "r", Expiration: "60000", MessageId: "m", Timestamp: time.Unix(1700000000, 0),
		Type: "kind", UserId: environment("USER", "guest"), AppId: "interop",
		Body: bytes.Repeat([]byte{0, 255, 1, 2}, 1<<18),
	}
	if err := channel.PublishWithContext(ctx, "", queue, false, false, sent); err != nil {
		return err
	}
	got, err := awaitGet(ctx, channel, queue, true)
	if err != nil {
		return err
	}
	if !bytes.Equal(got.Body, sent.Body) {
		return fmt.Errorf("1 MiB of body, saw %d bytes", len(got.Body))
	}
	return first(
		equal(got.Headers, headers, "headers"),
		equal(got.ContentType, sent.ContentType, "content type"),
		equal(got.ContentEncoding, sent.ContentEncoding, "content encoding"),
		equal(got.DeliveryMode, sent.DeliveryMode, "delivery mode"),
		equal(got.Priority, sent.Priority, "priority"),
		equal(got.CorrelationId, sent.CorrelationId, "correlation id"),
		equal(got.ReplyTo, sent.ReplyTo, "reply to"),
		equal(got.Expiration, sent.Expiration, "expiration"),
		equal(got.MessageId, sent.MessageId, "message id"),
		equal(got.Timestamp.Unix(), sent.Timestamp.Unix(), "timestamp"),
		equal(got.Type, sent.Type, "type"),
		equal(got.UserId, sent.UserId, "user id"),
		equal(got.AppId, sent.AppId, "app id"),
	)
}

func nack(ctx context.Context, channel *amqp.Channel) error {
	queue, err := exclusiveQueue(channel)
	if err != nil {
		return err
	}
	if err := channel.PublishWithContext(ctx, "", queue, false, false, amqp.Publishing{Body: []byte("x")}); err != nil {
		return err
	}
	delivery, err := awaitGet(ctx, channel, queue, false)
	if err := first(err, equal(delivery.Redelivered, false, "first"), delivery.Nack(false, true)); err != nil {
		return err
	}
	delivery, err = awaitGet(ctx, channel, queue, false)
	if err := first(err, equal(delivery.Redelivered, true, "again"), delivery.Reject(false)); err != nil {
		return err
	}
	_, found, err := channel.Get(queue, true)
	return first(err, equal(found, false, "found after reject"))
}

func cancellation(ctx context.Context, channel *amqp.Channel) error {
	queue, err := channel.QueueDeclare(unique("go"), false, false, false, false, nil)
	if err != nil {
		return err
	}
	deliveries, err := channel.Consume(queue.Name, "mine", true, false, false, false, nil)
	if err != nil {
		return err
	}
	if err := channel.Cancel("mine", false); err != nil {
		return err
	}
	if _, open := <-deliveries; open {
		return errors.New("a delivery after cancel-ok")
	}
	cancelled := channel.NotifyCancel(make(chan string, 1))
	if _, err := channel.Consume(queue.Name, "again", true, false, false, false, nil); err != nil {
		return err
	}
	if _, err := channel.QueueDelete(queue.Name, false, false, false); err != nil {
		return err
	}
	select {
	case tag := <-cancelled:
		return equal(tag, "again", "cancelled consumer")
	case <-ctx.Done():
		return errors.New("no basic.cancel from the broker")
	}
}

func channelErrors(context.Context) error {
	connection, err := amqp.Dial(address(password()))
	if err != nil {
		return err
	}
	defer connection.Close()
	missing := unique("nope")
	for _, expected := range []struct {
		code   int
		reason string
		run    func(*amqp.Channel) error
	}{
		{404, "NOT_FOUND - no queue '" + missing + "' in vhost '/'", func(channel *amqp.Channel) error {
			_, err := channel.QueueDeclarePassive(missing, false, false, false, false, nil)
			return err
		}},
		{403, "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'", func(channel *amqp.Channel) error {
			return channel.ExchangeDeclare("amq.mine", "direct", false, false, false, false, nil)
		}},
		{406, "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.topic' in vhost '/': received 'direct' but current is 'topic'",
			func(channel *amqp.Channel) error {
				return channel.ExchangeDeclare("amq.topic", "direct", true, false, false, false, nil)
			}},
	} {
		channel, err := connection.Channel()
		if err != nil {
			return err
		}
		var refusal *amqp.Error
		if err := expected.run(channel); !errors.As(err, &refusal) {
			return fmt.Errorf("%s: expected a refusal, saw %v", expected.reason, err)
		}
		if err := first(
			equal(refusal.Code, expected.code, "reply code"),
			equal(refusal.Reason, expected.reason, "reply text"),
			equal(refusal.Server, true, "from the server"),
		); err != nil {
			return err
		}
	}
	return equal(connection.IsClosed(), false, "connection closed")
}

func refusals(context.Context) error {
	var refusal *amqp.Error
	if _, err := amqp.Dial(address(password() + "x")); !errors.As(err, &refusal) {
		return fmt.Errorf("a wrong password: saw %v", err)
	}
	if err := equal(refusal.Code, 403, "wrong password"); err != nil {
		return err
	}
	if _, err := amqp.DialConfig(address(password()), amqp.Config{Vhost: "nowhere"}); !errors.As(err, &refusal) {
		return fmt.Errorf("an unknown vhost: saw %v", err)
	}
	return first(
		equal(refusal.Code, 530, "unknown vhost"),
		equal(refusal.Reason, "NOT_ALLOWED - vhost nowhere not found", "unknown vhost"),
	)
}

func heartbeat(context.Context) error {
	connection, err := amqp.DialConfig(address(password()), amqp.Config{Heartbeat: time.Second})
	if err != nil {
		return err
	}
	defer connection.Close()
	time.Sleep(3500 * time.Millisecond)
	if connection.IsClosed() {
		return errors.New("closed although both sides beat")
	}
	_, err = connection.Channel()
	return err
}
