// Encrypted connections. Invariants: the broker's certificate is always judged by its chain, and by the name that was
// dialled unless that is switched off; no session is kept, so each connection is judged anew and by the files of now.

import { isIP } from "node:net";
import { connect } from "node:tls";
import type { Clock } from "../core/clock.ts";
import { readTlsFiles, type TlsOptions } from "./tls-files.ts";
import { openTransport, tcpTransport, type TransportFactory } from "./transport.ts";

/** Plain TCP for pulsar://, TLS 1.2 or newer for pulsar+ssl://. Rejects with CONFIG_INVALID for a file. */
export function pulsarTransport(options: TlsOptions, clock: Clock): TransportFactory {
  return async (address, events, signal) => {
    if (!address.tls) return await tcpTransport(address, events, signal);
    const { host, port } = address;
    const material = await readTlsFiles(options, clock.now());
    const dial = () =>
      connect({
        host,
        port,
        minVersion: "TLSv1.2",
        // RFC 6066 §3: no IP literals as server name; the certificate is then compared with `host`.
        ...isIP(host) === 0 ? { servername: host } : {},
        ...options.verifyHostname === false ? { checkServerIdentity: () => undefined } : {},
        ...material,
      });
    return await openTransport(dial, "secureConnect", events, signal);
  };
}
