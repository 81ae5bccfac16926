// One market: what of the stream belongs to which part of it, and whether its book is current.

import { APPLIED, Book, MISMATCH } from "./book.js";
import { Candles } from "./candles.js";
import { multiply, text, units } from "./decimal.js";
import { DepthChart } from "./depth-chart.js";
import { byId, setAttribute, setData, setHidden, setText } from "./dom.js";
import { Facts } from "./facts.js";
import { compact, direction, percent, price } from "./figures.js";
import { inNextFrame } from "./frame.js";
import { Ladder, showLadderLegend } from "./ladder.js";
import { Perpetual } from "./perpetual.js";
import { Tape } from "./tape.js";

const DEPTH = 100;
const ARROWS = { up: "▲ ", down: "▼ ", flat: "" };

export class MarketView {
  #symbol = null;
  #book = null;
  #isAsked = false;
  #isProven = false; // by what came on the socket that there is

  constructor(state, stream, announce) {
    this.state = state;
    this.stream = stream;
    this.announce = announce;
    this.facts = new Facts(byId("market-facts"), ["High", "Low", "Volume", "Trades", "Open interest"]);
    this.ladder = new Ladder(() => this.#paintSoon());
    this.depth = new DepthChart();
    this.candles = new Candles(() => this.#followCandles());
    this.tape = new Tape();
    this.perpetual = new Perpetual();
    state.on("market", (symbol) => symbol === this.#symbol && inNextFrame(this.#paintFacts));
    state.on("markets", () => inNextFrame(this.#paintFacts));
    state.on("connection", () => {
      if (!state.isConnected) this.#isProven = false;
      this.#paintSoon();
    });
  }

  /** Shows a market, or none. */
  open(symbol) {
    if (symbol === this.#symbol) return;
    this.close();
    this.#symbol = symbol;
    this.#book = new Book(symbol);
    this.#isAsked = false;
    this.ladder.reset();
    this.tape.snapshot([]);
    this.perpetual.reset(symbol.endsWith("PERP"));
    setAttribute(byId("market"), "data-perp", symbol.endsWith("PERP") ? "" : null);
    setText(byId("market-name"), symbol.replaceAll("_", " "));
    this.stream.want("book", { channels: ["book"], symbols: [symbol], depth: DEPTH });
    this.stream.want("trades", { channels: ["trades"], symbols: [symbol] });
    this.#followCandles();
    const mark = this.state.markets.get(symbol)?.mark;
    if (mark) this.perpetual.update(mark);
    this.#paintFacts();
    this.#paintSoon();
  }

  close() {
    for (const name of ["book", "trades", "candles"]) this.stream.drop(name);
    this.candles.stop();
    this.#symbol = this.#book = null;
  }

  /** After a new connection: candles may have closed while there was none, and a snapshot that was asked for is lost. */
  reload() {
    this.#isAsked = false;
    if (this.#symbol) this.candles.show(this.#symbol);
  }

  #followCandles() {
    const channel = `klines.${this.candles.interval}`;
    this.stream.want("candles", { channels: [channel], symbols: [this.#symbol] });
    this.candles.show(this.#symbol);
  }

  /** A message of the stream about the market that is shown. */
  take({ type, channel, symbol, sequence, previous, data }) {
    if (symbol !== this.#symbol) return;
    if (channel === "book") this.#takeBook(type, sequence, previous, data);
    else if (type === "resumed") return;
    else if (channel === "trades") this.#takeTrades(type, data);
    else if (channel === `klines.${this.candles.interval}`) this.candles.update(data);
    else if (channel === "mark_price" && data) this.perpetual.update(data);
  }

  #takeTrades(type, data) {
    if (type === "snapshot") this.tape.snapshot(data ?? []);
    else this.tape.update(data);
  }

  /** The gateway cannot serve what was asked, for example a market that there is not. */
  refused(message) {
    if (!this.#symbol || this.#book.status) return;
    setHidden(byId("book-reason"), false);
    setText(byId("book-reason"), message);
  }

  #takeBook(type, sequence, previous, data) {
    this.#isProven = true;
    if (type === "resumed") {
      this.#paintSoon();
      return;
    }
    if (type === "snapshot") {
      this.#book.snapshot(sequence, data);
      this.#isAsked = false;
    } else {
      const done = this.#book.update(sequence, previous, data);
      if (done === MISMATCH) this.#askAgain();
      if (done !== APPLIED) return;
    }
    this.state.setStatus(this.#symbol, this.#book.status, this.#book.reason);
    this.#paintSoon();
  }

  /** One request for a new snapshot, however many updates come before it. */
  #askAgain() {
    if (this.#isAsked) return;
    this.#isAsked = true;
    this.stream.snapshotAgain("book", this.#symbol);
  }

  #paintSoon() {
    inNextFrame(this.#paintBook);
  }

  #paintBook = () => {
    if (!this.#book) return;
    this.ladder.paint(this.#book);
    showLadderLegend(this.#book);
    this.depth.draw(this.#book);
    this.#showStatus();
  };

  #showStatus() {
    const { status, reason } = this.#book;
    const isKnown = status !== null && this.#isProven;
    const isStale = isKnown && status !== "LIVE";
    const chip = byId("book-status");
    const before = chip.dataset.status;
    setText(chip, isKnown ? status : status ? "UNKNOWN" : "waiting");
    setData(chip, "status", isKnown ? status : "");
    setAttribute(byId("market"), "data-stale", isStale ? "" : null);
    setHidden(byId("book-reason"), !isStale);
    if (isStale) setText(byId("book-reason"), `This book is ${status}: ${reason || "no reason was given"}.`);
    if (before && isKnown && before !== status) this.announce(`The book of ${this.#symbol} is ${status}.`);
  }

  #paintFacts = () => {
    const market = this.state.markets.get(this.#symbol);
    if (!market) return;
    const { ticker, mark, change } = market;
    const tone = direction(change);
    setText(byId("last-price"), price(market.price, market.digits));
    setText(byId("last-change"), `${ARROWS[tone]}${percent(change)}`);
    setData(byId("last-change"), "tone", tone);
    this.facts.set("High", price(ticker?.high, market.digits));
    this.facts.set("Low", price(ticker?.low, market.digits));
    this.facts.set("Volume", compact(ticker?.quote_volume));
    this.facts.set("Trades", compact(ticker?.trades));
    const [amount, at] = [units(mark?.open_interest), units(mark?.mark_price)];
    this.facts.show("Open interest", this.#symbol.endsWith("PERP"));
    if (amount !== null && at !== null) this.facts.set("Open interest", compact(text(multiply(amount, at))));
    document.title = `${price(market.price, market.digits)} ${this.#symbol} · backpack-streams`;
  };
}
