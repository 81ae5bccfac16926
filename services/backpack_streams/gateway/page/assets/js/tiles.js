// The plant at a glance, above the list of markets.

import { byId, make, setAttribute, setText } from "./dom.js";
import { count } from "./figures.js";
import { dataAge } from "./lag.js";
import { age } from "./times.js";

const NAMES = ["Books live", "Messages a second", "Age of the books", "Gaps, last hour", "Audits"];

export class Tiles {
  #tiles = {};

  constructor(state) {
    this.state = state;
    for (const name of NAMES) {
      const [value, note] = [make("span", "value figure"), make("span", "note")];
      const tile = make("a", "panel tile", "", make("span", "what", name), value, note);
      tile.href = "#/plant";
      this.#tiles[name] = { tile, value, note };
      byId("tiles").append(tile);
      this.#set(name, "–", " ");
    }
    state.on("plant", () => this.#plant());
    setInterval(() => this.#age(), 500);
  }

  #set(name, value, note, tone = null) {
    const tile = this.#tiles[name];
    setText(tile.value, value);
    setText(tile.note, note);
    setAttribute(tile.tile, "data-tone", tone);
  }

  #plant() {
    const { books = {}, topics = {}, gaps = {}, audits = {} } = this.state.plant;
    const notLive = books.not_live?.length ?? 0;
    const live = books.LIVE ?? 0;
    this.#set("Books live", `${count(live)} of ${count(live + notLive)}`, notLive ? `${notLive} not live` : "all of them", notLive ? "warn" : null);
    this.#set("Messages a second", count(Math.round(rate(topics))), `over ${Object.keys(topics).length} topics`);
    const open = gaps.open ?? 0;
    this.#set("Gaps, last hour", count(gaps.last_hour ?? 0), open ? `${open} not refilled` : `${count(gaps.refilled ?? 0)} refilled`, open ? "warn" : null);
    const wrong = audits.mismatches ?? 0;
    this.#set("Audits", `${count(audits.matches ?? 0)} right`, wrong ? `${wrong} mismatches` : "no mismatch", wrong ? "warn" : null);
  }

  #age() {
    const value = dataAge(this.state.heartbeat);
    const isOld = !this.state.isConnected || value === null || value > 5000;
    this.#set("Age of the books", age(value), this.state.isConnected ? "complete up to then" : "not connected", isOld ? "warn" : null);
  }
}

export const rate = (topics) => Object.values(topics).reduce((sum, { records_per_second: each }) => sum + Number(each ?? 0), 0);
