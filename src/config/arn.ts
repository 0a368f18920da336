// ARNs of Kinesis streams and fan-out consumers, taken apart.

/** A Kinesis ARN. */
export interface KinesisArn {
  readonly region: string;
  readonly account: string;
  readonly streamName: string;
  /** Of a consumer's ARN. */
  readonly consumerName?: string | undefined;
  /** The stream's own ARN. */
  readonly streamArn: string;
}

const KINESIS_ARN =
  /^(arn:[a-z0-9-]+:kinesis:([a-z0-9-]+):(\d{12}):stream\/([A-Za-z0-9_.-]{1,128}))(?:\/consumer\/([A-Za-z0-9_.-]+)(?::\d+)?)?$/;

/** The parts of a stream's or consumer's ARN, `undefined` for anything else. */
export function parseKinesisArn(arn: string): KinesisArn | undefined {
  const match = KINESIS_ARN.exec(arn.trim());
  if (!match) return undefined;
  const [, streamArn, region, account, streamName, consumerName] = match as unknown as [string, ...string[]];
  return { region: region!, account: account!, streamName: streamName!, consumerName, streamArn: streamArn! };
}
