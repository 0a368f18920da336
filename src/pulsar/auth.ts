// How a connection says who we are. Only "none" so far; tokens, OAuth2, basic and TLS come behind the same supplier.

/** Gives what CONNECT and AUTH_RESPONSE carry; asked anew at each connection and each challenge. */
export interface AuthSupplier {
  /** Pulsar's auth_method_name. */
  readonly method: string;
  /** Never logged. */
  authData(): Promise<Uint8Array | undefined>;
}

/** No authentication. */
export const noAuth: AuthSupplier = { method: "none", authData: () => Promise.resolve(undefined) };
