// The plant itself: what `/v1/plant` says of topics, producers, books, gaps, audits and services.

import { byId, setHidden, setText } from "./dom.js";
import { Facts } from "./facts.js";
import { count, NONE } from "./figures.js";
import { Hops } from "./hops.js";
import { Mosaic } from "./mosaic.js";
import { PlainTable } from "./plant-tables.js";
import { RateChart } from "./rate-chart.js";
import { rate } from "./tiles.js";
import { age, clockTime } from "./times.js";

const LATE_MS = 5000;
const RECENT = 8;
const INSTANCE_LETTERS = 8;
const moment = (microseconds) => (microseconds ? clockTime(Number(microseconds) / 1000) : NONE);
const uncovered = ({ uncovered_streams: amount, uncovered: names = [] }) =>
  amount ? [`${count(amount)}: ${names.slice(0, 2).join(", ")}${amount > 2 ? ", …" : ""}`, "warn"] : "0";
/** Only a watermark proves that a service is alive: it comes each second. */
function life({ has_ended: hasEnded, heard_by: how, age_ms: ms }) {
  if (hasEnded) return ["ended", "warn"];
  if (how !== "watermark") return "has no heartbeat";
  return ms > LATE_MS ? ["silent", "warn"] : "alive";
}

const outcome = ({ refilled, loss }) => (refilled ? "refilled" : loss === false ? "nothing lost" : ["not refilled", "warn"]);
const late = (milliseconds) => [age(milliseconds), milliseconds > LATE_MS ? "warn" : ""];

export class PlantView {
  constructor(state) {
    this.state = state;
    this.hops = new Hops(state);
    this.rates = new RateChart();
    this.tables = makeTables();
    this.books = new Facts(byId("book-counts"), ["LIVE", "STALE", "Other"]);
    this.mosaic = new Mosaic(byId("books-mosaic"));
    this.gaps = new Facts(byId("gap-counts"), ["Last hour", "Refilled", "Open"]);
    this.audits = new Facts(byId("audit-counts"), ["Matches", "Mismatches"]);
    state.on("plant", () => this.#show());
  }

  #show() {
    const { plant, plantError } = this.state;
    setHidden(byId("plant-error"), !plantError);
    if (plantError) setText(byId("plant-error"), plantError);
    if (!plant) return;
    this.hops.show();
    this.#topics(plant.topics ?? {});
    this.#producers(plant.producers ?? []);
    this.#services(plant.services ?? []);
    this.#books(plant.books ?? {});
    this.#gaps(plant.gaps ?? {});
    this.#audits(plant.audits ?? {});
  }

  #topics(topics) {
    this.rates.add(rate(topics));
    const moving = Object.entries(topics).filter(([, topic]) => topic.records_per_second || topic.complete_through);
    const rows = moving.sort(([, a], [, b]) => (b.records_per_second ?? 0) - (a.records_per_second ?? 0));
    setText(byId("quiet-topics"), `${Object.keys(topics).length - moving.length} other topics are quiet.`);
    this.tables.topics.show(
      rows.map(([name, topic]) => [name, figure(topic.records_per_second), age(topic.age_ms), moment(topic.complete_through)]),
    );
  }

  #producers(producers) {
    this.tables.producers.show(
      producers.map((each) => [
          each.service,
          each.instance.slice(0, INSTANCE_LETTERS),
          each.is_final ? "ended" : late(each.age_ms),
          count(each.covered_streams),
          uncovered(each),
        ]),
    );
  }

  #services(services) {
    this.tables.services.show(
      services.map((each) => [each.service, age(each.age_ms), each.heard_by, life(each)]),
    );
  }

  #books({ not_live: notLive = [], statuses = {}, ...counts }) {
    const { LIVE: live = 0, STALE: stale = 0, ...others } = counts;
    const other = Object.values(others).reduce((sum, each) => sum + (typeof each === "number" ? each : 0), 0);
    this.books.set("LIVE", count(live));
    this.books.set("STALE", count(stale), stale ? "warn" : null);
    this.books.set("Other", count(other));
    this.mosaic.show(Object.entries(statuses));
    this.tables.books.show(notLive.map((each) => [each.symbol, [each.status, "warn"], each.reason ?? ""]));
  }

  #gaps({ last_hour: lastHour, open, refilled, recent = [] }) {
    this.gaps.set("Last hour", count(lastHour));
    this.gaps.set("Refilled", count(refilled));
    this.gaps.set("Open", count(open), open ? "warn" : null);
    this.tables.gaps.show(
      recent.slice(0, RECENT).map((each) => [
        moment(each.time),
        each.stream,
        each.reason,
        outcome(each),
      ]),
    );
  }

  #audits({ matches, mismatches, recent = [] }) {
    this.audits.set("Matches", count(matches));
    this.audits.set("Mismatches", count(mismatches), mismatches ? "warn" : null);
    this.tables.audits.show(recent.slice(0, RECENT).map((each) => [moment(each.time), each.symbol, each.result]));
  }
}

const figure = (perSecond) => (perSecond >= 10 ? count(Math.round(perSecond)) : String(Math.round((perSecond ?? 0) * 100) / 100));

const makeTables = () => ({
  topics: new PlainTable(byId("topics"), "Topics", [["Topic"], ["Messages/s"], ["Newest"], ["Complete to"]], "No topic has records yet."),
  producers: new PlainTable(
    byId("producers"),
    "Watermarks of producers",
    [["Producer"], ["Instance", "text"], ["Watermark"], ["Covered"], ["Uncovered", "long"]],
    "No producer has sent a watermark yet.",
  ),
  services: new PlainTable(byId("services"), "Services", [["Service"], ["Heard"], ["By", "text"], ["State", "text"]], "No service was heard yet."),
  books: new PlainTable(byId("books-not-live"), "Books that are not live", [["Market"], ["Status", "text"], ["Why", "text long"]], "Every book is live."),
  gaps: new PlainTable(byId("gaps"), "Latest gaps", [["Time"], ["Stream", "text"], ["Reason", "text"], ["", "text"]], "No gap is on record."),
  audits: new PlainTable(byId("audits"), "Latest audits", [["Time"], ["Market", "text"], ["Outcome", "text"]], "No audit is on record yet."),
});
