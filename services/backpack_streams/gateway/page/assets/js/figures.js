// How figures are written: grouped thousands, compact volumes, signed percentages. All of it on exact decimals.

import { fixed, text, units } from "./decimal.js";

export const NONE = "–";
const MINUS = "−";
const STEPS = [
  [12n, "T"],
  [9n, "B"],
  [6n, "M"],
  [3n, "K"],
];

/** A plain decimal with its thousands grouped by commas, and a true minus sign. */
export function grouped(plain) {
  const negative = plain.startsWith("-");
  const [whole, fraction] = (negative ? plain.slice(1) : plain).split(".");
  const parts = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return (negative ? MINUS : "") + parts + (fraction === undefined ? "" : `.${fraction}`);
}

/** A price as it came, every digit of it, with at least `places` digits after the point. */
export function price(number, places = 0) {
  const value = units(number);
  if (value === null) return NONE;
  const plain = text(value);
  const has = plain.split(".")[1]?.length ?? 0;
  return grouped(has >= places ? plain : fixed(value, places));
}

/** `1.234M`: for volumes, where the size matters and not each digit. */
export function compact(number) {
  const value = units(number);
  if (value === null) return NONE;
  const size = value < 0n ? -value : value;
  for (const [power, letter] of STEPS) {
    if (size >= 10n ** (30n + power)) return grouped(fixed(value / 10n ** power, 2)) + letter;
  }
  const digits = size === 0n || size >= 10n ** 30n ? 2 : 6;
  return grouped(fixed(value, digits)).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}

/** `+1.25 %`: signed, so that its direction is read without its colour. `value` in units, 1 = 100 %. */
export function percent(value, places = 2) {
  if (value === null) return NONE;
  const written = grouped(fixed(value * 100n, places));
  return `${/[1-9]/.test(written) && value > 0n ? "+" : ""}${written}%`;
}

/** A change in words of direction: `up`, `down` or `flat`. */
export function direction(value) {
  if (value === null || value === 0n) return "flat";
  return value > 0n ? "up" : "down";
}

export const count = (number) => (number === null || number === undefined ? NONE : grouped(String(number)));
