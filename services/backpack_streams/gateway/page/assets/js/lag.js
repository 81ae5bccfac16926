// How old the data is. The server's clock says how far the plant was behind itself at the last heartbeat; our monotonic
// clock says how long ago that heartbeat came. The reader's wall clock has no part in it.

/** The oldest of the topics that bring books and trades at the last heartbeat, plus the time since; null if unknown. */
export function dataAge(heartbeat) {
  const through = Object.entries(heartbeat?.complete_through ?? {}).filter(([topic, at]) => at && topic.endsWith("depth"));
  if (!through.length) return null;
  const oldest = Math.min(...through.map(([, at]) => Number(at)));
  return Math.max(0, (Number(heartbeat.timestamp) - oldest) / 1000) + heartbeatAge(heartbeat);
}

export const heartbeatAge = (heartbeat) => (heartbeat ? performance.now() - heartbeat.heardAt : null);
