// Service URLs: pulsar://h1:6650,h2,[::1]:6650 — one scheme, several hosts, default ports 6650 and 6651 (TLS).

import { ConnectorError } from "../core/errors.ts";

/** One broker's (or proxy's) address. */
export interface BrokerAddress {
  /** Name or IP literal, without brackets. */
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
}

/** host:port, brackets around IPv6 literals. */
export function addressText(address: BrokerAddress): string {
  const { host, port } = address;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

const SCHEMES: Readonly<Record<string, { readonly tls: boolean; readonly port: number }>> = {
  "pulsar": { tls: false, port: 6650 },
  "pulsar+ssl": { tls: true, port: 6651 },
};
const HOST = /^(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([^\s[\]:@/?#]+))(?::(\d{1,5}))?$/;

/** The addresses of a service URL, at least one. Throws CONFIG_INVALID saying what is wrong. */
export function parseServiceUrl(url: string): readonly BrokerAddress[] {
  const match = /^([a-z+]+):\/\/([^/?#]*)/.exec(url.trim());
  const scheme = match?.[1] ?? "";
  if (scheme === "http" || scheme === "https") {
    throw invalid(
      url,
      "lookup over HTTP is not supported: use the broker's binary address, pulsar://host:6650",
    );
  }
  const known = SCHEMES[scheme];
  if (match === null || known === undefined) {
    throw invalid(
      url,
      "it has to start with pulsar:// or pulsar+ssl://, for example pulsar://localhost:6650",
    );
  }
  if (match[2]!.includes("@")) {
    throw invalid(url, "names and passwords do not belong there, see [pulsar].auth");
  }
  return match[2]!.split(",").map((text) => {
    const host = HOST.exec(text.trim());
    const port = host?.[3] === undefined ? known.port : Number(host[3]);
    if (host === null || port < 1 || port > 65535) {
      throw invalid(url, `"${text}" is no host, host:port or [IPv6]:port`);
    }
    return { host: (host[1] ?? host[2])!, port, tls: known.tls };
  });
}

/** An address that a broker named; undefined when it is none. */
export function brokerAddress(url: string): BrokerAddress | undefined {
  try {
    return parseServiceUrl(url)[0];
  } catch {
    return undefined; // the words for it would be about the configuration's service URL
  }
}

function invalid(url: string, why: string): ConnectorError {
  const shown = url.replace(/\/\/[^/@]*@/, "//…@"); // somebody may have put a password there
  return new ConnectorError(`the Pulsar service URL "${shown}" cannot be used: ${why}`, {
    code: "CONFIG_INVALID",
    where: { key: "pulsar.serviceUrl" },
  });
}
