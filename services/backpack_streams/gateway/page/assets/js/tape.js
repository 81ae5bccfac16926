// The trade tape: newest on top. Rows that fall off the end are used again, so that a busy market makes no garbage.

import { places } from "./decimal.js";
import { byId, make, setText } from "./dom.js";
import { price } from "./figures.js";
import { inNextFrame } from "./frame.js";
import { clockTime } from "./times.js";

const ROWS = 60;
const SIDES = { buy: ["▲", "up", "buy"], sell: ["▼", "down", "sell"] };

export class Tape {
  #waiting = [];
  #priceDigits = 0;
  #sizeDigits = 0;

  constructor() {
    this.body = byId("tape");
    this.legend = byId("tape-legend");
  }

  /** Takes the place of what is shown; newest first. */
  snapshot(trades) {
    this.body.replaceChildren();
    this.#waiting = [];
    setText(this.legend, "");
    this.#priceDigits = this.#sizeDigits = 0;
    for (const trade of trades.slice(0, ROWS).reverse()) this.#waiting.push([trade, false]);
    inNextFrame(this.#paint);
  }

  update(trade) {
    this.#waiting.push([trade, true]);
    if (this.#waiting.length > ROWS) this.#waiting.shift();
    inNextFrame(this.#paint);
  }

  /** The gateway left out trades because this page was too slow; `count` may be unknown. */
  skipped(count) {
    setText(this.legend, `${count ?? "some"} were left out`);
  }

  #paint = () => {
    for (const [trade, isNew] of this.#waiting) {
      const row = this.body.children.length >= ROWS ? this.body.lastElementChild : makeRow();
      this.#fill(row, trade, isNew);
      this.body.prepend(row);
    }
    this.#waiting = [];
  };

  #fill(row, trade, isNew) {
    const [sign, tone, side] = SIDES[trade.side] ?? ["", "flat", trade.side];
    this.#priceDigits = Math.max(this.#priceDigits, places(trade.price));
    this.#sizeDigits = Math.max(this.#sizeDigits, places(trade.quantity));
    const [first, size, time] = row.children;
    first.className = tone;
    setText(first.children[0], sign);
    setText(first.children[1], side);
    setText(first.children[2], price(trade.price, this.#priceDigits));
    setText(size, price(trade.quantity, this.#sizeDigits));
    setText(time, clockTime(Number(trade.timestamp)));
    row.className = isNew ? "new" : "";
  }
}

function makeRow() {
  const arrow = make("span", "arrow");
  arrow.ariaHidden = "true";
  const first = make("td", "", "", arrow, make("span", "unseen"), make("span"));
  return make("tr", "", "", first, make("td"), make("td"));
}
