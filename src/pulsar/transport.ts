// The only file that opens sockets to Pulsar. A transport knows bytes, not frames; TLS will be another factory.

import { connect, type Socket } from "node:net";
import type { BrokerAddress } from "./service-url.ts";

/** An open byte stream. */
export interface Transport {
  /**
   * Writes the frames in one go. `flushed` is called, later, when none of their bytes is left in this process
   * (never when the stream closes before).
   */
  write(frames: readonly Uint8Array[], flushed: () => void): void;
  /** Closes at once, unsent bytes are given up; `closed` is not called any more. */
  destroy(): void;
}

/** What a transport reports. */
export interface TransportEvents {
  data(chunk: Uint8Array): void;
  /** By the peer or by a fault; once. */
  closed(reason: Error): void;
}

/** Opens a transport; rejects when that fails or the signal aborts first. */
export type TransportFactory = (
  address: BrokerAddress,
  events: TransportEvents,
  signal: AbortSignal,
) => Promise<Transport>;

/** Plain TCP. */
export const tcpTransport: TransportFactory = (address, events, signal) =>
  new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const { host, port } = address;
    // A frame is written whole, so there is nothing to gather (noDelay). keepAlive: idle connections through
    // NATs and firewalls, beside the protocol's own PING.
    const socket = connect({ host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 });
    let reason = new Error("the peer closed the connection");
    const abort = (): void => {
      socket.destroy(signal.reason instanceof Error ? signal.reason : new Error("aborted"));
    };
    signal.addEventListener("abort", abort, { once: true });
    socket.on("error", (error) => reason = error);
    const failed = (): void => reject(reason);
    socket.once("close", failed);
    socket.once("connect", () => {
      signal.removeEventListener("abort", abort);
      socket.off("close", failed);
      const closed = (): void => events.closed(reason);
      socket.once("close", closed);
      socket.on("data", (chunk) => events.data(chunk as Uint8Array));
      resolve(socketTransport(socket, () => socket.off("close", closed)));
    });
  });

function socketTransport(socket: Socket, silence: () => void): Transport {
  return {
    write(frames, flushed) {
      const last = frames.length - 1;
      if (last > 0) socket.cork();
      for (let i = 0; i < last; i++) socket.write(frames[i]!);
      socket.write(frames[last]!, (error) => {
        if (!error) flushed();
      });
      if (last > 0) socket.uncork();
    },
    destroy() {
      silence();
      socket.destroy();
    },
  };
}
