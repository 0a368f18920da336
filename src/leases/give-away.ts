// Which leases a worker gives away of its own will. The KCL evens out by stealing alone, one lease per worker and 20 s:
// ten workers that join one with 1 000 shards would need half an hour, and repeat records for each. So a worker with
// more than its share drains, checkpoints and frees the surplus as soon as it sees others of this program with less:
// what is freed is free in the KCL's sense too, so any fleet stays in order.

import { balanceOf, shuffled, type TableView } from "./balance.ts";
import { neededByOurs } from "./take.ts";

/**
 * Keys of the leases to give up now, in a random order. Never below the own share, never more than what others of this
 * program lack (KCL workers would look for it only every 20 s), never while anything is free: so each one given away
 * makes the spread smaller, and an even one is left alone.
 */
export function leasesToGiveAway(view: TableView, random: () => number): string[] {
  const balance = balanceOf(view);
  const { own, free, mine, target, counts } = balance;
  const surplus = mine - target;
  if (surplus <= 0 || own.length > 0 || free.length > 0) return [];
  const needed = neededByOurs(balance, view.workerId);
  if (needed === 0) return [];
  let allSurplus = 0;
  for (const count of counts.values()) allSurplus += Math.max(0, count - target);
  // Others with a surplus give their part; the rest of a division by lot.
  const part = surplus * Math.min(1, needed / allSurplus);
  const number = Math.floor(part) + (random() < part % 1 ? 1 : 0);
  const keeps = [...view.held].filter((key) => view.leaving?.has(key) !== true);
  return shuffled(keeps, random).slice(0, number);
}
