# Packs and unpacks KPL aggregates by AWS's Python module: JSON from stdin, JSON to stdout.
# {"pack": [[[key, hash key or null, base64], ...], ...]} gives [base64, ...], one aggregate of each list;
# {"unpack": [base64, ...]} gives [[[key, hash key or null, base64, sub or null], ...], ...], one list of each record.

import base64
import json
import sys

from aws_kinesis_agg.aggregator import RecordAggregator
from aws_kinesis_agg.deaggregator import deaggregate_records


def pack(records):
    aggregator = RecordAggregator()
    for key, hash_key, data in records:
        full = aggregator.add_user_record(key, base64.b64decode(data), hash_key)
        if full is not None:
            raise ValueError("more than one aggregate holds")
    return base64.b64encode(aggregator.clear_and_get().get_contents()[2]).decode()


def unpack(data):
    record = {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "sequenceNumber": "1",
            "partitionKey": "container",
            "approximateArrivalTimestamp": 0,
            "data": data,
        }
    }
    out = []
    for one in deaggregate_records([record]):
        user = one["kinesis"]
        text = user["data"] if isinstance(user["data"], str) else user["data"].decode()
        out.append([user["partitionKey"], user.get("explicitHashKey"), text, user.get("subSequenceNumber")])
    return out


asked = json.load(sys.stdin)
if "pack" in asked:
    json.dump([pack(records) for records in asked["pack"]], sys.stdout)
else:
    json.dump([unpack(data) for data in asked["unpack"]], sys.stdout)
