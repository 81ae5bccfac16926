// The tables of the plant: a head, rows of cells, and one sentence where there are none.

import { keepRows, make, setAttribute, setText } from "./dom.js";

export class PlainTable {
  /** `columns`: [title, class?] each. `none`: what an empty table says. */
  constructor(table, caption, columns, none) {
    this.columns = columns;
    this.none = none;
    const heads = columns.map(([title, kind = ""]) => {
      const head = make("th", kind, title);
      head.scope = "col";
      return head;
    });
    this.head = make("thead", "", "", make("tr", "", "", ...heads));
    this.body = make("tbody");
    table.replaceChildren(make("caption", "unseen", caption), this.head, this.body);
    focusableWhereItScrolls(table.parentElement, table);
  }

  /** `rows`: lists of cells; a cell is its text, or [text, class]. */
  show(rows) {
    this.head.hidden = rows.length === 0;
    const shown = keepRows(this.body, Math.max(1, rows.length), () => make("tr"));
    if (rows.length === 0) {
      const cell = make("td", "", this.none);
      cell.colSpan = this.columns.length;
      return shown[0].replaceChildren(cell);
    }
    return rows.forEach((cells, index) => this.#fill(shown[index], cells));
  }

  #fill(row, cells) {
    if (row.children.length !== cells.length) row.replaceChildren(...cells.map(() => make("td")));
    cells.forEach((cell, index) => {
      const [content, kind = ""] = Array.isArray(cell) ? cell : [cell];
      const element = row.children[index];
      setText(element, content);
      const name = `${this.columns[index][1] ?? ""} ${kind}`.trim();
      if (element.className !== name) element.className = name;
    });
  }
}

/** What scrolls must be reachable by keyboard; what does not is no stop on the way. */
function focusableWhereItScrolls(frame, table) {
  const observer = new ResizeObserver(() => {
    setAttribute(frame, "tabindex", frame.scrollWidth > frame.clientWidth ? "0" : null);
  });
  observer.observe(frame);
  observer.observe(table);
}
