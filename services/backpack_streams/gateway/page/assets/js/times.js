// Times and ages in words. Ages on this page are judged by the monotonic clock; the wall clock only names moments.

import { NONE } from "./figures.js";

const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** `14:05:09` in the reader's time zone; `milliseconds` since 1970. */
export const clockTime = (milliseconds) => clock.format(new Date(milliseconds));

const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const minute = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });

/** A candle's time under the chart: its day if that is what changes there, else the time of day; `kind` is the library's. */
export const tickTime = (seconds, kind) => (kind < 3 ? day : minute).format(new Date(seconds * 1000));

export const dayAndTime = (seconds) => `${day.format(new Date(seconds * 1000))}, ${minute.format(new Date(seconds * 1000))}`;

/** An age in milliseconds: `45 ms`, `1.2 s`, `3 min`, `2 h`. */
export function age(milliseconds) {
  if (milliseconds === null || milliseconds === undefined || Number.isNaN(Number(milliseconds))) return NONE;
  const ms = Math.max(0, Number(milliseconds));
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 10_000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms < 120_000) return `${Math.round(ms / 1000)} s`;
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`;
  if (ms < 172_800_000) return `${Math.round(ms / 3_600_000)} h`;
  return `${Math.round(ms / 86_400_000)} d`;
}

/** The time left as `01:23:45`. */
export function countdown(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const part = (value) => String(value).padStart(2, "0");
  return `${part(Math.floor(seconds / 3600))}:${part(Math.floor(seconds / 60) % 60)}:${part(seconds % 60)}`;
}

/** A candle's start as the gateway writes it (`2026-06-10 15:00:00`, UTC) in seconds since 1970. */
export const candleSeconds = (start) => Date.parse(`${start.replace(" ", "T").replace(/Z$/, "")}Z`) / 1000;
