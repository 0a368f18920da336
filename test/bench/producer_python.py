"""Yardstick: Pulsar's official Python client, as producing.ts measures the others. Prints one JSON line."""

import json
import os
import resource
import sys
import threading
import time

import pulsar

# the C++ client writes its log lines to standard output
OUT = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

parameters = json.loads(sys.argv[1])
limits = parameters["limits"]
size = parameters["bytes"]
with open(parameters["payloads"], "rb") as file:
    whole = file.read()
payloads = [whole[at : at + size] for at in range(0, len(whole), size)]
compression = {
    "none": pulsar.CompressionType.NONE,
    "lz4": pulsar.CompressionType.LZ4,
    "zlib": pulsar.CompressionType.ZLib,
    "zstd": pulsar.CompressionType.ZSTD,
    "snappy": pulsar.CompressionType.SNAPPY,
}
client = pulsar.Client(parameters["serviceUrl"], logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))
producer = client.create_producer(
    parameters["topic"],
    compression_type=compression[parameters["compression"]],
    batching_enabled=True,
    batching_max_messages=limits["messages"],
    batching_max_allowed_size_in_bytes=limits["bytes"],
    batching_max_publish_delay_ms=limits["delayMs"],
    max_pending_messages=limits["pending"],
    block_if_queue_full=True,
)
lock = threading.Lock()
acknowledged = 0
sent = 0


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def on_receipt(result, _message_id):
    global acknowledged
    if result != pulsar.Result.Ok:
        print(f"refused: {result}", file=sys.stderr)
        os._exit(1)
    with lock:
        acknowledged += 1


def produce(seconds, count):
    global sent
    end = cpu_seconds() + seconds
    last = sent + count
    while sent < last and (sent % 500 != 0 or cpu_seconds() < end):
        key = f"key-{sent % 1000}"
        producer.send_async(
            payloads[sent % len(payloads)],
            on_receipt,
            partition_key=key,
            event_timestamp=parameters["eventTime"],
            properties={
                "kinesis.arrival.timestamp": "2026-11-23T00:55:30.490Z",
                "kinesis.encryption.type": "NONE",
                "kinesis.partition.key": key,
                "kinesis.sequence.number": "49680476692433014098179508999634594405486341000000000003",
            },
        )
        sent += 1
    producer.flush()
    while acknowledged < sent:
        time.sleep(0.001)


produce(parameters["warmUpSeconds"], float("inf"))
before = cpu_seconds()
started = time.monotonic()
first = sent
produce(parameters.get("seconds", float("inf")), parameters.get("messages", float("inf")))
figures = {
    "records": sent - first,
    "seconds": time.monotonic() - started,
    "cpuSeconds": cpu_seconds() - before,
    "peakMegabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
}
OUT.write(json.dumps(figures) + "\n")
OUT.flush()
os._exit(0)
