// The list of markets: search, kinds, sorting by any column, and the keyboard.

import { byId, make, setAttribute, setData, setHidden, setText } from "./dom.js";
import { inNextFrame } from "./frame.js";
import { COLUMNS, ordering } from "./market-columns.js";
import { addressOf } from "./route.js";

const SORT_AGAIN_MS = 1000;
const KINDS = [
  ["All", () => true],
  ["Perpetual", (type) => type.includes("PERP")],
  ["Spot", (type) => type === "SPOT"],
  ["Other", (type) => !type.includes("PERP") && type !== "SPOT"],
];

export class MarketList {
  #rows = new Map();
  #changed = new Set();
  #shown = [];
  #column = COLUMNS.find(({ name }) => name === "volume");
  #isAscending = false;
  #kind = KINDS[0];
  #current = null;

  constructor(state) {
    this.state = state;
    this.body = byId("market-rows");
    this.search = byId("search");
    this.#makeColumns();
    this.#makeKinds();
    this.search.addEventListener("input", () => this.#arrangeSoon());
    byId("markets").addEventListener("keydown", (event) => this.#key(event));
    this.body.addEventListener("click", (event) => this.#click(event));
    state.on("markets", () => this.#arrangeSoon());
    state.on("market", (symbol) => this.#changes(symbol));
    setInterval(() => this.#arrangeSoon(), SORT_AGAIN_MS);
  }

  /** Marks the market that is open. */
  setCurrent(symbol) {
    setAttribute(this.#rows.get(this.#current)?.row ?? this.body, "aria-current", null);
    this.#current = symbol;
    const entry = this.#rows.get(symbol);
    if (entry) setAttribute(entry.row, "aria-current", "true");
  }

  /** The symbol `step` rows from the open one, in the order shown. */
  neighbour(step) {
    const at = this.#shown.findIndex(({ symbol }) => symbol === this.#current);
    return this.#shown.length ? this.#shown.at((at + step) % this.#shown.length).symbol : null;
  }

  #makeColumns() {
    for (const column of COLUMNS) {
      const button = make("button", "", column.title);
      button.type = "button";
      button.onclick = () => this.#sortBy(column);
      const cell = make("th", `${column.name} ${column.hide ?? ""}`, "", button);
      cell.scope = "col";
      column.head = cell;
      byId("market-columns").append(cell);
    }
    this.#showSorting();
  }

  #makeKinds() {
    for (const kind of KINDS) {
      const button = make("button", "", kind[0]);
      button.type = "button";
      button.onclick = () => {
        this.#kind = kind;
        this.#showKind();
        this.#arrangeSoon();
      };
      byId("kinds").append(button);
    }
    this.#showKind();
  }

  #showKind() {
    for (const button of byId("kinds").children) {
      setAttribute(button, "aria-pressed", String(button.textContent === this.#kind[0]));
    }
  }

  #sortBy(column) {
    this.#isAscending = column === this.#column ? !this.#isAscending : Boolean(column.ascending);
    this.#column = column;
    this.#showSorting();
    this.#arrangeSoon();
  }

  #showSorting() {
    for (const column of COLUMNS) {
      const order = this.#isAscending ? "ascending" : "descending";
      setAttribute(column.head, "aria-sort", column === this.#column ? order : "none");
    }
  }

  #changes(symbol) {
    this.#changed.add(symbol);
    inNextFrame(this.#paint);
  }

  #paint = () => {
    for (const symbol of this.#changed) {
      const entry = this.#rows.get(symbol);
      if (entry) this.#fill(entry, this.state.markets.get(symbol));
    }
    this.#changed.clear();
  };

  #arrangeSoon() {
    inNextFrame(this.#arrange);
  }

  #arrange = () => {
    const words = this.search.value.trim().toLowerCase().split(/[\s/_-]+/);
    const isWanted = ({ symbol, row }) =>
      this.#kind[1](row.market_type ?? "") && words.every((word) => symbol.toLowerCase().includes(word));
    const all = [...this.state.markets.values()];
    this.#shown = all.filter(isWanted).sort(ordering(this.#column, this.#isAscending));
    this.#place(this.#shown.map((market) => this.#rowOf(market)));
    const total = all.length === this.#shown.length ? "" : ` of ${all.length}`;
    setText(byId("market-count"), `${this.#shown.length}${total} markets`);
    setHidden(byId("market-nothing"), this.#shown.length > 0 || all.length === 0);
  };

  /** Puts the rows in order; a row that is where it belongs is not touched. */
  #place(rows) {
    rows.forEach((row, index) => {
      if (this.body.children[index] !== row) this.body.insertBefore(row, this.body.children[index] ?? null);
    });
    while (this.body.children.length > rows.length) this.body.lastElementChild.remove();
  }

  #rowOf(market) {
    let entry = this.#rows.get(market.symbol);
    if (!entry) {
      entry = makeRow(market);
      this.#rows.set(market.symbol, entry);
      this.#fill(entry, market);
      if (market.symbol === this.#current) setAttribute(entry.row, "aria-current", "true");
    }
    return entry.row;
  }

  #fill({ cells, chip }, market) {
    for (const column of COLUMNS) {
      const cell = cells[column.name];
      if (column.name === "symbol") continue;
      setText(column.name === "state" ? chip : cell, column.show(market));
      if (column.tone) setData(cell, "tone", column.tone(market));
    }
    setData(chip, "status", market.status ?? "");
    setAttribute(chip, "title", market.reason);
  }

  #click(event) {
    const row = event.target.closest("tr");
    if (row && !event.target.closest("a")) row.querySelector("a").click();
  }

  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape" && event.target === this.search && this.search.value) {
      this.search.value = "";
      this.#arrangeSoon();
    } else if (event.key === "Enter" && event.target === this.search) {
      this.body.querySelector("a")?.click();
    } else if (step) {
      const links = [...this.body.querySelectorAll("a")];
      const next = links.indexOf(event.target) + step;
      (next < 0 ? this.search : links[Math.min(next, links.length - 1)])?.focus();
      event.preventDefault();
    }
  }
}

function makeRow(market) {
  const { base, quote, market_type: type = "" } = market.row;
  const cells = {};
  const row = make("tr");
  for (const { name, hide = "" } of COLUMNS) {
    const cell = make(name === "symbol" ? "th" : "td", `${name} ${hide}`);
    cells[name] = cell;
    row.append(cell);
  }
  cells.symbol.scope = "row";
  const link = make("a", "", "", make("span", "base", base), make("span", "quote", quote));
  if (type !== "SPOT") link.append(make("span", "tag", type.toLowerCase()));
  link.href = addressOf(market.symbol);
  cells.symbol.append(link);
  const chip = make("span", "chip");
  cells.state.append(chip);
  return { row, cells, chip };
}
