package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/autopaho/queue/memory"
	"github.com/eclipse/paho.golang/paho"
	pahorpc "github.com/eclipse/paho.golang/paho/extensions/rpc"
)

var pahoCases = []interopCase{
	{"qos_0_1_and_2", withPahoPair(pahoQos)},
	{"properties_come_through", withPahoPair(pahoProperties)},
	{"wildcards_and_unsubscribe", withPahoPair(pahoWildcards)},
	{"retained_and_how_to_have_them", withPahoPair(pahoRetained)},
	{"shared_subscription", withPahoPair(pahoShared)},
	{"a_large_body", withPahoPair(pahoLarge)},
	{"will_of_a_lost_connection", withPahoPair(pahoWill)},
	{"request_and_response", withPahoPair(pahoRequests)},
	{"reasons", pahoReasons},
	{"takeover", pahoTakeover},
	{"a_session_waits", pahoSession},
	{"autopaho_loses_its_connection_at_qos_2", autopahoQos2},
}

// pahoPeer is one connection of paho.golang with what came over it.
type pahoPeer struct {
	*paho.Client
	connack      *paho.Connack
	inbox        chan *paho.Publish
	disconnected chan *paho.Disconnect
	connection   net.Conn
}

func dialMqtt(ctx context.Context) (net.Conn, error) {
	dialer := net.Dialer{}
	return dialer.DialContext(ctx, "tcp", net.JoinHostPort(environment("HOST", "localhost"), environment("MQTT_PORT", "1883")))
}

func mqttConnect(name string) *paho.Connect {
	return &paho.Connect{
		ClientID: name, KeepAlive: 60, CleanStart: true,
		UsernameFlag: true, Username: environment("USER", "guest"), PasswordFlag: true, Password: []byte(password()),
	}
}

func pahoConnected(ctx context.Context, connect *paho.Connect) (*pahoPeer, error) {
	connection, err := dialMqtt(ctx)
	if err != nil {
		return nil, err
	}
	peer := &pahoPeer{inbox: make(chan *paho.Publish, 1000), disconnected: make(chan *paho.Disconnect, 1), connection: connection}
	peer.Client = paho.NewClient(paho.ClientConfig{
		Conn: connection,
		OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(received paho.PublishReceived) (bool, error) {
			peer.inbox <- received.Packet
			return true, nil
		}},
		OnServerDisconnect: func(disconnect *paho.Disconnect) { peer.disconnected <- disconnect },
	})
	peer.connack, err = peer.Connect(ctx, connect)
	return peer, err
}

func (peer *pahoPeer) end() { _ = peer.Disconnect(&paho.Disconnect{}) }

func (peer *pahoPeer) next(ctx context.Context) (*paho.Publish, error) {
	select {
	case message := <-peer.inbox:
		return message, nil
	case <-ctx.Done():
		return nil, errors.New("no message")
	}
}

func (peer *pahoPeer) expect(ctx context.Context, bodies ...string) error {
	for _, body := range bodies {
		message, err := peer.next(ctx)
		if err != nil {
			return fmt.Errorf("waiting for %q: %w", body, err)
		}
		if err := equal(string(message.Payload), body, "body"); err != nil {
			return err
		}
	}
	return nil
}

func (peer *pahoPeer) nothing() error {
	select {
	case message := <-peer.inbox:
		return fmt.Errorf("unexpected message %q on %s", message.Payload, message.Topic)
	case <-time.After(200 * time.Millisecond):
		return nil
	}
}

func (peer *pahoPeer) subscribed(ctx context.Context, options ...paho.SubscribeOptions) error {
	suback, err := peer.Subscribe(ctx, &paho.Subscribe{Subscriptions: options})
	if err != nil {
		return err
	}
	for index, option := range options {
		if err := equal(suback.Reasons[index], option.QoS, "granted for "+option.Topic); err != nil {
			return err
		}
	}
	return nil
}

func (peer *pahoPeer) tell(ctx context.Context, topic string, qos byte, body string) error {
	_, err := peer.Publish(ctx, &paho.Publish{Topic: topic, QoS: qos, Payload: []byte(body)})
	return err
}

func withPahoPair(run func(context.Context, *pahoPeer, *pahoPeer) error) func(context.Context) error {
	return func(ctx context.Context) error {
		one, err := pahoConnected(ctx, mqttConnect(unique("paho-go")))
		if err != nil {
			return err
		}
		defer one.end()
		two, err := pahoConnected(ctx, mqttConnect(unique("paho-go")))
		if err != nil {
			return err
		}
		defer two.end()
		return run(ctx, one, two)
	}
}

