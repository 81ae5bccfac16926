// Messages a second over the last minutes, as this page saw them.

import { byId } from "./dom.js";
import { Canvas } from "./canvas.js";
import { count } from "./figures.js";
import { colour } from "./theme.js";

const KEPT_MS = 600_000;
const FOOT = 6;

export class RateChart {
  #points = [];

  constructor() {
    this.canvas = new Canvas(byId("rate-chart"), (context, width, height) => this.#paint(context, width, height));
  }

  add(value) {
    const now = performance.now();
    this.#points.push({ at: now, value });
    while (this.#points[0].at < now - KEPT_MS) this.#points.shift();
    this.canvas.draw();
  }

  #paint(context, width, height) {
    if (!this.#points.length) return;
    const most = Math.max(1, ...this.#points.map(({ value }) => value)) * 1.2;
    const end = this.#points.at(-1).at;
    const span = Math.max(60_000, end - this.#points[0].at);
    const x = (at) => width - ((end - at) / span) * width;
    const y = (value) => height - FOOT - (value / most) * (height - FOOT - 4);
    context.strokeStyle = colour("line");
    context.fillStyle = colour("muted");
    for (const share of [0, 0.5, 1]) {
      const at = Math.round(y((most / 1.2) * share)) + 0.5;
      context.beginPath();
      context.moveTo(0, at);
      context.lineTo(width, at);
      context.stroke();
      if (share) context.fillText(count(Math.round((most / 1.2) * share)), 0, at - 4);
    }
    context.beginPath();
    for (const { at, value } of this.#points) context.lineTo(x(at), y(value));
    context.strokeStyle = colour("accent");
    context.lineWidth = 1.5;
    context.stroke();
    context.lineTo(width, height - FOOT);
    context.lineTo(x(this.#points[0].at), height - FOOT);
    context.fillStyle = colour("accent-fill");
    context.fill();
    context.lineWidth = 1;
  }
}
