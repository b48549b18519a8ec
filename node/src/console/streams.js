// The table of streams, and for an opened one its charts, its partitions and what to do about it.

import { Chart } from "./chart.js";
import { el, setAttribute, setFigure, setHidden, setState, setText, stateMeaning } from "./elements.js";
import * as format from "./format.js";
import { nodeName } from "./nodes.js";
import { ask } from "./session.js";

const COLUMNS = [
  ["stream", "Stream"],
  ["state", "State"],
  ["rate", "Rate", "Messages written a second, averaged over the last seconds"],
  ["lag", "Lag", "Messages that the source holds and the target does not"],
  ["behind", "Behind", "How far the target is behind, of the partition that is furthest"],
  ["copied", "Copied", "Messages written, as counted by the node that answers: other nodes may have counted for longer"],
];
const HOUR = 3600000;

class Stream {
  constructor(name) {
    this.name = name;
    this.history = [];
    this.open = false;
    this.cells = {};
    this.button = el("button", { type: "button", class: "opener", "aria-expanded": "false", "aria-controls": `stream-${name}` });
    this.chevron = el("span", { class: "chevron", "aria-hidden": "true" });
    this.title = el("span", { class: "stream-name" }, name);
    this.button.append(this.chevron, this.title);
    this.path = el("p", { class: "path" });
    this.state = el("span", {});
    this.since = el("span", { class: "since" });
    this.row = el("tr", { role: "row", class: "stream" });
    for (const [key, label] of COLUMNS) {
      this.cells[key] = el(key === "stream" ? "th" : "td", { role: key === "stream" ? "rowheader" : "cell", scope: key === "stream" ? "row" : null, class: `cell-${key}`, "data-label": label });
      this.row.append(this.cells[key]);
    }
    this.cells.stream.append(this.button, this.path);
    this.cells.state.append(this.state, this.since);
    this.figures = {};
    for (const key of ["rate", "lag", "behind", "copied"]) this.cells[key].append((this.figures[key] = el("span", { class: "figure" })));
    this.button.addEventListener("click", () => this.toggle());
    this.buildDetail();
  }

  buildDetail() {
    this.why = el("p", { class: "why" });
    this.whyText = el("span", {});
    this.help = el("a", { class: "code", target: "_blank", rel: "noreferrer noopener" });
    this.why.append(this.whyText, " ", this.help);
    this.reason = el("tr", { role: "row", class: "reason", hidden: true }, el("td", { role: "cell", colspan: COLUMNS.length }, this.why));
    this.bar = el("div", { class: "progress", role: "progressbar", "aria-label": "Catch-up", "aria-valuemin": "0", "aria-valuemax": "100" }, el("div", { class: "progress-done" }));
    this.barText = el("p", { class: "progress-text" });
    this.catchUp = el("div", { class: "catch-up" }, this.bar, this.barText);
    this.charts = [
      new Chart({ title: "Rate", unit: "messages a second", key: "copied_messages_per_second", show: format.rate, tone: "rate" }),
      new Chart({ title: "Lag", unit: "messages", key: "lag_messages", show: (value, state) => format.atLeast(state, format.messages(value)), tone: "lag" }),
    ];
    this.extra = el("dl", { class: "facts" });
    this.facts = {};
    for (const [key, label] of [["rpo", "RPO"], ["read", "Read"], ["filtered", "Filtered"], ["bytes", "Copied bytes"], ["flight", "In flight"], ["checkpoint", "Checkpoint age"]]) {
      this.extra.append(el("div", {}, el("dt", {}, label), (this.facts[key] = el("dd", {}))));
    }
    this.partitions = new Partitions(this.name);
    const body = el("td", { role: "cell", colspan: COLUMNS.length }, el("div", { class: "detail-body" }, this.catchUp, el("div", { class: "charts" }, ...this.charts.map((chart) => chart.node)), this.extra, this.partitions.node));
    this.detail = el("tr", { role: "row", class: "detail", id: `stream-${this.name}`, hidden: true }, body);
  }

  rows() {
    return [this.row, this.reason, this.detail];
  }

  toggle(open = !this.open) {
    this.open = open;
    this.button.setAttribute("aria-expanded", String(open));
    this.row.classList.toggle("is-open", open);
    setHidden(this.detail, !open);
    this.draw();
    if (open) this.partitions.refresh();
  }

