// The depth chart: how much lies between the middle and each price, drawn on a canvas. A pointer or the arrow keys read a price.

import { pixels, text } from "./decimal.js";
import { byId, setText } from "./dom.js";
import { Canvas } from "./canvas.js";
import { compact, grouped, price } from "./figures.js";
import { colour } from "./theme.js";

const FOOT = 20;
const HEAD = 8;
const SHOWN = 0.95; // of the levels: a few that lie far away would press the others together
const REDRAW_MS = 100; // without a graphics card a canvas costs half of a frame's time; the eye misses nothing

export class DepthChart {
  #book = null;
  #pointer = null;
  #next = null;
  #sides = { bids: [], asks: [] };

  constructor() {
    const element = byId("depth-chart");
    this.canvas = new Canvas(element, (context, width, height) => this.#paint(context, width, height));
    element.onpointermove = (event) => this.#point(event.offsetX);
    element.onpointerleave = () => this.#point(null);
  }

  draw(book) {
    this.#book = book;
    this.#next ??= setTimeout(() => {
      this.#next = null;
      this.canvas.draw();
    }, REDRAW_MS);
  }

  #point(x) {
    this.#pointer = x;
    this.canvas.draw();
  }

  #paint(context, width, height) {
    const [bid, ask] = [this.#book?.bids.levels[0], this.#book?.asks.levels[0]];
    if (!bid || !ask) return setText(byId("depth-legend"), "");
    const middle = (pixels(bid.key) + pixels(ask.key)) / 2;
    this.#sides = { bids: points(this.#book.bids.levels), asks: points(this.#book.asks.levels) };
    const reach = Math.min(...Object.values(this.#sides).map((side) => Math.abs(far(side).at - middle)));
    const most = Math.max(...Object.values(this.#sides).map((side) => within(side, middle, reach)));
    const x = (at) => width / 2 + ((at - middle) / reach) * (width / 2);
    const y = (sum) => height - FOOT - (sum / most) * (height - FOOT - HEAD);
    this.#grid(context, width, height, most);
    area(context, this.#sides.bids, x, y, height - FOOT, "up", 0);
    area(context, this.#sides.asks, x, y, height - FOOT, "down", width);
    this.#labels(context, width, height, middle, reach);
    return this.#read(context, x, y, height);
  }

  #grid(context, width, height, most) {
    context.strokeStyle = colour("line");
    context.fillStyle = colour("muted");
    context.textAlign = "center"; // where the curves are low
    context.beginPath();
    for (const share of [0, 0.5]) {
      const top = Math.round(HEAD + share * (height - FOOT - HEAD)) + 0.5;
      context.moveTo(0, top);
      context.lineTo(width, top);
      context.fillText(compact((most * (1 - share)).toPrecision(3)), width / 2, top + 13);
    }
    context.stroke();
  }

  #labels(context, width, height, middle, reach) {
    context.fillStyle = colour("muted");
    const digits = Math.max(0, Math.min(10, 2 - Math.floor(Math.log10(reach))));
    for (const share of [0.125, 0.3125, 0.5, 0.6875, 0.875]) {
      context.textAlign = "center";
      context.fillText(grouped((middle + (share - 0.5) * 2 * reach).toFixed(digits)), share * width, height - 6);
    }
    context.textAlign = "left";
  }

  /** The level under the pointer, exact, in the legend. */
  #read(context, x, y, height) {
    const legend = byId("depth-legend");
    const { bids, asks } = this.#sides;
    if (this.#pointer === null) {
      return setText(legend, `bids ${compact(text(bids.at(-1).exact))} · asks ${compact(text(asks.at(-1).exact))}`);
    }
    const isBid = this.#pointer < x((bids[0].at + asks[0].at) / 2);
    const side = isBid ? bids : asks;
    const found = side.findLast((point) => (isBid ? x(point.at) >= this.#pointer : x(point.at) <= this.#pointer)) ?? side[0];
    context.fillStyle = colour(isBid ? "up" : "down");
    context.beginPath();
    context.arc(x(found.at), y(found.sum), 3.5, 0, 7);
    context.fill();
    context.strokeStyle = colour("muted");
    context.setLineDash([2, 3]);
    context.beginPath();
    context.moveTo(this.#pointer, HEAD);
    context.lineTo(this.#pointer, height - FOOT);
    context.stroke();
    context.setLineDash([]);
    return setText(legend, `${isBid ? "bids" : "asks"} to ${price(found.price)}: ${compact(text(found.exact))}`);
  }
}

/** Each level with the sum up to it: exact for the legend, as a float for its place on the canvas. */
function points(levels) {
  let exact = 0n;
  return levels.map(({ key, price: shown, amount }) => {
    exact += amount;
    return { at: pixels(key), price: shown, exact, sum: pixels(exact) };
  });
}

const far = (side) => side[Math.floor((side.length - 1) * SHOWN)];

const within = (side, middle, reach) => side.findLast(({ at }) => Math.abs(at - middle) <= reach * 1.0001)?.sum ?? 1;

function area(context, side, x, y, foot, name, edge) {
  context.beginPath();
  context.moveTo(x(side[0].at), foot);
  let last = foot;
  for (const point of side) {
    context.lineTo(x(point.at), last);
    last = y(point.sum);
    context.lineTo(x(point.at), last);
  }
  context.lineTo(edge, last);
  context.strokeStyle = colour(name);
  context.lineWidth = 1.5;
  context.stroke();
  context.lineTo(edge, foot);
  context.fillStyle = colour(`${name}-fill`);
  context.fill();
  context.lineWidth = 1;
}
