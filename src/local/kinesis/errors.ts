// The errors of the service in AWS's own words: clients (and people) match on these names and texts, so
// they live in one place. Invariant: a refused request has changed nothing.

/** An error as the service answers it: `__type`, `message` and the HTTP status. */
export class KinesisError extends Error {
  override readonly name: string;
  /** HTTP status; AWS answers 400 for everything that is the client's fault. */
  readonly status: number;

  constructor(name: string, message: string, status = 400) {
    super(message);
    this.name = name;
    this.status = status;
  }
}

/** ResourceNotFoundException for a stream. */
export function streamNotFound(name: string, accountId: string): KinesisError {
  return new KinesisError(
    "ResourceNotFoundException",
    `Stream ${name} under account ${accountId} not found.`,
  );
}

/** ResourceNotFoundException for a shard as GetShardIterator and GetRecords say it. */
export function shardNotFound(shardId: string, stream: string, accountId: string): KinesisError {
  return new KinesisError(
    "ResourceNotFoundException",
    `Shard ${shardId} in stream ${stream} under account ${accountId} does not exist`,
  );
}

/** ResourceNotFoundException for a shard as SplitShard and MergeShards say it. */
export function noSuchShard(shardId: string, stream: string, accountId: string): KinesisError {
  return new KinesisError(
    "ResourceNotFoundException",
    `Could not find shard ${shardId} in stream ${stream} under account ${accountId}.`,
  );
}

/** ProvisionedThroughputExceededException for one shard. */
export function rateExceeded(shardId: string, stream: string, accountId: string): KinesisError {
  return new KinesisError(
    "ProvisionedThroughputExceededException",
    `Rate exceeded for shard ${shardId} in stream ${stream} under account ${accountId}.`,
  );
}

/** InvalidArgumentException. */
export function invalidArgument(message: string): KinesisError {
  return new KinesisError("InvalidArgumentException", message);
}

/** ValidationException with text of our own (what is said of single fields is made in validation.ts). */
export function validationError(message: string): KinesisError {
  return new KinesisError("ValidationException", message);
}

/** ResourceInUseException of a stream that is being created, changed or deleted. */
export function notActive(stream: string, status: string, accountId: string): KinesisError {
  return new KinesisError(
    "ResourceInUseException",
    `Stream ${stream} under account ${accountId} not ACTIVE, instead in state ${status}`,
  );
}

/** ExpiredIteratorException; both times in epoch milliseconds. */
export function expiredIterator(createdAt: number, now: number, lifeMs: number): KinesisError {
  return new KinesisError(
    "ExpiredIteratorException",
    `Iterator expired. The iterator was created at time ${javaDate(createdAt)} while right now it is ` +
      `${javaDate(now)} which is further in the future than the tolerated delay of ${lifeMs} milliseconds.`,
  );
}

// "Thu Jan 22 01:22:02 UTC 2015", as Java prints dates.
function javaDate(ms: number): string {
  const [, day, date, month, year, time] =
    /^(\w+), (\d+) (\w+) (\d+) (\S+) GMT$/.exec(new Date(ms).toUTCString()) ??
      [];
  return `${day} ${month} ${date} ${time} UTC ${year}`;
}