func pahoQos(ctx context.Context, one, two *pahoPeer) error {
	root := unique("paho-go/qos")
	for granted := byte(0); granted <= 2; granted++ {
		topic := fmt.Sprintf("%s/%d", root, granted)
		if err := one.subscribed(ctx, paho.SubscribeOptions{Topic: topic, QoS: granted}); err != nil {
			return err
		}
		for sent := byte(0); sent <= 2; sent++ {
			if err := two.tell(ctx, topic, sent, "x"); err != nil {
				return err
			}
			message, err := one.next(ctx)
			if err != nil {
				return err
			}
			if err := equal(message.QoS, min(granted, sent), fmt.Sprintf("QoS of %d at %d", sent, granted)); err != nil {
				return err
			}
		}
	}
	return one.nothing()
}

func pahoProperties(ctx context.Context, one, two *pahoPeer) error {
	topic, identifier := unique("paho-go/properties"), 77
	_, err := one.Subscribe(ctx, &paho.Subscribe{
		Subscriptions: []paho.SubscribeOptions{{Topic: topic, QoS: 1}},
		Properties:    &paho.SubscribeProperties{SubscriptionIdentifier: &identifier},
	})
	if err != nil {
		return err
	}
	format, expiry := byte(1), uint32(600)
	users := paho.UserProperties{{Key: "a", Value: "1"}, {Key: "b", Value: "grün"}, {Key: "a", Value: "2"}}
	_, err = two.Publish(ctx, &paho.Publish{Topic: topic, QoS: 1, Payload: []byte("x"), Properties: &paho.PublishProperties{
		ContentType: "text/plain", ResponseTopic: "answers/here", CorrelationData: []byte{0, 255}, PayloadFormat: &format,
		MessageExpiry: &expiry, User: users,
	}})
	if err != nil {
		return err
	}
	message, err := one.next(ctx)
	if err != nil {
		return err
	}
	seen := message.Properties
	return first(
		equal(seen.ContentType, "text/plain", "content type"),
		equal(seen.ResponseTopic, "answers/here", "response topic"),
		equal(seen.CorrelationData, []byte{0, 255}, "correlation data"),
		equal(*seen.PayloadFormat, byte(1), "payload format"),
		equal(*seen.MessageExpiry <= 600 && *seen.MessageExpiry > 500, true, "message expiry"),
		equal(seen.User, users, "user properties, in order and with repeats"),
		equal(*seen.SubscriptionIdentifier, 77, "subscription identifier"),
	)
}

func pahoWildcards(ctx context.Context, one, two *pahoPeer) error {
	root := unique("paho-go")
	err := one.subscribed(ctx, paho.SubscribeOptions{Topic: root + "/+/a", QoS: 1}, paho.SubscribeOptions{Topic: root + "/all/#", QoS: 1})
	if err != nil {
		return err
	}
	for _, topic := range []string{"/x/a", "/x/b", "/all", "/all/b/c"} {
		if err := two.tell(ctx, root+topic, 1, topic); err != nil {
			return err
		}
	}
	if err := one.expect(ctx, "/x/a", "/all", "/all/b/c"); err != nil {
		return err
	}
	unsuback, err := one.Unsubscribe(ctx, &paho.Unsubscribe{Topics: []string{root + "/+/a", root + "/unknown"}})
	if err != nil {
		return err
	}
	return first(
		equal(unsuback.Reasons, []byte{0, 0x11}, "UNSUBACK"),
		two.tell(ctx, root+"/x/a", 1, "gone"),
		one.nothing(),
	)
}

func pahoRetained(ctx context.Context, one, two *pahoPeer) error {
	topic := unique("paho-go/retained")
	keep := func(body string) error {
		_, err := two.Publish(ctx, &paho.Publish{Topic: topic, QoS: 1, Retain: true, Payload: []byte(body)})
		return err
	}
	err := first(
		keep("kept"),
		one.subscribed(ctx, paho.SubscribeOptions{Topic: topic, QoS: 1, RetainHandling: 2}),
		one.nothing(),
		// A new subscription in place of the old: 0 sends retained messages again.
		one.subscribed(ctx, paho.SubscribeOptions{Topic: topic, QoS: 1, RetainAsPublished: true}),
	)
	if err != nil {
		return err
	}
	message, err := one.next(ctx)
	if err != nil {
		return err
	}
	err = first(
		equal(string(message.Payload), "kept", "retained"), equal(message.Retain, true, "retain"),
		keep("live"),
	)
	if err != nil {
		return err
	}
	message, err = one.next(ctx)
	if err != nil {
		return err
	}
	return first(
		equal(string(message.Payload), "live", "live"), equal(message.Retain, true, "retain as published"),
		keep(""),
	)
}

