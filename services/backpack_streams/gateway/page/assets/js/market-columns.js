// The columns of the list of markets: what each shows, and by what it sorts.

import { multiply, text, units } from "./decimal.js";
import { compact, direction, NONE, percent, price } from "./figures.js";

const ARROWS = { up: "▲ ", down: "▼ ", flat: "" };

/** Open interest in the quote asset, which makes markets comparable; null for spot markets. */
function interest(market) {
  const amount = units(market.mark?.open_interest);
  const mark = units(market.mark?.mark_price);
  return amount === null || mark === null ? null : multiply(amount, mark);
}

/** `read` gives what to sort by (null goes last), `show` the text, `tone` a class. */
export const COLUMNS = [
  { name: "symbol", title: "Market", read: (market) => market.symbol.toLowerCase(), ascending: true },
  { name: "price", title: "Price", read: (market) => units(market.price), show: (market) => price(market.price, market.digits) },
  {
    name: "change",
    title: "24 h",
    read: (market) => market.change,
    show: (market) => ARROWS[direction(market.change)] + percent(market.change),
    tone: (market) => direction(market.change),
  },
  {
    name: "volume",
    title: "Volume",
    hide: "wide phone-less",
    read: (market) => units(market.ticker?.quote_volume),
    show: (market) => compact(market.ticker?.quote_volume),
  },
  {
    name: "funding",
    title: "Funding",
    hide: "wide less",
    read: (market) => units(market.mark?.funding_rate),
    show: (market) => percent(units(market.mark?.funding_rate), 4),
  },
  {
    name: "interest",
    title: "Open interest",
    hide: "wide less",
    read: interest,
    show: (market) => (interest(market) === null ? NONE : compact(text(interest(market)))),
  },
  {
    name: "state",
    title: "Book",
    hide: "wide",
    ascending: true,
    read: (market) => market.status ?? "~",
    show: (market) => market.status ?? NONE,
  },
];

/** Orders two markets by a column; what has no value goes last either way, equal ones by symbol. */
export function ordering(column, isAscending) {
  const sign = isAscending ? 1 : -1;
  return (left, right) => {
    const [a, b] = [column.read(left), column.read(right)];
    if (a === b) return left.symbol < right.symbol ? -1 : 1;
    if (a === null || b === null) return a === null ? 1 : -1;
    return a < b ? -sign : sign;
  };
}
