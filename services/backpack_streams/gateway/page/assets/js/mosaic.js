// All books at a glance: one small square each, in the order of their names.

import { keepRows, make, setAttribute, setData } from "./dom.js";

export class Mosaic {
  /** `element` is a picture to a screen reader; the counts and the table beside it say the same in words. */
  constructor(element) {
    this.element = element;
  }

  /** `statuses`: pairs of symbol and status. */
  show(statuses) {
    const squares = keepRows(this.element, statuses.length, () => make("span"));
    [...statuses].sort().forEach(([symbol, status], index) => {
      setData(squares[index], "status", status);
      setAttribute(squares[index], "title", `${symbol}: ${status}`);
    });
  }
}
