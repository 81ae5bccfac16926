// How long to wait before the next attempt: twice as long each time up to a limit, at random, so that a thousand pages
// do not come back to a restarted gateway at the same moment.

export class BackOff {
  #failures = 0;

  constructor(firstMs, mostMs, random = Math.random) {
    this.firstMs = firstMs;
    this.mostMs = mostMs;
    this.random = random;
  }

  next() {
    const bound = Math.min(this.mostMs, this.firstMs * 2 ** this.#failures);
    this.#failures += 1;
    return bound / 2 + (bound / 2) * this.random();
  }

  reset() {
    this.#failures = 0;
  }
}
