// Exact arithmetic on decimal strings. Prices and quantities never become binary floats on their way to the screen.
//
// A decimal is held as an integer in units of 10⁻³⁰ (BigInt), as fine as the finest number on the bus (funding rates).

const SCALE = 30;
const ONE = 10n ** BigInt(SCALE);
const NUMBER = /^([+-]?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/;

/** The units of a decimal string (`"86700.50"`, `"1e-7"`); null for null, undefined and what is no number. */
export function units(text) {
  if (text === null || text === undefined) return null;
  const match = NUMBER.exec(String(text));
  if (!match) return null;
  const [, sign, whole, fraction = "", exponent = "0"] = match;
  const shift = SCALE - fraction.length + Number(exponent);
  const digits = BigInt(whole + fraction);
  const value = shift >= 0 ? digits * 10n ** BigInt(shift) : digits / 10n ** BigInt(-shift);
  return sign === "-" ? -value : value;
}

/** The plain decimal string of units: no exponent, no trailing zeros. */
export function text(value) {
  const digits = (value < 0n ? -value : value).toString().padStart(SCALE + 1, "0");
  const fraction = digits.slice(-SCALE).replace(/0+$/, "");
  const whole = digits.slice(0, -SCALE);
  return (value < 0n ? "-" : "") + whole + (fraction && `.${fraction}`);
}

/** Rounded half away from zero to `places` digits after the point, all of them written. */
export function fixed(value, places) {
  const step = 10n ** BigInt(SCALE - places);
  const half = step / 2n;
  const rounded = (value < 0n ? value - half : value + half) / step;
  const digits = (rounded < 0n ? -rounded : rounded).toString().padStart(places + 1, "0");
  const whole = places ? digits.slice(0, -places) : digits;
  return (rounded < 0n ? "-" : "") + whole + (places ? `.${digits.slice(-places)}` : "");
}

export const multiply = (left, right) => (left * right) / ONE;
export const divide = (left, right) => (right === 0n ? null : (left * ONE) / right);
export const compare = (left, right) => (left < right ? -1 : left > right ? 1 : 0);

/** How many digits a decimal string has after its point, without trailing zeros. */
export function places(number) {
  const value = units(number);
  if (value === null) return 0;
  const point = text(value).split(".")[1];
  return point ? point.length : 0;
}

/** For pixels only: a position on the screen, never a figure on it. */
export const pixels = (value) => Number(value) / 1e30;
