// Funding, and the mark price against the index price: the figures, and their distance over the last minutes.

import { divide, pixels, units } from "./decimal.js";
import { byId, setHidden } from "./dom.js";
import { Canvas } from "./canvas.js";
import { NONE, percent, price } from "./figures.js";
import { Facts } from "./facts.js";
import { colour } from "./theme.js";
import { countdown } from "./times.js";

const HOURS_A_YEAR = 24n * 365n;
const KEPT_MS = 300_000;
const PAD = 12;

export class Perpetual {
  #row = null;
  #points = [];

  constructor() {
    this.facts = new Facts(byId("perp-facts"), ["Mark", "Index", "Mark − index", "Funding, 1 h", "A year", "Next funding"]);
    this.canvas = new Canvas(byId("basis-chart"), (context, width, height) => this.#paint(context, width, height));
    setInterval(() => this.#countDown(), 1000);
  }

  reset(isPerpetual) {
    this.#row = null;
    this.#points = [];
    setHidden(byId("perp"), !isPerpetual);
    this.facts.clear();
    this.canvas.draw();
  }

  update(row) {
    this.#row = row;
    const [mark, index, funding] = [row.mark_price, row.index_price, row.funding_rate].map(units);
    const basis = mark === null || index === null ? null : divide(mark - index, index);
    this.facts.set("Mark", price(row.mark_price));
    this.facts.set("Index", price(row.index_price));
    this.facts.set("Mark − index", basis === null ? NONE : percent(basis, 4));
    this.facts.set("Funding, 1 h", percent(funding, 4));
    this.facts.set("A year", funding === null ? NONE : percent(funding * HOURS_A_YEAR));
    this.#countDown();
    if (basis === null) return;
    const now = performance.now();
    this.#points.push({ at: now, value: pixels(basis) * 10_000 });
    while (this.#points[0].at < now - KEPT_MS) this.#points.shift();
    this.canvas.draw();
  }

  #countDown() {
    const next = Number(this.#row?.next_funding_timestamp);
    if (next) this.facts.set("Next funding", countdown(next - Date.now()));
  }

  #paint(context, width, height) {
    if (this.#points.length < 2) {
      context.fillStyle = colour("muted");
      context.textAlign = "center";
      return context.fillText("mark against index, from now on", width / 2, height / 2);
    }
    const values = this.#points.map(({ value }) => value);
    const most = Math.max(0.5, ...values.map(Math.abs)) * 1.15;
    const end = this.#points.at(-1).at;
    const span = Math.max(30_000, end - this.#points[0].at);
    const x = (at) => width - PAD - ((end - at) / span) * (width - 2 * PAD);
    const y = (value) => height / 2 - (value / most) * (height / 2 - PAD);
    context.textAlign = "left";
    context.strokeStyle = colour("line");
    context.beginPath();
    context.moveTo(PAD, Math.round(y(0)) + 0.5);
    context.lineTo(width - PAD, Math.round(y(0)) + 0.5);
    context.stroke();
    context.fillStyle = colour("muted");
    context.fillText(`+${most.toFixed(1)} bp`, PAD, PAD);
    context.fillText(`−${most.toFixed(1)} bp`, PAD, height - 4);
    context.strokeStyle = colour("accent");
    context.lineWidth = 1.5;
    context.beginPath();
    for (const { at, value } of this.#points) context.lineTo(x(at), y(value));
    context.stroke();
    context.lineWidth = 1;
    return undefined;
  }
}