  update(stream, now) {
    this.remember(stream.history ?? [], now);
    this.latest = stream;
    this.now = now;
    const { figures } = stream;
    const ends = [stream.source, stream.target].map((end) => `${end.instance}/${end.topic}`);
    setText(this.path, ends.join(" → "));
    setState(this.state, stream.state);
    setText(this.since, `for ${format.duration((now - stream.since) / 1000)}`);
    setAttribute(this.since, "title", `since ${format.dateTime(stream.since)}`);
    const paused = stream.state === "paused";
    setFigure(this.figures.rate, paused ? "–" : format.rate(figures.copied_messages_per_second));
    setFigure(this.figures.lag, format.atLeast(stream.state, format.count(figures.lag_messages)));
    setFigure(this.figures.behind, format.behind(stream.state, figures));
    setFigure(this.figures.copied, format.count(figures.copied_messages));
    setAttribute(this.row, "data-state", stream.state);
    this.showReason(stream);
    this.showCatchUp(stream.catch_up);
    this.showFacts(figures);
    this.draw();
    if (this.open) this.partitions.due(now);
  }

  remember(points, now) {
    const newest = this.history.length ? this.history[this.history.length - 1].at : 0;
    this.history.push(...points.filter((point) => point.at > newest));
    while (this.history.length && now - this.history[0].at > HOUR) this.history.shift();
  }

  // The last point is the present, so that the line reaches the edge between two points of the history.
  draw() {
    if (!this.open || !this.latest) return;
    const present = { at: this.now, state: this.latest.state, ...this.latest.figures };
    for (const chart of this.charts) chart.update([...this.history, present], this.now);
  }

  showReason(stream) {
    setHidden(this.reason, !stream.why && !stream.code);
    setText(this.whyText, stream.why ?? "");
    setHidden(this.help, !stream.code);
    setText(this.help, stream.code ?? "");
    const page = /^\/errors\/CWY-\d{4}$/.test(stream.help ?? "") ? stream.help : null;
    setAttribute(this.help, "href", page);
    setAttribute(this.help, "aria-label", stream.code ? `${stream.code}, documentation` : null);
    setAttribute(this.why, "data-state", stream.state);
  }

  showCatchUp(catchUp) {
    setHidden(this.catchUp, !catchUp);
    if (!catchUp) return;
    const share = format.percent(catchUp.percent);
    this.bar.firstChild.style.width = `${catchUp.percent ?? 0}%`;
    setAttribute(this.bar, "aria-valuenow", catchUp.percent === null ? null : Math.floor(catchUp.percent));
    const left = format.messages(catchUp.remaining_messages);
    const end = catchUp.eta_seconds === null ? "the backlog does not shrink" : `about ${format.duration(Math.max(1, Math.round(catchUp.eta_seconds)))} left`;
    setText(this.barText, `${share ?? "unknown share"} · ${left ? `${left} to go` : "unknown backlog"} · ${end}`);
  }

  showFacts(figures) {
    setFigure(this.facts.rpo, format.duration(figures.rpo_seconds));
    setFigure(this.facts.read, format.messages(figures.read_messages));
    setFigure(this.facts.filtered, format.messages(figures.filtered_messages));
    setFigure(this.facts.bytes, format.bytes(figures.copied_bytes));
    setFigure(this.facts.flight, format.bytes(figures.in_flight_bytes));
    setFigure(this.facts.checkpoint, format.duration(figures.checkpoint_age_seconds));
  }
}

const PARTITION_COLUMNS = ["Source queue", "Target queue", "State", "Rate", "Lag", "Behind", "Checkpoint", "Owner", "Read", "Epoch"];

const PARTITION_HINTS = {
  Checkpoint: "The first source offset that is not known to be durable at the target",
  Read: "By which path the owner gets the source's messages: itself, or through a node that reads beside the source",
  Epoch: "The number of this ownership; it grows whenever the partition changes hands",
};

