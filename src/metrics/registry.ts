// Counters and gauges of one connector, with labels. Pure: no clock, no output; whoever shows them takes a
// snapshot. Whoever counts keeps the counter, so that counting is one addition.

/** Names and values that tell the series of one metric apart. */
export type Labels = Readonly<Record<string, string>>;

/** A number that only grows. */
export interface Counter {
  readonly value: number;
  /** @param by at least 0. @default 1 @throws RangeError */
  add(by?: number): void;
}

/** A number that goes up and down. */
export interface Gauge {
  readonly value: number;
  /** @throws RangeError when not finite */
  set(value: number): void;
}

/** One series as it stands. */
export interface SeriesSnapshot {
  readonly labels: Labels;
  readonly value: number;
}

/** One metric as it stands. */
export interface MetricSnapshot {
  readonly name: string;
  readonly kind: "counter" | "gauge";
  readonly help: string;
  /** In order of creation. */
  readonly series: readonly SeriesSnapshot[];
}

const NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

class Series implements Counter, Gauge {
  value = 0;
  readonly #what: string;
  readonly labels: Labels;

  constructor(what: string, labels: Labels) {
    this.#what = what;
    this.labels = labels;
  }

  add(by = 1): void {
    if (!(by >= 0 && by < Infinity)) throw new RangeError(`${this.#what} can only grow, not by ${by}`);
    this.value += by;
  }

  set(value: number): void {
    if (!Number.isFinite(value)) throw new RangeError(`${this.#what} must be a finite number, not ${value}`);
    this.value = value;
  }
}

interface Metric {
  readonly kind: "counter" | "gauge";
  help: string;
  readonly series: Map<string, Series>;
}

/** The metrics of one connector. */
export class MetricsRegistry {
  readonly #metrics = new Map<string, Metric>();

  /**
   * The counter of this name and these labels; always the same object.
   * @throws TypeError for a name that no metric may have, or that is a gauge's
   */
  counter(name: string, labels: Labels = {}, help = ""): Counter {
    return this.#series("counter", name, labels, help);
  }

  /** The gauge of this name and these labels; as {@link MetricsRegistry.counter}. */
  gauge(name: string, labels: Labels = {}, help = ""): Gauge {
    return this.#series("gauge", name, labels, help);
  }

  /** All metrics, sorted by name. */
  snapshot(): MetricSnapshot[] {
    return [...this.#metrics]
      .sort(([a], [b]) => a < b ? -1 : 1)
      .map(([name, { kind, help, series }]) => ({
        name,
        kind,
        help,
        series: [...series.values()].map(({ labels, value }) => ({ labels, value })),
      }));
  }

  /** Forgets the series that carry these labels (a shard that is finished). */
  remove(labels: Labels): void {
    const wanted = Object.entries(labels);
    for (const { series } of this.#metrics.values()) {
      for (const [key, one] of series) {
        if (wanted.every(([name, value]) => one.labels[name] === value)) series.delete(key);
      }
    }
  }

  #series(kind: "counter" | "gauge", name: string, labels: Labels, help: string): Series {
    let metric = this.#metrics.get(name);
    if (metric === undefined) {
      if (!NAME.test(name)) {
        throw new TypeError(`"${name}" is no name for a metric: use letters, digits and _`);
      }
      metric = { kind, help, series: new Map() };
      this.#metrics.set(name, metric);
    } else if (metric.kind !== kind) {
      throw new TypeError(`the metric ${name} is a ${metric.kind} already, it cannot be a ${kind}`);
    }
    metric.help ||= help;
    const key = keyOf(labels);
    let series = metric.series.get(key);
    if (series === undefined) {
      series = new Series(`the ${kind} ${name}`, { ...labels });
      metric.series.set(key, series);
    }
    return series;
  }
}

function keyOf(labels: Labels): string {
  const names = Object.keys(labels).sort();
  for (const name of names) {
    if (!NAME.test(name)) throw new TypeError(`"${name}" is no name for a label: use letters, digits and _`);
  }
  return JSON.stringify(names.map((name) => [name, labels[name]]));
}
