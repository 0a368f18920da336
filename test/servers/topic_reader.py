"""What is in a topic, as the official Python client sees it: a second opinion beside TopicReader.java.

Started by python.ts with one argument, a JSON object: serviceUrl, topic, token?, count, timeoutMs, subscriptionType,
summary. Prints one JSON object a line per message, data in Base64, each partition in its order, then {"end": true} or
{"error": "..."}; for a summary one array: partition, key, Kinesis sequence number, subsequence number, payload length,
SHA-256 of the payload. A subscription of its own, from the earliest message, is made on every partition, so that chunked
messages and the kinds of subscription are judged as a consumer meets them; it is deleted at the end.
"""

import base64
import hashlib
import json
import os
import sys
import threading
import time
import uuid

import pulsar

# the C++ client writes its log lines to standard output: ours go to a copy, theirs to standard error
OUT = os.fdopen(os.dup(1), "w", buffering=1 << 16, encoding="ascii")
os.dup2(2, 1)


class Reading:
    """What the threads of the partitions share: how many messages there were, and when the last one came."""

    def __init__(self, count):
        self.count = count
        self.seen = 0
        self.last_at = time.monotonic()
        self.lock = threading.Lock()
        self.error = None

    def take(self, line):
        with self.lock:
            OUT.write(line)
            self.seen += 1
            self.last_at = time.monotonic()


def summarize(message, partition):
    data = message.data()
    properties = message.properties()
    line = [
        partition,
        message.partition_key() or None,
        properties.get("kinesis.sequence.number"),
        properties.get("kinesis.subsequence.number"),
        len(data),
        hashlib.sha256(data).hexdigest(),
    ]
    return json.dumps(line) + "\n"


def describe(message, topic, partition):
    identity = message.message_id()
    line = {
        "topic": topic,
        "partition": partition,
        "ledgerId": identity.ledger_id(),
        "entryId": identity.entry_id(),
        "batchIndex": identity.batch_index(),
        "producerName": message.producer_name(),
        "publishTime": message.publish_timestamp(),
        "eventTime": message.event_timestamp(),
        "redeliveries": message.redelivery_count(),
        "properties": message.properties(),
    }
    # the client gives an empty text where there is none
    if message.partition_key():
        line["key"] = message.partition_key()
    if message.ordering_key():
        line["orderingKey"] = message.ordering_key()
    if not message.has_null_value():
        line["data"] = base64.b64encode(message.data()).decode("ascii")
    return json.dumps(line) + "\n"


def place(identity):
    return (identity.ledger_id(), identity.entry_id(), identity.batch_index())


def read_partition(client, topic, options, reading):
    suffix = topic.rpartition("-partition-")
    partition = int(suffix[2]) if suffix[1] else -1
    consumer = client.subscribe(
        topic,
        "python-" + uuid.uuid4().hex,
        consumer_type=pulsar.ConsumerType.__members__[options["subscriptionType"]],
        initial_position=pulsar.InitialPosition.Earliest,
        # the default, 10, would drop the beginnings of messages that many producers send in chunks at once
        max_pending_chunked_message=1000,
    )
    last = end = None  # of the messages read, and of those there are
    try:
        while reading.error is None:
            if reading.seen >= reading.count and (last is None or end is None or last >= end):
                end = place(consumer.get_last_message_id())
                if end[1] < 0 or (last is not None and last >= end):
                    return
            try:
                message = consumer.receive(timeout_millis=50)
            except pulsar.Timeout:
                if time.monotonic() - reading.last_at > options["timeoutMs"] / 1000:
                    return
                continue
            here = place(message.message_id())
            last = here if last is None else max(last, here)  # delayed messages come late
            if options["summary"]:
                reading.take(summarize(message, partition))
            else:
                reading.take(describe(message, topic, partition))
            consumer.acknowledge(message)
    finally:
        consumer.unsubscribe()


def run_partition(*arguments):
    reading = arguments[-1]
    try:
        read_partition(*arguments)
    except Exception as error:  # whatever it is, the caller must hear of it
        reading.error = reading.error or error


def main():
    options = json.loads(sys.argv[1])
    authentication = pulsar.AuthenticationToken(options["token"]) if "token" in options else None
    client = pulsar.Client(
        options["serviceUrl"],
        authentication=authentication,
        operation_timeout_seconds=max(1, round(options["timeoutMs"] / 1000)),
        logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error),
    )
    reading = Reading(options["count"])
    try:
        threads = [
            threading.Thread(target=run_partition, args=(client, topic, options, reading), daemon=True)
            for topic in client.get_topic_partitions(options["topic"])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if reading.error is not None:
            raise reading.error
        OUT.write('{"end": true}\n')
    except Exception as error:
        OUT.write(json.dumps({"error": f"{type(error).__name__}: {error}"}) + "\n")
    OUT.flush()
    os._exit(0)  # closing the client takes seconds, and the broker notices the closed connection


main()
