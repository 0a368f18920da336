// Metrics as text that Prometheus reads (its text exposition format, version 0.0.4). Own code, because the registry
// that counts is ours: prom-client would keep every number a second time, and this is all that it would add.

import type { Labels, MetricSnapshot } from "./registry.ts";

/** The media type of {@link prometheusText}. */
export const PROMETHEUS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** What is added to every metric. */
export interface ExpositionOptions {
  /** Before each name, but not before those of the process that have standard names (`process_…`). */
  readonly prefix: string;
  /** On each series of a prefixed metric; a metric's own label of the same name wins. */
  readonly labels: Labels;
}

const STANDARD = /^process_/;

/** One page of text. Of two metrics with the same name the first counts. */
export function prometheusText(metrics: readonly MetricSnapshot[], options: ExpositionOptions): string {
  const lines: string[] = [];
  const told = new Set<string>();
  for (const { name, kind, help, series } of metrics) {
    const isStandard = STANDARD.test(name);
    const full = isStandard ? name : `${options.prefix}${name}`;
    if (told.has(full) || series.length === 0) continue;
    told.add(full);
    if (help !== "") lines.push(`# HELP ${full} ${escapeHelp(help)}`);
    lines.push(`# TYPE ${full} ${kind}`);
    for (const { labels, value } of series) {
      lines.push(`${full}${labelText(isStandard ? labels : { ...options.labels, ...labels })} ${value}`);
    }
  }
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function escapeLabel(value: string): string {
  return escapeHelp(value).replaceAll('"', '\\"');
}
