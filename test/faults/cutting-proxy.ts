// A TCP proxy between a producer and a broker that cuts a connection inside a chosen frame, after a chosen number of
// its bytes. Lookups are answered with the proxy's own address, so that nothing goes past it. Invariant: what comes
// before the cut arrives, in order and unchanged (but for those lookup answers); behind it nothing does.

import { Buffer } from "node:buffer";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { decodeCommand, encodeCommand } from "../../src/pulsar/wire/frames.ts";
import type { CommandName } from "../../src/pulsar/wire/commands.ts";
import { FrameSplitter } from "../../src/pulsar/wire/splitter.ts";
import type { Scope } from "../e2e/kit.ts";

/** A frame on its way through the proxy. */
export interface PassingFrame {
  /** Of its command; undefined for one that is not known here. */
  readonly name: CommandName | undefined;
  /** The whole frame: a view that is valid during the call. */
  readonly bytes: Buffer;
}

/** A running proxy. */
export interface CuttingProxy {
  readonly serviceUrl: string;
  /** Connections that were cut. */
  readonly cuts: number;
  /**
   * Asked for each frame of either direction: after how many of its bytes the connection is cut (all of them: behind
   * the frame); undefined lets it pass.
   */
  cut: ((frame: PassingFrame) => number | undefined) | undefined;
}

/** Starts one in front of a broker; it ends with the scope. */
export async function startCuttingProxy(scope: Scope, brokerUrl: string): Promise<CuttingProxy> {
  const target = new URL(brokerUrl);
  const sockets = new Set<Socket>();
  let ownUrl = "";
  let cuts = 0;
  const server = createServer((client) => {
    const broker = connect(Number(target.port), target.hostname);
    const ends = [client, broker] as const;
    let isCut = false;
    const pass = (from: Socket, to: Socket) => {
      const splitter = new FrameSplitter((frame) => {
        if (isCut) return;
        const command = decodeCommand(frame);
        const bytes = command?.name === "LOOKUP_RESPONSE" ? withAddress(frame, ownUrl) : Buffer.from(frame);
        const after = proxy.cut?.({ name: command?.name, bytes });
        if (after === undefined) return void to.write(bytes);
        isCut = true;
        cuts++;
        to.end(bytes.subarray(0, after)); // what was let through arrives before the end does
        from.destroy();
      });
      from.on("data", (chunk) => splitter.push(chunk));
      from.on("end", () => to.end());
    };
    for (const socket of ends) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.once("close", () => {
        sockets.delete(socket);
        // A cut one goes when the other side has seen the end of what was let through.
        if (!isCut) { for (const end of ends) end.destroy(); }
      });
    }
    pass(client, broker);
    pass(broker, client);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ownUrl = `pulsar://127.0.0.1:${(server.address() as AddressInfo).port}`;
  scope.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const proxy: CuttingProxy = {
    serviceUrl: ownUrl,
    get cuts() {
      return cuts;
    },
    cut: undefined,
  };
  return proxy;
}

/** The broker's lookup answer as the client gets it. */
function withAddress(frame: Buffer, url: string): Buffer {
  const command = decodeCommand(frame);
  if (command?.name !== "LOOKUP_RESPONSE" || command.brokerServiceUrl === undefined) {
    return Buffer.from(frame);
  }
  const { name: _, ...fields } = command;
  return encodeCommand("LOOKUP_RESPONSE", { ...fields, brokerServiceUrl: url });
}
