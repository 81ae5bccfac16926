// How old the data is at each hop on its way from the exchange to this page.

import { byId, make, setData, setText } from "./dom.js";
import { dataAge, heartbeatAge } from "./lag.js";
import { age } from "./times.js";

const LATE_MS = 5000;

export class Hops {
  #hops;

  constructor(state) {
    this.state = state;
    this.#hops = [
      ["Exchange", () => [this.#newest("market.depth"), "newest depth record"]],
      ["Producers", () => [this.#watermarks(), "oldest watermark of a producer"]],
      ["Kafka", () => [this.#complete(), "complete up to then, by watermarks"]],
      ["Gateway", () => [heartbeatAge(state.heartbeat), "since its last heartbeat"]],
      ["This page", () => [dataAge(state.heartbeat), "books, end to end"]],
    ].map(([title, read]) => makeHop(title, read));
    setInterval(() => this.show(), 500);
  }

  show() {
    for (const { element, value, note, read } of this.#hops) {
      const [milliseconds, words] = read();
      const isKnown = milliseconds !== null && milliseconds !== undefined;
      setText(value, age(milliseconds));
      setText(note, words);
      const isLate = isKnown && (milliseconds > LATE_MS || !this.state.isConnected);
      setData(element, "tone", isKnown ? (isLate ? "warn" : "good") : "none");
    }
  }

  #topic(name) {
    return Object.entries(this.state.plant?.topics ?? {}).find(([topic]) => topic.endsWith(name))?.[1];
  }

  #newest(name) {
    return this.#topic(name)?.age_ms ?? null;
  }

  #watermarks() {
    const ages = (this.state.plant?.producers ?? []).map((each) => each.age_ms).filter((each) => each !== null);
    return ages.length ? Math.max(...ages) : null;
  }

  #complete() {
    const { heartbeat } = this.state;
    const lag = dataAge(heartbeat);
    return lag === null ? null : lag - heartbeatAge(heartbeat);
  }
}

function makeHop(title, read) {
  const [value, note] = [make("span", "value figure"), make("span", "note")];
  const element = make("li", "", "", make("span", "", title), value, note);
  byId("hops").append(element);
  return { element, value, note, read };
}
