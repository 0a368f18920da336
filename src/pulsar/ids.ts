// Numbers that are unique in one client: brokers answer by request id, and know producers by producer id.

/** Counters of one sink. */
export class ClientIds {
  #request = 0;
  #producer = 0;

  nextRequestId(): number {
    return this.#request++;
  }

  nextProducerId(): number {
    return this.#producer++;
  }
}
