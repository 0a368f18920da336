// HTTP/2 sessions that are destroyed between frames, never inside of one.

import { setImmediate } from "node:timers";

/**
 * Makes `destroy()` of an HTTP/2 session take effect a turn of the event loop later. node:http2 destroys a session as it
 * takes in a GOAWAY (at once when it has no streams, or when the GOAWAY tells an error). Deno 2.9.6 then frees memory
 * that its HTTP/2 library still reads, and sometimes the process ends by a failed assertion or a segmentation fault
 * (denoland/deno issue 36788). Node has had faults of the same kind. Call it before the session has got a frame.
 */
export function destroyLate<Session extends { destroy(...args: never[]): void }>(session: Session): Session {
  const destroy = session.destroy.bind(session);
  session.destroy = (...args) => void setImmediate(() => destroy(...args));
  return session;
}
