// The KPL's aggregate as an independent codec reads and writes it: what our decoder has to agree with.

import protobuf from "protobufjs";

/** The format as the KPL's documentation gives it; fields by their names there. */
export const Oracle = protobuf.parse(
  `
  syntax = "proto2";
  message AggregatedRecord {
    repeated string partition_key_table = 1;
    repeated string explicit_hash_key_table = 2;
    repeated Record records = 3;
  }
  message Tag { required string key = 1; optional string value = 2; }
  message Record {
    required uint64 partition_key_index = 1;
    optional uint64 explicit_hash_key_index = 2;
    required bytes data = 3;
    repeated Tag tags = 4;
  }`,
  { keepCase: true },
).root.lookupType("AggregatedRecord");
