// An answer that is made while it is sent. The transport asks for the next piece only when the client has taken
// the one before: what nobody reads is not made, so an unread stream costs no memory.

/** What a transport shall do next. */
export type StreamPiece =
  /** Send this. */
  | { readonly kind: "bytes"; readonly chunks: readonly Uint8Array[] }
  /** The answer is complete. */
  | { readonly kind: "end" }
  /** Close the connection without an end: all that goes over it breaks. */
  | { readonly kind: "cut" }
  /** Break off this answer only; over HTTP/1.1, which has one answer at a time, the same as a cut. */
  | { readonly kind: "reset" };

/** A body that is made while it is sent. */
export interface StreamBody {
  /** The next piece. Not asked for again after any other kind than bytes. */
  next(): Promise<StreamPiece>;
  /** Nobody takes any more: called once, at the end too. A waiting `next` then answers at once. */
  close(): void;
}
