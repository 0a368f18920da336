// An OAuth2 client's id and secret in a JSON file, as other Pulsar clients take it: a path, or the file itself as a
// `data:` URL. Read for each token, so that a new secret counts at once; its text is in no error.

import { Buffer } from "node:buffer";
import { readFile } from "node:fs/promises";
import { ConnectorError } from "../../core/errors.ts";
import type { OAuth2Options } from "./oauth2.ts";

/** `pulsar.auth.keyFile`: a path or a `data:` URL, read for each token. */
export function keyFileSource(keyFile: string): Pick<OAuth2Options, "source" | "client"> {
  const isData = keyFile.startsWith("data:");
  const source = `pulsar.auth.keyFile (${isData ? "a data: URL" : keyFile})`;
  const where = { key: "pulsar.auth.keyFile", file: isData ? undefined : keyFile };
  const fault = (what: string): ConnectorError =>
    new ConnectorError(`no OAuth2 client from ${source}: ${what}`, { code: "CONFIG_INVALID", where });
  return {
    source,
    async client() {
      let text: string;
      try {
        text = isData ? dataOf(keyFile) : await readFile(keyFile, "utf8");
      } catch (error) {
        const { code } = error as { code?: string };
        throw fault(
          code === "ENOENT" ? "there is no such file" : `it cannot be read (${code ?? "broken data"})`,
        );
      }
      const { client_id: clientId, client_secret: clientSecret } = parsed(text, fault);
      if (typeof clientId !== "string" || typeof clientSecret !== "string" || !clientId || !clientSecret) {
        throw fault('it must be a JSON object with "client_id" and "client_secret"');
      }
      return { clientId, clientSecret };
    },
  };
}

function parsed(text: string, fault: (what: string) => ConnectorError): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch {
    // The parser's words may quote the secret.
  }
  throw fault("it is not valid JSON");
}

/** RFC 2397. */
function dataOf(url: string): string {
  const match = /^data:([^,]*),([\s\S]*)$/.exec(url);
  if (match === null) throw new Error("no data: URL");
  const [, type = "", data = ""] = match;
  return /;\s*base64\s*$/i.test(type) ? Buffer.from(data, "base64").toString() : decodeURIComponent(data);
}
