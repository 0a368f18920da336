// How this program names itself to AWS: operators find their connector in CloudTrail by `applicationName`.

// AWS ignores application ids that are longer.
const LONGEST_APP_ID = 50;

/** Who is calling. */
export interface UserAgent {
  readonly applicationName: string;
  /** Of this program. */
  readonly version: string;
}

/** The SDK's settings for it: `… app/My-application kinesis-pulsar/0.1.0`. */
export interface UserAgentConfig {
  readonly customUserAgent: [string, string][];
  readonly userAgentAppId?: string;
}

/**
 * The user agent as SDK configuration. Characters that AWS resource names do not take become `-`, as in the names
 * of table and consumer; a name that is too long for an application id is still sent whole.
 */
export function userAgentConfig(agent: UserAgent): UserAgentConfig {
  const name = agent.applicationName.replace(/[^A-Za-z0-9_.-]/gu, "-");
  const program: [string, string] = ["kinesis-pulsar", agent.version];
  if (name.length > LONGEST_APP_ID) return { customUserAgent: [program, ["app", name]] };
  return { customUserAgent: [program], userAgentAppId: name };
}
