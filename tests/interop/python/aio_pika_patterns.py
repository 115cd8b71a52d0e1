"""aio-pika's robust and plain connections: the patterns its users write with async iterators."""

import asyncio

import aio_pika
from aio_pika.patterns import RPC

from harness import AMQP_PORT, HOST, PASSWORD, USER, case, check, equal, main, unique

URL = f"amqp://{USER}:{PASSWORD}@{HOST}:{AMQP_PORT}/"


def asynchronous(function):
    def run():
        asyncio.run(asyncio.wait_for(function(), 25))

    run.__name__ = function.__name__
    return run


@case
@asynchronous
async def publish_with_confirms_and_iterate():
    connection = await aio_pika.connect_robust(URL)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=10)
        queue = await channel.declare_queue(unique("aio"), auto_delete=True)
        for number in range(100):
            confirmation = await channel.default_exchange.publish(
                aio_pika.Message(
                    str(number).encode(),
                    content_type="text/plain",
                    headers={"number": number},
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                ),
                routing_key=queue.name,
            )
            check(confirmation is not None, "a confirmation")
        received = []
        async with queue.iterator() as messages:
            async for message in messages:
                async with message.process():
                    equal(message.headers["number"], int(message.body), "header and body")
                    equal(message.content_type, "text/plain", "content type")
                    received.append(int(message.body))
                if len(received) == 100:
                    break
        equal(received, list(range(100)), "order")


@case
@asynchronous
async def publisher_confirms_in_a_batch():
    connection = await aio_pika.connect(URL)
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        queue = await channel.declare_queue(exclusive=True)
        await asyncio.gather(
            *(
                channel.default_exchange.publish(aio_pika.Message(b"x" * 1000), queue.name)
                for _ in range(500)
            )
        )
        again = await channel.declare_queue(queue.name, passive=True)
        equal(again.declaration_result.message_count, 500, "stored")


@case
@asynchronous
async def mandatory_message_comes_back():
    connection = await aio_pika.connect(URL)
    async with connection:
        channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        try:
            await channel.default_exchange.publish(aio_pika.Message(b"lost"), unique("nowhere"))
        except aio_pika.exceptions.PublishError as error:
            check("NO_ROUTE" in str(error), f"the reason, saw {error}")
        else:
            raise AssertionError("an unroutable message must be returned")


@case
@asynchronous
async def topic_exchange_and_reject():
    connection = await aio_pika.connect(URL)
    async with connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(
            unique("aio-x"), aio_pika.ExchangeType.TOPIC, auto_delete=True
        )
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "sensor.*.temperature")
        await exchange.publish(aio_pika.Message(b"21"), "sensor.1.temperature")
        await exchange.publish(aio_pika.Message(b"no"), "sensor.1.humidity")
        message = await queue.get(timeout=5)
        equal((message.body, message.redelivered), (b"21", False), "first")
        await message.reject(requeue=True)
        message = await queue.get(timeout=5)
        equal((message.body, message.redelivered), (b"21", True), "again")
        await message.reject(requeue=False)
        equal(await queue.get(fail=False), None, "nothing left")


@case
@asynchronous
async def rpc_pattern():
    """aio-pika's own RPC, over a direct exchange of its making and queue arguments."""
    connection = await aio_pika.connect_robust(URL)
    async with connection:
        name = unique("multiply")
        channel = await connection.channel()
        rpc = await RPC.create(channel)

        async def multiply(*, x, y):
            return x * y

        await rpc.register(name, multiply, auto_delete=True)
        results = await asyncio.gather(
            *(rpc.call(name, kwargs={"x": number, "y": number}) for number in range(20))
        )
        equal(results, [number * number for number in range(20)], "results")


@case
@asynchronous
async def channel_error_leaves_the_connection():
    connection = await aio_pika.connect(URL)
    async with connection:
        channel = await connection.channel()
        try:
            await channel.declare_queue(unique("nope"), passive=True)
        except aio_pika.exceptions.ChannelNotFoundEntity as error:
            check("NOT_FOUND - no queue" in str(error), str(error))
        else:
            raise AssertionError("a missing queue must be refused")
        other = await connection.channel()
        queue = await other.declare_queue(exclusive=True)
        check(queue.name.startswith("amq.gen-"), queue.name)


@case
@asynchronous
async def refused_login():
    url = f"amqp://{USER}:{PASSWORD}x@{HOST}:{AMQP_PORT}/"
    try:
        await aio_pika.connect(url)
    except aio_pika.exceptions.ProbableAuthenticationError as error:
        check("ACCESS_REFUSED" in str(error), str(error))
    else:
        raise AssertionError("a wrong password must be refused")


main("aio-pika")
