"""Topics keep the exchange's time; if somebody created them with the brokers' own, `topics apply` corrects that."""

import asyncio

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from backpack_streams.bus.admin import TopicAdmin, plan
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.topics import TOPICS, topic
from backpack_streams.commands.doctor.findings import State
from backpack_streams.commands.doctor.kafka_findings import judge_configs
from embedded_kafka import BlockingKafka

PREFIX = "stamped."
STAMP = "message.timestamp.type"


async def test_topics_with_broker_timestamps_are_reported_and_corrected(kafka: BlockingKafka) -> None:
    connection = KafkaConnection(kafka.bootstrap_servers)
    depth = topic("market.depth")
    client = AIOKafkaAdminClient(**connection.client_options())
    await client.start()
    try:
        name = depth.full_name(PREFIX)
        await client.create_topics([NewTopic(name, depth.partitions, 1, topic_configs={STAMP: "LogAppendTime"})])
    finally:
        await client.close()
    admin = TopicAdmin(connection, PREFIX)
    before = await admin.existing(TOPICS)
    assert STAMP in plan(depth, PREFIX, before[depth.name])[0].detail
    assert judge_configs(TOPICS, PREFIX, {name: before[depth.name]}, ()).state is State.FAIL
    await admin.apply(TOPICS)
    async with asyncio.timeout(30):
        while len(after := await admin.existing(TOPICS)) < len(TOPICS):  # noqa: ASYNC110  # a broker learns of new topics a little later
            await asyncio.sleep(0.1)
    assert {each.effective_config[STAMP] for each in after.values()} == {"CreateTime"}
    assert await admin.apply(TOPICS) == []
