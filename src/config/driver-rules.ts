// What the driver "pulsar-client" cannot do, refused by name: nobody shall find out from keys in wrong partitions.

import type { Findings } from "./findings.ts";
import type { Settings } from "./schema.ts";

/** Checks [pulsar] against its driver. */
export function checkDriver(pulsar: Settings["pulsar"], findings: Findings): void {
  if (pulsar.driver !== "pulsar-client") return;
  const refuse = (key: string, what: string, why: string): void =>
    findings.problem(
      ["pulsar", key],
      `${what} cannot work with pulsar.driver = "pulsar-client"${why}, or use pulsar.driver = "builtin"`,
    );
  if (pulsar.delivery === "effectively-once") {
    refuse(
      "delivery",
      ' = "effectively-once"',
      ', which is at-least-once only: use "at-least-once"',
    );
  }
  // pulsar-client-cpp hashes signed UTF-8 bytes, Java UTF-16 units: they differ beyond ASCII.
  if (pulsar.hashingScheme === "JavaStringHash") {
    refuse(
      "hashingScheme",
      ' = "JavaStringHash"',
      ', which hashes keys beyond ASCII otherwise than Java: use "Murmur3_32Hash"',
    );
  }
  // Its URLs are taken apart by an expression that knows names and IPv4 only.
  if (pulsar.serviceUrl?.includes("[")) {
    refuse("serviceUrl", " with an IPv6 address", ", which does not read it: use a host name");
  }
}
