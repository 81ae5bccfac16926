// What the page knows of all markets and of the plant. The socket and REST write it; the views read it.

import { divide, places, units } from "./decimal.js";
import { Events } from "./events.js";

const PLANT_HOLDS_MS = 10_000;

class Market {
  constructor(row) {
    this.symbol = row.symbol;
    this.row = row;
    this.ticker = null;
    this.mark = null;
    this.status = null;
    this.reason = null;
    this.digits = 0;
  }

  setTicker(row) {
    this.ticker = row;
    const { last_price: last, first_price: first, high, low } = row;
    this.digits = Math.max(this.digits, ...[last, first, high, low].map(places));
  }

  get price() {
    return this.ticker?.last_price ?? this.mark?.mark_price ?? null;
  }

  /** The change of 24 hours in units, 1 = 100 %; null where nothing was traded. */
  get change() {
    const first = units(this.ticker?.first_price);
    const last = units(this.ticker?.last_price);
    return first === null || last === null ? null : divide(last - first, first);
  }
}

/** Events: `markets` (the list changed), `market` (symbol), `plant`, `connection`, `heartbeat`. */
export class State extends Events {
  markets = new Map();
  plant = null;
  plantError = null;
  isPlantCurrent = false;
  #plantHeardAt = 0;
  heartbeat = null;
  isConnected = false;
  hasConnected = false;
  connectionReason = "";

  setMarkets(rows) {
    const kept = this.markets;
    this.markets = new Map(rows.map((row) => [row.symbol, kept.get(row.symbol) ?? new Market(row)]));
    for (const row of rows) this.markets.get(row.symbol).row = row;
    this.tell("markets");
  }

  /** A row of `ticker` or `mark_price`. */
  setRow(channel, symbol, row) {
    const market = this.markets.get(symbol);
    if (!market || !row) return;
    if (channel === "ticker") market.setTicker(row);
    else market.mark = row;
    this.tell("market", symbol);
  }

  setPlant(plant) {
    this.plant = plant;
    this.plantError = null;
    this.isPlantCurrent = true;
    this.#plantHeardAt = performance.now();
    this.showStatuses();
    this.tell("plant");
  }

  setPlantError(words) {
    this.plantError = words;
    this.#forgetStatuses();
    this.tell("plant");
  }

  /** Gives the markets the statuses of the plant, if that is current. */
  showStatuses() {
    if (!this.isPlantCurrent) return;
    const { statuses = {}, not_live: notLive = [] } = this.plant.books ?? {};
    const reasons = new Map(notLive.map((each) => [each.symbol, each.reason]));
    for (const { symbol } of this.markets.values()) {
      this.setStatus(symbol, statuses[symbol] ?? null, reasons.get(symbol) ?? null);
    }
  }

  setStatus(symbol, status, reason) {
    const market = this.markets.get(symbol);
    if (!market || (market.status === status && market.reason === reason)) return;
    market.status = status;
    market.reason = reason;
    this.tell("market", symbol);
  }

  setConnected(isConnected, reason = "") {
    this.isConnected = isConnected;
    this.hasConnected ||= isConnected;
    this.connectionReason = reason;
    if (!isConnected) this.#forgetStatuses();
    this.tell("connection");
  }

  /** Nothing proves a book while nobody speaks to us. */
  #forgetStatuses() {
    this.isPlantCurrent = false;
    for (const symbol of this.markets.keys()) this.setStatus(symbol, null, null);
  }

  setHeartbeat(message) {
    const heardAt = performance.now();
    this.heartbeat = { ...message, heardAt };
    // A hidden tab hears heartbeats, but does not ask for the plant.
    if (this.isPlantCurrent && heardAt - this.#plantHeardAt > PLANT_HOLDS_MS) this.#forgetStatuses();
    this.tell("heartbeat");
  }
}
