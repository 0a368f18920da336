// How a connection says who we are: the port between connections and the ways to credentials (open.ts).

/** Gives what CONNECT and AUTH_RESPONSE carry; asked anew at each connection and each challenge. */
export interface AuthSupplier {
  /** Pulsar's auth_method_name: "none", "token" (OAuth2 too), "basic" or "tls". */
  readonly method: string;
  /** Where the credentials come from, for errors: `pulsar.auth.file (/run/token)`. */
  readonly source: string;
  /**
   * Never logged; absent where the method has none.
   * @throws ConnectorError CONFIG_INVALID (a file, a variable), PULSAR_NOT_AUTHORIZED (retryable where somebody did
   * not answer); its words name the source and never show the value
   */
  authData(): Promise<Uint8Array | undefined>;
  /** A broker did not accept what was given last: it is not given again out of a cache. */
  refused?(): void;
  /** Ends what works in the background. */
  close?(): void;
}

/** No authentication. */
export const noAuth: AuthSupplier = {
  method: "none",
  source: 'pulsar.auth.type = "none"',
  authData: () => Promise.resolve(undefined),
};
