// Rows that a Java connector (KCL 2.6.0, worker "0") wrote to its table `pulsar-kinesis`, attribute by attribute.

import type { LeaseItem } from "../../src/leases/row.ts";

const row = (
  shard: string,
  checkpoint: string,
  startingHashKey: string,
  endingHashKey: string,
): LeaseItem => ({
  checkpoint: { S: checkpoint },
  endingHashKey: { S: endingHashKey },
  leaseCounter: { N: "5" },
  ownerSwitchesSinceCheckpoint: { N: "0" },
  checkpointSubSequenceNumber: { N: "0" },
  leaseKey: { S: shard },
  startingHashKey: { S: startingHashKey },
  leaseOwner: { S: "0" },
});

export const JAVA_ROWS: readonly LeaseItem[] = [
  row(
    "shardId-000000000000",
    "49680476692410713352980978376493058687213697339282685954",
    "0",
    "85070591730234615865843651857942052862",
  ),
  row(
    "shardId-000000000001",
    "49680476692433014098179508999634594405486345700788666386",
    "85070591730234615865843651857942052863",
    "170141183460469231731687303715884105725",
  ),
  row(
    "shardId-000000000002",
    "49680476692455314843378039622776130123758994131014123554",
    "170141183460469231731687303715884105726",
    "255211775190703847597530955573826158588",
  ),
  row(
    "shardId-000000000003",
    "49680476692477615588576570245917665842031642492520103986",
    "255211775190703847597530955573826158589",
    "340282366920938463463374607431768211455",
  ),
];
