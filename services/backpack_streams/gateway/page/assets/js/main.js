// The page: puts the parts together and follows the address.

import { Connection } from "./connection.js";
import { byId, setHidden, setText } from "./dom.js";
import { askForKey } from "./key.js";
import { MarketList } from "./market-list.js";
import { MarketView } from "./market-view.js";
import { PlantView } from "./plant-view.js";
import { get } from "./rest.js";
import { addressOf, currentRoute, MARKET, MARKETS, PLANT } from "./route.js";
import { State } from "./state.js";
import { Stream } from "./stream.js";
import { startTheme } from "./theme.js";
import { Tiles } from "./tiles.js";

const PLANT_EVERY_MS = 5000;
const MARKETS_EVERY_MS = 60_000;
const PLACES = { [MARKETS]: "markets", [MARKET]: "markets", [PLANT]: "plant" };

const announce = (words) => setText(byId("announcement"), words);

startTheme();
const state = new State();
const stream = new Stream(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/stream`);
const connection = new Connection(state, announce);
const list = new MarketList(state);
const market = new MarketView(state, stream, announce);
new Tiles(state);
new PlantView(state);

function follow() {
  const { view, symbol } = currentRoute();
  document.documentElement.dataset.view = view;
  setHidden(byId("market"), view !== MARKET);
  setHidden(byId("plant"), view !== PLANT);
  for (const link of document.querySelectorAll("[data-place]")) {
    if (link.dataset.place === PLACES[view]) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  list.setCurrent(symbol);
  if (view === MARKET) market.open(symbol);
  else {
    market.close();
    document.title = view === PLANT ? "Plant · backpack-streams" : "backpack-streams";
  }
  scrollTo(0, 0);
}

function take(message) {
  const { type, channel, symbol, data } = message;
  if (type === "heartbeat") {
    if (!state.markets.size) loadMarkets();
    return state.setHeartbeat(message);
  }
  if (type === "error") return market.refused(message.message);
  if (type === "conflated" && channel === "trades") return market.tape.skipped(message.dropped);
  if (type === "resumed") return market.take(message);
  if (type !== "snapshot" && type !== "update") return undefined;
  if (channel === "ticker" || channel === "mark_price") state.setRow(channel, symbol, data);
  return market.take(message);
}

/** The function, except that it does nothing while its last call goes on. */
function oneAtATime(load) {
  let isLoading = false;
  return async () => {
    if (isLoading) return;
    isLoading = true;
    try {
      await load();
    } finally {
      isLoading = false;
    }
  };
}

const loadMarkets = oneAtATime(async () => {
  try {
    state.setMarkets((await get("markets")).markets);
  } catch {
    return; // the socket tells the reader; the next round tries again
  }
  state.showStatuses();
});

const loadPlant = oneAtATime(async () => {
  if (document.hidden) return;
  try {
    state.setPlant(await get("plant"));
  } catch (error) {
    state.setPlantError(`The plant cannot be shown: ${error.message}`);
  }
});

document.addEventListener("visibilitychange", loadPlant);
document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input, textarea, select, dialog");
  if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") {
    if (!byId("search").offsetParent) location.hash = "#/";
    requestAnimationFrame(() => byId("search").focus());
    event.preventDefault();
  } else if (event.key === "[" || event.key === "]") {
    const symbol = list.neighbour(event.key === "]" ? 1 : -1);
    if (symbol) location.hash = addressOf(symbol);
  }
});

stream.on("message", take);
stream.on("up", async () => {
  connection.up();
  await Promise.all([loadMarkets(), loadPlant()]);
  market.reload();
});
stream.on("down", (why, waitMs) => connection.down(why, waitMs));
stream.on("refused", async (why) => {
  await askForKey(why);
  stream.reopen();
});
window.addEventListener("hashchange", follow);

await loadMarkets();
const meta = await get("meta").catch(() => ({ kline_intervals: ["1m", "5m", "15m", "1h", "4h", "1d"] }));
market.candles.offer(meta.kline_intervals);
stream.want("all markets", { channels: ["ticker", "mark_price"], symbols: "all" });
follow();
stream.open();
setInterval(loadPlant, PLANT_EVERY_MS);
setInterval(loadMarkets, MARKETS_EVERY_MS);