class Partitions {
  constructor(stream) {
    this.stream = stream;
    this.asked = 0;
    this.body = el("tbody", { role: "rowgroup" });
    this.message = el("p", { class: "empty" });
    const heads = PARTITION_COLUMNS.map((label) => el("th", { role: "columnheader", scope: "col", title: PARTITION_HINTS[label] }, label));
    this.table = el("table", { role: "table", class: "partitions" }, el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...heads)), this.body);
    this.node = el("section", { class: "partition-section" }, el("h3", {}, "Partitions"), el("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": `Partitions of ${stream}` }, this.table), this.message);
  }

  due(now) {
    if (now - this.asked >= 2000) this.refresh(now);
  }

  async refresh(now = this.asked) {
    if (this.busy) return;
    this.busy = true;
    this.asked = now;
    try {
      const list = await ask(`/v1/streams/${encodeURIComponent(this.stream)}/partitions?limit=1000`);
      this.show(list.items);
    } catch (trouble) {
      setText(this.message, trouble.message);
      setHidden(this.message, false);
    }
    this.busy = false;
  }

  show(items) {
    setHidden(this.message, items.length > 0);
    setText(this.message, "No queue of the source topic is known yet.");
    setHidden(this.table, items.length === 0);
    while (this.body.children.length > items.length * 2) this.body.lastChild.remove();
    items.forEach((item, position) => {
      if (position * 2 >= this.body.children.length) this.body.append(partitionRow(), decisionRow());
      const [row, decision] = [this.body.children[position * 2], this.body.children[position * 2 + 1]];
      showPartition(row, item);
      showDecision(decision, item, this.stream);
    });
  }
}

function partitionRow() {
  const cells = PARTITION_COLUMNS.map((label) => el("td", { role: "cell", "data-label": label }, el("span", {})));
  return el("tr", { role: "row", class: "partition" }, ...cells);
}

function queueOf({ broker, queue }) {
  return `${broker}/${queue}`;
}

function showPartition(row, item) {
  const at = (position) => row.children[position].firstChild;
  const { figures } = item;
  setText(at(0), queueOf(item.source));
  setText(at(1), queueOf(item.target));
  setState(at(2), item.state);
  setAttribute(at(2), "title", item.why ?? stateMeaning(item.state));
  setFigure(at(3), format.rate(figures?.copied_messages_per_second));
  setFigure(at(4), format.atLeast(item.state, format.count(figures?.lag_messages)));
  setFigure(at(5), format.behind(item.state, figures));
  setFigure(at(6), item.checkpoint ? format.count(item.checkpoint.source_next) : "none yet");
  setFigure(at(7), item.owner === null ? "none" : nodeName(item.owner));
  setFigure(at(8), readPath(figures));
  setFigure(at(9), format.count(item.epoch));
}

function readPath(figures) {
  if (!figures?.read_path) return null;
  return figures.read_path === "direct" ? "directly" : `through ${nodeName(figures.relay)}`;
}

function decisionRow() {
  const advice = el("p", {}, "Decide with ", el("code", {}), "; add ", el("code", {}, "--dry-run"), " to see first what it means.");
  const note = el("div", { class: "decision" }, el("p", {}), advice);
  return el("tr", { role: "row", class: "decision-row", hidden: true }, el("td", { role: "cell", colspan: PARTITION_COLUMNS.length }, note));
}

function showDecision(row, item, stream) {
  setHidden(row, !item.fault);
  if (!item.fault) return;
  const choice = item.fault.skip_to === null ? "--retry" : "--skip";
  setText(row.querySelector("p"), item.fault.message);
  setText(row.querySelector("code"), `causeway stream resolve ${stream} --partition ${queueOf(item.source)} --fault-since ${item.fault.since} ${choice}`);
}

export class StreamTable {
  constructor(container) {
    const heads = COLUMNS.map(([key, label, title]) => el("th", { role: "columnheader", scope: "col", class: `cell-${key}`, title }, label));
    this.body = el("tbody", { role: "rowgroup" });
    this.table = el("table", { role: "table", class: "streams" }, el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...heads)), this.body);
    this.empty = el("p", { class: "empty" }, "No stream yet.");
    this.streams = new Map();
    container.append(this.table, this.empty);
  }

  // Forgets the history of every stream, as a restarted node did.
  restart() {
    for (const stream of this.streams.values()) stream.history = [];
  }

  update(status) {
    const first = this.streams.size === 0;
    for (const [name, stream] of this.streams) {
      if (!status.streams.some((known) => known.name === name)) {
        for (const row of stream.rows()) row.remove();
        this.streams.delete(name);
      }
    }
    status.streams.forEach((known, position) => {
      const stream = this.streams.get(known.name) ?? this.add(known.name);
      const place = this.body.children[position * 3] ?? null;
      if (place !== stream.row) for (const row of stream.rows()) this.body.insertBefore(row, place);
      stream.update(known, status.at);
    });
    setHidden(this.empty, status.streams.length > 0);
    setHidden(this.table, status.streams.length === 0);
    if (first && status.streams.length === 1) this.streams.values().next().value.toggle(true);
  }

  add(name) {
    const stream = new Stream(name);
    this.streams.set(name, stream);
    return stream;
  }
}
