// Work for the screen, at most once per animation frame however many messages came in between.

const waiting = new Set();
let asked = false;

/** Calls `paint` in the next frame; asking again before that changes nothing. */
export function inNextFrame(paint) {
  waiting.add(paint);
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    const now = [...waiting];
    waiting.clear();
    for (const each of now) each();
  });
}
