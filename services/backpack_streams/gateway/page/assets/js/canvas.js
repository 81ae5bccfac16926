// A canvas that is sharp on any screen: its size follows its element, measured by an observer and not while painting.

import { inNextFrame } from "./frame.js";
import { theme } from "./theme.js";

export class Canvas {
  width = 0;
  height = 0;

  /** `paint(context, width, height)` in CSS pixels; called when `draw` was asked for, the size or the theme changed. */
  constructor(element, paint) {
    this.element = element;
    this.context = element.getContext("2d");
    this.paint = paint;
    this.#frame = () => this.#paintNow();
    new ResizeObserver(([entry]) => this.#resize(entry.contentRect)).observe(element);
    theme.on("changed", () => this.draw());
    document.fonts.ready.then(() => this.draw());
  }

  #frame;

  draw() {
    inNextFrame(this.#frame);
  }

  #resize({ width, height }) {
    this.width = Math.round(width);
    this.height = Math.round(height);
    this.element.width = Math.round(width * devicePixelRatio);
    this.element.height = Math.round(height * devicePixelRatio);
    this.draw();
  }

  #paintNow() {
    if (!this.width || !this.height) return;
    this.context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    this.context.clearRect(0, 0, this.width, this.height);
    this.context.font = '11px "Inter Latin", system-ui, sans-serif';
    this.paint(this.context, this.width, this.height);
  }
}
