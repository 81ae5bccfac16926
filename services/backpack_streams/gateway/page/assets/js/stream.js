// The socket to `/v1/stream`: one that is up, what is subscribed on it, and what it resumes from after a loss.
//
// Events: `message` (a message of the server), `up`, `down` (why, milliseconds to the next attempt), `refused` (message).

import { BackOff } from "./backoff.js";
import { Events } from "./events.js";
import { currentKey } from "./key.js";

const HEARTBEAT_LATE_MS = 4000;
const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 8000;

export class Stream extends Events {
  #socket = null;
  #wanted = new Map();
  #resume = new Map();
  #backOff = new BackOff(FIRST_WAIT_MS, LONGEST_WAIT_MS);
  #watch = 0;
  #retry = 0;
  #nextId = 1;
  #why = "";
  lastHeard = -Infinity;
  isUp = false;

  constructor(url) {
    super();
    this.url = url;
  }

  /** Keeps `subscription` ({channels, symbols, depth?}) on whatever socket there is, until `drop(name)`. */
  want(name, subscription) {
    this.drop(name);
    this.#wanted.set(name, subscription);
    if (this.isUp) this.#subscribe(subscription);
  }

  drop(name) {
    const old = this.#wanted.get(name);
    if (!old) return;
    this.#wanted.delete(name);
    if (this.isUp) this.#send({ op: "unsubscribe", channels: old.channels, symbols: old.symbols });
    if (old.symbols === "all") return;
    for (const channel of old.channels) {
      for (const symbol of old.symbols) this.#resume.delete(`${channel}.${symbol}`);
    }
  }

  /** Asks for a new snapshot of what does not follow on what we have. */
  snapshotAgain(channel, symbol) {
    this.#resume.delete(`${channel}.${symbol}`);
    for (const each of this.#wanted.values()) {
      if (!each.channels.includes(channel) || !each.symbols.includes(symbol)) continue;
      const one = { ...each, channels: [channel], symbols: [symbol] };
      this.#send({ op: "unsubscribe", channels: one.channels, symbols: one.symbols });
      this.#subscribe(one);
    }
  }

  open() {
    clearTimeout(this.#retry);
    const socket = new WebSocket(this.url);
    this.#socket = socket;
    socket.onopen = () => this.#opened();
    socket.onmessage = (event) => this.#heard(JSON.parse(event.data));
    socket.onclose = (event) => this.#lost(socket, event.code, event.reason);
    this.#watchHeartbeats(socket);
  }

  /** Leaves the socket there is, for example to come back with a key. */
  reopen() {
    if (this.#socket) this.#lost(this.#socket, 0, "connecting with a new key");
    this.open();
  }

  #opened() {
    this.isUp = true;
    this.lastHeard = performance.now();
    for (const subscription of this.#wanted.values()) this.#subscribe(subscription);
    this.tell("up");
  }

  #subscribe({ channels, symbols, depth }) {
    const resume = {};
    if (symbols !== "all") {
      for (const name of channels.flatMap((channel) => symbols.map((symbol) => `${channel}.${symbol}`))) {
        if (this.#resume.has(name)) resume[name] = this.#resume.get(name);
      }
    }
    const message = { op: "subscribe", channels, symbols, decimals: "string" };
    if (depth) message.depth = depth;
    if (Object.keys(resume).length) message.resume = resume;
    this.#send(message);
  }

  #send(message) {
    const key = currentKey();
    this.#socket.send(JSON.stringify({ ...message, id: this.#nextId++, ...(key && { key }) }));
  }

  #heard(message) {
    this.lastHeard = performance.now();
    if (message.type === "heartbeat") this.#backOff.reset();
    if (message.sequence !== undefined && message.sequence !== null) {
      this.#resume.set(`${message.channel}.${message.symbol}`, message.sequence);
    }
    const isGoodbye = message.type === "slow" || (message.type === "error" && message.status === 503);
    if (isGoodbye) this.#why = message.message;
    if (message.type === "error" && message.status === 401) this.tell("refused", message.message);
    else this.tell("message", message);
  }

  /** A socket that is open and silent is as good as gone: the server sends a heartbeat each second. */
  #watchHeartbeats(socket) {
    clearInterval(this.#watch);
    this.#watch = setInterval(() => {
      const isSilent = performance.now() - this.lastHeard > HEARTBEAT_LATE_MS;
      if (this.isUp && isSilent) this.#lost(socket, 0, "the gateway fell silent");
    }, 500);
  }

  #lost(socket, code, reason) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    this.isUp = false;
    clearInterval(this.#watch);
    socket.onclose = socket.onmessage = null;
    socket.close();
    const wait = this.#backOff.next();
    this.#retry = setTimeout(() => this.open(), wait);
    const why = this.#why || reason || (code === 1006 ? "the connection was lost" : `the gateway closed it (${code})`);
    this.#why = "";
    this.tell("down", why, wait);
  }
}
