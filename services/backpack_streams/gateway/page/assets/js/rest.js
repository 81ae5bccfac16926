// The gateway's REST endpoints. Figures come as strings; a refused request is repeated when the gateway says it may be.

import { askForKey, currentKey } from "./key.js";

const GIVE_UP_MS = 15_000;
const LONGEST_PAUSE_SECONDS = 60; // a used-up month says days, which nobody waits for here
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

export class RestError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** `data` of an answer. Throws RestError for what the gateway refuses, TypeError or TimeoutError if it cannot be reached. */
export async function get(path, parameters = {}) {
  const query = new URLSearchParams({ ...parameters, decimals: "string" });
  for (;;) {
    const key = currentKey();
    const headers = key ? { "X-API-Key": key } : {};
    const answer = await fetch(`/v1/${path}?${query}`, { headers, signal: AbortSignal.timeout(GIVE_UP_MS) });
    if (answer.ok) return (await answer.json()).data;
    const { message = answer.statusText } = await answer.json().catch(() => ({}));
    if (answer.status === 401) await askForKey(message);
    else {
      const seconds = Number(answer.headers.get("Retry-After")) || 1;
      if (answer.status !== 429 || seconds > LONGEST_PAUSE_SECONDS) throw new RestError(answer.status, message);
      await pause(seconds);
    }
  }
}
