// Where the reader is: `#/` all markets, `#/plant` the plant, `#/SOL_USDC` a market. Back and forward work.

export const MARKETS = "markets";
export const PLANT = "plant";
export const MARKET = "market";

export function currentRoute() {
  const name = decodeURIComponent(location.hash.replace(/^#\/?/, ""));
  if (!name) return { view: MARKETS, symbol: null };
  if (name === "plant") return { view: PLANT, symbol: null };
  return { view: MARKET, symbol: name };
}

export const addressOf = (symbol) => `#/${encodeURIComponent(symbol)}`;
