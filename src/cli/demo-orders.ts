// The demo's little shop: orders that are put into the Kinesis stream, and the book of which of them have arrived
// in Pulsar. Every order has an id of its own, so that a lost one, a late one and a repeated one are told apart.

/** What the hook of the demo does; shown to the user and loaded as it stands. */
export const DEMO_HOOK = `export default {
  onRecord(record) {
    const order = record.json();
    if (order.customer === "test") return null;               // drop
    const total = (order.quantity * order.price).toFixed(2);  // enrich
    return { ...record.message, key: order.customer, data: { ...order, total } };
  },
};
`;

/** An order as it is put into the stream. */
export interface Order {
  readonly id: string;
  readonly customer: string;
  readonly item: string;
  readonly quantity: number;
  readonly price: number;
}

const CUSTOMERS = ["ada", "grace", "edsger", "barbara", "donald", "tony", "margaret", "test"];
const ITEMS: readonly (readonly [string, number])[] = [
  ["tea", 4.5],
  ["coffee", 7.25],
  ["a lamp", 39],
  ["pencils", 2.8],
  ["a kettle", 54.9],
  ["chess", 31.5],
];

/** Makes orders and keeps the book. */
export class OrderBook {
  readonly #random: () => number;
  readonly #run: string;
  readonly #missing = new Set<string>();
  readonly #delivered = new Set<string>();
  #put = 0;
  #dropped = 0;
  #repeated = 0;

  /** @param run a word that no other demo uses at the same time */
  constructor(run: string, random: () => number) {
    this.#run = run;
    this.#random = random;
  }

  /** Orders made so far. */
  get put(): number {
    return this.#put;
  }
  /** Of them, those that the hook drops on purpose. */
  get dropped(): number {
    return this.#dropped;
  }
  /** Different orders that arrived. */
  get delivered(): number {
    return this.#delivered.size;
  }
  /** Arrivals of orders that had arrived before. */
  get repeated(): number {
    return this.#repeated;
  }
  /** Orders that must arrive and have not yet. */
  get missing(): number {
    return this.#missing.size;
  }

  /** A new order, which is now expected. */
  next(): Order {
    const customer = this.#pick(CUSTOMERS);
    const [item, price] = this.#pick(ITEMS);
    const order = {
      id: `${this.#run}-${++this.#put}`,
      customer,
      item,
      quantity: 1 + Math.floor(this.#random() * 5),
      price,
    };
    if (customer === "test") this.#dropped++;
    else this.#missing.add(order.id);
    return order;
  }

  /** Notes an arrival; false when it is none of this demo's orders. */
  arrived(id: string): boolean {
    if (this.#missing.delete(id)) this.#delivered.add(id);
    else if (this.#delivered.has(id)) this.#repeated++;
    else return false;
    return true;
  }

  #pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.#random() * from.length)]!;
  }
}
