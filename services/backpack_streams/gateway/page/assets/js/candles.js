// Candles with volume. The chart library wants floats for its pixels; every figure in the legend is the exact text.

import {
  CandlestickSeries,
  ColorType,
  createChart,
  CrosshairMode,
  HistogramSeries,
} from "/assets/vendor/lightweight-charts/lightweight-charts.mjs";
import { places } from "./decimal.js";
import { byId, make, setAttribute, setText } from "./dom.js";
import { compact, price } from "./figures.js";
import { inNextFrame } from "./frame.js";
import { get } from "./rest.js";
import { colour, theme } from "./theme.js";
import { candleSeconds, dayAndTime, tickTime } from "./times.js";

const OFFERED = ["1m", "5m", "15m", "1h", "4h", "1d"];
const LIMIT = 500;
const AGAIN_MS = 3000; // after a refusal, for example by a gateway that is still reading Kafka
const NAME = "backpack-streams-interval";

export class Candles {
  #candles = new Map();
  #last = null;
  #symbol = null;
  #load = 0;
  #pointed = null;
  #isHollow = true;
  #waiting = new Map();

  /** `onInterval(interval)`: the reader chose another one. */
  constructor(onInterval) {
    this.onInterval = onInterval;
    this.interval = localStorage.getItem(NAME) ?? OFFERED[0];
    this.chart = createChart(byId("candle-chart"), options());
    this.series = this.chart.addSeries(CandlestickSeries, { priceLineVisible: false });
    this.volumes = this.chart.addSeries(HistogramSeries, { priceScaleId: "volume", lastValueVisible: false, priceLineVisible: false });
    this.series.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.26 } });
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
    this.chart.subscribeCrosshairMove(({ time }) => {
      this.#pointed = time ?? null;
      this.#showLegend();
    });
    theme.on("changed", () => this.#colours());
    this.#colours();
  }

  /** Makes a button for each interval that the gateway has and a reader is likely to want. */
  offer(intervals) {
    const offered = OFFERED.filter((interval) => intervals.includes(interval));
    if (!offered.includes(this.interval)) this.interval = offered[0] ?? this.interval;
    const buttons = offered.map((interval) => {
      const button = make("button", "", interval);
      button.type = "button";
      button.onclick = () => this.#choose(interval);
      return button;
    });
    byId("intervals").replaceChildren(...buttons);
    this.#showChoice();
  }

  #choose(interval) {
    this.interval = interval;
    localStorage.setItem(NAME, interval);
    this.#showChoice();
    this.onInterval(interval);
  }

  #showChoice() {
    for (const button of byId("intervals").children) {
      setAttribute(button, "aria-pressed", String(button.textContent === this.interval));
    }
  }

  /** Loads the history of a market; candles of the stream that come meanwhile are put on top of it. */
  async show(symbol) {
    const load = ++this.#load;
    const isSame = symbol === this.#symbol;
    this.#symbol = symbol;
    if (!isSame) this.#clear();
    setText(byId("candle-legend"), "loading");
    let rows;
    try {
      rows = (await get("klines", { symbol, interval: this.interval, limit: LIMIT })).candles;
    } catch (error) {
      if (load !== this.#load) return;
      setText(byId("candle-legend"), error.message);
      setTimeout(() => load === this.#load && this.show(symbol), AGAIN_MS);
      return;
    }
    if (load !== this.#load) return;
    this.#clear();
    for (const row of rows) this.#keep(row);
    this.#setAll();
  }

  /** Nobody looks any more: what is still being loaded is not wanted. */
  stop() {
    this.#load += 1;
  }

  /** A candle of the stream. */
  update(row) {
    const time = this.#keep(row);
    if (time === null || this.#last === null || time < this.#last) return;
    this.#waiting.set(time, row);
    inNextFrame(this.#paint);
  }

  #paint = () => {
    for (const time of [...this.#waiting.keys()].sort((a, b) => a - b)) {
      if (time < this.#last) continue;
      this.#last = time;
      this.series.update(bar(time, this.#candles.get(time)));
      this.volumes.update(this.#volume(time, this.#candles.get(time)));
    }
    this.#waiting.clear();
    this.#showLegend();
  };

  #clear() {
    this.#candles.clear();
    this.#waiting.clear();
    this.#last = null;
    this.series.setData([]);
    this.volumes.setData([]);
  }

  /** Its time in seconds; null for a candle in which nothing was traded. */
  #keep(row) {
    const time = row?.start ? candleSeconds(row.start) : null;
    if (time === null || row.open === null || row.close === null) return null;
    this.#candles.set(time, row);
    return time;
  }

  #setAll() {
    const times = [...this.#candles.keys()].sort((a, b) => a - b);
    this.#last = times.at(-1) ?? 0;
    const rows = times.slice(-60).map((time) => this.#candles.get(time));
    const precision = Math.max(0, ...rows.flatMap(({ open, high, low, close }) => [open, high, low, close].map(places)));
    this.series.applyOptions({ priceFormat: { type: "price", precision, minMove: 1 / 10 ** precision } });
    this.series.setData(times.map((time) => bar(time, this.#candles.get(time))));
    this.volumes.setData(times.map((time) => this.#volume(time, this.#candles.get(time))));
    this.chart.timeScale().applyOptions({ rightOffset: 3, barSpacing: 7 });
    this.chart.timeScale().scrollToRealTime();
    this.#showLegend();
  }

  #volume(time, row) {
    const isUp = Number(row.close) >= Number(row.open);
    return { time, value: Number(row.volume), color: colour(isUp ? "up-fill" : "down-fill") };
  }

  #showLegend() {
    const row = this.#candles.get(this.#pointed ?? this.#last);
    if (!row) return setText(byId("candle-legend"), this.#last === 0 ? "no candles yet" : "");
    const { open, high, low, close, volume } = row;
    const figures = `O ${price(open)}  H ${price(high)}  L ${price(low)}  C ${price(close)}  V ${compact(volume)}`;
    return setText(byId("candle-legend"), figures);
  }

  /** A rising candle is hollow and a falling one is filled, so that they differ without their colours. */
  #colours() {
    const [up, down, panel] = [colour("up"), colour("down"), colour("panel")];
    this.series.applyOptions({ upColor: panel, borderUpColor: up, wickUpColor: up, downColor: down, borderDownColor: down, wickDownColor: down });
    this.chart.applyOptions(options());
    if (this.#last !== null) {
      const times = [...this.#candles.keys()].sort((a, b) => a - b);
      this.volumes.setData(times.map((time) => this.#volume(time, this.#candles.get(time))));
    }
  }
}

/** For pixels only. */
const bar = (time, { open, high, low, close }) => ({
  time,
  open: Number(open),
  high: Number(high),
  low: Number(low),
  close: Number(close),
});

function options() {
  const line = { color: colour("line") };
  const cross = { color: colour("muted"), labelBackgroundColor: colour("muted"), width: 1, style: 3 };
  return {
    autoSize: true,
    layout: {
      attributionLogo: false, // its inline style would break the content security policy; the footer has the notice and the link
      background: { type: ColorType.Solid, color: colour("panel") },
      textColor: colour("muted"),
      fontFamily: '"Inter Latin", system-ui, sans-serif',
      fontSize: 11,
    },
    grid: { vertLines: line, horzLines: line },
    crosshair: { mode: CrosshairMode.Normal, vertLine: cross, horzLine: cross },
    rightPriceScale: { borderVisible: false },
    timeScale: { borderVisible: false, timeVisible: true, secondsVisible: false, tickMarkFormatter: tickTime },
    localization: { locale: "en-GB", timeFormatter: dayAndTime },
  };
}