func pahoShared(ctx context.Context, one, two *pahoPeer) error {
	topic, group := unique("paho-go/shared"), unique("workers")
	shared := paho.SubscribeOptions{Topic: "$share/" + group + "/" + topic, QoS: 1}
	if err := first(one.subscribed(ctx, shared), two.subscribed(ctx, shared)); err != nil {
		return err
	}
	sender, err := pahoConnected(ctx, mqttConnect(unique("paho-go")))
	if err != nil {
		return err
	}
	defer sender.end()
	const count = 100
	for number := range count {
		if err := sender.tell(ctx, topic, 1, strconv.Itoa(number)); err != nil {
			return err
		}
	}
	seen, by := map[string]int{}, map[string]int{}
	for range count {
		var message *paho.Publish
		select {
		case message = <-one.inbox:
			by["one"]++
		case message = <-two.inbox:
			by["two"]++
		case <-ctx.Done():
			return fmt.Errorf("only %d of %d", len(seen), count)
		}
		seen[string(message.Payload)]++
	}
	return first(
		equal(len(seen), count, "each once"), equal(by["one"] > 0 && by["two"] > 0, true, fmt.Sprint("both work: ", by)),
		one.nothing(), two.nothing(),
	)
}

func pahoLarge(ctx context.Context, one, two *pahoPeer) error {
	topic, body := unique("paho-go/large"), make([]byte, 1<<20)
	for index := range body {
		body[index] = byte(index)
	}
	if err := one.subscribed(ctx, paho.SubscribeOptions{Topic: topic, QoS: 2}); err != nil {
		return err
	}
	if _, err := two.Publish(ctx, &paho.Publish{Topic: topic, QoS: 2, Payload: body}); err != nil {
		return err
	}
	message, err := one.next(ctx)
	if err != nil {
		return err
	}
	return equal(bytes.Equal(message.Payload, body), true, "1 MiB")
}

func pahoWill(ctx context.Context, one, _ *pahoPeer) error {
	topic := unique("paho-go/will")
	if err := one.subscribed(ctx, paho.SubscribeOptions{Topic: topic, QoS: 1}); err != nil {
		return err
	}
	connect := mqttConnect(unique("paho-go"))
	connect.WillMessage = &paho.WillMessage{Topic: topic, Payload: []byte("gone"), QoS: 1}
	lost, err := pahoConnected(ctx, connect)
	if err != nil {
		return err
	}
	if err := lost.connection.Close(); err != nil {
		return err
	}
	return one.expect(ctx, "gone")
}

func pahoRequests(ctx context.Context, one, two *pahoPeer) error {
	topic := unique("paho-go/requests")
	one.AddOnPublishReceived(func(received paho.PublishReceived) (bool, error) {
		request := received.Packet
		go func() {
			_, _ = one.Publish(ctx, &paho.Publish{
				Topic: request.Properties.ResponseTopic, Payload: bytes.ToUpper(request.Payload),
				Properties: &paho.PublishProperties{CorrelationData: request.Properties.CorrelationData},
			})
		}()
		return true, nil
	})
	if err := one.subscribed(ctx, paho.SubscribeOptions{Topic: topic, QoS: 1}); err != nil {
		return err
	}
	handler, err := pahorpc.NewHandler(ctx, two.Client)
	if err != nil {
		return err
	}
	for number := range 10 {
		answer, err := handler.Request(ctx, &paho.Publish{Topic: topic, QoS: 1, Payload: fmt.Appendf(nil, "call %d", number)})
		if err != nil {
			return err
		}
		if err := equal(string(answer.Payload), fmt.Sprintf("CALL %d", number), "answer"); err != nil {
			return err
		}
	}
	return nil
}

func pahoReasons(ctx context.Context) error {
	wrong := mqttConnect(unique("paho-go"))
	wrong.Password = []byte("wrong")
	refused, err := pahoConnected(ctx, wrong)
	if err == nil {
		return errors.New("a wrong password must be refused")
	}
	if err := equal(refused.connack.ReasonCode, byte(0x86), "CONNACK"); err != nil {
		return err
	}
	unnamed, err := pahoConnected(ctx, mqttConnect(""))
	if err != nil {
		return err
	}
	defer unnamed.end()
	response, err := unnamed.Publish(ctx, &paho.Publish{Topic: unique("paho-go/nobody"), QoS: 1, Payload: []byte("x")})
	if err != nil {
		return err
	}
	return first(
		equal(unnamed.connack.Properties.AssignedClientID != "", true, "an assigned client identifier"),
		equal(response.ReasonCode, byte(0x10), "PUBACK: no matching subscribers"),
	)
}

func pahoTakeover(ctx context.Context) error {
	name := unique("paho-go")
	old, err := pahoConnected(ctx, mqttConnect(name))
	if err != nil {
		return err
	}
	successor, err := pahoConnected(ctx, mqttConnect(name))
	if err != nil {
		return err
	}
	defer successor.end()
	select {
	case disconnect := <-old.disconnected:
		return equal(disconnect.ReasonCode, byte(0x8E), "what the old connection is told")
	case <-ctx.Done():
		return errors.New("the old connection is told nothing")
	}
}

