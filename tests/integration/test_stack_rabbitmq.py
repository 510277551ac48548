"""The stack's RabbitMQ: it starts, keeps what it must, and ends with whoever started it."""

from __future__ import annotations

import aio_pika

from libs.stack.rabbitmq import RabbitMQ


async def test_a_quorum_queue_takes_and_gives_a_message(rabbitmq: RabbitMQ) -> None:
    async with await aio_pika.connect(rabbitmq.amqp_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("stack.quorum", durable=True, arguments={"x-queue-type": "quorum"})
        await channel.default_exchange.publish(aio_pika.Message(b"one"), queue.name)
        message = await queue.get(timeout=5)
        assert message is not None
        assert message.body == b"one"
        await message.ack()
        await queue.delete(if_unused=False, if_empty=False)
