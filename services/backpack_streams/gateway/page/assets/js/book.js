// One order book, kept by sequence. No screen and no socket in here.

import { compare, units } from "./decimal.js";

export const APPLIED = "applied";
export const OLD = "old";
export const MISMATCH = "mismatch";

/** One side: levels in order, best first, each `{key, price, size, amount}`; `key` and `amount` in units. */
class Side {
  constructor(isBids) {
    this.levels = [];
    this.sign = isBids ? -1 : 1;
  }

  replace(rows) {
    this.levels = rows.map(level).filter(({ amount }) => amount > 0n);
    this.levels.sort((left, right) => this.sign * compare(left.key, right.key));
  }

  apply(row) {
    const next = level(row);
    const at = this.position(next.key);
    const isThere = this.levels[at]?.key === next.key;
    if (next.amount > 0n) this.levels.splice(at, isThere ? 1 : 0, next);
    else if (isThere) this.levels.splice(at, 1);
  }

  /** Where `key` is, or would be. */
  position(key) {
    let low = 0;
    let high = this.levels.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.sign * compare(this.levels[middle].key, key) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** `[price, size]` or `{price, size}`, as updates and snapshots have them. Keyed by value: `86700` is `86700.0`. */
function level(row) {
  const [price, size] = Array.isArray(row) ? row : [row.price, row.size];
  return { key: units(price), price, size, amount: units(size) };
}

/** A sequence as text; empty for that of a book without updates so far, which BigInt reads as 0. */
const name = (sequence) => String(sequence ?? "");

export class Book {
  constructor(symbol) {
    this.symbol = symbol;
    this.bids = new Side(true);
    this.asks = new Side(false);
    this.sequence = null; // before the first snapshot
    this.status = null;
    this.reason = null;
    this.asOf = null;
  }

  /** Take a whole book. */
  snapshot(sequence, data) {
    this.bids.replace(data.bids ?? []);
    this.asks.replace(data.asks ?? []);
    this.sequence = name(sequence);
    this.#state(data);
  }

  /** Take an update: APPLIED; OLD if the book includes it already; MISMATCH if one before it is missing. */
  update(sequence, previous, data) {
    if (this.sequence === null) return MISMATCH;
    if (name(previous) !== this.sequence) {
      return BigInt(sequence ?? 0) <= BigInt(this.sequence) ? OLD : MISMATCH;
    }
    for (const row of data.bids ?? []) this.bids.apply(row);
    for (const row of data.asks ?? []) this.asks.apply(row);
    this.sequence = name(sequence);
    this.#state(data);
    return APPLIED;
  }

  #state(data) {
    this.status = data.book_status ?? this.status;
    this.reason = data.reason ?? null;
    this.asOf = data.as_of ?? this.asOf;
  }
}
