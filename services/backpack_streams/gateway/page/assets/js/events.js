// Who wants to hear of what: a list of listeners by name.

export class Events {
  #listeners = new Map();

  on(name, listener) {
    const list = this.#listeners.get(name) ?? [];
    this.#listeners.set(name, [...list, listener]);
  }

  tell(name, ...what) {
    for (const listener of this.#listeners.get(name) ?? []) listener(...what);
  }
}
