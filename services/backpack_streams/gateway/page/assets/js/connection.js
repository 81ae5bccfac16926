// What the reader is told of the connection: a word on top, and a banner while it is gone.

import { byId, setAttribute, setData, setHidden, setText } from "./dom.js";
import { dataAge } from "./lag.js";
import { age, clockTime } from "./times.js";

export class Connection {
  #lostAt = null;
  #nextAt = 0;

  constructor(state, announce) {
    this.state = state;
    this.announce = announce;
    state.on("heartbeat", () => this.#show());
    state.on("connection", () => this.#show());
    setInterval(() => this.#show(), 250);
  }

  up() {
    if (this.#lostAt !== null) this.announce("Connected to the gateway again.");
    this.#lostAt = null;
    this.state.setConnected(true);
  }

  down(reason, waitMs) {
    if (this.#lostAt === null) {
      this.#lostAt = Date.now();
      this.announce("The connection to the gateway is lost. What is shown is not current.");
    }
    this.#nextAt = performance.now() + waitMs;
    this.state.setConnected(false, reason);
  }

  #show() {
    const isDown = this.#lostAt !== null;
    const { isConnected, heartbeat, connectionReason } = this.state;
    const old = dataAge(heartbeat);
    setData(byId("connection"), "state", isConnected ? "up" : isDown ? "down" : "wait");
    setText(byId("connection-word"), isConnected ? "Connected" : isDown ? "Not connected" : "Connecting");
    setText(byId("connection-age"), isConnected && old !== null ? `books ${age(old)} old` : "");
    setAttribute(document.documentElement, "data-offline", isDown ? "" : null);
    setHidden(byId("offline"), !isDown);
    if (!isDown) return;
    const seconds = Math.max(0, Math.ceil((this.#nextAt - performance.now()) / 1000));
    const next = seconds ? `Next attempt in ${seconds} s.` : "Trying again.";
    setText(byId("offline-why"), `${sentence(connectionReason)} What you see is from ${clockTime(this.#lostAt)}. ${next}`);
  }
}

const sentence = (words) => `${words.charAt(0).toUpperCase()}${words.slice(1).replace(/\.$/, "")}.`;
