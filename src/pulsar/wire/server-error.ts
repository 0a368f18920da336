// The error numbers that brokers put into ERROR, SEND_ERROR and failed lookups (PulsarApi.proto, ServerError).
// What follows from one is decided in src/pulsar/errors.ts.

export const SERVER_ERROR = {
  UnknownError: 0,
  MetadataError: 1,
  PersistenceError: 2,
  AuthenticationError: 3,
  AuthorizationError: 4,
  ConsumerBusy: 5,
  ServiceNotReady: 6,
  ProducerBlockedQuotaExceededError: 7,
  ProducerBlockedQuotaExceededException: 8,
  ChecksumError: 9,
  UnsupportedVersionError: 10,
  TopicNotFound: 11,
  SubscriptionNotFound: 12,
  ConsumerNotFound: 13,
  TooManyRequests: 14,
  TopicTerminatedError: 15,
  ProducerBusy: 16,
  InvalidTopicName: 17,
  IncompatibleSchema: 18,
  ConsumerAssignError: 19,
  TransactionCoordinatorNotFound: 20,
  InvalidTxnStatus: 21,
  NotAllowedError: 22,
  TransactionConflict: 23,
  TransactionNotFound: 24,
  ProducerFenced: 25,
} as const;

/** Name of a broker's error. */
export type ServerErrorName = keyof typeof SERVER_ERROR;

const NAMES = Object.keys(SERVER_ERROR) as ServerErrorName[];

/** The name of an error number; numbers of later protocol versions are "UnknownError". */
export function serverErrorName(number: number | undefined): ServerErrorName {
  return NAMES[number ?? 0] ?? "UnknownError";
}
