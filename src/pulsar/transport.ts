// Byte streams to brokers: a transport knows bytes, not frames. Here is plain TCP, and how any socket becomes a
// transport; tls-transport.ts makes encrypted ones. No other file opens sockets to Pulsar.

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

/** Why a connection ended whose peer said nothing of it. */
export const CLOSED_BY_PEER = "the peer closed the connection";

// Connections through NATs and firewalls, beside the protocol's own PING.
const TCP_KEEPALIVE_MS = 60_000;

/** Plain TCP. */
export const tcpTransport: TransportFactory = ({ host, port }, events, signal) =>
  openTransport(() => connect({ host, port }), "connect", events, signal);

/** The transport of a socket, as soon as the socket says by `ready` that it is open. */
export function openTransport(
  dial: () => Socket,
  ready: "connect" | "secureConnect",
  events: TransportEvents,
  signal: AbortSignal,
): Promise<Transport> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const socket = dial();
    socket.setNoDelay(true); // a frame is written whole: there is nothing to gather
    socket.setKeepAlive(true, TCP_KEEPALIVE_MS);
    let reason = new Error(CLOSED_BY_PEER);
    const abort = (): void => {
      socket.destroy(signal.reason instanceof Error ? signal.reason : new Error("aborted"));
    };
    signal.addEventListener("abort", abort, { once: true });
    socket.on("error", (error) => reason = error);
    const failed = (): void => {
      signal.removeEventListener("abort", abort);
      reject(reason);
    };
    socket.once("close", failed);
    socket.once(ready, () => {
      signal.removeEventListener("abort", abort);
      socket.off("close", failed);
      const closed = (): void => events.closed(reason);
      socket.once("close", closed);
      socket.on("data", (chunk) => events.data(chunk as Uint8Array));
      resolve(socketTransport(socket, () => socket.off("close", closed)));
    });
  });
}

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
