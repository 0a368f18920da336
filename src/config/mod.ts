// What the CLI, create-connector and embedders may use of this room.

export {
  inspectConfigFile,
  type Inspection,
  loadConfigFile,
  parseConfig,
  type ParseConfigOptions,
} from "./load.ts";
export { listNotYet, refuseNotYet } from "./not-yet.ts";
export { fullTopicName } from "./names.ts";
export { jsonSchema } from "./json-schema.ts";
export { configTables } from "./tables.ts";
export { hideUserInfo, redact, secretPaths } from "./secrets.ts";
export { parseTime } from "./times.ts";
export type { ConfigInput } from "./schema.ts";
export type { AwsCredentials, Config, HookConfig, ServiceAccess } from "./types.ts";