func pahoSession(ctx context.Context) error {
	topic, expiry := unique("paho-go/kept"), uint32(60)
	connect := mqttConnect(unique("paho-go"))
	connect.CleanStart = false
	connect.Properties = &paho.ConnectProperties{SessionExpiryInterval: &expiry}
	device, err := pahoConnected(ctx, connect)
	if err != nil {
		return err
	}
	err = first(
		equal(device.connack.SessionPresent, false, "session present"),
		device.subscribed(ctx, paho.SubscribeOptions{Topic: topic, QoS: 2}),
	)
	device.end()
	if err != nil {
		return err
	}
	sender, err := pahoConnected(ctx, mqttConnect(unique("paho-go")))
	if err != nil {
		return err
	}
	defer sender.end()
	for number := range 20 {
		if err := sender.tell(ctx, topic, byte(1+number%2), strconv.Itoa(number)); err != nil {
			return err
		}
	}
	back, err := pahoConnected(ctx, connect)
	if err != nil {
		return err
	}
	defer back.end()
	// Paho holds a session of its own; without it the broker's is none it could resume.
	if !back.connack.SessionPresent {
		return errors.New("the session is gone")
	}
	for number := range 20 {
		if err := back.expect(ctx, strconv.Itoa(number)); err != nil {
			return err
		}
	}
	return back.nothing()
}

// cuttable dials for autopaho, and ends what it dialled when it is told to.
type cuttable struct {
	sync.Mutex
	connection net.Conn
}

func (c *cuttable) dial(ctx context.Context, _ autopaho.ClientConfig, _ *url.URL) (net.Conn, error) {
	connection, err := dialMqtt(ctx)
	c.Lock()
	defer c.Unlock()
	c.connection = connection
	return connection, err
}

func (c *cuttable) cut() {
	c.Lock()
	defer c.Unlock()
	_ = c.connection.Close()
}

func autopahoConnected(ctx context.Context, wire *cuttable, onMessage func(*paho.Publish), topic string) (*autopaho.ConnectionManager, chan struct{}, error) {
	up := make(chan struct{}, 100)
	server, err := url.Parse("mqtt://broker")
	if err != nil {
		return nil, nil, err
	}
	manager, err := autopaho.NewConnection(ctx, autopaho.ClientConfig{
		ServerUrls: []*url.URL{server}, KeepAlive: 60, SessionExpiryInterval: 60, Queue: memory.New(),
		ReconnectBackoff:  func(int) time.Duration { return 50 * time.Millisecond },
		AttemptConnection: wire.dial,
		ConnectUsername:   environment("USER", "guest"), ConnectPassword: []byte(password()),
		OnConnectionUp: func(manager *autopaho.ConnectionManager, connack *paho.Connack) {
			go func() {
				if topic != "" && !connack.SessionPresent {
					_, _ = manager.Subscribe(ctx, &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: topic, QoS: 2}}})
				}
				up <- struct{}{}
			}()
		},
		ClientConfig: paho.ClientConfig{
			ClientID: unique("autopaho"),
			OnPublishReceived: []func(paho.PublishReceived) (bool, error){func(received paho.PublishReceived) (bool, error) {
				onMessage(received.Packet)
				return true, nil
			}},
		},
	})
	return manager, up, err
}

// autopahoQos2: both connections break again and again; the libraries and the broker repeat what they
// must, and every message arrives once.
func autopahoQos2(ctx context.Context) error {
	const count = 200
	topic, inbox := unique("paho-go/breaking"), make(chan string, 10*count)
	var from, to cuttable
	_, up, err := autopahoConnected(ctx, &to, func(message *paho.Publish) { inbox <- string(message.Payload) }, topic)
	if err != nil {
		return err
	}
	<-up
	publisher, up, err := autopahoConnected(ctx, &from, func(*paho.Publish) {}, "")
	if err != nil {
		return err
	}
	<-up
	for number := range count {
		err := publisher.PublishViaQueue(ctx, &autopaho.QueuePublish{Publish: &paho.Publish{Topic: topic, QoS: 2, Payload: []byte(strconv.Itoa(number))}})
		if err != nil {
			return err
		}
		switch number % 40 {
		case 15:
			from.cut()
		case 35:
			to.cut()
		}
		time.Sleep(5 * time.Millisecond)
	}
	times := map[string]int{}
	for len(times) < count {
		select {
		case body := <-inbox:
			times[body]++
		case <-ctx.Done():
			return fmt.Errorf("%d of %d arrived", len(times), count)
		}
	}
	time.Sleep(300 * time.Millisecond)
	for len(inbox) > 0 {
		times[<-inbox]++
	}
	for body, number := range times {
		if number != 1 {
			return fmt.Errorf("message %s arrived %d times", body, number)
		}
	}
	return nil
}
