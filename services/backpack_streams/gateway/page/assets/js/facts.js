// A definition list of figures that change.

import { make, setAttribute, setText } from "./dom.js";
import { NONE } from "./figures.js";

export class Facts {
  #values = new Map();

  constructor(list, names) {
    list.replaceChildren();
    for (const name of names) {
      const value = make("dd", "", NONE);
      const pair = make("div", "", "", make("dt", "", name), value);
      this.#values.set(name, { pair, value });
      list.append(pair);
    }
  }

  /** `tone`: `warn` where somebody should look. */
  set(name, shown, tone = null) {
    const { pair, value } = this.#values.get(name);
    setText(value, shown);
    setAttribute(pair, "data-tone", tone);
  }

  show(name, isShown) {
    this.#values.get(name).pair.hidden = !isShown;
  }

  clear() {
    for (const { value } of this.#values.values()) setText(value, NONE);
  }
}
