// The depth ladder: asks above, bids below, with what lies between here and the best price behind each row.

import { divide, pixels, places, text } from "./decimal.js";
import { byId, keepRows, make, setHidden, setProperty, setText } from "./dom.js";
import { NONE, percent, price } from "./figures.js";

const ROW_PIXELS = 20;
const HEAD_PIXELS = 24 + 34;
const FEWEST = 7;
const MOST = 40;

export class Ladder {
  #priceDigits = 0;
  #sizeDigits = 0;
  rows = 10;

  constructor(onResize) {
    this.asks = byId("asks");
    this.bids = byId("bids");
    new ResizeObserver(([entry]) => {
      const room = (entry.contentRect.height - HEAD_PIXELS) / 2;
      const fits = Math.floor(room / ROW_PIXELS);
      const rows = Math.max(FEWEST, Math.min(MOST, innerWidth < 800 ? 10 : fits));
      const height = innerWidth < 800 ? ROW_PIXELS : Math.min(1.5 * ROW_PIXELS, Math.max(ROW_PIXELS, room / rows));
      setProperty(entry.target, "--row", `${height.toFixed(2)}px`);
      if (rows === this.rows) return;
      this.rows = rows;
      onResize();
    }).observe(byId("levels"));
  }

  /** A new market has digits of its own. */
  reset() {
    this.#priceDigits = this.#sizeDigits = 0;
  }

  paint(book) {
    const asks = book.asks.levels.slice(0, this.rows);
    const bids = book.bids.levels.slice(0, this.rows);
    for (const level of [...asks, ...bids]) {
      this.#priceDigits = Math.max(this.#priceDigits, places(level.price));
      this.#sizeDigits = Math.max(this.#sizeDigits, places(level.size));
    }
    const [askTotals, bidTotals] = [totals(asks), totals(bids)];
    const most = [askTotals.at(-1) ?? 0n, bidTotals.at(-1) ?? 0n].reduce((a, b) => (a > b ? a : b));
    this.#side(this.asks, asks, askTotals, most, true);
    this.#side(this.bids, bids, bidTotals, most, false);
    this.#middle(book);
  }

  /** Asks are shown worst first, so that both best prices meet in the middle. */
  #side(body, levels, sums, most, isReversed) {
    const rows = keepRows(body, this.rows, makeRow);
    for (let index = 0; index < this.rows; index += 1) {
      const row = rows[isReversed ? this.rows - 1 - index : index];
      const level = levels[index];
      const [priceCell, sizeCell, totalCell] = row.children;
      setText(priceCell, level ? price(level.price, this.#priceDigits) : "");
      setText(sizeCell, level ? price(level.size, this.#sizeDigits) : "");
      setText(totalCell, level ? price(text(sums[index]), this.#sizeDigits) : "");
      const share = level && most ? (pixels(sums[index]) / pixels(most)) * 100 : 0;
      setProperty(row, "--share", `${share.toFixed(1)}%`);
    }
  }

  #middle(book) {
    const [ask, bid] = [book.asks.levels[0], book.bids.levels[0]];
    if (!ask || !bid) {
      setText(byId("middle-price"), NONE);
      setText(byId("middle-spread"), ask || bid ? "one side is empty" : "no levels");
      return;
    }
    const spread = ask.key - bid.key;
    const middle = (ask.key + bid.key) / 2n;
    setText(byId("middle-price"), price(text(middle), this.#priceDigits));
    setText(byId("middle-spread"), `spread ${price(text(spread))} · ${percent(divide(spread, middle), 4).replace("+", "")}`);
  }
}

function totals(levels) {
  let sum = 0n;
  return levels.map(({ amount }) => (sum += amount));
}

const makeRow = () => make("tr", "", "", make("td"), make("td"), make("td"));

export const showLadderLegend = (book) => {
  const legend = byId("ladder-legend");
  setHidden(legend, !book.sequence);
  setText(legend, `update ${book.sequence ?? ""}`);
};
